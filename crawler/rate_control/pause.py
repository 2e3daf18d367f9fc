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
# So long a pause, told to one song, is the upstream's only if a song known to be there is told to wait too.
LONG_SECONDS = 5.0
# Two refusals so near each other, and good answers between: a quota.
QUOTA_SECONDS = 60.0


class Pause:
    """The instant until which nothing goes out. Times are instants, in seconds.

    `waits`: the next good answers must be told to it, others need not. `unproven`: one request may go out in it, for a
    song known to be there. `refused_since`: since when nothing good came.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self.waits = self.unproven = False
        self.refused_since = math.inf
        self._proven = False
        self._least_grown, self._patience = LEAST_GROWN, ROUNDS
        self._told_at = -math.inf  # when the present round of refusals began
        self._rounds = 0  # of refusals, with no good answer between
        self._suspect: tuple[float, float, float] | None = None
        self._gave_up = self._asking = False

    def begin(self, sent_at: float, now: float, seconds: float) -> None:
        """Take a refusal that asks for so many seconds of peace; 0: it does not say how many."""
        if sent_at >= self._told_at:
            self._told_at, self._rounds = now, self._rounds + 1
            past = self._rounds - self._patience - 1
            if past >= 0:
                seconds = max(seconds, min(MOST_GROWN, self._least_grown * 2.0 ** min(past, 30)))
        self.until = max(self.until, now + min(seconds, MOST_SECONDS))
        self.waits = True
        self.refused_since = min(self.refused_since, now)

    def learn(self, seconds: float) -> None:
        """Take how long nothing was sent before a refusal of all songs ended: less may prolong the next one."""
        self._least_grown, self._patience = max(LEAST_GROWN, min(seconds, MOST_GROWN)), 1

    def question(self, seconds: float, *, again: bool) -> bool:
        """Take a refusal that one song met, `again` or for the first time; True if its pause is to be unproven.

        Where a pause was the upstream's, the next one is believed of any song that was not told to wait before.
        """
        if self.unproven or seconds < LONG_SECONDS or (self._proven and not again):
            return False
        self.unproven = True
        return True

    def judge(self, *, holds: bool) -> None:
        """Decide it; `holds`: a song known to be there is told to wait too, or none is known."""
        self._proven, self.unproven = self._proven or holds, False

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
            self.until, self.waits, self._rounds, self.refused_since = -math.inf, False, 0, math.inf
        suspect = self._suspect
        if suspect is None or sent_at <= suspect[0]:
            return None
        self._suspect = None
        return suspect if sent_at < suspect[1] else None

    def most(self) -> int:
        """Return how many requests may go out before it ends: none, but one that asks whether it holds."""
        return int(self._gave_up or (self.unproven and not self._asking))

    def send(self) -> None:
        """Count that requests go out."""
        self._asking, self._gave_up = self._gave_up or self.unproven, False

    def release(self) -> None:
        """Count that a request came back, or was cut off."""
        self._asking = False

    def outlasts(self, now: float, deadline: float) -> int | None:
        """Return the seconds it takes if that is past the deadline, for which a call gives up; None: it is not."""
        if self._asking or self.unproven or self.until <= max(now, deadline):
            return None
        self._gave_up = True
        return math.ceil(self.until - now)
