"""Pacing: at which instant the next request may go out."""

from __future__ import annotations

# How much of a second's requests may go at once when the pacer has been idle: more would break the ceiling that
# MAX_PER_SECOND promises for any second.
BURST_SECONDS = 0.04


class Pacer:
    """Space requests evenly below a ceiling (the generic cell rate algorithm, as in ITU-T I.371), and pause on demand.

    Not thread-safe: whoever draws songs holds the lock. Times are instants of one monotonic clock, in seconds.
    """

    def __init__(self, max_per_second: float) -> None:
        self._interval = 1.0 / max_per_second if max_per_second else 0.0
        self._next = 0.0
        self._paused_until = 0.0

    def ready_at(self) -> float:
        """Give the instant from which the next request may go; one that has passed: at once."""
        earliest = self._next - BURST_SECONDS if self._interval < BURST_SECONDS else self._next
        return max(earliest, self._paused_until)

    def take(self, now: float) -> None:
        """Count one request that goes out now."""
        self._next = max(self._next, now) + self._interval

    def pause(self, until: float) -> None:
        """Send nothing before `until`: the upstream said so (Retry-After)."""
        self._paused_until = max(self._paused_until, until)
