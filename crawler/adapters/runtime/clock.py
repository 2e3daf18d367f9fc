"""The machine's clocks."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return the monotonic clock, in seconds: it never steps, whatever happens to the date."""
        return time.monotonic()

    def epoch(self) -> float:
        """Return the wall clock, in seconds since 1970 UTC."""
        return time.time()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition until it is notified, `seconds` at most."""
        # A Retry-After may name more seconds than the system can count, which is an OverflowError.
        condition.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
