"""Tables of found songs alone: the parts of a snapshot, and what an export writes; and reading any stored table again.

Their rows come as JSON lines, and stay those in JSON Lines; the columns of other formats are `FoundColumns`. `info` is
JSON text there, as in the parts of runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from crawler.core.records import FormatName
from crawler.formats.csv_rows import CsvTable, csv_lines
from crawler.formats.jsonl_rows import COMPRESSION_LEVEL, GZIP, inflated_lines
from crawler.formats.parquet_rows import ParquetTable, parquet_lines
from crawler.formats.table_rows import Sink, Table

SNAPSHOT_COLUMNS = ("song_num", "info", "run", "fetched_at", "moved_to")


class FoundTable(msgspec.Struct, frozen=True):
    """How found rows are written: a format, and the columns where it has any."""

    format: FormatName
    columns: tuple[str, ...]

    def open(self, sink: Sink) -> Table:
        """Begin a table that is written to a sink."""
        if self.format == "parquet":
            return ParquetTable(sink, self.columns)
        if self.format == "csv":
            return CsvTable(sink, self.columns)
        return JsonLinesTable(sink)


class JsonLinesTable:
    """A table as JSON lines."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, lines: Sequence[bytes]) -> None:
        """Write the next lines."""
        if lines:
            self._sink.write(b"\n".join(lines) + b"\n")

    def finish(self) -> None:
        """Do nothing more: the last line is written."""


class GzipSink:
    """What is written to it goes on to another one compressed; the same bytes, however they were fed."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, GZIP)

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._sink.write(self._deflate.compress(data))

    def finish(self) -> None:
        """Write what is left."""
        self._sink.write(self._deflate.flush())


class Reader(Protocol):
    """How an object's lines are read."""

    def __call__(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield lines, some at a time; raises ValueError."""


_READERS: dict[FormatName, Reader] = {"jsonl": inflated_lines, "csv": csv_lines, "parquet": parquet_lines}


def stored_lines(format: FormatName, data: bytes) -> Iterator[list[bytes]]:
    """Yield the rows of an object as JSON lines without their ends, some at a time, whatever their columns are.

    Raises ValueError if the object is not as its format is written.
    """
    return _READERS[format](data)
