"""What a run was asked for, and what it may be called: its run.json, fixed by whichever call came first.

Its version is that of all that is stored of the run:

| version | adds |
|---|---|
| 1 | (run.json and manifest.json name no version) |
| 2 | `version` in both, `created_at` in the manifest |

A run keeps the version it began with, its manifest too: whichever release finishes it, the bytes are the same. A
release reads the versions before its own, and refuses those after.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Annotated

import msgspec

from crawler.core.errors import NewerVersion
from crawler.core.records import FormatName
from crawler.core.redaction import redact_url
from crawler.core.song_set import SongSet
from crawler.formats.registry import FORMATS
from crawler.runs.grid import Grid

# The version of new runs.
STORED_VERSION = 2

RUN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)

Version = Annotated[int, msgspec.Meta(ge=1)]


class Source(msgspec.Struct, frozen=True):
    """Name what is crawled: `text` for people, without any secret; `digest` tells two sources apart all the same."""

    text: str
    digest: str

    @classmethod
    def of_url(cls, url: str, info: str, missing: str | None) -> Source:
        """Name a declared song: its URL template and the expressions that decide what is data."""
        return cls(redact_url(url), short_digest([url, info, missing]))

    @classmethod
    def of_function(cls, name: str) -> Source:
        """Name a user's function."""
        return cls(name, short_digest([name]))


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Hold what a run was asked for, and the grid it is stored in.

    `asked` is the request as the caller wrote it, in its normal form; `songs` the numbers that it came to, for an open
    range the most it may reach; `parent` the run a `failed:` or `missing:` set came from; `end_after_missing` is there
    for an open range only; `job` names the Scheduler job whose call began the run. `version` is 1 where none
    stands.
    """

    version: Version = 1
    run: str
    parent: str | None = None
    asked: str
    songs: str
    source: str
    source_digest: str
    format: FormatName
    part_songs: Annotated[int, msgspec.Meta(ge=1)]
    end_after_missing: int | None = None
    job: str | None = None
    created_at: str

    @cached_property
    def grid(self) -> Grid:
        """Cut the songs into parts."""
        songs = SongSet.parse(self.songs) if self.songs else SongSet()
        return Grid(songs, self.part_songs, FORMATS[self.format])

    @property
    def request_digest(self) -> str:
        """Tell requests apart: equal for equal songs, source and format, whatever the run is called."""
        return request_digest(self.asked, self.source_digest, self.format)

    def encode(self) -> bytes:
        """Write run.json."""
        content = msgspec.structs.asdict(self)
        if self.version == 1:
            del content["version"]
        return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> RunSpec:
        """Read run.json; raises ValueError if it is none."""
        return msgspec.json.decode(data, type=cls)


class _Versioned(msgspec.Struct):
    version: Version = 1


def check_version(name: str, data: bytes) -> None:
    """Look whether this release can read a JSON object; raises NewerVersion if not, ValueError if it is none.

    Before anything else of it is read: a newer one may hold other fields, or mean something else by them.
    """
    version = msgspec.json.decode(data, type=_Versioned).version
    if version > STORED_VERSION:
        raise NewerVersion(
            f"{name} has version {version}; this release reads 1 and {STORED_VERSION}: "
            "use the release that stored it, or a newer one."
        )


def request_digest(asked: str, source_digest: str, format: str) -> str:
    """Give 16 hex digits that are equal for equal requests."""
    return short_digest([asked, source_digest, format])


def short_digest(parts: list[str | None]) -> str:
    """Return 16 hex digits that are equal for equal texts."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
