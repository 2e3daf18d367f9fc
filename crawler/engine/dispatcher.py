"""The dispatcher of one call: which song is tried next and when, and what its verdict leads to.

All workers share it: they draw attempts (`draw_attempts`, `draw_more`), and settle them with their verdicts.

Rules of this module:
- Songs are drawn in the order of their chunks; one that must be tried again waits in the backlog, holding no worker.
- Only one worker at a time waits for work (it holds `_turn`); the others queue behind it. So a new turn wakes one
  thread, not a hundred. A worker with requests of its own on their way (`draw_more`) waits for those instead.
- Chunks are opened (which asks the store) while workers may settle, one at a time.
- While a canary is to tell whose fault failures are (engine/outage_probe.py), nothing else is drawn.
- Once the dispatcher is stopped or past its deadline nothing new is drawn, and a verdict that is not final leaves its
  song undone: never failed.
"""

from __future__ import annotations

import math
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from crawler.core.deadline import Deadline
from crawler.core.errors import UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import Clock
from crawler.core.verdict import Kind, Verdict, failed, retry
from crawler.engine.backlog import Attempt, Backlog, Chunk
from crawler.engine.outage_probe import OutageProbe
from crawler.rate_control.limiter import Limiter
from crawler.upstream.backoff import backoff

# Each leaves a thread behind that nobody can end: a function that never returns must not make them without end.
MOST_ABANDONED = 100
# What is not due yet is waited for so long at least: an instant nearer than floats can add would never come.
LEAST_WAIT_SECONDS = 1e-4

_Pairs = Sequence[tuple[Attempt, Verdict]]


