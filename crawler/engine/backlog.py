"""The backlog of one call: the songs not yet tried, in the order of their chunks, and those to be tried again.

- At most OPEN_CHUNKS chunks have songs on their way and are not finished, one alone if that weighs more than
  MOST_HELD_BYTES. One more may be open, looked up ahead while the last songs of the chunk before it are drawn.
- No new song is drawn while the rows that wait weigh more than MOST_BUFFERED_BYTES and some song is on its way. None of
  these can block for good: the oldest unfinished song is in flight or waits to be tried again, or, where rows kept
  aside by an earlier call weigh that much by themselves, is drawn next.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

import msgspec

from crawler.core.ports import Fetcher
from crawler.core.verdict import Verdict

# Two: a kill costs at most two parts' songs again, and a part is committed while the next is fetched.
OPEN_CHUNKS = 2
MOST_BUFFERED_BYTES = 16 << 20
# Of large songs one part at a time is enough: a thousand of 100 KiB weigh some 30 MiB compressed.
MOST_HELD_BYTES = 8 << 20


class Chunk(Protocol):
    """Some songs, and what keeps their outcomes."""

    fetcher: Fetcher
    """What tries them."""
    pending: deque[int]
    """The indexes of those that were not tried yet."""
    is_canary: bool
    """Whether its song is asked for only to find out whether the upstream is there: nobody keeps what comes of it."""

    def item(self, index: int) -> Any:
        """Return the item at an index, counted from 0."""

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts, each with the seconds that it took."""

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
        """Keep the outcomes of songs, each with its index; True if there is something for `advance` to do."""

    def advance(self) -> bool:
        """Do the heavy part (compress, commit), away from the workers; True from the one call that finishes it."""

    @property
    def buffered_bytes(self) -> int:
        """Weigh what waits in memory for `advance`."""

    @property
    def held_bytes(self) -> int:
        """Weigh all that the chunk has in memory."""


class Refusals(msgspec.Struct, frozen=True):
    """How often a song was refused, and what came of the others meanwhile.

    `word` is why, `asked` counts all refusals, `times` those between which other songs came. `good` counts the songs
    that had come at the first of them, `bad` how often these had been refused before, `latest` those at the last.
    """

    word: str
    times: int
    good: int
    bad: int
    asked: int
    latest: int


class Attempt(msgspec.Struct, eq=False):
    """One try at a song: `number` counts them from 1, `throttles` the throttled ones since the last other.

    `refused` is there if it was refused before.
    """

    chunk: Chunk
    index: int
    number: int = 1
    throttles: int = 0
    started: float = 0.0
    timeout: float = 0.0
    refused: Refusals | None = None

    @property
    def item(self) -> Any:
        """Return what stands for the song: its number, or the caller's own object."""
        return self.chunk.item(self.index)

    def redirected(self, target: Any) -> RedirectedAttempt:
        """Return the same try at the same song, which is elsewhere."""
        return RedirectedAttempt(self.chunk, self.index, self.number, target=target)


class RedirectedAttempt(Attempt, eq=False):
    """One try at a song that is elsewhere: `target` is what to ask for in its stead."""

    target: Any = None

    @property
    def item(self) -> Any:
        """Return the target."""
        return self.target


class Backlog:
    """The songs of one call that wait for a worker; not thread-safe."""

    def __init__(self) -> None:
        self.open: list[Chunk] = []
        self.exhausted = False  # there is no further chunk
        self._undrawn: deque[Chunk] = deque()  # those with songs that were not tried yet
        self._started: list[Chunk] = []  # those with songs on their way
        self._retries: list[tuple[float, int, Attempt]] = []
        self._order = count()

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        self.open.append(chunk)
        self._undrawn.append(chunk)

    def finish(self, chunk: Chunk) -> None:
        """Let a finished chunk go."""
        self.open.remove(chunk)
        if chunk in self._started:
            self._started.remove(chunk)

    def retry(self, at: float, attempt: Attempt) -> None:
        """Have an attempt wait until an instant, holding no worker."""
        heappush(self._retries, (at, next(self._order), attempt))

    def empty(self, in_flight: int) -> bool:
        """Tell whether no attempt is left, nor can come from those in flight."""
        return self.exhausted and not in_flight and not self._retries and not any(b.pending for b in self._undrawn)

    def idle(self) -> bool:
        """Tell whether no attempt waits, and no song can be drawn where none is in flight."""
        return not self._retries and self._drawable(0) is None

    def draw(
        self, now: float, most: float, in_flight: int, retries: float = math.inf, retries_at: float = 0.0
    ) -> tuple[list[Attempt], float]:
        """Return attempts that are due, `most` of them, and when one more will be (math.inf: a change tells).

        Those to be tried again go before new songs, as many as `retries`, the next of them from `retries_at` on.
        """
        attempts: list[Attempt] = []
        while self._retries and self._retries[0][0] <= now and len(attempts) < min(most, retries):
            attempts.append(heappop(self._retries)[2])
        while len(attempts) < most and (chunk := self._drawable(in_flight + len(attempts))):
            songs, next_index = int(min(most - len(attempts), len(chunk.pending))), chunk.pending.popleft
            attempts += [Attempt(chunk, next_index()) for _ in range(songs)]
        return attempts, max(self._retries[0][0], retries_at) if self._retries else math.inf

    def wants_chunk(self, in_flight: int, *, ahead: bool) -> bool:
        """Tell whether another chunk should be opened: no song is left to be drawn, or `ahead` of that, few are.

        Few: as many as are in flight, so that the next chunk is there when they are drawn.
        """
        left = sum(len(chunk.pending) for chunk in self._undrawn)
        if self.exhausted or left > (in_flight if ahead else 0) or self._full(in_flight):
            return False
        room = OPEN_CHUNKS + 1 if ahead and left else OPEN_CHUNKS
        return len(self.open) < room and _light(self.open)

    def _drawable(self, in_flight: int) -> Chunk | None:
        """Return the chunk whose songs are drawn next, if any may be."""
        while self._undrawn and not self._undrawn[0].pending:
            self._undrawn.popleft()
        if not self._undrawn or self._full(in_flight):
            return None
        chunk = self._undrawn[0]
        if chunk not in self._started:
            if len(self._started) >= OPEN_CHUNKS or not _light(self._started):
                return None
            self._started.append(chunk)
        return chunk

    def _full(self, in_flight: int) -> bool:
        on_the_way = in_flight or self._retries
        return bool(on_the_way) and sum(chunk.buffered_bytes for chunk in self.open) > MOST_BUFFERED_BYTES


def _light(chunks: Iterable[Chunk]) -> bool:
    return sum(chunk.held_bytes for chunk in chunks) <= MOST_HELD_BYTES


def by_chunk(pairs: Iterable[tuple[Attempt, Verdict]]) -> Mapping[Chunk, Sequence[tuple[Attempt, Verdict]]]:
    """Sort verdicts by the chunks of their songs."""
    of_chunks: defaultdict[Chunk, list[tuple[Attempt, Verdict]]] = defaultdict(list)
    for pair in pairs:
        of_chunks[pair[0].chunk].append(pair)
    return of_chunks
