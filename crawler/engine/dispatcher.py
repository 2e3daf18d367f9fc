"""The dispatcher of one call: which song is tried next and when, and what its verdict leads to.

All workers share it: they draw attempts (`draw_attempts`, `draw_more`), and settle them with their verdicts.

Rules of this module:
- Songs are drawn in the order of their chunks; one that must be tried again waits in the backlog, holding no worker.
- Only one worker at a time waits for work (it holds `_turn`); the others queue behind it. So a new turn wakes one
  thread, not a hundred. A worker with requests of its own on their way (`draw_more`) waits for those instead.
- Chunks are opened (which asks the store) while workers may settle, one at a time.
- While a canary is to tell whose fault failures are (engine/outage_probe.py), nothing else is drawn.
- Once it is stopped or past its deadline nothing new is drawn, and a verdict that is not final leaves its song undone.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from crawler.core.deadline import Deadline
from crawler.core.errors import UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import Clock
from crawler.core.verdict import Kind, Verdict, retry
from crawler.engine.absent_songs import Judged
from crawler.engine.backlog import Attempt, Backlog, Chunk, by_chunk
from crawler.engine.known_songs import KnownSongs
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
    is called with every song that has one. `limiter` is shared with other calls on the same upstream. `known_songs`
    reads which songs earlier calls found; `withholds`: a call all of whose songs met one refusal is not finished by it,
    though no song is known that could tell whose fault that is.
    """

    chunks: Iterator[Chunk]
    limits: Limits
    clock: Clock
    submit: Callable[[Callable[[], None]], Any]
    deadline: Deadline = field(default_factory=Deadline)
    random: Callable[[], float] = random.random
    on_outcome: Callable[[Any, Verdict], None] | None = None
    limiter: Limiter = field(kw_only=True)
    known_songs: Callable[[], Iterable[Any]] | None = field(default=None, kw_only=True)
    withholds: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._in_flight: set[Attempt] = set()
        known = KnownSongs(self.known_songs, self.submit, self._notify)
        self._outage_probe = OutageProbe(
            self.limiter,
            self.limits.max_attempts,
            known,
            withholds=self.withholds,
            nothing_else=self._only_one_left,
            in_flight=lambda: len(self._in_flight),
        )
        self._decided: list[tuple[Attempt, Verdict]] = []  # outcomes to be kept once the lock is let go
        self._opening = False
        self._stopped = False
        self.error: BaseException | None = None
        self.abandoned = 0

    def draw_attempts(self, most: int = 1) -> list[Attempt]:
        """Wait for the next attempt to make, and return up to `most`; none: there is nothing left to do, ever."""
        with self._changed:  # where there is something to do nobody queues: that would be a hundred, for every song
            now = self.clock.now()
            attempts = [] if self._over(now) else self._draw(now, most)[0]
        if self._decided:
            self._keep_decided()
        if attempts:
            return attempts
        with self._turn, self._changed:
            while not self._over(now := self.clock.now()):
                attempts, until = self._draw(now, most)
                if attempts or self._stopped:
                    return attempts
                if self._decided:
                    self._changed.release()
                    try:
                        self._keep_decided()
                    finally:
                        self._changed.acquire()
                elif until <= now:
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
        if self._decided:
            self._keep_decided()
        return attempts, until - now if until > now else math.inf

    def settle(self, settled: _Pairs) -> int:
        """Learn the verdicts on attempts; returns on how many: not on those that were abandoned meanwhile."""
        now = self.clock.now()
        with self._changed:
            settled = [pair for pair in settled if pair[0] in self._in_flight]
            self._in_flight.difference_update([attempt for attempt, _ in settled])
            of_chunks = by_chunk(settled)
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
            self.cut_off = len(self._in_flight)
            self.limiter.release(len(self._in_flight))
            self._in_flight.clear()
            self._decided += [(attempt, verdict) for attempt, verdict, _ in self._outage_probe.leftover()]
        self._keep_decided()

    def _give_up(self, error: UpstreamUnavailable | None) -> None:
        """Stop where the upstream as a whole won't answer: no song's fault."""
        if error and not self._stopped:
            self._stopped = True
            self.error = self.error or error
            self._changed.notify_all()

    def _over(self, now: float) -> bool:
        return self._stopped or self.deadline.passed(now)

    def _nothing_left(self) -> bool:
        return self._backlog.empty(len(self._in_flight) + self._outage_probe.waiting)

    def _only_one_left(self) -> bool:
        """Tell whether no song is on its way or waits beside the one that is being settled."""
        return not self._in_flight and self._backlog.idle()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _draw(self, now: float, most: int) -> tuple[list[Attempt], float]:
        """Start attempts, as many as the limiter lets out, and say when to look again; now: once a chunk is opened."""
        in_flight = len(self._in_flight)
        with self.limiter:
            if self._outage_probe.waiting:
                self._weigh(self._outage_probe.told(now), now)
            allowed, until = (0, now) if self._outage_probe.error else self.limiter.ready(now, in_flight)
            if allowed < 1:
                self._give_up(self._outage_probe.error or self.limiter.hopeless(now, self.deadline.at))
                return [], max(until, now + LEAST_WAIT_SECONDS)
            attempts, until = self._choose(now, min(most, allowed), in_flight)
            stuck = not attempts and not in_flight and self._stuck()
            if stuck and (concluded := self._outage_probe.conclude(now)) is not None:
                self._weigh(concluded, now)
                until = now + LEAST_WAIT_SECONDS
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
        if most >= 1 and not self._nothing_left() and (canary := self._outage_probe.probe(now, in_flight)):
            return [canary], math.inf
        if self.limiter.pause_is_unproven:
            return [], math.inf
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

    def _stuck(self) -> bool:
        """Tell whether no song is left to be asked for, but some wait until it is known whose fault failures are."""
        wants = self._opening or self._backlog.wants_chunk(0, ahead=False)
        return bool(self._outage_probe.waiting) and not wants and self._backlog.idle()

    def _outcomes(self, settled: _Pairs, of_chunks: Mapping[Chunk, _Pairs], now: float) -> Mapping[Chunk, _Pairs]:
        """Have the limiter learn from verdicts; returns those that end their songs, and tries the other songs again."""
        probe = self._outage_probe
        with self.limiter:
            others = judged = probe.observe_found(settled, now)
            if judged is None:
                settled = self._send_again(settled, now)
                judged = probe.observe(settled, now)
            for attempt, verdict in settled:
                if verdict.quota or verdict.requests > 1:
                    self.limiter.observe_quota(attempt.started, now, verdict)
        self._give_up(probe.error)
        if others == []:
            return of_chunks
        self._weigh(judged, now)
        decided, self._decided = self._decided, []
        return by_chunk([*decided, *(settled if others is not None else ())])

    def _send_again(self, settled: _Pairs, now: float) -> _Pairs:
        """Have songs drawn anew whose attempts are to be as if they had not been; return the others."""
        again = [attempt for attempt, verdict in settled if verdict.kind is Kind.AGAIN]
        if not again:
            return settled
        self.limiter.release(len(again))
        for attempt in again:
            self._outage_probe.send_again(attempt)
            if not attempt.chunk.is_canary:
                self._backlog.retry(now, msgspec.structs.replace(attempt))
        return [pair for pair in settled if pair[1].kind is not Kind.AGAIN]

    def _weigh(self, judged: Iterable[Judged], now: float) -> None:
        """Note which songs have their outcome, and try the others again; nobody keeps anything of a canary."""
        for attempt, verdict, counts in judged:
            if verdict.final:
                if verdict.kind is not Kind.FAILED or not self._over(now):
                    self._decided.append((attempt, verdict))
            elif attempt.chunk.is_canary or self._over(now):
                continue
            elif verdict.kind is Kind.REDIRECTED:
                self._backlog.retry(now + (verdict.retry_after or 0.0), attempt.redirected(verdict.info))
            else:
                self._retry(attempt, verdict, now, counts=counts)

    def _keep_decided(self) -> None:
        """Keep what was decided while songs were drawn; without the lock."""
        with self._changed:
            decided, self._decided = self._decided, []
        for chunk, pairs in by_chunk(decided).items():
            self._keep(chunk, [(attempt.index, outcome) for attempt, outcome in pairs])

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
        if again.refused:
            self._outage_probe.ask_again()

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


def _seconds(seconds: float) -> float | None:
    return None if seconds == math.inf else max(0.0, seconds)
