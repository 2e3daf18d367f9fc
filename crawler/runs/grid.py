"""Parts: how a run's numbers are cut into objects, and how those are named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from crawler.core.song_set import SongSet
from crawler.formats.registry import JSON_LINES, Format

_STEM = re.compile(r"songs-([0-9]{12})-[0-9]{12}\.", re.ASCII)


class PartKey(msgspec.Struct, frozen=True):
    """Name one part of a run: its place in the grid, from 0, the numbers it covers, and how its object holds them."""

    index: int
    songs: SongSet
    format: Format = JSON_LINES

    @property
    def stem(self) -> str:
        """Give the first and last number covered, as they stand in names."""
        return f"songs-{self.songs.first:012d}-{self.songs.last:012d}"

    @property
    def name(self) -> str:
        """Give the object's name."""
        return f"{self.stem}.{self.format.suffix}"

    def rest_name(self, call_id: str) -> str:
        """Give the name of the rows that a cut-off call keeps aside, as JSON lines; `find_rest` reads it."""
        return f"{self.stem}.{call_id}.{JSON_LINES.suffix}"


class Grid(msgspec.Struct, frozen=True):
    """Cut the sorted numbers of a run every `part_songs`; the cut never moves once run.json fixed it."""

    songs: SongSet
    part_songs: int
    format: Format = JSON_LINES

    def __len__(self) -> int:
        """Count the parts."""
        return -(-len(self.songs) // self.part_songs)

    def __getitem__(self, index: int) -> PartKey:
        """Give the part at a place, from 0; raises IndexError past the end."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.part_songs
        return PartKey(index, self.songs.slice(start, start + self.part_songs), self.format)

    def head(self, length: int) -> Grid:
        """Give the first `length` parts as a grid of their own."""
        return Grid(self.songs.slice(0, length * self.part_songs), self.part_songs, self.format)

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

    def covering(self, song_num: int) -> PartKey | None:
        """Give the part that a number belongs to; None for one that was not asked for."""
        return self[self.songs.position(song_num) // self.part_songs] if song_num in self.songs else None

    def _starting(self, name: str) -> PartKey | None:
        match = _STEM.match(name)
        return self.covering(int(match[1])) if match else None
