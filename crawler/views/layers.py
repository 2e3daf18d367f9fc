"""The layers of a snapshot: the parts of a run, or of an earlier snapshot, each with the time at which it was fetched.

What is kept of a part is three numbers: a hundred runs of ten thousand parts weigh some 24 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from crawler.core.errors import Damaged
from crawler.core.ports import Store
from crawler.core.records import FormatName, StoredObject
from crawler.core.song_set import SongSet
from crawler.core.timestamps import utc_text
from crawler.formats.found_rows import stored_lines
from crawler.runs.grid import Grid
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from crawler.views.snapshot_spec import SnapshotPart

Age = tuple[float, str, str]
"""What sorts parts by age: when fetched, in epoch seconds; when their run began, and its name, where that is equal."""


class Piece(NamedTuple):
    """A part of a layer: its numbers' first and last, how new it is, its place in the layer, its size in bytes."""

    first: int
    last: int
    age: Age
    layer: Layer
    place: int
    size: int


class Layer(Protocol):
    """What a snapshot is laid together of."""

    def pieces(self) -> Iterator[Piece]:
        """Yield the parts, ascending."""

    def known(self, piece: Piece, first: int, last: int) -> SongSet:
        """Return the numbers from first to last of which a part says whether there is a song."""

    def read(self, piece: Piece) -> bytes:
        """Read a part's bytes; raises Damaged if it is not there any more."""

    def name_of(self, piece: Piece) -> str:
        """Return the name of a part's object."""

    def lines(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield a part's rows; raises ValueError if they are none."""

    def ending(self, piece: Piece) -> bytes:
        """Return what a row of a part ends with in the snapshot; empty: it has all that already."""


class _Proof(msgspec.Struct):
    """What a snapshot needs of a manifest."""

    songs: str
    failed_songs: str


class RunLayer:
    """A complete run; raises Damaged, naming the run, if something of it is not there."""

    def __init__(self, run_store: RunStore, spec: RunSpec) -> None:
        self.spec = spec
        self._store = run_store.store
        self._folder = f"runs/{spec.run}"
        proof = self._proof(run_store)
        self._failed = _parsed(proof.failed_songs)
        self.grid = Grid(_parsed(proof.songs), spec.part_songs, spec.grid.format)
        self._fetched_at, self._sizes = array("d"), array("Q")
        self._measure(run_store)

    def pieces(self) -> Iterator[Piece]:
        """Yield the parts, ascending."""
        for key, fetched_at, size in zip(self.grid, self._fetched_at, self._sizes, strict=True):
            age = (fetched_at, self.spec.created_at, self.spec.run)
            yield Piece(key.songs.first, key.songs.last, age, self, key.index, size)

    def known(self, piece: Piece, first: int, last: int) -> SongSet:
        """Return the numbers that the run did not fail at."""
        songs = _between(self.grid[piece.place].songs, first, last)
        failed = _between(self._failed, first, last)
        return songs - failed if failed else songs

    def read(self, piece: Piece) -> bytes:
        """Read a part's bytes."""
        data = self._store.read(self.name_of(piece))
        if data is None:
            raise self._gone(self.grid[piece.place].name)
        return data

    def name_of(self, piece: Piece) -> str:
        """Return the name of a part's object."""
        return f"{self._folder}/{self.grid[piece.place].name}"

    def lines(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield a part's rows."""
        return stored_lines(self.spec.format, data)

    def ending(self, piece: Piece) -> bytes:
        """Return the run's name and when the part was fetched, as the last fields of a row."""
        return b',"run":"%s","fetched_at":"%s"}' % (self.spec.run.encode(), utc_text(piece.age[0]).encode())

    def _proof(self, run_store: RunStore) -> _Proof:
        data = run_store.manifest()
        if data is None:
            raise self._gone("manifest.json")
        try:
            return msgspec.json.decode(data, type=_Proof)
        except ValueError as error:
            raise Damaged(f"{self._folder}/manifest.json is damaged: {error}.") from error

    def _measure(self, run_store: RunStore) -> None:
        carried: list[CommittedPart] = []
        for place, part in enumerate(run_store.iterate_parts(self.spec, range(len(self.grid)))):
            if part.key.index != place:
                break
            self._fetched_at.append(part.tally.started_at)
            self._sizes.append(part.stored.size)
            carried += [part] if part.tally.carried_seconds else []
        if len(self._sizes) < len(self.grid):
            raise self._gone(self.grid[len(self._sizes)].name)
        rests = run_store.rests(self.spec) if carried else {}
        for part in carried:
            self._fetched_at[part.key.index] = _earliest(part.tally, rests.get(part.key.index, []))

    def _gone(self, name: str) -> Damaged:
        return Damaged(f"The run {self.spec.run} is not whole any more: {self._folder}/{name} is not there.")


class SnapshotLayer:
    """An earlier snapshot, the oldest layer: it tells of the songs that it holds, and that there are no others."""

    def __init__(self, store: Store, name: str, format: FormatName, parts: list[SnapshotPart]) -> None:
        self._store = store
        self._folder = f"snapshots/{name}"
        self._format = format
        self._parts = parts

    def pieces(self) -> Iterator[Piece]:
        """Yield the parts, ascending."""
        for index, part in enumerate(self._parts):
            yield Piece(part.first, part.last, (0.0, "", ""), self, index, part.bytes)

    def known(self, piece: Piece, first: int, last: int) -> SongSet:
        """Return all the numbers."""
        return SongSet([(max(first, piece.first), min(last, piece.last))])

    def read(self, piece: Piece) -> bytes:
        """Read a part's bytes."""
        data = self._store.read(self.name_of(piece))
        if data is None:
            raise Damaged(f"{self.name_of(piece)} is not there any more.")
        return data

    def name_of(self, piece: Piece) -> str:
        """Return the name of a part's object."""
        return f"{self._folder}/{self._parts[piece.place].name}"

    def lines(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield a part's rows."""
        return stored_lines(self._format, data)

    def ending(self, piece: Piece) -> bytes:  # noqa: ARG002 - a row has all of it
        """Say that a row is whole."""
        return b""


def _parsed(songs: str) -> SongSet:
    return SongSet.parse(songs) if songs else SongSet()


def _between(songs: SongSet, first: int, last: int) -> SongSet:
    return songs.slice(songs.position(first), songs.position(last + 1))


def _earliest(tally: Tally, kept: list[StoredObject]) -> float:
    """Return when the first row of a part was fetched that began with rows kept aside, in epoch seconds."""
    earlier = [Tally.from_metadata(stored.metadata) for stored in kept]
    return min([tally.started_at, *(each.started_at for each in earlier if each)])
