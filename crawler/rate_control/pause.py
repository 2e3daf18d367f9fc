"""The pause that an upstream asks for: it holds for every request, teaches no rate, and grows if it is too short.

Who is told to wait for no time at all, or for less than it takes, and is refused again, waits longer each time: a block
may last as long as somebody asks.
"""

from __future__ import annotations

import math

# Longer than any call lasts, and the most that an answer's Retry-After tells.
MOST_SECONDS = 86_400.0
# Rounds of requests that were all refused before we wait longer than we were told; the first such pause, and the most.
ROUNDS, LEAST_GROWN, MOST_GROWN = 2, 0.5, 30.0
# Two refusals so near each other, and good answers between: a quota.
QUOTA_SECONDS = 60.0


class Pause:
    """The instant until which nothing goes out. Times are instants, in seconds.

    `waits`: the next good answers must be told to it, others need not.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self.waits = False
        self._told_at = -math.inf  # when the present round of refusals began
        self._rounds = 0  # of refusals, with no good answer between
        self._suspect: tuple[float, float, float] | None = None
        self._gave_up = self._asking = False

    def begin(self, sent_at: float, now: float, seconds: float) -> None:
        """Take a refusal that asks for so many seconds of peace; 0: it does not say how many."""
        if sent_at >= self._told_at:
            self._told_at, self._rounds = now, self._rounds + 1
            past = self._rounds - ROUNDS - 1
            if past >= 0:
                seconds = max(seconds, min(MOST_GROWN, LEAST_GROWN * 2.0 ** min(past, 30)))
        self.until = max(self.until, now + min(seconds, MOST_SECONDS))
        self.waits = True

    def extend(self, now: float, seconds: float) -> None:
        """Take a good answer that asks for so many seconds of peace before the next request."""
        self._told_at, self.waits = max(self._told_at, now), True
        self.until = max(self.until, now + min(seconds, MOST_SECONDS))

    def suspect(self, sent_at: float, now: float, seconds: float) -> bool:
        """Take a refusal that may be an outage's or a quota's; True if it is a quota's, which songs came before again.

        Else it is kept: an answer to what went out meanwhile may tell.
        """
        if sent_at >= self._told_at and self._rounds == 0 and now - self._told_at < QUOTA_SECONDS:
            return True
        self._suspect = self._suspect or (sent_at, now, seconds)
        return False

    def observe_success(self, sent_at: float) -> tuple[float, float, float] | None:
        """Take a good answer; returns the refusal that was uncertain if it proves that only some are refused."""
        if sent_at >= self._told_at:  # nothing goes out in a pause but a request that asks whether it still holds
            self.until, self.waits, self._rounds = -math.inf, False, 0
        suspect = self._suspect
        if suspect is None or sent_at <= suspect[0]:
            return None
        self._suspect = None
        return suspect if sent_at < suspect[1] else None

    def most(self) -> int:
        """Return how many requests may go out before it ends: none, but one once a call gave up for it."""
        return int(self._gave_up)

    def send(self) -> None:
        """Count that requests go out."""
        self._asking, self._gave_up = self._gave_up, False

    def release(self) -> None:
        """Count that a request came back, or was cut off."""
        self._asking = False

    def outlasts(self, now: float, deadline: float) -> int | None:
        """Return the seconds it takes if that is past the deadline, for which a call gives up; None: it is not."""
        if self._asking or self.until <= max(now, deadline):
            return None
        self._gave_up = True
        return math.ceil(self.until - now)
