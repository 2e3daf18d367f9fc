"""Parts: how a run's numbers are cut into objects, how those are named, and how rows become bytes and come back."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import msgspec

from crawler.ground.records import Kind, Row, Status, Verdict
from crawler.ground.song_set import SongSet

SUFFIX = "jsonl.gz"
_STEM = re.compile(r"songs-([0-9]{12})-[0-9]{12}\.", re.ASCII)

_STATUS: dict[Kind, Status] = {Kind.FOUND: "found", Kind.MISSING: "missing", Kind.FAILED: "failed"}

_FOUND_NOTHING = b'"status":"found","info":null}\n'

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Row)

# zlib's 1 is 3 times as fast as its 6 and some 15 % larger on song rows: CPU is the bill, bytes hardly count.
_COMPRESSION_LEVEL = 1
_GZIP = 31  # wbits: 2**15 window, gzip header (whose time stamp zlib leaves 0, so equal rows are equal bytes)


@dataclass(frozen=True)
class PartKey:
    """Name one part of a run: its place in the grid, from 0, and the numbers it covers."""

    index: int
    songs: SongSet

    @property
    def stem(self) -> str:
        """Give the first and last number covered, as they stand in names."""
        return f"songs-{self.songs.first:012d}-{self.songs.last:012d}"

    @property
    def name(self) -> str:
        """Give the object's name."""
        return f"{self.stem}.{SUFFIX}"

    def rest_name(self, attempt: str) -> str:
        """Give the name of the rows that a cut-off attempt keeps aside; `find_rest` reads it."""
        return f"{self.stem}.{attempt}.{SUFFIX}"


@dataclass(frozen=True)
class Grid:
    """Cut the sorted numbers of a run every `part_songs`; the cut never moves once run.json fixed it."""

    songs: SongSet
    part_songs: int

    def __len__(self) -> int:
        """Count the parts."""
        return -(-len(self.songs) // self.part_songs)

    def __getitem__(self, index: int) -> PartKey:
        """Give the part at a place, from 0; raises IndexError past the end."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.part_songs
        return PartKey(index, self.songs.slice(start, start + self.part_songs))

    def head(self, length: int) -> Grid:
        """Give the first `length` parts as a grid of their own."""
        return Grid(self.songs.slice(0, length * self.part_songs), self.part_songs)

    def __iter__(self) -> Iterator[PartKey]:
        """Yield the parts in order."""
        return (self[index] for index in range(len(self)))

    def find(self, name: str) -> PartKey | None:
        """Give the part an object's name stands for; None for a name that is no part of this grid."""
        key = self._starting(name)
        return key if key and key.name == name else None

    def find_rest(self, name: str) -> PartKey | None:
        """Give the part whose rows an object of this name keeps aside; None for any other name."""
        key = self._starting(name)
        return key if key and name.startswith(f"{key.stem}.") and name != key.name else None

    def _starting(self, name: str) -> PartKey | None:
        match = _STEM.match(name)
        if match is None or int(match[1]) not in self.songs:
            return None
        return self[self.songs.position(int(match[1])) // self.part_songs]


def encode_row(song_num: int, outcome: Verdict) -> bytes:
    """Write one row as a JSON line; raises TypeError or ValueError for info that JSON can't hold."""
    row = _encode(Row(song_num, _STATUS[outcome.kind], outcome.info, outcome.error)) + b"\n"
    if row.endswith(_FOUND_NOTHING):
        raise ValueError("not a number, nor anything else that JSON knows")  # NaN is written as null
    return row


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
    """Keep a row as it stood in an object, unparsed but for what it is about."""

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


def gunzip(data: bytes) -> bytes:
    """Inflate one gzip member; raises ValueError if it is none, damaged, cut short or something follows it."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        content = inflater.decompress(data)
    except zlib.error as error:
        raise ValueError(f"no sound gzip stream: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the gzip stream is cut short or something follows it")
    return content


class Compressor:
    """Compress a part's rows as they come in order; the same rows give the same bytes, however they were fed."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP)
        self._compressed = BytesIO()

    @property
    def size(self) -> int:
        """Weigh what came out so far, in bytes."""
        return self._compressed.tell()

    def feed(self, rows: Iterable[bytes]) -> None:
        """Take the next rows."""
        self._compressed.write(self._deflate.compress(b"".join(rows)))

    def finish(self) -> bytes:
        """Give the whole object."""
        self._compressed.write(self._deflate.flush())
        return self._compressed.getvalue()  # the buffer itself: a copy of a large part would weigh as much again
