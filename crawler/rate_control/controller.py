"""The rate controller of an upstream: how many requests may go out now, given what came of the earlier ones.

Two limits stand inside each other, since an upstream says two different things: by throttling, how many requests a
second it takes (`request_rate.py`); by its latency, how many at once (`concurrency.py`). A circuit breaker says whether
it is there at all, a retry budget how much of it may be spent on trying again. Everything here is arithmetic on
instants of one monotonic clock, in seconds, for whoever holds the lock around it; chance is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from crawler.core.errors import UpstreamUnavailable
from crawler.core.quota import Quota
from crawler.core.verdict import Kind, Verdict
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.circuit_breaker import (
    PATIENCE_SECONDS,
    BreakerState,
)
from crawler.rate_control.concurrency import START_IN_FLIGHT, ConcurrencyLimit
from crawler.rate_control.fault_finder import FaultFinder
from crawler.rate_control.learned import LearnedRate
from crawler.rate_control.request_rate import RequestRate
from crawler.rate_control.retry_budget import RetryBudget

if TYPE_CHECKING:
    from crawler.rate_control.announced_quota import AnnouncedQuota

# Bound once, as in core/verdict.py.
_FAILED, _THROTTLED = Kind.FAILED, Kind.THROTTLED
_ANSWERED = frozenset({Kind.FOUND, Kind.MISSING, Kind.FAILED, Kind.REDIRECTED})
_CLOSED = BreakerState.CLOSED


class RateController(FaultFinder):
    """A bound on the requests to an upstream: its ceilings, and below them what its answers tell."""

    def __init__(
        self,
        max_per_second: float = 0.0,
        max_at_once: float = math.inf,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        super().__init__(random)
        self._ceiling = Ceiling(max_per_second, max_at_once)
        self._max_at_once = max_at_once
        self._in_flight = ConcurrencyLimit(max_at_once)
        self._budget = RetryBudget()
        self._announced: AnnouncedQuota | None = None  # most upstreams announce none
        self._quota: AnnouncedQuota | None = None  # the same while it is believed

    @property
    def in_flight(self) -> int:
        """Count the requests that went out and have not come back."""
        return self._ceiling.in_flight

    def ready(self, now: float) -> tuple[float, float]:
        """Return how many requests may go out now; where none may, the instant to look again.

        math.inf: only a request that comes back changes it.
        """
        most: float = math.inf
        if now < self._pause.until:
            most = self._pause.most()
            if most < 1:
                return 0, self._pause.until
        if self._breaker.state is not _CLOSED:
            free, (count, at) = math.inf, self._breaker.ready(now)
        elif (free := self._in_flight.limit - self._ceiling.in_flight) >= 1:
            count, at = self._rate.ready(now)
        else:
            return 0, math.inf
        allowed, ceiling_at = self._ceiling.ready(now)
        if self._quota:
            left, left_at = self._quota.ready(now, self._ceiling.in_flight)
            most, at = min(most, left), max(at, left_at)
        return min(free, count, allowed, most), max(at, ceiling_at)

    def retries(self, now: float) -> tuple[float, float]:
        """Return how many of those that go out may be songs tried again; where none may, the instant to look again."""
        return self._budget.ready(now)

    def send(self, now: float, count: int = 1, retries: int = 0) -> None:
        """Count requests that go out now, so many of them for songs that failed before."""
        self._ceiling.send(now, count)
        self._rate.send(now, count)
        self._pause.send()
        if self._quota:
            self._quota.send(now, count)
        if retries:
            self._budget.spend(retries)
        if self._breaker.state is not _CLOSED:
            self._breaker.send()

    def observe_found(self, sent: Sequence[float], now: float) -> bool:
        """Learn that songs were found, by requests sent at these instants.

        The same as `observe` for each of them, at less of a price, which is paid for every song. False: nothing was
        done, since the circuit breaker is not closed; `observe` must.
        """
        if self._breaker.state is not _CLOSED:
            return False
        for index, sent_at in enumerate(sent):
            if self._in_flight.observe(sent_at, now, self._ceiling.in_flight - index):
                self._rate.ramp(max(1e-4, self._in_flight.latency))
        if self._pause.waits:
            self._resume(sent)
        if self._disguise:
            self._disguise.observe_came(len(sent))
        self._ceiling.release(len(sent))
        self._budget.earn(len(sent))
        self._breaker.observe_success(sent[-1], now)
        self._rate.observe_accepted(sent)
        return True

    def observe(
        self,
        sent_at: float,
        now: float,
        verdict: Verdict,
        *,
        has_canary: bool = False,
        may_know: bool = False,
        last: bool = False,
        before: str | None = None,
        since_good: bool = False,
        lone: bool = False,
        canary: bool = False,
    ) -> bool:
        """Learn from what came of a request; True if a failure counts as one of its song's attempts.

        `has_canary`: a song is known to be there and can be sent as one, so that failures which may be the songs' own
        open the circuit breaker too, `may_know`: or may soon be known;
        `last`: for one more failure that counts the song is failed; `before` is the word
        that it was refused with before, `since_good`: and others came since;
        `lone`: only this song is refused, again and again; `canary`: it was sent to
        tell whose fault failures are.
        """
        in_flight = self._ceiling.in_flight
        self._ceiling.release()
        self._pause.release()
        kind = verdict.kind
        if kind in _ANSWERED and not (kind is _FAILED and verdict.provisional):
            if self._in_flight.observe(sent_at, now, in_flight):
                self._rate.ramp(max(1e-4, self._in_flight.latency))
            self._budget.earn(1)
            self._come(sent_at, now, verdict, before, canary=canary)
            if verdict.retry_after and not verdict.alone:
                self._pause.extend(now, verdict.retry_after)
        elif lone:
            self._rate.observe_accepted([sent_at])
            self._rate = self._cuts.end_lone(self._rate, now)
        elif kind is _THROTTLED:
            return self._throttle(sent_at, now, verdict, may_know, before, canary=canary)
        elif not verdict.alone:
            if verdict.retry_after is not None or self._disguise.means_throttling(verdict.error or ""):
                self._hear_of_limit(sent_at, now, verdict, before, may_know=may_know)
            return self._fail(sent_at, now, verdict, since_good, has_canary=has_canary, last=last, canary=canary)
        else:
            self._answer(sent_at, now)
        return True

    def release(self, count: int = 1) -> None:
        """Count requests as back that were cut off: they teach nothing."""
        self._ceiling.release(count)
        self._pause.release()
        self._breaker.release()

    def observe_quota(self, sent_at: float, now: float, quota: Quota, *, served: bool) -> None:
        """Learn the quota that an answer announces, once it was observed what came of its request."""
        if self._announced is None:
            from crawler.rate_control.announced_quota import AnnouncedQuota  # 1 ms of a cold start

            self._announced = AnnouncedQuota()
        self._announced.observe(sent_at, now, quota, self._ceiling.in_flight, served=served)
        self._quota = self._announced if self._announced.believed else None

    def renew(self, now: float) -> None:
        """Let a new call ask at once where waiting had become hopeless for those before it."""
        self._breaker.renew(now)

    def hopeless(self, now: float, deadline: float) -> UpstreamUnavailable | None:
        """Return the reason why nothing can be sent any more before the deadline, if nothing can."""
        seconds = self._pause.outlasts(now, deadline)
        if self._quota and not seconds:
            seconds = self._quota.outlasts(now, deadline, self._ceiling.in_flight)
        if seconds:
            return UpstreamUnavailable(
                f"The upstream asks for {seconds} s of peace, longer than this call may take.", seconds
            )
        sentence = self._breaker.hopeless(now)
        if self._disguise and now - self._pause.refused_since > PATIENCE_SECONDS:
            sentence = sentence or f"The upstream refuses us: nothing came for {PATIENCE_SECONDS:.0f} s."
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
        """Return what the next run may start with; None: next to nothing was learned."""
        limit = self._rate.limit
        if limit is None and self._rate.best < 1.0:
            return None
        return LearnedRate(
            per_second=limit or self._rate.best,
            in_flight=self._in_flight.limit,
            throttles=limit is not None,
        )
