"""The newest row of each song, of any number of layers: which part has it is reckoned first, then those are read.

Numbers are walked upwards from border to border of the parts. Between two, the newest part takes the numbers that it
knows of, the next one what is left. A part that is left nothing is not read.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from crawler.core.errors import Damaged
from crawler.core.song_set import SongSet
from crawler.views.found_lines import SongLine, song_lines
from crawler.views.layers import Layer, Piece

# Read ahead at once: a bucket takes 50 ms for one part.
_MOST_READS, _MOST_READ_BYTES = 8, 8 << 20
_MOST_CELLS = 100

Submit = Callable[[Callable[[], bytes]], "Future[bytes]"]
Found = tuple[int, bytes]
"""A song's number and its row in the snapshot, a JSON line without its end."""


class Claim(NamedTuple):
    """The numbers whose newest row lies in a part."""

    piece: Piece
    songs: SongSet


class Cell(NamedTuple):
    """The numbers from one border of parts up to the next, and the parts that their newest rows lie in."""

    last: int
    claims: list[Claim]


def cells(layers: Iterable[Layer], after: int = -1) -> Iterator[Cell]:
    """Yield the cells of layers that have numbers above `after`, ascending."""
    pieces = heapq.merge(*(layer.pieces() for layer in layers), key=lambda piece: piece.first)
    waiting = next(pieces, None)
    active: list[Piece] = []
    position = 0
    while waiting or active:
        if waiting and not active:
            position = waiting.first
        while waiting and waiting.first <= position:
            active.append(waiting)
            waiting = next(pieces, None)
        last = min([piece.last for piece in active] + ([waiting.first - 1] if waiting else []))
        if last > after:
            yield Cell(last, list(_claims(active, max(position, after + 1), last)))
        position = last + 1
        active = [piece for piece in active if piece.last >= position]


def _claims(pieces: list[Piece], first: int, last: int) -> Iterator[Claim]:
    free = SongSet([(first, last)])
    for piece in sorted(pieces, key=lambda piece: piece.age, reverse=True):
        known = piece.layer.known(piece, first, last)
        songs = known & free
        if songs:
            yield Claim(piece, songs)
            free = free - songs
            if not free:
                return


class NewestRows:
    """Read the newest rows of layers, those of missing songs left out; `submit` runs a read in another thread.

    Raises Damaged for a part that is gone or not as it was stored, StoreUnavailable.
    """

    def __init__(self, layers: Iterable[Layer], submit: Submit) -> None:
        self._layers = list(layers)
        self._submit = submit
        self._reads: dict[Piece, Future[bytes]] = {}
        self._opened: dict[Piece, _PartRows] = {}

    def after(self, number: int) -> Iterator[Found]:
        """Yield the rows above a number, ascending."""
        for cell in self._ahead(cells(self._layers, number)):
            rows = [self._open(claim.piece).take(claim.songs, cell.last) for claim in cell.claims]
            yield from rows[0] if len(rows) == 1 else heapq.merge(*rows)
            self._close(cell.last)

    def _ahead(self, walked: Iterator[Cell]) -> Iterator[Cell]:
        """Yield cells, the parts of those that come next being read."""
        coming: deque[Cell] = deque()
        for cell in walked:
            coming.append(cell)
            for piece, _ in cell.claims:
                if piece not in self._reads and piece not in self._opened:
                    self._reads[piece] = self._submit(lambda piece=piece: piece.layer.read(piece))  # type: ignore[misc]
            while coming and (len(coming) > _MOST_CELLS or self._busy()):
                yield coming.popleft()
        yield from coming

    def _busy(self) -> bool:
        return len(self._reads) >= _MOST_READS or sum(piece.size for piece in self._reads) >= _MOST_READ_BYTES

    def _open(self, piece: Piece) -> _PartRows:
        if piece not in self._opened:
            read = self._reads.pop(piece, None) or self._submit(lambda: piece.layer.read(piece))
            self._opened[piece] = _PartRows(piece, read.result())
        return self._opened[piece]

    def _close(self, last: int) -> None:
        for piece in [piece for piece in self._opened if piece.last <= last]:
            del self._opened[piece]


class _PartRows:
    """A part's rows, taken upwards."""

    def __init__(self, piece: Piece, data: bytes) -> None:
        self._piece = piece
        self._lines = self._checked(data)
        self._next: SongLine | None = None

    def take(self, songs: SongSet, last: int) -> Iterator[Found]:
        """Yield the found ones of some songs, from where the last call ended up to a number."""
        whole = len(list(songs.ranges)) == 1  # mostly: then two comparisons tell
        low, high = songs.first, songs.last
        while (row := self._next or next(self._lines, None)) is not None:
            self._next = row
            number, line = row
            if number > last:
                return
            self._next = None
            if line is not None and low <= number <= high and (whole or number in songs):
                yield number, line

    def _checked(self, data: bytes) -> Iterator[SongLine]:
        layer = self._piece.layer
        try:
            yield from song_lines(layer.lines(data), layer.ending(self._piece))
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{layer.name_of(self._piece)} is damaged: {error}.") from error
