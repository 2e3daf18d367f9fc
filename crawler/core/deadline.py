"""Deadlines: instants on a monotonic clock. A timeout is a duration; the two never mix."""

from __future__ import annotations

import math

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """Hold one instant, in seconds of whichever monotonic clock it was made from."""

    at: float = math.inf

    @classmethod
    def after(cls, now: float, seconds: float) -> Deadline:
        """Set the deadline `seconds` from `now`."""
        return cls(now + seconds)

    def remaining(self, now: float) -> float:
        """Give the seconds left, never below zero."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        """Tell whether the instant has come."""
        return now >= self.at

    def less(self, seconds: float) -> Deadline:
        """Keep a reserve of `seconds`: the deadline that much earlier."""
        return Deadline(self.at - seconds)
