"""The retry budget: how many failed songs may be tried again, so that an ailing upstream is not asked twice as much."""

from __future__ import annotations

# What a success earns: where more than a third of all requests fail, those tried again are held back. Finagle's budget
# grants a fifth and drops what is beyond (https://finagle.github.io/blog/2016/02/08/retry-budgets/); here every song is
# wanted, so what is beyond waits.
EARNED = 0.5
# A second, whatever comes of them.
FREE_PER_SECOND = 10.0
MOST = 100.0


class RetryBudget:
    """What may be spent on trying again. Times are instants, in seconds."""

    def __init__(self) -> None:
        self._tokens = MOST
        self._refilled_at = 0.0

    def earn(self, count: int) -> None:
        """Count successes."""
        if self._tokens < MOST:
            self._tokens = min(MOST, self._tokens + EARNED * count)

    def ready(self, now: float) -> tuple[int, float]:
        """Return how many may be tried again now; where none may, the instant from which one may."""
        self._tokens = min(MOST, self._tokens + FREE_PER_SECOND * max(0.0, now - self._refilled_at))
        self._refilled_at = now
        # A billionth more: sums of floats lack as much of a whole one.
        return int(self._tokens + 1e-9), now + max(0.0, 1.0 - self._tokens) / FREE_PER_SECOND

    def spend(self, count: int) -> None:
        """Count those that are tried again."""
        self._tokens -= count
