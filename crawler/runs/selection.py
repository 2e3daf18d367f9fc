"""What songs a caller may ask for: numbers, an open range, the failures of a run, the next so many."""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from crawler.core.song_set import LARGEST_SONG_NUM, RANGE, SongSet
from crawler.runs.spec import RUN_NAME

SONGS_HELP = (
    "a number such as 7, a range such as 1-1000, several with commas such as 1-100,205, "
    "an open range such as 1-, next:5000, failed:RUN or missing:RUN"
)

_OPEN = re.compile(r"(0|[1-9][0-9]{0,11})-", re.ASCII)
_NEXT = re.compile(r"next:([1-9][0-9]{0,11})", re.ASCII)
_OF_RUN = re.compile(rf"(failed|missing):({RUN_NAME.pattern})", re.ASCII)

SONGS_PATTERN = "|".join(
    [_NEXT.pattern, _OF_RUN.pattern, _OPEN.pattern, rf"{RANGE.pattern}(?:,{RANGE.pattern})*"],
)
"""Match whatever `parse_selection` reads, and reversed ranges, which no pattern can tell."""


class NumberRanges(msgspec.Struct, frozen=True):
    """Ask for these numbers, kept as ranges."""

    songs: SongSet

    def __str__(self) -> str:
        return str(self.songs)


class OpenRange(msgspec.Struct, frozen=True):
    """Ask for every number from `first` until so many in a row are missing."""

    first: int

    def __str__(self) -> str:
        return f"{self.first}-"


class FromRun(msgspec.Struct, frozen=True):
    """Ask for the numbers that a finished run found to be failed or missing (`status`)."""

    status: str
    run: str

    def __str__(self) -> str:
        return f"{self.status}:{self.run}"


class NextNumbers(msgspec.Struct, frozen=True):
    """Ask for the `count` numbers after the highest found by the finished `next:` runs of the source."""

    count: int

    def __str__(self) -> str:
        return f"next:{self.count}"


Selection: TypeAlias = NumberRanges | OpenRange | FromRun | NextNumbers


def parse_selection(text: str) -> Selection:
    """Read what `songs` may hold; `str` of the result is the same for equal requests.

    Raises ValueError, its text naming the piece at fault.
    """
    if match := _NEXT.fullmatch(text):
        return NextNumbers(int(match[1]))
    if match := _OF_RUN.fullmatch(text):
        return FromRun(match[1], match[2])
    if match := _OPEN.fullmatch(text):
        return OpenRange(int(match[1]))
    return NumberRanges(SongSet.parse(text))


def count_selected(selection: Selection) -> int:
    """Count the numbers that a selection names at once; an open range and another run's numbers count nothing yet."""
    if isinstance(selection, NumberRanges):
        return len(selection.songs)
    return selection.count if isinstance(selection, NextNumbers) else 0


def open_songs(first: int, max_songs: int) -> SongSet:
    """Give the numbers an open range may reach at the most."""
    return SongSet.of([(first, min(LARGEST_SONG_NUM, first + max_songs - 1))])
