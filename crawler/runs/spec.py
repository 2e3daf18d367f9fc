"""What a run was asked for, and what it may be called: its run.json, fixed by whichever call came first.

Its version is that of all that is stored of the run:

| version | adds |
|---|---|
| 1 | (run.json and manifest.json name no version) |
| 2 | `version` in both, `created_at` in the manifest |
| 3 | `source_name`, `answers_digest`, `keys`, `follows_redirects` in both; rows with `key`, `moved_to` in such runs;
      `errors` in the manifest |

A run keeps the version it began with, its manifest too: whichever release finishes it, the bytes are the same. A
release reads the versions before its own, and refuses those after.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated

import msgspec

from crawler.core.errors import NewerVersion
from crawler.core.key_list import KeyList
from crawler.core.records import FormatName
from crawler.core.redaction import redact_url
from crawler.core.setting_types import NAME
from crawler.core.song_set import SongSet
from crawler.formats.registry import format_of
from crawler.runs.grid import Grid

# The version of new runs.
STORED_VERSION = 3

RUN_NAME = NAME

Version = Annotated[int, msgspec.Meta(ge=1)]


class KeysDigest(msgspec.Struct, frozen=True):
    """Tell which keys a run's numbers stood for: the first `lines` of KEYS, by the `digest` of KeyList."""

    lines: Annotated[int, msgspec.Meta(ge=1)]
    digest: str


class Source(msgspec.Struct, frozen=True):
    """Name what is crawled: `text` for people, without any secret; `digest` tells two sources apart all the same.

    `name` is SOURCE_NAME, which takes the digest's place. `answers_digest` tells apart what becomes of one source's
    answers: all settings that decide that, or the code of a user's function. `keys` are those of KEYS, as this call
    read them; `follows_redirects`: rows may say where a song moved.
    """

    text: str
    digest: str
    name: str | None = None
    answers_digest: str | None = None
    keys: KeyList | None = None
    follows_redirects: bool = False

    @property
    def id(self) -> str:
        """Return what next: and runs of the source go by."""
        return self.name or self.digest

    @property
    def keys_digest(self) -> KeysDigest | None:
        """Tell which keys there are now."""
        return KeysDigest(len(self.keys), self.keys.digest(len(self.keys))) if self.keys else None

    def has_keys(self, keys: KeysDigest | None) -> bool:
        """Tell whether its keys begin with these: then they are the same ones, or more of them came."""
        if keys is None or self.keys is None:
            return keys is None and self.keys is None
        return keys.lines <= len(self.keys) and self.keys.digest(keys.lines) == keys.digest

    def conflict(self, spec: RunSpec) -> str | None:
        """Say why a run of the same name must not be continued by a call of this source; None: it may be."""
        if spec.source_id != self.id:
            return f"The run {spec.run} is of another source than this function's: {spec.source}."
        if not self.has_keys(spec.keys):
            return f"The run {spec.run} is of other keys: KEYS does not begin with {_described(spec.keys)}."
        if not self.may_continue(spec):
            return (
                f"The run {spec.run} was begun with other settings or code for its answers than today's; "
                "allowed: another run name, or what it was begun with."
            )
        return None

    def is_of(self, spec: RunSpec) -> bool:
        """Tell whether a run is of this source."""
        return spec.source_id == self.id and self.has_keys(spec.keys)

    def may_continue(self, spec: RunSpec) -> bool:
        """Tell whether a run of this source was begun with what decides on answers now.

        Runs that an earlier release stored do not tell, and may be continued.
        """
        return None in (spec.answers_digest, self.answers_digest) or spec.answers_digest == self.answers_digest

    @classmethod
    def of_url(cls, url: str, info: str, missing: str | None, posted: str | None = None) -> Source:
        """Name a declared song: its URL template, the expressions that decide what is data, a posted body."""
        told = [url, info, missing]
        if posted is None:
            return cls(redact_url(url), short_digest(told))
        return cls(f"POST {redact_url(url)}", short_digest([*told, "POST", posted]))

    @classmethod
    def of_function(cls, name: str) -> Source:
        """Name a user's function."""
        return cls(name, short_digest([name]))


def _described(keys: KeysDigest | None) -> str:
    return f"the {keys.lines} that it was begun with" if keys else "none, as it was begun"


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Hold what a run was asked for, and the grid it is stored in.

    `asked` is the request as the caller wrote it, in its normal form; `songs` the numbers that it came to, for an open
    range the most it may reach; `parent` the run a `failed:` or `missing:` set came from; `end_after_missing` is there
    for an open range only; `job` names the Scheduler job whose call began the run. `source_name`, `answers_digest`,
    `keys` and `follows_redirects` are those of its Source, and not there before version 3. `version` is 1 where none
    stands.
    """

    version: Version = 1
    run: str
    parent: str | None = None
    asked: str
    songs: str
    source: str
    source_name: str | None = None
    source_digest: str
    answers_digest: str | None = None
    keys: KeysDigest | None = None
    follows_redirects: bool = False
    format: FormatName
    part_songs: Annotated[int, msgspec.Meta(ge=1)]
    end_after_missing: int | None = None
    job: str | None = None
    created_at: str

    @cached_property
    def grid(self) -> Grid:
        """Cut the songs into parts."""
        songs = SongSet.parse(self.songs) if self.songs else SongSet()
        form = format_of(self.format, keyed=self.keys is not None, moved=self.follows_redirects)
        return Grid(songs, self.part_songs, form)

    @property
    def source_id(self) -> str:
        """Return what next: and runs of the source go by."""
        return self.source_name or self.source_digest

    @property
    def request_digest(self) -> str:
        """Tell requests apart: equal for equal songs, source and format, whatever the run is called."""
        return request_digest(self.asked, self.source_id, self.format)

    def encode(self) -> bytes:
        """Write run.json."""
        content = msgspec.structs.asdict(self)
        for name in _LATER_FIELDS.get(self.version, ()):
            del content[name]
        return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> RunSpec:
        """Read run.json; raises ValueError if it is none."""
        return msgspec.json.decode(data, type=cls)


# What a run.json of a version does not have.
_LATER_FIELDS: dict[int, tuple[str, ...]] = {
    1: ("version", "source_name", "answers_digest", "keys", "follows_redirects"),
    2: ("source_name", "answers_digest", "keys", "follows_redirects"),
    3: (),
}


class _Versioned(msgspec.Struct):
    version: Version = 1


def check_version(name: str, data: bytes) -> None:
    """Look whether this release can read a JSON object; raises NewerVersion if not, ValueError if it is none.

    Before anything else of it is read: a newer one may hold other fields, or mean something else by them.
    """
    version = msgspec.json.decode(data, type=_Versioned).version
    if version > STORED_VERSION:
        raise NewerVersion(
            f"{name} has version {version}; this release reads 1 to {STORED_VERSION}: "
            "use the release that stored it, or a newer one."
        )


def request_digest(asked: str, source_id: str, format: str) -> str:
    """Give 16 hex digits that are equal for equal requests."""
    return short_digest([asked, source_id, format])


def short_digest(parts: list[str | None]) -> str:
    """Return 16 hex digits that are equal for equal texts."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
