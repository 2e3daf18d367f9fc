"""The formats of parts: JSON lines, CSV and Parquet, which all hold the same rows.

A part is gathered as JSON lines, whatever its format is, and so are the rows that a deadline cuts off: the hot path
knows one form only. The object of another format is made from those when the part is whole, away from the workers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

from crawler.core.records import FormatName, Row
from crawler.formats.csv_rows import Csv
from crawler.formats.jsonl_rows import decode_rows
from crawler.formats.parquet_rows import Parquet


class Format(Protocol):
    """A way to turn a part's rows into an object's bytes, equal ones for equal rows, and back.

    `suffix` ends the object's name; `note`, if there is one, is what the manifest says of how values are written.
    """

    suffix: str
    note: str | None

    def encode(self, lines: bytes) -> bytes:
        """Write the object from the part's JSON lines, compressed."""

    def decode(self, data: bytes) -> list[Row]:
        """Read the rows back; raises ValueError if the object is not as this format writes it."""


class JsonLines:
    """A part as it was gathered: a gzip of one JSON object a line."""

    suffix = "jsonl.gz"
    note: str | None = None

    def encode(self, lines: bytes) -> bytes:
        """Return the lines themselves."""
        return lines

    def decode(self, data: bytes) -> list[Row]:
        """Read the rows back; raises ValueError."""
        return decode_rows(data)


JSON_LINES: Format = JsonLines()

FORMATS: dict[FormatName, Format] = {"jsonl": JSON_LINES, "csv": Csv(), "parquet": Parquet()}

_KINDS: dict[FormatName, Callable[[tuple[str, ...]], Format]] = {"csv": Csv, "parquet": Parquet}


@cache
def format_of(name: FormatName, *, keyed: bool, moved: bool = False) -> Format:
    """Return a format by its name, for rows with keys if `keyed`, with places to which songs moved if `moved`.

    They have a column more for each. Others have not: every row of every run would pay for it, and whoever reads many
    runs at once knows four columns.
    """
    more = (*(("key",) if keyed else ()), *(("moved_to",) if moved else ()))
    return _KINDS[name](more) if more and name in _KINDS else FORMATS[name]
