"""A ceiling: what a deployment, a call or a robots.txt allows, whatever the upstream would take."""

from __future__ import annotations

import math


class Ceiling:
    """A bound on the requests a second and on those in flight; for whoever holds the lock around it.

    Times are instants of one monotonic clock, in seconds. `max_per_second` 0: no ceiling; `since` as for a Pacer.
    `in_flight` counts requests that went out and have not come back.
    """

    def __init__(self, max_per_second: float = 0.0, max_at_once: float = math.inf, since: float | None = None) -> None:
        self._pacer = Pacer(max_per_second, since) if max_per_second else None
        self._max_at_once = max_at_once
        self.in_flight = 0

    def ready(self, now: float) -> tuple[float, float]:
        """Return how many requests may go out now; where none may, the instant to look again.

        math.inf: only a request that comes back changes it.
        """
        free = self._max_at_once - self.in_flight
        if free < 1:
            return 0, math.inf
        if self._pacer is None:
            return free, now
        return min(free, self._pacer.allowance(now)), self._pacer.ready_at()

    def send(self, now: float, count: int = 1) -> None:
        """Count requests that go out now."""
        self.in_flight += count
        if self._pacer is not None:
            self._pacer.send(now, count)

    def release(self, count: int = 1) -> None:
        """Count requests that came back or were cut off: as many others may be in flight."""
        self.in_flight -= count


# By how much a second's requests may pass the ceiling where some go ahead of the even spacing, after idle time:
# MAX_PER_SECOND promises 5 % at most for any second.
BURST_SHARE = 0.04


class Pacer:
    """Even spacing of requests below a ceiling (the generic cell rate algorithm, as in ITU-T I.371).

    Times are instants of one monotonic clock, in seconds. With `since` it goes on from another one that may have sent
    until then, on this instance or elsewhere: nothing is saved up, and the first waits its turn, a second at the most.
    """

    def __init__(self, max_per_second: float, since: float | None = None) -> None:
        self._interval = 1.0 / max_per_second if max_per_second else 0.0
        # Whole requests: a fraction of one would let a whole one more into some second (32 at 30 a second).
        ahead = int((1 + BURST_SHARE) * max_per_second) - math.ceil(max_per_second)
        self._burst = max(0, ahead) * self._interval
        self._next = 0.0 if since is None else since + min(self._interval, 1.0) + self._burst

    def ready_at(self) -> float:
        """Return the instant from which the next request may go; one that has passed: at once."""
        return self._next - self._burst

    def allowance(self, now: float) -> float:
        """Return how many requests may go out at once, now; math.inf where there is no ceiling."""
        if now < self.ready_at():
            return 0
        if not self._interval:
            return math.inf
        # Those that would find the pacer ready one after the other, at this same instant.
        return 1 + int((now - max(self._next, now) + self._burst) / self._interval * (1 + 1e-9))

    def send(self, now: float, count: int = 1) -> None:
        """Count requests that go out now."""
        self._next = max(self._next, now) + self._interval * count
