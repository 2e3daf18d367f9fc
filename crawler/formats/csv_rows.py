"""Rows as CSV (RFC 4180): a gzip of one row a line, the same columns in every part of a run.

- Lines end in CRLF, as the RFC has them. JSON text holds no line break, so that a row is a line.
- Every part has the header line: whatever reads one file alone, or skips a line of each (BigQuery), finds it. Its names
  are quoted, or DuckDB may guess from a part without a text that quotes mean nothing.
- `info` is JSON text, as in Parquet: nobody knows its fields before the last song came, and every part needs the same
  columns. An empty cell is null.
- No cell is a spreadsheet's formula (https://owasp.org/www-community/attacks/CSV_Injection). JSON text starts like one
  only where it is a negative number, which a blank precedes then; an error word or a key would get an apostrophe. A
  semicolon inside a text of `info` is written \\u003b, since some spreadsheets cut there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, islice
from typing import Any

from crawler.core.records import Row
from crawler.formats.jsonl_rows import Compressor, RawRow, gunzip, inflated_lines, json_line, parse_row, raw_rows
from crawler.formats.table_rows import Sink, decode_found

COLUMNS = ("song_num", "status", "info", "error")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
# The reader's own limit is 128 Ki characters a cell, for the whole process; this is the most it takes on any platform.
_MOST_CHARACTERS = 2**31 - 1
_CHUNK_ROWS = 100


class Csv:
    """A part as CSV; `more` names the columns that its run has beside those of every run."""

    suffix = "csv.gz"

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._columns = (*COLUMNS, *more)
        self.note: str | None = (
            "info is JSON text; no cell starts with = + - @ or a control character: "
            f"a blank precedes a negative number, an apostrophe an error{' or a key' if 'key' in more else ''}; "
            "a semicolon in info is \\u003b"
        )

    def encode(self, lines: bytes) -> bytes:
        """Write the header and the rows."""
        compressor = Compressor()
        compressor.feed([_text([self._columns], csv.QUOTE_ALL)])
        cells = (_cells(row, self._columns) for row in raw_rows(lines))
        while chunk := list(islice(cells, _CHUNK_ROWS)):
            compressor.feed([_text(chunk, csv.QUOTE_MINIMAL)])
        return compressor.finish()

    def decode(self, data: bytes) -> list[Row]:
        """Read the rows back; raises ValueError if they are not as `encode` writes them."""
        csv.field_size_limit(_MOST_CHARACTERS)
        records = csv.reader(StringIO(gunzip(data).decode(), newline=""), strict=True)
        try:
            if next(records, None) != list(self._columns):
                raise ValueError("its header is not the one of every part")
            return [_row(dict(zip(self._columns, r, strict=True))) for r in _checked(records, len(self._columns))]
        except (ValueError, RecursionError, csv.Error) as error:
            raise ValueError(f"not a part: {error}") from error


class CsvTable:
    """A table of found songs as CSV, as carefully written as a part."""

    def __init__(self, sink: Sink, columns: Sequence[str]) -> None:
        self._sink = sink
        self._columns = columns
        sink.write(_text([columns], csv.QUOTE_ALL))

    def feed(self, lines: Sequence[bytes]) -> None:
        """Write the next rows."""
        rows = map(decode_found, lines)
        cells = [[_cell(column, row.cell(column)) for column in self._columns] for row in rows]
        self._sink.write(_text(cells, csv.QUOTE_MINIMAL))

    def finish(self) -> None:
        """Do nothing more: the last row is written."""


def csv_lines(data: bytes) -> Iterator[list[bytes]]:
    """Yield the rows of a part, or of a table, as JSON lines without their ends; raises ValueError."""
    csv.field_size_limit(_MOST_CHARACTERS)
    texts = (line.decode() + "\n" for line in chain.from_iterable(inflated_lines(data)))
    try:
        records = csv.reader(texts, strict=True)
        columns = next(records, [])
        checked = _checked(records, len(columns))
        while chunk := list(islice(checked, _CHUNK_ROWS)):
            yield [json_line(dict(zip(columns, map(_value, columns, record), strict=True))) for record in chunk]
    except csv.Error as error:
        raise ValueError(f"not a part: {error}") from error


def _value(column: str, text: str) -> Any:
    if column == "song_num":
        return int(text)
    return (text if column == "info" else text.removeprefix("'")) or None


def _cell(column: str, value: Any) -> Any:
    if column == "info":
        return _info(value)
    return value if column == "song_num" else _harmless(value)


def _info(text: str) -> str:
    return f"{' ' if text.startswith(_FORMULA) else ''}{text}".replace(";", "\\u003b")


def _text(records: Iterable[Iterable[object]], quoting: int) -> bytes:
    text = StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows(records)  # type: ignore[arg-type]
    return text.getvalue().encode()


def _cells(row: RawRow, columns: tuple[str, ...]) -> list[int | str | None]:
    info = None if row.info is None else _info(row.info)
    return [row.song_num, row.status, info, *[_harmless(getattr(row, name)) for name in columns[3:]]]


def _harmless(text: str | None) -> str | None:
    return f"'{text}" if text and text.startswith((*_FORMULA, "'")) else text


def _checked(records: Iterable[list[str]], width: int) -> Iterator[list[str]]:
    for record in records:
        if len(record) != width:
            raise ValueError(f"a row has {len(record)} cells")
        yield record


def _row(record: dict[str, str]) -> Row:
    song_num, status, info = [record.pop(name) for name in COLUMNS[:3]]
    if not (song_num.isascii() and song_num.isdigit()):
        raise ValueError(f"{song_num[:40]!r} is no song number")
    texts = {name: text.removeprefix("'") or None for name, text in record.items()}
    return parse_row(int(song_num), status, info or None, **texts)
