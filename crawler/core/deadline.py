"""Deadlines: instants on a monotonic clock, and the time of a call, cut into what it is for.

A timeout is a duration; the two never mix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """One instant, in seconds of whichever monotonic clock it was made from."""

    at: float = math.inf

    @classmethod
    def after(cls, now: float, seconds: float) -> Deadline:
        """Return the deadline `seconds` from `now`."""
        return cls(now + seconds)

    def remaining(self, now: float) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        """Tell whether the instant has come."""
        return now >= self.at

    def less(self, seconds: float) -> Deadline:
        """Return the deadline that leaves a reserve of `seconds`: so much earlier."""
        return Deadline(self.at - seconds)


class CallTime(msgspec.Struct, frozen=True):
    """The time of one call: `seconds` from the instant `began` on; after that nobody waits for its answer."""

    began: float
    seconds: float = math.inf

    @property
    def end(self) -> Deadline:
        """Return when the call must have answered."""
        return Deadline.after(self.began, self.seconds)

    @property
    def store_end(self) -> Deadline:
        """Return how long store and queue may take: if they don't answer, a moment must be left for our own answer."""
        return self.end.less(min(0.5, self.seconds / 20))

    @property
    def working_seconds(self) -> float:
        """Return how long songs may be fetched: a reserve is kept for the last commits and the answer.

        The reserve is a tenth, from 2 s to 15 s, but never more than three fifths: a call of three seconds is to fetch
        something too.
        """
        return self.seconds - min(max(2.0, self.seconds / 10), 15.0, self.seconds * 0.6)

    @property
    def working_end(self) -> Deadline:
        """Return when the last song may be fetched."""
        return Deadline.after(self.began, self.working_seconds)


def platform_seconds(environ: Mapping[str, str]) -> float | None:
    """Stay under the platform's own limit by 5 %, 2 s at least: past it the caller has its 504 whatever we answer."""
    limit = environ.get("CLOUD_RUN_TIMEOUT_SECONDS", "")
    if not re.fullmatch(r"[0-9]{1,6}", limit, re.ASCII) or int(limit) == 0:
        return None
    return max(1.0, int(limit) - max(2.0, int(limit) * 0.05))
