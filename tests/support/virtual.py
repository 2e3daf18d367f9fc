"""An upstream in virtual time, and instances that send to it as their control lets them: hours in a second."""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from crawler.core.verdict import Kind, Verdict, found, retry, throttled
from crawler.rate_control.controller import RateController

# When a sleeper wakes after the instant it waited for.
_WAKE_SECONDS = 1e-4
_START = 1000.0


class Bucket:
    """Be a quota: a token bucket of one second's burst, whose rate changes at the instants of a schedule."""

    def __init__(self, *schedule: tuple[float, float]) -> None:
        """Start full, at the rate of the first `(instant, requests a second)`."""
        self._schedule = list(schedule[1:])
        self._per_second = schedule[0][1]
        self._tokens = max(1.0, self._per_second)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        while self._schedule and self._schedule[0][0] <= now:
            instant, per_second = self._schedule.pop(0)
            self._fill(instant)
            self._per_second = per_second
            self._tokens = min(self._tokens, max(1.0, per_second))
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _fill(self, now: float) -> None:
        self._tokens = min(max(1.0, self._per_second), self._tokens + (now - self._at) * self._per_second)
        self._at = now


@dataclass
class VirtualUpstream:
    """Answer requests: `latency` seconds each, more or less by `jitter`, of `workers` at once (None: any number).

    `slow(now)` stands for the latency; from `down[0]` to `down[1]` every request comes to `word`, and names
    `down_retry_after`.
    """

    chance: random.Random
    latency: float = 0.05
    bucket: Bucket | None = None
    retry_after: float | None = None
    workers: int | None = None
    jitter: float = 0.2
    slow: Callable[[float], float] | None = None
    down: tuple[float, float] | None = None
    down_retry_after: float | None = None
    word: str = "http_503"

    def __post_init__(self) -> None:
        """Have all workers free."""
        self._free = [0.0] * (self.workers or 0)

    def ask(self, now: float) -> tuple[Verdict, float]:
        """Give the answer to a request that comes now, and when it comes."""
        if self.down and self.down[0] <= now < self.down[1]:
            return retry(self.word, self.down_retry_after), now + 0.002
        if self.bucket and not self.bucket.take(now):
            return throttled("http_429", self.retry_after), now + self.latency * self.chance.uniform(0.5, 1.0)
        latency = self.slow(now) if self.slow else self.latency * (1 + self.jitter * (self.chance.random() - 0.5))
        begin = max(now, heapq.heappop(self._free)) if self.workers else now
        if self.workers:
            heapq.heappush(self._free, begin + latency)
        return found(1), begin + latency


@dataclass
class Sent:
    """Hold what an instance sent: when its answers came, by their kind, and how long those took that were songs."""

    controller: RateController
    songs: float = math.inf
    begins: float = 0.0
    found: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Count all."""
        return len(self.found) + len(self.rejected) + len(self.failed)

    @property
    def rejected_share(self) -> float:
        """Give the share of all requests that were throttled."""
        return len(self.rejected) / max(1, self.requests)

    def note(self, verdict: Verdict, sent_at: float, now: float) -> None:
        """Count an answer."""
        if verdict.kind is Kind.THROTTLED:
            self.rejected.append(now)
        elif verdict.kind is Kind.RETRY:
            self.failed.append(now)
        else:
            self.found.append(now)
            self.latencies.append(now - sent_at)


def between(instants: Sequence[float], begin: float, end: float) -> int:
    """Count the instants of a span, of a list that ascends."""
    return bisect_left(instants, end) - bisect_left(instants, begin)


class World:
    """Run instances on one upstream for some seconds, until each has found its songs."""

    def __init__(self, upstream: VirtualUpstream, instances: Sequence[Sent]) -> None:
        """Have everybody begin at their time."""
        self._upstream = upstream
        self._events: list[tuple[float, int, Sent, tuple[Verdict, float] | None]] = []
        self._order = count()
        self._wakes: dict[int, float] = {}
        self._asked = {id(instance): 0 for instance in instances}
        self._instances = instances
        for instance in instances:
            self._wake(instance, instance.begins)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        while self._events and self._events[0][0] <= seconds:
            now, _, instance, answer = heapq.heappop(self._events)
            if answer:
                self._answer(instance, now, *answer)
            elif self._wakes.get(id(instance)) == now:
                del self._wakes[id(instance)]
            else:
                continue  # another wake replaced it
            self._send(instance, now)
            if all(len(each.found) >= each.songs for each in self._instances):
                return

    def _answer(self, instance: Sent, now: float, verdict: Verdict, sent_at: float) -> None:
        instance.controller.observe(_START + sent_at, _START + now, verdict)
        if verdict.quota:
            served = verdict.kind is not Kind.THROTTLED
            instance.controller.observe_quota(_START + sent_at, _START + now, verdict.quota, served=served)
        instance.note(verdict, sent_at, now)
        self._asked[id(instance)] -= not verdict.final

    def _send(self, instance: Sent, now: float) -> None:
        left = instance.songs - self._asked[id(instance)]
        allowed, until = instance.controller.ready(_START + now)
        sends = int(min(left, allowed))
        if sends:
            instance.controller.send(_START + now, sends)
            self._asked[id(instance)] += sends
            for _ in range(sends):
                verdict, answers = self._upstream.ask(now)
                heapq.heappush(self._events, (answers, next(self._order), instance, (verdict, now)))
            self._wake(instance, now + _WAKE_SECONDS)
        elif left and until != math.inf:
            self._wake(instance, max(until - _START, now) + _WAKE_SECONDS)

    def _wake(self, instance: Sent, at: float) -> None:
        if self._wakes.get(id(instance), math.inf) > at:
            self._wakes[id(instance)] = at
            heapq.heappush(self._events, (at, next(self._order), instance, None))


def send(
    upstream: VirtualUpstream, seconds: float, songs: float = math.inf, controller: RateController | None = None
) -> Sent:
    """Have one instance send for some seconds."""
    sent = Sent(controller or RateController(0.0, 100, upstream.chance.random), songs)
    World(upstream, [sent]).run(seconds)
    return sent
