"""Where an open range ends: at the first part edge that enough missing numbers in a row come before."""

from __future__ import annotations

from crawler.core.song_set import SongSet
from crawler.runs.grid import Grid
from crawler.runs.tally import Tally


class OpenRangeEnd:
    """Follow the committed prefix of an open range to its end.

    A failed number breaks the row of missing ones: nobody knows whether it exists. Where the grid itself is used up,
    that is the end too (MAX_SONGS).
    """

    def __init__(self, grid: Grid, end_after_missing: int) -> None:
        self._grid = grid
        self._end_after_missing = end_after_missing
        self._waiting: dict[int, Tally] = {}
        self._prefix = 0
        self._row = 0
        self.parts: int | None = None

    def add(self, index: int, tally: Tally) -> None:
        """Take note of a committed part; `parts` then tells how many the range has, once that is known.

        The tally must hold its set of missing numbers. Parts may come in any order, and more than once.
        """
        if index < self._prefix or self.parts is not None:
            return
        self._waiting[index] = tally
        while self.parts is None and (next_tally := self._waiting.pop(self._prefix, None)):
            self._row = _missing_row(self._grid[self._prefix].songs, next_tally, self._row)
            self._prefix += 1
            if self._row >= self._end_after_missing or self._prefix == len(self._grid):
                self.parts = self._prefix


def _missing_row(songs: SongSet, tally: Tally, row: int) -> int:
    """Continue a row of `row` missing numbers through one part."""
    others = songs - (tally.missing_songs or SongSet())
    if not others:
        return row + len(songs)
    return len(songs) - songs.position(others.last) - 1
