"""Rows as Parquet: song_num is an int64, all else text, info JSON text; the same schema in every part of a run.

pyarrow takes 0.2 s and 50 MB to import, so that only a part in this format imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any

from crawler.core.errors import BadSetting
from crawler.core.records import Row
from crawler.formats.jsonl_rows import RawRow, json_line, parse_row, raw_rows
from crawler.formats.table_rows import FoundRow, Sink, decode_found

# A row group is what writer and readers hold in memory at once; parts of ordinary songs have one.
_GROUP_CHARACTERS = 4 << 20

# Neither a time nor a path goes into a file, so that equal rows are equal bytes.
_OPTIONS = {"compression": "zstd", "store_schema": False, "write_page_checksum": True}
# Rows of a file that are read at once: info may weigh a megabyte.
_BATCH_ROWS = 1000


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
        with parquet.ParquetWriter(file, schema, use_dictionary=["status", "error"], **_OPTIONS) as writer:
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


class ParquetTable:
    """A table of found songs as a Parquet file; raises BadSetting where pyarrow is not installed."""

    def __init__(self, sink: Sink, columns: Sequence[str]) -> None:
        self._columns = columns
        self._schema = _found_schema(tuple(columns))
        repeated = [name for name in columns if name in ("run", "fetched_at")]
        self._writer = _libraries()[1].ParquetWriter(sink, self._schema, use_dictionary=repeated, **_OPTIONS)
        self._group: list[FoundRow] = []
        self._weight = 0

    def feed(self, lines: Sequence[bytes]) -> None:
        """Write the next rows: those of a group once it is whole."""
        for row in map(decode_found, lines):
            self._group.append(row)
            self._weight += len(bytes(row.info))
            if self._weight >= _GROUP_CHARACTERS:
                self._write_group()

    def finish(self) -> None:
        """Write what is left, and what a file ends with."""
        if self._group:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        cells = [[row.cell(column) for row in self._group] for column in self._columns]
        self._writer.write_batch(_libraries()[0].record_batch(cells, schema=self._schema))
        self._group, self._weight = [], 0


def parquet_lines(data: bytes) -> Iterator[list[bytes]]:
    """Yield the rows of a part, or of a table, as JSON lines without their ends; raises ValueError."""
    arrow, parquet = _libraries()
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data), page_checksum_verification=True, pre_buffer=False)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            yield [json_line(row) for row in batch.to_pylist()]
    except (OSError, arrow.ArrowException) as error:
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


@cache
def _found_schema(columns: tuple[str, ...]) -> Any:
    arrow, _ = _libraries()
    kinds = {"song_num": arrow.int64()}
    given = {"song_num", "info", "run", "fetched_at", "key"}
    return arrow.schema([arrow.field(name, kinds.get(name, arrow.string()), name not in given) for name in columns])