@dataclass(eq=False, repr=False)
class Dispatcher:
    """The source of attempts and the sink of their verdicts, thread-safe, until every chunk is done or it is stopped.

    `submit` runs a function away from the workers (compressing, committing); in a simulation, at once. `on_outcome`
    is called with every song that has one. `limiter` is shared with other calls on the same upstream.
    """

    chunks: Iterator[Chunk]
    limits: Limits
    clock: Clock
    submit: Callable[[Callable[[], None]], Any]
    deadline: Deadline = field(default_factory=Deadline)
    random: Callable[[], float] = random.random
    on_outcome: Callable[[Any, Verdict], None] | None = None
    limiter: Limiter = field(kw_only=True)

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._in_flight: set[Attempt] = set()
        self._outage_probe = OutageProbe(self.limiter, self.limits.max_attempts)
        self._opening = False
        self._stopped = False
        self.error: BaseException | None = None
        self.abandoned = 0

    def draw_attempts(self, most: int = 1) -> list[Attempt]:
        """Wait for the next attempt to make, and return up to `most`; none: there is nothing left to do, ever."""
        with self._changed:  # where there is something to do nobody queues: that would be a hundred, for every song
            now = self.clock.now()
            attempts = [] if self._over(now) else self._draw(now, most)[0]
        if attempts:
            return attempts
        with self._turn, self._changed:
            while not self._over(now := self.clock.now()):
                attempts, until = self._draw(now, most)
                if attempts or self._stopped:
                    return attempts
                if until <= now:
                    self._open_next()
                elif self._nothing_left():
                    break
                else:
                    self.clock.wait(self._changed, _seconds(min(until, self.deadline.at) - now))
        return []

    def draw_more(self, most: int) -> tuple[list[Attempt], float] | None:
        """Return up to `most` attempts without waiting, and after how many seconds to ask again at the latest.

        For a worker that has attempts on their way. None: the dispatcher is stopped, or its time is over.
        """
        with self._changed:
            now = self.clock.now()
            if self._over(now):
                return None
            attempts, until = self._draw(now, most)
            ahead = until <= now or (attempts and self._backlog.wants_chunk(len(self._in_flight), ahead=True))
            if ahead and not self._opening:
                self._opening = True
                self.submit(self._open_ahead)
        return attempts, until - now if until > now else math.inf

    def settle(self, settled: _Pairs) -> int:
        """Learn the verdicts on attempts; returns on how many: not on those that were abandoned meanwhile."""
        now = self.clock.now()
        with self._changed:
            settled = [pair for pair in settled if pair[0] in self._in_flight]
            self._in_flight.difference_update([attempt for attempt, _ in settled])
            of_chunks = _of_chunks(settled)
            for chunk, pairs in of_chunks.items():
                chunk.record([(now - attempt.started, verdict) for attempt, verdict in pairs])
            outcomes = self._outcomes(settled, of_chunks, now)
            self._changed.notify()
        for chunk, pairs in outcomes.items():
            self._keep(chunk, [(attempt.index, outcome) for attempt, outcome in pairs])
        return len(settled)

    def abandon(self, attempt: Attempt) -> bool:
        """Abandon an attempt that sits in a user's function past its timeout; False if it came back after all."""
        stuck = self.settle([(attempt, retry("timeout"))]) == 1
        self.abandoned += stuck
        if self.abandoned >= MOST_ABANDONED:
            self.stop(UpstreamUnavailable(f"{self.abandoned} requests did not end within their timeout."))
        return stuck

    def unfinished(self) -> list[Chunk]:
        """Return the chunks that were opened and not finished; call it when no worker is left."""
        return list(self._backlog.open)

    def stop(self, error: BaseException | None = None) -> None:
        """Draw no further song; `error` is why: the first one given, but any other before UpstreamUnavailable.

        That one loses no row, so it may be answered with what is stored; what a failed commit loses may not.
        """
        with self._changed:
            self._stopped = True
            if self.error is None or isinstance(self.error, UpstreamUnavailable):
                self.error = error or self.error
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and learn no verdict any more: what is on its way was cut off, or is left behind after an interrupt."""
        self.stop()
        with self._changed, self.limiter:
            self.limiter.release(len(self._in_flight))
            self._in_flight.clear()

    def _give_up(self, error: UpstreamUnavailable | None) -> None:
        """Stop where the upstream as a whole won't answer: no song's fault."""
        if error and not self._stopped:
            self._stopped = True
            self.error = self.error or error
            self._changed.notify_all()

    def _over(self, now: float) -> bool:
        return self._stopped or self.deadline.passed(now)

    def _nothing_left(self) -> bool:
        return self._backlog.empty(len(self._in_flight) + self._outage_probe.deferred)

    def _draw(self, now: float, most: int) -> tuple[list[Attempt], float]:
        """Start attempts, as many as the limiter lets out, and say when to look again; now: once a chunk is opened."""
        in_flight = len(self._in_flight)
        with self.limiter:
            for attempt, verdict in self._outage_probe.release_deferred():
                self._retry(attempt, verdict, now, counts=False)
            allowed, until = self.limiter.ready(now, in_flight)
            if allowed < 1:
                self._give_up(self.limiter.hopeless(now, self.deadline.at))
                return [], max(until, now + LEAST_WAIT_SECONDS)
            attempts, until = self._choose(now, min(most, allowed), in_flight)
            if attempts:
                self.limiter.send(now, len(attempts), sum(attempt.number > 1 for attempt in attempts))
                if len(attempts) == allowed < most:
                    until = min(until, self.limiter.ready(now, in_flight + len(attempts))[1])
        timeout = min(self.limits.request_timeout, self.deadline.remaining(now))
        for attempt in attempts:
            attempt.started, attempt.timeout = now, timeout
        self._in_flight.update(attempts)
        opens = not attempts and not self._opening and self._backlog.wants_chunk(in_flight, ahead=False)
        return attempts, now if opens else max(until, now + LEAST_WAIT_SECONDS)

    def _choose(self, now: float, most: float, in_flight: int) -> tuple[list[Attempt], float]:
        """Return what goes out now, and when more of it will be due: songs, or a canary where one is needed."""
        canary = self._outage_probe.probe()
        if canary and most >= 1 and not self._nothing_left():
            return [canary], math.inf
        return self._backlog.draw(now, most, in_flight, *self.limiter.retries(now))

    def _open_next(self) -> None:
        """Open the next chunk: the store is asked meanwhile, so the lock is let go."""
        self._opening = True
        self._changed.release()
        try:
            chunk = next(self.chunks, None)
        finally:
            self._changed.acquire()
            self._opening = False
        if chunk is None:
            self._backlog.exhausted = True
        else:
            self._backlog.add(chunk)
        self._changed.notify_all()

    def _open_ahead(self) -> None:
        try:
            with self._changed:
                self._open_next()
        except BaseException as error:  # whatever it is, the workers must not wait for this chunk any longer
            self.stop(error)
            raise

    def _outcomes(self, settled: _Pairs, of_chunks: Mapping[Chunk, _Pairs], now: float) -> Mapping[Chunk, _Pairs]:
        """Have the limiter learn from verdicts; returns those that end their songs, and tries the other songs again."""
        with self.limiter:
            found = self._outage_probe.observe_found(settled, now)
            settled = settled if found else self._send_again(settled, now)
            judged = [] if found else self._outage_probe.observe(settled, now)
            for attempt, verdict in settled:
                if verdict.quota:
                    self.limiter.observe_quota(attempt.started, now, verdict)
            if found:
                return of_chunks
        weighed = [(attempt, self._weigh(attempt, verdict, now, counts=counts)) for attempt, verdict, counts in judged]
        return _of_chunks((attempt, outcome) for attempt, outcome in weighed if outcome)

    def _send_again(self, settled: _Pairs, now: float) -> _Pairs:
        """Have songs drawn anew whose attempts are to be as if they had not been; return the others."""
        again = [attempt for attempt, verdict in settled if verdict.kind is Kind.AGAIN]
        if not again:
            return settled
        self.limiter.release(len(again))
        for attempt in again:
            if not attempt.chunk.is_canary:
                self._backlog.retry(now, msgspec.structs.replace(attempt))
        return [pair for pair in settled if pair[1].kind is not Kind.AGAIN]

    def _weigh(self, attempt: Attempt, verdict: Verdict, now: float, *, counts: bool) -> Verdict | None:
        """Turn a verdict into the song's outcome, which nobody keeps of a canary; None: it has none yet."""
        if verdict.final:
            return verdict
        if verdict.kind is Kind.REFUSED:
            self._give_up(UpstreamUnavailable(verdict.reason))
        if attempt.chunk.is_canary or self._over(now):
            return None
        if verdict.kind is Kind.RETRY and counts and attempt.number >= self.limits.max_attempts:
            return failed(verdict.error or "failed")
        if verdict.kind is Kind.REDIRECTED:
            self._backlog.retry(now + (verdict.retry_after or 0.0), attempt.redirected(verdict.info))
        else:
            self._retry(attempt, verdict, now, counts=counts)
        return None

    def _retry(self, attempt: Attempt, verdict: Verdict, now: float, *, counts: bool) -> None:
        """Have a song tried again after its backoff, or when the upstream says."""
        if verdict.kind is Kind.THROTTLED or not counts:
            again = msgspec.structs.replace(attempt, throttles=attempt.throttles + 1)
        else:
            again = msgspec.structs.replace(attempt, number=attempt.number + 1, throttles=0)
        # Who names a wait, be it none at all, wants fewer requests: its backoff is that of the throttled. An answer
        # that is not ready takes its time, though nobody is throttled.
        grows = verdict.alone or verdict.retry_after is not None
        throttles = max(again.throttles, attempt.number) if grows else again.throttles
        wait = max(verdict.retry_after or 0.0, backoff(attempt.number, throttles, self.random))
        self._backlog.retry(now + wait, again)

    def _keep(self, chunk: Chunk, outcomes: Sequence[tuple[int, Verdict]]) -> None:
        """Have a chunk keep outcomes, each with its index, and advance where it wants to."""
        if self.on_outcome and not chunk.is_canary:
            for index, outcome in outcomes:
                self.on_outcome(chunk.item(index), outcome)
        if chunk.settle(outcomes):
            self.submit(partial(self._advance, chunk))

    def _advance(self, chunk: Chunk) -> None:
        try:
            finished = chunk.advance()
        except BaseException as error:  # whatever it is, the workers must not wait for this chunk any longer
            self.stop(error)
            raise
        with self._changed:
            if finished:
                self._backlog.finish(chunk)
            self._changed.notify()


def _of_chunks(pairs: Iterable[tuple[Attempt, Verdict]]) -> Mapping[Chunk, _Pairs]:
    of_chunks: defaultdict[Chunk, list[tuple[Attempt, Verdict]]] = defaultdict(list)
    for pair in pairs:
        of_chunks[pair[0].chunk].append(pair)
    return of_chunks


def _seconds(seconds: float) -> float | None:
    return None if seconds == math.inf else max(0.0, seconds)
