"""Rows as lines of found songs: cut out of a part's lines as they stand, without a look at info."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

# How a row begins as this project writes it.
_HEAD = re.compile(rb'\{"song_num":([0-9]+)(?:(,"status":"([a-z]+)")|(?=,"info":))')

SongLine = tuple[int, "bytes | None"]
"""A song's number and its row, a JSON line without status and end; None: there is no such song."""


def song_lines(chunks: Iterable[list[bytes]], ending: bytes = b"}") -> Iterator[SongLine]:
    """Yield the songs of a part's lines, their rows ending as `ending` says; those of a snapshot stay as they are.

    Raises ValueError for lines that are no rows.
    """
    match_head = _HEAD.match
    for chunk in chunks:
        for line in chunk:
            head = match_head(line) or match_head(line := _rewritten(line))
            assert head is not None
            if head[3] == b"found":
                yield int(head[1]), b"%s%s%s" % (line[: head.start(2)], line[head.end(2) : -1], ending)
            elif head[3] is None:
                yield int(head[1]), line
            else:
                _check_status(head[3])
                yield int(head[1]), None


def _check_status(status: bytes) -> None:
    """Let rows without a song pass; raises ValueError for a status that is not known."""
    if status not in (b"missing", b"failed"):
        raise ValueError(f"{status.decode()!r} is no status of a row")


def _rewritten(line: bytes) -> bytes:
    """Write a row as this project does, which somebody else wrote; raises ValueError if it is none."""
    row = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if not {"song_num", "info"} <= row.keys():
        raise ValueError("a row has no song_num or no info")
    first = [name for name in ("song_num", "status", "info") if name in row]
    names = [*first, *(name for name in row if name not in first)]
    text = b"{%s}" % b",".join(b"%s:%s" % (msgspec.json.encode(name), bytes(row[name])) for name in names)
    if not _HEAD.match(text):
        raise ValueError("a row does not begin with its song_num")
    return text
