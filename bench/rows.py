"""What a crawl has written: held to be every song, once, whole, before its time counts."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.song import info_of


class _Row(msgspec.Struct):
    song_num: int
    info: Any
    status: str = "found"


def check_rows(lines: Iterable[bytes], songs: int) -> None:
    """Raise ValueError unless the lines are the songs 1 to `songs`, each once, in any order, with its own content."""
    decode = msgspec.json.Decoder(_Row).decode
    seen = bytearray(songs + 1)
    for line in lines:
        row = decode(line)
        if not 1 <= row.song_num <= songs or seen[row.song_num]:
            raise ValueError(f"song {row.song_num} was not asked for, or comes twice")
        seen[row.song_num] = 1
        if row.status != "found" or row.info != info_of(row.song_num):
            raise ValueError(f"song {row.song_num} is not what the upstream serves: {row}")
    if sum(seen) != songs:
        raise ValueError(f"{sum(seen)} songs were written, {songs} asked for")


def read_lines(file: Path) -> Iterator[bytes]:
    """Yield the lines of a JSON Lines file."""
    with file.open("rb") as lines:
        yield from lines


def read_parts(run: Path) -> Iterator[bytes]:
    """Yield the lines of a run's parts; raises ValueError for a run without a manifest."""
    if not (run / "manifest.json").exists():
        raise ValueError(f"{run} is not complete")
    for part in sorted(run.glob("songs-*.jsonl.gz")):
        with gzip.open(part) as lines:
            yield from lines
