"""The values that are kept: a song's record, a row of a part, a stored object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

Status = Literal["found", "missing", "failed"]


FormatName = Literal["jsonl", "csv", "parquet"]


class SongRecord(NamedTuple):
    """Pair a song's number (or whatever item stood for it) with its info: the project's promised tuple."""

    song_num: Any
    info: Any


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """Be one line of a part: exactly one for every number it covers.

    `info` is None unless found; `error` is a stable word, and there only if failed.
    """

    song_num: int
    status: Status
    info: Any
    error: str | None = None


class StoredObject(msgspec.Struct, frozen=True):
    """Describe one object of a store.

    `name` is relative to the output; `size` in bytes; `crc32c` of its bytes in the base64 form of Cloud Storage;
    `created_at` in epoch seconds.
    """

    name: str
    size: int
    crc32c: str
    created_at: float
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
