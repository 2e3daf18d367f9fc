"""Limiters as real servers have them, in virtual time, and one call's crawl against any upstream."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from crawler.core.deadline import Deadline
from crawler.core.limits import Limits
from crawler.core.verdict import Verdict
from crawler.engine.backlog import Attempt
from crawler.engine.dispatcher import Dispatcher
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from support.fakes import FakeChunk, FakeClock, FakeFetcher

_LATENCY = 0.005
# As the worker of many songs looks (engine/workers.py).
_LEAST_LOOK, _LOOK = 0.005, 0.05

Answer = Callable[[float, Any], Verdict | tuple[Verdict, float]]


class LeakyBucket:
    """Be nginx's limit_req: so many a second, evenly, and `burst` ahead of their time."""

    def __init__(self, per_second: float, burst: int = 0) -> None:
        self._per_second, self._burst = per_second, burst
        self._excess, self._at = -1.0, 0.0

    def passes(self, now: float) -> bool:
        """Take a request."""
        excess = max(0.0, self._excess - (now - self._at) * self._per_second + 1)
        if excess > self._burst + 1e-9:
            return False
        self._excess, self._at = excess, now
        return True


class FixedWindow:
    """Be django-ratelimit: so many in each window, refused ones counted."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._counted: Counter[int] = Counter()

    def passes(self, now: float) -> bool:
        """Take a request."""
        self._counted[int(now // self._seconds)] += 1
        return self._counted[int(now // self._seconds)] <= self._most


class SlidingWindow:
    """Be HAProxy's http_req_rate: so many in the last seconds, refused ones counted."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._times: list[float] = []

    def passes(self, now: float) -> bool:
        """Take a request."""
        self._times = [time for time in self._times if time > now - self._seconds] + [now]
        return len(self._times) <= self._most


class Evasive:
    """Be mod_evasive: more than so many in a second are blocked for ten seconds, which asking prolongs."""

    def __init__(self, most: int = 50, seconds: float = 10.0) -> None:
        self._most, self._seconds = most, seconds
        self._until = 0.0
        self._times: list[float] = []

    def passes(self, now: float) -> bool:
        """Take a request."""
        self._times = [time for time in self._times if time > now - 1] + [now]
        if now < self._until or len(self._times) > self._most:
            self._until = now + self._seconds
            return False
        return True


class ConnectionLimit:
    """Be nginx's limit_conn over a backend that takes its time."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self.seconds = most, seconds
        self._ends: list[float] = []

    def passes(self, now: float) -> bool:
        """Take a request."""
        self._ends = [end for end in self._ends if end > now]
        if len(self._ends) >= self._most:
            return False
        self._ends.append(now + self.seconds)
        return True


@dataclass
class Crawled:
    """Hold what came of a crawl: the outcomes by song, what was asked when, how long it took, and why it ended."""

    outcomes: dict[Any, Verdict] = field(default_factory=dict)
    asked: list[tuple[float, Any, Verdict]] = field(default_factory=list)
    seconds: float = 0.0
    error: BaseException | None = None

    @property
    def counts(self) -> Counter[str]:
        """Count the songs by what became of them."""
        return Counter(verdict.error or verdict.kind.value for verdict in self.outcomes.values())

    def refused_share(self, word: str) -> float:
        """Give the share of requests that came to a word."""
        return sum(verdict.error == word for _, _, verdict in self.asked) / len(self.asked)


def crawl_virtually(
    songs: Iterable[Any],
    answer: Answer,
    *,
    per_second: float = 100.0,
    seconds: float = 540.0,
    known: Iterable[Any] = (),
    withholds: bool = True,
) -> Crawled:
    """Crawl songs as one call does with default settings, many at once; `answer` is given the instant and the song."""
    clock, chance = FakeClock(), random.Random(1)
    chunk = FakeChunk(songs, FakeFetcher())
    dispatcher = Dispatcher(
        iter([chunk]),
        Limits(),
        clock,
        lambda advance: advance(),
        Deadline.after(clock.now(), seconds),
        chance.random,
        limiter=Limiter(RateController(per_second, 100, chance.random)),
        known_songs=lambda: known,
        withholds=withholds,
    )
    crawled, begin = Crawled(), clock.now()
    flights: list[tuple[float, int, Attempt, Verdict]] = []
    order = count()
    while (drawn := _draw(dispatcher, 100 - len(flights), waits=not flights)) is not None:
        attempts, wait = drawn
        for attempt in attempts:
            told = answer(clock.now() - begin, attempt.item)
            verdict, latency = told if isinstance(told, tuple) else (told, _LATENCY * chance.uniform(0.7, 1.3))
            crawled.asked.append((clock.now() - begin, attempt.item, verdict))
            heapq.heappush(flights, (clock.now() + latency, next(order), attempt, verdict))
        clock.time = max(clock.time, min(flights[0][0], clock.time + min(max(wait, _LEAST_LOOK), _LOOK)))
        ended = []
        while flights and flights[0][0] <= clock.time + 1e-9:
            ended.append(heapq.heappop(flights))
        dispatcher.settle([(attempt, verdict) for _, _, attempt, verdict in ended])
    dispatcher.close()
    crawled.outcomes = dict(chunk.settled)
    crawled.seconds, crawled.error = clock.now() - begin, dispatcher.error
    return crawled


def _draw(dispatcher: Dispatcher, most: int, *, waits: bool) -> tuple[list[Attempt], float] | None:
    if not waits:
        return dispatcher.draw_more(most)
    attempts = dispatcher.draw_attempts(most)
    return (attempts, 0.0) if attempts else None
