"""Rows on their way from JSON lines into a table: what they are cut into, and where a table goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Sink(Protocol):
    """Where bytes go: a file, or memory."""

    def write(self, data: bytes, /) -> Any:
        """Take the next bytes."""


class Table(Protocol):
    """A table that is written row by row."""

    def feed(self, lines: Sequence[bytes]) -> None:
        """Write the next rows, which are JSON lines without their ends."""

    def finish(self) -> None:
        """Write what a table ends with."""


class FoundRow(msgspec.Struct):
    """A found song's row, its info as JSON still."""

    song_num: int
    info: msgspec.Raw
    run: str | None = None
    fetched_at: str | None = None
    moved_to: int | str | None = None
    key: str | None = None

    def cell(self, column: str) -> Any:
        """Return a column's value; info as JSON text, a number that the song moved to as text."""
        value = getattr(self, column)
        if column == "info":
            return bytes(value).decode()
        return value if column == "song_num" or value is None else str(value)


decode_found = msgspec.json.Decoder(FoundRow).decode
