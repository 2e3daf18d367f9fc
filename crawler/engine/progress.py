"""How far a crawl is: counts at one instant, and what two of them say of its rate and the time left."""

from __future__ import annotations

from typing import Any

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """Count the songs accounted for at an instant `at`, in seconds of a monotonic clock.

    `songs` is how many were asked for, None while nobody knows. `before` of those accounted for were there when the
    call began, or another call fetched them meanwhile; `throttled` counts requests.
    """

    at: float
    songs: int | None
    found: int = 0
    missing: int = 0
    failed: int = 0
    before: int = 0
    throttled: int = 0

    @property
    def done(self) -> int:
        """Count the songs accounted for."""
        return self.found + self.missing + self.failed

    @property
    def remaining(self) -> int | None:
        """Count the others; None while nobody knows."""
        return None if self.songs is None else max(0, self.songs - self.done)

    def per_second(self, earlier: Progress) -> float:
        """Give the songs a second that the call fetched since an earlier instant; 0 if that is this one."""
        seconds = self.at - earlier.at
        fetched = self.done - self.before - (earlier.done - earlier.before)
        return max(0.0, fetched / seconds) if seconds > 0 else 0.0

    def fields(self, last: Progress, first: Progress) -> dict[str, Any]:
        """Describe the instant for a log: the rate since `last`, the time left by the mean rate since `first`."""
        rate = self.per_second(first)
        return {
            **{name: getattr(self, name) for name in ("found", "missing", "failed", "remaining", "throttled")},
            "songs_per_second": round(self.per_second(last), 1),
            "percent": round(100 * self.done / self.songs, 1) if self.songs else None,
            "eta_seconds": round(self.remaining / rate, 1) if rate and self.remaining is not None else None,
        }
