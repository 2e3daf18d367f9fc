"""A quota that the upstream announces: spent at full speed, less what is in flight, then waited for.

What is announced may be rounded, late, another client's or plain noise. So a new window begins with one request, whose
answer tells how much there is; and what turns out untrue is not believed any more.
"""

from __future__ import annotations

import math

from crawler.core.quota import Quota

# A reset in whole seconds may have been rounded down by one; any other is late by what a clock's tick may be.
ROUNDED_SECONDS, TICK_SECONDS = 1.0, 0.02
# By so much more, of the limit or in requests, may be left than was told before, without a reset between.
RISE_SHARE, RISE_REQUESTS = 0.1, 2.0


class AnnouncedQuota:
    """A bound on requests by what answers say is left. Times are instants of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.believed = True
        self._left = math.inf
        self._reset_at = math.inf
        self._asked_at = -math.inf  # when the first request of this window went out, whose answer tells what there is
        self._lowest = math.inf  # of what was told to be left in this window
        self._told: Quota | None = None
        self._told_at = -math.inf
        self._empty_at, self._empty_until = math.inf, -math.inf
        self._untested = True  # nothing was ever left: one request tells whether that is so
        self._gave_up = False

    def ready(self, now: float, in_flight: float) -> tuple[float, float]:
        """Return how many requests may go out now; where none may, the instant to look again."""
        if now >= self._reset_at:
            self._renew()
        if self._left >= 1:
            return math.floor(self._left) if self._left < math.inf else math.inf, now
        if not in_flight and (self._reset_at == math.inf or self._untested or self._gave_up):
            return 1, now
        return 0, self._reset_at

    def send(self, now: float, count: int) -> None:
        """Count requests that go out now."""
        if self._asked_at == math.inf:
            self._asked_at = now
            if self._told and self._told.remaining is None:
                self._reset_at = now + (self._told.window_seconds or 0.0) + TICK_SECONDS
        if self._left < 1:
            self._untested = self._gave_up = False
        self._left -= count

    def observe(self, sent_at: float, now: float, quota: Quota, in_flight: float, *, served: bool) -> None:
        """Learn what an answer announces, with so many requests still in flight."""
        if not self.believed:
            return
        self.believed = not (served and self._empty_at < sent_at < self._empty_until)
        if quota.remaining is None:
            self._observe_limit(sent_at, quota, in_flight)
            return
        reset_at = self._reset_of(now, quota)
        if reset_at is not None:
            self._observe_left(sent_at, now, quota, quota.remaining - in_flight, reset_at, in_flight)

    def outlasts(self, now: float, deadline: float, in_flight: float) -> int | None:
        """Return the seconds until more is granted if that is past the deadline; None: it is not."""
        past = self.believed and self._left < 1 and max(now, deadline) < self._reset_at < math.inf
        if not past or in_flight:
            return None
        self._gave_up = True
        return math.ceil(self._reset_at - now)

    def _renew(self) -> None:
        """Begin a window of which nothing is known but, at most, its limit."""
        told = self._told
        self._left = (told.limit or 1.0) if told and told.remaining is None else 1.0
        self._reset_at = self._asked_at = math.inf

    def _observe_limit(self, sent_at: float, quota: Quota, in_flight: float) -> None:
        if self._told != quota:
            self._left = (quota.limit or 1.0) - 1.0 - in_flight
            self._asked_at, self._reset_at = sent_at, sent_at + (quota.window_seconds or 0.0) + TICK_SECONDS
            self._told, self._untested = quota, False

    def _reset_of(self, now: float, quota: Quota) -> float | None:
        """Return the latest instant at which the quota begins anew; None: nothing tells."""
        if quota.reset_seconds is not None:
            return now + quota.reset_seconds + (TICK_SECONDS if quota.exact else ROUNDED_SECONDS)
        if quota.window_seconds is None:
            return None
        return (self._asked_at if math.isfinite(self._asked_at) else now) + quota.window_seconds + TICK_SECONDS

    def _observe_left(
        self, sent_at: float, now: float, quota: Quota, left: float, reset_at: float, in_flight: float
    ) -> None:
        told, remaining = self._told, quota.remaining or 0.0
        if told is None or told.policy != quota.policy or told.remaining is None or self._is_new(sent_at, reset_at):
            self._left, self._reset_at, self._lowest = left, reset_at, remaining
            self._asked_at = min(self._asked_at, sent_at) if math.isfinite(self._asked_at) else sent_at
        elif sent_at > self._told_at and now < self._reset_at and remaining > (told.remaining + _rise(quota)):
            self.believed = False
            return
        else:
            # Where answers come in another order than they were given, some requests count twice until none is out.
            self._lowest = min(self._lowest, remaining)
            self._left = min(self._left, left) if in_flight else self._lowest
            self._reset_at = min(self._reset_at, reset_at)
        self._told, self._told_at = quota, now
        if remaining >= 1:
            self._untested = False
            self._empty_at = math.inf
        elif self._empty_at == math.inf:
            self._empty_at, self._empty_until = now, reset_at - 2 * ROUNDED_SECONDS

    def _is_new(self, sent_at: float, reset_at: float) -> bool:
        """Tell whether an answer is of a window that began after the one before."""
        if self._reset_at == math.inf:
            return sent_at >= self._asked_at
        return reset_at > self._reset_at + 1.25 * ROUNDED_SECONDS


def _rise(quota: Quota) -> float:
    return max(RISE_REQUESTS, RISE_SHARE * (quota.limit or quota.remaining or 0.0))
