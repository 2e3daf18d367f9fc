"""One run as its objects tell, read without any of the engine's code."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec

Rows = dict[int, tuple[str, Any, str | None]]


@dataclass
class Kept:
    """Hold the rows of one object, who stored it and after how many others."""

    rows: Rows
    serial: int
    by: object


@dataclass
class StoredRun:
    """Follow one run.

    `finished`, `stopped` and `resumed` are the serials of manifest.json, of the last stop unless it was taken back, and
    of what last did that.
    """

    spec: dict[str, Any]
    began: int
    begun_by: str
    parts: dict[str, Kept] = field(default_factory=dict)
    rests: list[tuple[str, Kept]] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    finished: int | None = None
    finished_at: float = 0.0
    stopped: int | None = None
    stops: int = 0
    resumed: int = 0
    tries: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.numbers = expand(self.spec["songs"])
        size = self.spec["part_songs"]
        pieces = [self.numbers[start : start + size] for start in range(0, len(self.numbers), size)]
        self.grid = {f"songs-{piece[0]:012d}-{piece[-1]:012d}.jsonl.gz": piece for piece in pieces}
        self.part_of = {number: name for name, piece in self.grid.items() for number in piece}

    @property
    def open(self) -> bool:
        """Tell whether it is an open range."""
        return self.spec.get("end_after_missing") is not None

    @property
    def request(self) -> tuple[str, str, str]:
        """Give what makes two runs runs of the same request."""
        return self.spec["asked"], self.spec["source_digest"], self.spec["format"]

    def waiting(self) -> bool:
        """Tell whether it is neither finished nor stopped."""
        return self.finished is None and self.stopped is None

    def deaths(self, part: str) -> int:
        """Count the careful tries at a part of which no end is known."""
        return self.tries[part]["begun"] - self.tries[part]["ended"]

    def end(self) -> list[str] | None:
        """Name the parts that the run comes to; None: an open range whose end is not known."""
        names = list(self.grid)
        if not self.open:
            return names
        row = 0
        for index, name in enumerate(names):
            if name not in self.parts:
                return None
            for _, (status, _, _) in sorted(self.parts[name].rows.items()):
                row = row + 1 if status == "missing" else 0
            if row >= self.spec["end_after_missing"]:
                return names[: index + 1]
        return names

    def rows(self) -> Rows:
        """Give the rows of the parts that the run comes to."""
        names = self.end() or []
        return {number: row for name in names if name in self.parts for number, row in self.parts[name].rows.items()}

    def rows_at(self, serial: int, within: set[int] | None = None) -> dict[int, set[str]]:
        """Give the numbers with a row among the first `serial` objects, each with what its rows say of it."""
        rows: dict[int, set[str]] = {}
        objects = [*self.rests, *self.parts.items()]
        for _, kept in objects:
            if kept.serial < serial:
                for number, row in kept.rows.items():
                    if within is None or number in within:
                        rows.setdefault(number, set()).add(row[0])
        return rows


def expand(text: str) -> list[int]:
    """List the numbers of a set such as 1-3,7."""
    numbers: list[int] = []
    for piece in text.split(",") if text else []:
        first, _, last = piece.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def read_rows(data: bytes) -> list[dict[str, Any]]:
    """Read an object of rows."""
    inflater = zlib.decompressobj(31)
    text = inflater.decompress(data)
    assert inflater.eof
    assert not inflater.unused_data
    return [msgspec.json.decode(line) for line in text.splitlines()]
