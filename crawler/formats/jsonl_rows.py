"""Rows: how a song's outcome becomes a JSON line, how lines are compressed, and how they come back."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import msgspec

from crawler.core.records import STATUSES, Row, Status
from crawler.core.verdict import Kind, Verdict

STATUS: dict[Kind, Status] = {Kind(status): status for status in STATUSES}

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Row)

# zlib's 1 is 3 times as fast as its 6 and some 15 % larger on song rows: CPU is the bill, bytes hardly count.
COMPRESSION_LEVEL = 1
GZIP = 31  # wbits: 2**15 window, gzip header (whose time stamp zlib leaves 0, so equal rows are equal bytes)

# What lies inflated in memory at once of a part that is read line by line.
_CHUNK_BYTES = 256 << 10


def encode_row(song_num: int, outcome: Verdict, *, is_json: bool = False) -> bytes:
    """Write one row as a JSON line; raises TypeError or ValueError for info that JSON can't hold.

    `is_json` says that the info was read from JSON, and spares it the second look.
    """
    row = Row(song_num, STATUS[outcome.kind], outcome.info, outcome.error)
    if outcome.moved_to is not None:
        row = msgspec.structs.replace(row, moved_to=outcome.moved_to)
    line = _encode(row) + b"\n"
    # The encoder writes NaN as null, a set as an array, bytes as a text: read back, they are not what they were.
    if not is_json and outcome.info is not None and _decoder.decode(line).info != outcome.info:
        _require_json(outcome.info)
    return line


def with_key(row: bytes, key: str) -> bytes:
    """Add a song's key to its row: only the rows of runs with KEYS pay for it."""
    return b'%s,"key":%s}\n' % (row[:-2], _encode(key))


def _require_json(value: Any) -> None:
    """Raise TypeError or ValueError for a value that JSON has not, at any depth.

    Tuples are arrays, and numbers may be names as in Python's own encoder, unless two of an object are written alike.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number, or an endless one")
    if isinstance(value, dict):
        if not all(isinstance(name, (str, int, float)) for name in value) or len(set(map(str, value))) < len(value):
            raise ValueError("names that are no texts, or that are written alike")
        value = [*value, *value.values()]  # a name may be no number either
    if isinstance(value, (list, tuple)):
        for inner in value:
            _require_json(inner)
    elif not (value is None or isinstance(value, (str, int, float))):
        raise TypeError(f"{type(value).__name__}, which JSON has not")


def decode_rows(data: bytes) -> list[Row]:
    """Read a part's bytes back; raises ValueError if they are no gzip of JSON lines, whole and strict."""
    lines = gunzip(data)
    try:
        rows = _decoder.decode_lines(lines)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a part: {error}") from error
    if lines.count(b"\n") != len(rows):
        raise ValueError("not a part: its rows are not one to a line")
    return rows


class Line(NamedTuple):
    """A row as it stood in an object, unparsed but for what it is about."""

    song_num: int
    status: Status
    text: bytes


class _Head(msgspec.Struct):
    song_num: int
    status: Status


_head_decoder = msgspec.json.Decoder(_Head)


def split_rows(data: bytes) -> list[Line]:
    """Cut an object's bytes into its rows' own bytes; raises ValueError as decode_rows does."""
    # JSON escapes every line break inside a row, so that a line is a row. Its info stays text: large songs weigh once.
    texts = gunzip(data).splitlines(keepends=True)
    try:
        heads = [_head_decoder.decode(text) for text in texts]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a part: {error}") from error
    return [Line(head.song_num, head.status, text) for head, text in zip(heads, texts, strict=True)]


def error_of(row: bytes) -> str:
    """Return why a song failed, from its row."""
    return _decoder.decode(row).error or ""


def gunzip(data: bytes) -> bytes:
    """Inflate one gzip member; raises ValueError if it is none, damaged, cut short or something follows it."""
    inflater = zlib.decompressobj(GZIP)
    try:
        content = inflater.decompress(data)
    except zlib.error as error:
        raise ValueError(f"no sound gzip stream: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the gzip stream is cut short or something follows it")
    return content


def inflated_lines(data: bytes) -> Iterator[list[bytes]]:
    """Yield a gzip's lines without their ends, some hundred kilobytes at a time; raises ValueError as gunzip does."""
    inflater = zlib.decompressobj(GZIP)
    rest, waiting = b"", data
    try:
        while waiting and not inflater.eof:
            *lines, rest = (rest + inflater.decompress(waiting, _CHUNK_BYTES)).split(b"\n")
            waiting = inflater.unconsumed_tail
            yield lines
    except zlib.error as error:
        raise ValueError(f"no sound gzip stream: {error}") from error
    if not inflater.eof or inflater.unused_data or rest:
        raise ValueError("the gzip stream is cut short or something follows it")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def json_line(row: Mapping[str, Any]) -> bytes:
    """Write a row of a table, whose info is JSON text, as a line without its end; nulls but info's are left out."""
    moved_to = row.get("moved_to")
    if moved_to and _is_number(moved_to) and row.get("key") is None:
        row = {**row, "moved_to": int(moved_to)}
    pairs = ((name, value) for name, value in row.items() if value is not None or name == "info")
    texts = (b'"%s":%s' % (name.encode(), _json_text(name, value)) for name, value in pairs)
    return b"{%s}" % b",".join(texts)


def _json_text(name: str, value: Any) -> bytes:
    return (value or "null").encode() if name == "info" else _encode(value)


class RawRow(NamedTuple):
    """A row whose info is still the JSON text that it was written as; None for null."""

    song_num: int
    status: Status
    info: str | None
    error: str | None
    key: str | None
    moved_to: str | None


class _RawRow(msgspec.Struct):
    song_num: int
    status: Status
    info: msgspec.Raw
    error: str | None = None
    key: str | None = None
    moved_to: int | str | None = None


_raw_decoder = msgspec.json.Decoder(_RawRow)


def parse_row(song_num: int, status: str, info: str | None, **texts: str | None) -> Row:
    """Make a row of its columns, info being JSON text; raises ValueError for one that this project would not write."""
    content = None if info is None else msgspec.json.decode(info)
    columns: dict[str, Any] = {"song_num": song_num, "status": status, "info": content, **texts}
    moved_to = texts.get("moved_to")
    if moved_to and _is_number(moved_to) and texts.get("key") is None:
        columns["moved_to"] = int(moved_to)  # a key may be of digits too
    return msgspec.convert(columns, Row)


def raw_rows(data: bytes) -> Iterator[RawRow]:
    """Read a part's rows one after the other, so that a large part never lies in memory inflated."""
    with gzip.GzipFile(fileobj=BytesIO(data)) as lines:
        for line in lines:
            row = _raw_decoder.decode(line)
            info = bytes(row.info).decode()
            moved_to = None if row.moved_to is None else str(row.moved_to)
            yield RawRow(row.song_num, row.status, None if info == "null" else info, row.error, row.key, moved_to)


class Compressor:
    """A compressor of a part's rows, fed in order; the same rows give the same bytes, however they were fed."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, GZIP)
        self._compressed = BytesIO()

    @property
    def size(self) -> int:
        """Weigh what came out so far, in bytes."""
        return self._compressed.tell()

    def feed(self, rows: Iterable[bytes]) -> None:
        """Take the next rows."""
        self._compressed.write(self._deflate.compress(b"".join(rows)))

    def finish(self) -> bytes:
        """Return the whole object."""
        self._compressed.write(self._deflate.flush())
        return self._compressed.getvalue()  # the buffer itself: a copy of a large part would weigh as much again
