"""The control of an upstream: how many requests may go out now, given what came of the earlier ones.

Two limits stand inside each other, since an upstream says two different things: by throttling, how many requests a
second it takes (`rate.py`); by its latency, how many at once (`in_flight.py`). A breaker says whether it is there at
all, a budget how much of it may be spent on trying again. Everything here is arithmetic on instants of one monotonic
clock, in seconds, for whoever holds the lock around it; chance is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from crawler.core.errors import UpstreamUnavailable
from crawler.core.verdict import Kind, Verdict
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.circuit_breaker import OUTAGE, CircuitBreaker
from crawler.rate_control.concurrency import START_IN_FLIGHT, ConcurrencyLimit
from crawler.rate_control.learned import LearnedRate
from crawler.rate_control.request_rate import RequestRate
from crawler.rate_control.retry_budget import RetryBudget

# A member of an enumeration is looked up anew each time it is named: so is none of these, once for every song.
_FOUND, _MISSING, _FAILED, _RETRY, _THROTTLED = Kind.FOUND, Kind.MISSING, Kind.FAILED, Kind.RETRY, Kind.THROTTLED


class RateController:
    """Bound the requests to an upstream by ceilings, and below them by what its answers tell."""

    def __init__(
        self,
        max_per_second: float = 0.0,
        max_at_once: float = math.inf,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._ceiling = Ceiling(max_per_second, max_at_once)
        self._max_at_once = max_at_once
        self._random = random
        self._rate, self._in_flight = RequestRate(), ConcurrencyLimit(max_at_once)
        self._breaker = CircuitBreaker()
        self._budget = RetryBudget()
        self.paused_until = -math.inf

    @property
    def in_flight(self) -> int:
        """Count the requests that went out and have not come back."""
        return self._ceiling.in_flight

    @property
    def in_doubt(self) -> bool:
        """Tell whether it is in doubt that the upstream is there: what goes out now should be a song that was found."""
        return self._breaker.doubtful

    @property
    def false_alarm(self) -> bool:
        """Tell whether the failures that raised the last doubt were the songs' own."""
        return self._breaker.false_alarm

    def ready(self, now: float) -> tuple[float, float]:
        """Give how many requests may go out now; where none may, the instant to look again.

        math.inf: only an answer changes it.
        """
        if now < self.paused_until:
            return 0, self.paused_until
        if self._breaker.open:
            free, (count, at) = math.inf, self._breaker.ready(now)
        elif (free := self._in_flight.limit - self._ceiling.in_flight) >= 1:
            count, at = self._rate.ready(now)
        else:
            return 0, math.inf
        allowed, ceiling_at = self._ceiling.ready(now)
        return min(free, count, allowed), max(at, ceiling_at)

    def retries(self, now: float) -> tuple[float, float]:
        """Give how many of those that go out may be songs tried again; where none may, the instant to look again."""
        return self._budget.ready(now)

    def take(self, now: float, count: int = 1, retries: int = 0) -> None:
        """Count requests that go out now, so many of them for songs that failed before."""
        self._ceiling.take(now, count)
        self._rate.take(now, count)
        if retries:
            self._budget.spend(retries)
        if self._breaker.open:
            self._breaker.take()

    def found(self, sent: Sequence[float], now: float) -> bool:
        """Take that songs were found, by requests sent at these instants; False: the breaker is open, so `answer` must.

        The same as `answer` for each of them, at less of a price, which is paid for every song.
        """
        if self._breaker.open:
            return False
        for index, sent_at in enumerate(sent):
            if self._in_flight.answer(sent_at, now, self._ceiling.in_flight - index):
                self._rate.ramp(max(1e-4, self._in_flight.latency))
        self._ceiling.give_back(len(sent))
        self._budget.earn(len(sent))
        self._breaker.succeed(sent[-1], now)
        self._rate.accept(sent)
        return True

    def answer(self, sent_at: float, now: float, verdict: Verdict, *, known: bool = False, last: bool = False) -> bool:
        """Take what came of a request; True if a failure counts as one of its song's attempts.

        `known`: there is a song to probe with that was found, so that failures which may be the songs' own raise doubt
        too; `last`: for one more failure that counts the song is failed.
        """
        in_flight = self._ceiling.in_flight
        self._ceiling.give_back()
        kind = verdict.kind
        if kind is _FOUND or kind is _MISSING or kind is _FAILED:
            if self._in_flight.answer(sent_at, now, in_flight):
                self._rate.ramp(max(1e-4, self._in_flight.latency))
            self._budget.earn(1)
        elif kind is _THROTTLED or verdict.retry_after:
            self._throttle(sent_at, now, verdict.retry_after or 0.0)
        if kind is _RETRY and (verdict.error in OUTAGE or (self._breaker.doubtful if self._breaker.open else known)):
            return self._breaker.fail(sent_at, now, verdict.error or "", self._random(), known=known, last=last)
        if self._breaker.succeed(sent_at, now):
            self._rate.ease(now)
        if kind is not _THROTTLED:
            self._rate.accept([sent_at])
        return True

    def give_back(self, count: int = 1) -> None:
        """Free the places of requests that were cut off: they teach nothing."""
        self._ceiling.give_back(count)
        self._breaker.give_back()

    def hopeless(self, now: float, deadline: float) -> UpstreamUnavailable | None:
        """Give the reason why nothing can be sent any more before the deadline, if nothing can."""
        if self.paused_until > max(now, deadline):
            seconds = math.ceil(self.paused_until - now)
            return UpstreamUnavailable(
                f"The upstream asks for {seconds} s of peace, longer than this call may take.", seconds
            )
        sentence = self._breaker.hopeless(now)
        return UpstreamUnavailable(sentence) if sentence else None

    def start_from(self, learned: LearnedRate) -> None:
        """Begin where an earlier run ended, unless something is known already; half as fast if it met no limit."""
        if self.fresh:
            limit = learned.per_second if learned.throttles else None
            self._rate = RequestRate(learned.per_second / 2, limit)
            self._in_flight = ConcurrencyLimit(self._max_at_once, max(START_IN_FLIGHT, learned.in_flight))

    @property
    def fresh(self) -> bool:
        """Tell whether nothing went out yet."""
        return not self._rate.begun

    def learned(self) -> LearnedRate | None:
        """Give what the next run may start with; None: next to nothing was learned."""
        limit = self._rate.limit
        if limit is None and self._rate.best < 1.0:
            return None
        return LearnedRate(
            per_second=limit or self._rate.best,
            in_flight=self._in_flight.limit,
            throttles=limit is not None,
        )

    def _throttle(self, sent_at: float, now: float, retry_after: float) -> None:
        self._rate.throttle(sent_at, now, retry_after, self._random())
        self.paused_until = max(self.paused_until, now + retry_after)
