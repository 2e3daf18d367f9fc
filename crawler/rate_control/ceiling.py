"""A ceiling: what a deployment, a call or a robots.txt allows, whatever the upstream would take."""

from __future__ import annotations

import math

from crawler.rate_control.pacing import Pacer


class Ceiling:
    """Bound the requests a second and those in flight; for whoever holds the lock around it.

    Times are instants of one monotonic clock, in seconds. `max_per_second` 0: no ceiling; `since` as for a Pacer.
    `in_flight` counts requests that went out and have not come back.
    """

    def __init__(self, max_per_second: float = 0.0, max_at_once: float = math.inf, since: float | None = None) -> None:
        self._pacer = Pacer(max_per_second, since) if max_per_second else None
        self._max_at_once = max_at_once
        self.in_flight = 0

    def ready(self, now: float) -> tuple[float, float]:
        """Give how many requests may go out now; where none may, the instant to look again.

        math.inf: only an answer changes it.
        """
        free = self._max_at_once - self.in_flight
        if free < 1:
            return 0, math.inf
        if self._pacer is None:
            return free, now
        return min(free, self._pacer.allowance(now)), self._pacer.ready_at()

    def take(self, now: float, count: int = 1) -> None:
        """Count requests that go out now."""
        self.in_flight += count
        if self._pacer is not None:
            self._pacer.take(now, count)

    def give_back(self, count: int = 1) -> None:
        """Free the places of requests that came back or were cut off."""
        self.in_flight -= count
