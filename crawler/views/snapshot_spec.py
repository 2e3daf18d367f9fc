"""What a snapshot is of: its snapshot.json, fixed by whichever call came first, and its manifest.

Both carry a `version` of their own, from 1. Neither the rows nor the manifest hold a time but those of the runs and of
snapshot.json: whoever goes on with a snapshot makes the same bytes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from crawler.core.errors import Damaged, NewerVersion
from crawler.core.records import FormatName
from crawler.formats.found_rows import SNAPSHOT_COLUMNS, FoundTable
from crawler.formats.registry import FORMATS
from crawler.runs.spec import RunSpec, Version

SNAPSHOT_VERSION = 1

T = TypeVar("T")


class SnapshotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what a snapshot is of.

    `runs` are the runs whose rows it holds, those of the snapshot `laid_on` (in JSON `from`) too; `keyed`: rows have a
    key; `created_at` is RFC 3339 in UTC.
    """

    version: Version = SNAPSHOT_VERSION
    snapshot: str
    source: str
    source_name: str | None
    source_digest: str
    keyed: bool
    format: FormatName
    laid_on: str | None = msgspec.field(name="from", default=None)
    runs: list[str]
    created_at: str

    @property
    def source_id(self) -> str:
        """Return what runs of the source go by."""
        return self.source_name or self.source_digest

    @property
    def table(self) -> FoundTable:
        """Return how the rows are written."""
        return FoundTable(self.format, SNAPSHOT_COLUMNS + (("key",) if self.keyed else ()))

    @property
    def suffix(self) -> str:
        """Return what the names of its parts end with."""
        return FORMATS[self.format].suffix

    def is_of(self, spec: RunSpec) -> bool:
        """Tell whether a run is of the same source, as far as its name or digest tells."""
        return (spec.source_id, spec.keys is not None) == (self.source_id, self.keyed)


class SnapshotPart(msgspec.Struct, frozen=True):
    """An object of a snapshot: its first and last song, how many there are, its size and checksum."""

    name: str
    first: int
    last: int
    songs: int
    bytes: int
    crc32c: str


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Prove a snapshot complete.

    `songs` counts its rows; `covers` has all numbers that its runs asked for, as ranges, and `newest_fetched_at` the
    time of the newest part among theirs: what a later snapshot may be laid on.
    """

    version: Version = SNAPSHOT_VERSION
    snapshot: str
    source: str
    source_name: str | None
    source_digest: str
    keyed: bool
    format: FormatName
    laid_on: str | None = msgspec.field(name="from", default=None)
    runs: list[str]
    created_at: str
    songs: int
    covers: str
    newest_fetched_at: str
    parts: list[SnapshotPart]

    @property
    def source_id(self) -> str:
        """Return what runs of the source go by."""
        return self.source_name or self.source_digest


class _Versioned(msgspec.Struct):
    version: Version = 1


def decode_object(name: str, data: bytes, kind: type[T]) -> T:
    """Read a JSON object of a snapshot; raises Damaged, or NewerVersion for one that only a newer release knows."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version > SNAPSHOT_VERSION:
            raise NewerVersion(
                f"{name} has version {version}; this release reads {SNAPSHOT_VERSION}: use the one that stored it."
            )
        return msgspec.json.decode(data, type=kind)
    except ValueError as error:
        raise Damaged(f"{name} is damaged: {error}.") from error


def encode_object(content: object) -> bytes:
    """Write a JSON object of a snapshot."""
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
