"""The work of one call: which song is tried next and when, and what its verdict leads to. Shared by all strands.

Rules of this module:
- Songs are drawn in the order of their batches; a song that must be tried again waits in a heap, holding no strand.
- Only one strand at a time waits for work (it holds `_turn`); the others queue behind it. So a new turn wakes one
  thread, not a hundred.
- At most OPEN_BATCHES batches are unfinished, one alone if that weighs more than MOST_HELD_BYTES, and no new song is
  drawn while the rows that wait weigh more than MOST_BUFFERED_BYTES and some song is on its way. None of these can
  block for good: the oldest unfinished song is in flight or in the heap, or, where rows kept aside by an earlier call
  weigh that much by themselves, drawn next.
- The next batch is opened (which asks the store) while strands may settle: only the turn is held.
- Once the work is stopped or past its deadline nothing new is drawn, and a verdict that is not final leaves its song
  undone: never failed.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from crawler.ground.deadline import Deadline
from crawler.ground.errors import UpstreamUnavailable
from crawler.ground.records import Kind, Verdict, failed, retry
from crawler.rules.pacing import Pacer
from crawler.rules.retry import backoff
from crawler.seams.ports import Clock, Lane

# Two: a kill costs at most two parts' songs again, and a part is committed while the next is fetched.
OPEN_BATCHES = 2
# Each leaves a thread behind that nobody can end: a function that never returns must not make them without end.
MOST_ABANDONED = 100
MOST_BUFFERED_BYTES = 16 << 20
# Of large songs one part at a time is enough: a thousand of 100 KiB weigh some 30 MiB compressed.
MOST_HELD_BYTES = 8 << 20


class Batch(Protocol):
    """Take the outcomes of some songs; `lane` tries them, `pending` yields the places that need an outcome."""

    lane: Lane
    pending: Iterator[int]

    def item(self, place: int) -> Any:
        """Give the item at a place, counted from 0."""

    def record(self, seconds: float, verdict: Verdict) -> None:
        """Count one attempt and how long it took."""

    def settle(self, place: int, outcome: Verdict) -> bool:
        """Keep a song's outcome; True if there is something for `advance` to do."""

    def advance(self) -> bool:
        """Do the heavy part (compress, commit), away from the strands; True from the one call that finishes it."""

    @property
    def buffered_bytes(self) -> int:
        """Weigh what waits in memory for `advance`."""

    @property
    def held_bytes(self) -> int:
        """Weigh all that the batch has in memory."""


@dataclass(eq=False)
class Attempt:
    """Be one song on its way: `number` counts tries from 1, `throttles` the throttled ones since the last other."""

    batch: Batch
    place: int
    number: int = 1
    throttles: int = 0
    started: float = 0.0
    timeout: float = 0.0

    @property
    def item(self) -> Any:
        """Give what stands for the song: its number, or the caller's own object."""
        return self.batch.item(self.place)


@dataclass(frozen=True)
class Limits:
    """Bound the work: tries a song, seconds a request, requests a second (0: no ceiling), requests in flight."""

    max_attempts: int = 4
    request_timeout: float = 10.0
    max_per_second: float = 0.0
    max_at_once: int = 100


def ignore_outcome(_: Verdict) -> None:
    """Be told of an outcome, and do nothing."""


