"""The values that are kept: a song's record, a row of a part, a stored object; and the count of songs by status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec

Status = Literal["found", "missing", "failed"]

STATUSES: tuple[Status, ...] = get_args(Status)
"""Every status, in the order in which they are stored and shown; each is a field of Counts."""

FormatName = Literal["jsonl", "csv", "parquet"]


class Counts(msgspec.Struct):
    """How many songs have each status."""

    found: int = 0
    missing: int = 0
    failed: int = 0

    @property
    def songs_done(self) -> int:
        """Count the songs that have a status."""
        return sum([getattr(self, status) for status in STATUSES])

    def add(self, other: Counts) -> None:
        """Add what another counts."""
        for status in STATUSES:
            setattr(self, status, getattr(self, status) + getattr(other, status))

    def by_status(self) -> dict[str, int]:
        """Return the counts by their names, in the order of STATUSES."""
        return {status: getattr(self, status) for status in STATUSES}


def add_counts(counts: Iterable[Counts]) -> Counts:
    """Add counts up."""
    each = list(counts)
    return Counts(*[sum([getattr(one, status) for one in each]) for status in STATUSES])


class _Pair(NamedTuple):
    song_num: Any
    info: Any


class SongRecord(_Pair):
    """A song's number (or whatever item stood for it) and its info: the project's promised tuple.

    Beside the two, `moved_to` says where the song is now, if a redirect led there: the number, else a path.
    """

    moved_to: int | str | None = None

    @classmethod
    def of(cls, song_num: Any, info: Any, moved_to: int | str | None) -> SongRecord:
        """Make a record that may have moved."""
        record = cls(song_num, info)
        if moved_to is not None:
            record.moved_to = moved_to
        return record


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a part: exactly one for every number it covers.

    `info` is None unless found; `error` is a stable word, and there only if failed; `key` is the song's in a run with
    KEYS; `moved_to` is there only if a redirect led to another song.
    """

    song_num: int
    status: Status
    info: Any
    error: str | None = None
    key: str | None = None
    moved_to: int | str | None = None


class StoredObject(msgspec.Struct, frozen=True):
    """One object of a store.

    `name` is relative to the output; `size` in bytes; `crc32c` of its bytes in the base64 form of Cloud Storage;
    `created_at` in epoch seconds.
    """

    name: str
    size: int
    crc32c: str
    created_at: float
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
