"""Fakes of the engine's ports: a clock that needs no waiting, fetchers that answer from a table, a chunk in memory."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

from crawler.core.deadline import Deadline
from crawler.core.errors import UpstreamUnavailable
from crawler.core.ports import Fetcher
from crawler.core.verdict import Verdict, found
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.controller import RateController


class StalledError(Exception):
    """A thread would wait until another one does something."""


class FakeClock:
    """A clock that stands still but for `advance` and for waits, which take no time; `waited` lists their lengths."""

    def __init__(self, now: float = 1000.0) -> None:
        """Start at some instant, in seconds."""
        self.time = now
        self.waited: list[float] = []

    def now(self) -> float:
        """Return the instant."""
        return self.time

    def epoch(self) -> float:
        """Return a wall clock that agrees."""
        return 1_700_000_000.0 + self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Let the seconds pass at once; raises StalledError where only another thread could end the wait."""
        if seconds is None:
            raise StalledError
        self.waited.append(seconds)
        self.time += seconds


class PlainController(RateController):
    """A controller that keeps ceilings and the pauses that an upstream names, and learns nothing."""

    def __init__(self, max_per_second: float = 0.0, max_at_once: float = math.inf) -> None:
        """Take the ceilings."""
        super().__init__(max_per_second, max_at_once)
        self._plain = Ceiling(max_per_second, max_at_once)
        self.paused_until = -math.inf

    @property
    def in_flight(self) -> int:
        """Count the requests on their way."""
        return self._plain.in_flight

    def ready(self, now: float) -> tuple[float, float]:
        """Ask the ceilings, after any pause."""
        return self._plain.ready(now) if now >= self.paused_until else (0, self.paused_until)

    def retries(self, now: float) -> tuple[float, float]:
        """Let all be tried again."""
        return math.inf, now

    def send(self, now: float, count: int = 1, retries: int = 0) -> None:
        """Count requests."""
        self._plain.send(now, count)

    def observe_found(self, sent: Sequence[float], now: float) -> bool:
        """Have them observed one by one."""
        return False

    def observe(self, sent_at: float, now: float, verdict: Verdict, **_: Any) -> bool:
        """Note the end of a pause; every failure counts."""
        self._plain.release()
        self.paused_until = max(self.paused_until, now + (verdict.retry_after or 0.0))
        return True

    def suspect(self, now: float, word: str, **_: Any) -> None:
        """Know at once that the failures are the songs' own."""
        self.false_alarm = True

    def release(self, count: int = 1) -> None:
        """Count them as back."""
        self._plain.release(count)

    def hopeless(self, now: float, deadline: float) -> UpstreamUnavailable | None:
        """Always hope."""
        return None


class FakeFetcher:
    """A fetcher that answers the nth attempt at an item with `judge(item, nth)`, and keeps the items as they came.

    A judge that raises stands for an error that is no song's.
    """

    def __init__(self, judge: Callable[[Any, int], Verdict] = lambda item, _nth: found(item)) -> None:
        """Take the table of verdicts."""
        self._judge = judge
        self._lock = threading.Lock()
        self.tried: list[Any] = []

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Answer from the table."""
        with self._lock:
            self.tried.append(item)
            nth = self.tried.count(item)
        return self._judge(item, nth)


class FakeMultiFetcher(FakeFetcher):
    """A fetcher of many items in one thread; those in `silent` never get an answer."""

    def __init__(
        self, judge: Callable[[Any, int], Verdict] = lambda item, _nth: found(item), silent: Container[Any] = ()
    ) -> None:
        """Take the table of verdicts."""
        super().__init__(judge)
        self.silent = silent
        self.opened: list[FakeTransfers] = []

    def open_transfers(self, most: int) -> FakeTransfers:
        """Open what tries them."""
        self.opened.append(FakeTransfers(self, most))
        return self.opened[-1]


class FakeTransfers:
    """Transfers that answer at every look what was started before; `largest` is the most that was on the way."""

    def __init__(self, fetcher: FakeMultiFetcher, most: int) -> None:
        """Belong to a fetcher."""
        self.fetcher = fetcher
        self.most = most
        self.largest = 0
        self.on_the_way: list[tuple[Any, Any]] = []
        self.closed = False

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Note that an item is on its way."""
        self.on_the_way.append((token, item))
        self.largest = max(self.largest, len(self.on_the_way))

    def perform(self, seconds: float) -> list[tuple[Any, Verdict]]:
        """Answer what is on its way, or wait a little."""
        answered = [pair for pair in self.on_the_way if pair[1] not in self.fetcher.silent]
        self.on_the_way = [pair for pair in self.on_the_way if pair[1] in self.fetcher.silent]
        if not answered:
            time.sleep(min(seconds, 0.01))
        return [(token, self.fetcher.attempt(item, seconds)) for token, item in answered]

    def close(self) -> None:
        """Cut what is on its way."""
        self.closed = True


class FakeChunk:
    """A chunk that keeps outcomes like engine/in_memory.py, and counts everything that a test may ask about."""

    is_canary = False

    def __init__(self, items: Iterable[Any], fetcher: Fetcher | None = None) -> None:
        """Hold the items; the fetcher is for tests that run workers."""
        self.items = list(items)
        self.fetcher: Fetcher = fetcher or FakeFetcher()
        self.pending = deque(range(len(self.items)))
        self.settled: list[tuple[Any, Verdict]] = []
        self.attempts = 0
        self.advanced = 0
        self.buffered_bytes = 0
        self.held_bytes = 0

    def item(self, index: int) -> Any:
        """Return the item at an index."""
        return self.items[index]

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts."""
        self.attempts += len(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
        """Keep outcomes; True once there are as many as items."""
        self.settled += [(self.items[index], outcome) for index, outcome in outcomes]
        return len(self.settled) == len(self.items)

    def advance(self) -> bool:
        """Count the call."""
        self.advanced += 1
        return True


def wait_until(state: Callable[[], bool], timeout: float = 10.0) -> None:
    """Look again and again until the state is reached, or raise TimeoutError."""
    deadline = time.monotonic() + timeout
    while not state():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {timeout:g} s")
        time.sleep(0.005)


def join_new_threads(before: set[threading.Thread], timeout: float = 10.0) -> set[threading.Thread]:
    """Wait for the threads that were started since, and give those that do not end."""
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout)
    return set(threading.enumerate()) - before


class FakeQueue:
    """A queue that keeps the tasks that are created, by name; `refused` lists those that came again."""

    def __init__(self, at_once: int = 2) -> None:
        """Deliver so many at once, or rather nothing: a test takes them."""
        self.at_once = at_once
        self.tasks: dict[str, tuple[str, bytes, float]] = {}
        self.refused: list[str] = []
        self._lock = threading.Lock()

    def until(self, deadline: Deadline) -> FakeQueue:
        """Return this queue."""
        return self

    def most_at_once(self) -> int:
        """Return how many would be delivered at once."""
        return self.at_once

    def create(self, name: str, run: str, content: bytes, seconds: float) -> None:
        """Take a task, unless its name is taken."""
        with self._lock:
            if name in self.tasks:
                self.refused.append(name)
            else:
                self.tasks[name] = (run, content, seconds)

    def names(self) -> Iterator[str]:
        """Name the tasks that no test took out."""
        with self._lock:
            return iter(list(self.tasks))