@dataclass
class Work:
    """Hand out attempts and take their verdicts, thread-safe, until every batch is done or the work is stopped.

    `submit` runs a function away from the strands (compressing, committing); in a simulation, at once. `on_outcome`
    is told of every song that has one. `pacer` is shared with other work on the same upstream.
    """

    batches: Iterator[Batch]
    limits: Limits
    clock: Clock
    submit: Callable[[Callable[[], None]], Any]
    deadline: Deadline = field(default_factory=Deadline)
    random: Callable[[], float] = random.random
    on_outcome: Callable[[Verdict], None] = ignore_outcome
    pacer: Pacer | None = None

    def __post_init__(self) -> None:
        self._pacers = [Pacer(self.limits.max_per_second), *([self.pacer] if self.pacer else [])]
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._retries: list[tuple[float, int, Attempt]] = []
        self._order = count()
        self._in_flight: set[Attempt] = set()
        self._open: list[Batch] = []
        self._drawn_from: Batch | None = None
        self._exhausted = False
        self._stopped = False
        self.error: BaseException | None = None
        self.abandoned = 0

    def take(self) -> Attempt | None:
        """Wait for the next attempt to make; None: there is nothing left to do, ever."""
        with self._turn, self._changed:
            while True:
                now = self.clock.now()
                if self._stopped or self.deadline.passed(now):
                    return None
                until = max(pacer.ready_at() for pacer in self._pacers)
                if until <= now:
                    if self._wants_batch():
                        self._open_next()
                        continue
                    attempt, until = self._draw(now)
                    if attempt:
                        return self._start(attempt, now)
                    if self._exhausted and not self._retries and not self._in_flight:
                        return None
                    if self._wants_batch():
                        continue
                self.clock.wait(self._changed, _seconds(min(until, self.deadline.at) - now))

    def settle(self, attempt: Attempt, verdict: Verdict) -> bool:
        """Take the verdict on an attempt; False, and nothing taken, if it was abandoned meanwhile."""
        now = self.clock.now()
        with self._changed:
            if attempt not in self._in_flight:
                return False
            self._in_flight.discard(attempt)
            attempt.batch.record(now - attempt.started, verdict)
            outcome = self._weigh(attempt, verdict, now)
            self._changed.notify()
        if outcome:
            self.on_outcome(outcome)
            if attempt.batch.settle(attempt.place, outcome):
                self.submit(lambda: self._advance(attempt.batch))
        return True

    def abandon(self, attempt: Attempt) -> bool:
        """Give up an attempt that sits in a user's function past its timeout; False if it came back after all."""
        stuck = self.settle(attempt, retry("timeout"))
        self.abandoned += stuck
        if self.abandoned >= MOST_ABANDONED:
            self.stop(UpstreamUnavailable(f"{self.abandoned} requests did not end within their timeout."))
        return stuck

    def unfinished(self) -> list[Batch]:
        """Give the batches that were opened and not finished; call it when no strand is left."""
        return list(self._open)

    def stop(self, error: BaseException | None = None) -> None:
        """Draw no further song; `error`, the first one given, is why."""
        with self._changed:
            self._stopped = True
            self.error = self.error or error
            self._changed.notify_all()

    def _start(self, attempt: Attempt, now: float) -> Attempt:
        for pacer in self._pacers:
            pacer.take(now)
        attempt.started = now
        attempt.timeout = min(self.limits.request_timeout, self.deadline.remaining(now))
        self._in_flight.add(attempt)
        return attempt

    def _draw(self, now: float) -> tuple[Attempt | None, float]:
        """Give a due attempt, or None and when to look again (a change notifies earlier)."""
        if self._retries and self._retries[0][0] <= now:
            return heappop(self._retries)[2], now
        fresh = self._draw_fresh()
        return fresh, self._retries[0][0] if self._retries else math.inf

    def _draw_fresh(self) -> Attempt | None:
        if self._drawn_from is None or self._buffer_is_full():
            return None
        place = next(self._drawn_from.pending, None)
        if place is not None:
            return Attempt(self._drawn_from, place)
        self._drawn_from = None
        return None

    def _buffer_is_full(self) -> bool:
        on_the_way = self._in_flight or self._retries
        return bool(on_the_way) and sum(batch.buffered_bytes for batch in self._open) > MOST_BUFFERED_BYTES

    def _wants_batch(self) -> bool:
        if self._exhausted or self._drawn_from or len(self._open) >= OPEN_BATCHES or self._buffer_is_full():
            return False
        return sum(batch.held_bytes for batch in self._open) <= MOST_HELD_BYTES

    def _open_next(self) -> None:
        """Open the next batch: the store is asked meanwhile, so the lock is let go; the turn is still held."""
        self._changed.release()
        try:
            batch = next(self.batches, None)
        finally:
            self._changed.acquire()
        if batch is None:
            self._exhausted = True
        else:
            self._drawn_from = batch
            self._open.append(batch)

    def _weigh(self, attempt: Attempt, verdict: Verdict, now: float) -> Verdict | None:
        """Turn a verdict into the song's outcome; None: it has none yet."""
        if verdict.final:
            return verdict
        if verdict.kind is Kind.REFUSED:
            self._stopped = True
            self.error = self.error or UpstreamUnavailable(verdict.error)
        if self._stopped or self.deadline.passed(now):
            return None
        if verdict.kind is Kind.RETRY and attempt.number >= self.limits.max_attempts:
            return failed(verdict.error or "failed")
        self._retry(attempt, verdict, now)
        return None

    def _retry(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        """Have a song tried again after its backoff; what the upstream itself says of when holds for every song."""
        pause = verdict.retry_after or 0.0
        for pacer in self._pacers:
            pacer.pause(now + pause)
        if verdict.kind is Kind.THROTTLED:
            again = Attempt(attempt.batch, attempt.place, attempt.number, attempt.throttles + 1)
        else:
            again = Attempt(attempt.batch, attempt.place, attempt.number + 1)
        wait = max(pause, backoff(attempt.number, again.throttles, self.random))
        heappush(self._retries, (now + wait, next(self._order), again))

    def _advance(self, batch: Batch) -> None:
        try:
            finished = batch.advance()
        except BaseException as error:  # whatever it is, the strands must not wait for this batch any longer
            self.stop(error)
            raise
        with self._changed:
            if finished:
                self._open.remove(batch)
            self._changed.notify()


def _seconds(seconds: float) -> float | None:
    return None if seconds == math.inf else max(0.0, seconds)
