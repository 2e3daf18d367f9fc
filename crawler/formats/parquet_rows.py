"""Rows as Parquet: song_num is an int64, all else text, info JSON text; the same schema in every part of a run.

pyarrow takes 0.2 s and 50 MB to import, so that only a part in this format imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any

from crawler.core.errors import BadSetting
from crawler.core.records import Row
from crawler.formats.jsonl_rows import RawRow, parse_row, raw_rows

# A row group is what writer and readers hold in memory at once; parts of ordinary songs have one.
_GROUP_CHARACTERS = 4 << 20


class Parquet:
    """A part as a Parquet file; `more` names the columns that its run has beside those of every run."""

    suffix = "parquet"
    note: str | None = None

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._more = more

    def encode(self, lines: bytes) -> bytes:
        """Write a file; raises BadSetting where pyarrow is not installed."""
        arrow, parquet = _libraries()
        schema = _schema(self._more)
        file = BytesIO()
        # Neither a time nor a path goes into the file, so that equal rows are equal bytes.
        options = {"compression": "zstd", "store_schema": False, "write_page_checksum": True}
        with parquet.ParquetWriter(file, schema, use_dictionary=["status", "error"], **options) as writer:
            for rows in _groups(raw_rows(lines)):
                columns = dict(zip(RawRow._fields, map(list, zip(*rows, strict=True)), strict=True))
                writer.write_batch(arrow.record_batch([columns[name] for name in schema.names], schema=schema))
        return file.getvalue()

    def decode(self, data: bytes) -> list[Row]:
        """Read the rows back; raises ValueError if they are not as `encode` writes them."""
        arrow, parquet = _libraries()
        try:
            file = parquet.ParquetFile(arrow.BufferReader(data), page_checksum_verification=True, pre_buffer=False)
            table = file.read(use_threads=False)
            if not table.schema.equals(_schema(self._more)):
                raise ValueError("its columns are not those of every part")
            return [parse_row(**row) for row in table.to_pylist()]
        except (ValueError, RecursionError, OSError, arrow.ArrowException) as error:
            raise ValueError(f"not a part: {error}") from error


def _groups(rows: Iterator[RawRow]) -> Iterator[list[RawRow]]:
    """Cut rows into groups of a bounded weight."""
    group: list[RawRow] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += len(row.info or "")
        if characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadSetting("FORMAT is 'parquet', which needs pyarrow; allowed: with it installed, or another.") from None
    return pyarrow, pyarrow.parquet


@cache
def _schema(more: tuple[str, ...]) -> Any:
    arrow, _ = _libraries()
    fields = [("song_num", arrow.int64(), False), ("status", arrow.string(), False)]
    fields += [("info", arrow.string(), True), ("error", arrow.string(), True)]
    fields += [(name, arrow.string(), name != "key") for name in more]
    return arrow.schema([arrow.field(name, kind, nullable=nullable) for name, kind, nullable in fields])
