"""Sets of song numbers, kept as sorted, disjoint, inclusive ranges: a million numbers in a row cost one pair.

A pair is two machine words: a run of ten million numbers may have holes everywhere, and whoever finishes it has all of
them in memory. As tuples of integers they would weigh eight times that.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate, islice

LARGEST_SONG_NUM = 999_999_999_999

# ASCII digits only: int() would also take full-width digits, underscores, signs and blanks.
_NUMBER = r"(?:0|[1-9][0-9]{0,11})"
RANGE = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?", re.ASCII)


class SongSet:
    """Song numbers, kept as `ranges`: ascending (first, last) pairs, inclusive, neither touching nor overlapping.

    It never changes.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        pairs = list(ranges)
        self._firsts = array("q", [first for first, _ in pairs])
        self._lasts = array("q", [last for _, last in pairs])

    @classmethod
    def parse(cls, text: str) -> SongSet:
        """Read `7`, `1-1000` or `1-100,205,300-350`; overlaps are merged.

        Raises ValueError, its text naming the piece at fault and what is allowed.
        """
        return cls.of(_parse_range(piece) for piece in text.split(","))

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> SongSet:
        """Build a set from (first, last) pairs in any order, merging those that touch or overlap."""
        return cls(merge(sorted(ranges)))

    @classmethod
    def of_numbers(cls, numbers: Iterable[int]) -> SongSet:
        """Build a set from single numbers in any order."""
        return cls.of((number, number) for number in numbers)

    @property
    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs."""
        return zip(self._firsts, self._lasts, strict=True)

    def __str__(self) -> str:
        """Write the set as `parse` reads it; the empty set is the empty text."""
        return write_ranges(self.ranges)

    def __repr__(self) -> str:
        """Write what would make the set again."""
        return f"SongSet({list(self.ranges)})"

    def __eq__(self, other: object) -> bool:
        """Tell whether both hold the same numbers."""
        if not isinstance(other, SongSet):
            return NotImplemented
        return (self._firsts, self._lasts) == (other._firsts, other._lasts)

    def __hash__(self) -> int:
        """Return the same for equal sets."""
        return hash((self._firsts.tobytes(), self._lasts.tobytes()))

    def __len__(self) -> int:
        """Count the numbers."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers, ascending."""
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __contains__(self, number: int) -> bool:
        """Tell whether the number is in the set."""
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    @cached_property
    def _ends(self) -> array[int]:
        """Count the numbers up to the end of each pair: only who asks for positions needs it."""
        return array("q", accumulate(last - first + 1 for first, last in self.ranges))

    @property
    def first(self) -> int:
        """Return the lowest number; raises IndexError on the empty set."""
        return self._firsts[0]

    @property
    def last(self) -> int:
        """Return the highest number; raises IndexError on the empty set."""
        return self._lasts[-1]

    def slice(self, start: int, stop: int) -> SongSet:
        """Cut out the numbers at positions start to stop-1, counted from 0, without walking the others."""
        pieces = []
        index = bisect_right(self._ends, start)
        while start < stop and index < len(self._firsts):
            first, last = self._firsts[index], self._lasts[index]
            offset = self._ends[index] - (last - first + 1)
            if offset >= stop:
                break
            pieces.append((first + max(0, start - offset), min(last, first + stop - offset - 1)))
            index += 1
        return SongSet(pieces)

    def position(self, number: int) -> int:
        """Count the members below `number`: where it stands, from 0, if it is a member."""
        index = bisect_left(self._firsts, number)
        if index == 0:
            return 0
        last = self._lasts[index - 1]
        return self._ends[index - 1] - max(0, last - number + 1)

    def shifted(self, by: int) -> SongSet:
        """Return the set with a number added to all of its own."""
        return SongSet((first + by, last + by) for first, last in self.ranges)

    def __or__(self, other: SongSet) -> SongSet:
        """Return the union of two sets."""
        return SongSet.of((*self.ranges, *other.ranges))

    def __and__(self, other: SongSet) -> SongSet:
        """Return what both sets hold."""
        return self - (self - other)

    def __sub__(self, other: SongSet) -> SongSet:
        """Return this set without the other's numbers."""
        return SongSet(_subtract(self.ranges, list(other.ranges)))


def merge(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge (first, last) pairs, ascending by their first, that touch or overlap, one after the other."""
    begun: tuple[int, int] | None = None
    for first, last in ranges:
        if begun and first <= begun[1] + 1:
            begun = (begun[0], max(begun[1], last))
        else:
            if begun:
                yield begun
            begun = (first, last)
    if begun:
        yield begun


def write_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Write pairs as `SongSet.parse` reads them."""
    texts = (str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    # A thousand at a time: a list of the texts of millions of ranges would weigh several times what they come to.
    return ",".join(iter(lambda: ",".join(islice(texts, 1000)), ""))


def _parse_range(piece: str) -> tuple[int, int]:
    match = RANGE.fullmatch(piece)
    if match is None:
        raise ValueError(
            f"{_quoted(piece)} is neither a number from 0 to {LARGEST_SONG_NUM} nor a range such as 1-1000"
        )
    first = int(match[1])
    last = int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the range {piece} is reversed: write {last}-{first}")
    return first, last


def _quoted(piece: str) -> str:
    return repr(piece if len(piece) <= 40 else piece[:40] + "…")


def _subtract(ranges: Iterable[tuple[int, int]], holes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    index = 0
    for first, last in ranges:
        while index < len(holes) and holes[index][1] < first:
            index += 1
        hole = index
        while hole < len(holes) and holes[hole][0] <= last:
            if holes[hole][0] > first:
                yield first, holes[hole][0] - 1
            first = max(first, holes[hole][1] + 1)
            hole += 1
        if first <= last:
            yield first, last
