"""The breaker: when failure upon failure says that the upstream as a whole is down, ask it rarely until it answers."""

from __future__ import annotations

import math

# Failures in a row, none of the upstream's answers among them. A gateway speaks for the upstream, a broken answer may
# be the song's own: where three in ten requests fail by themselves, ten in a row come once in 200,000.
OPEN_AFTER, OPEN_AFTER_SILENCE = 6, 10
# As long as nothing at all was answered, fewer than a song has attempts, so that none fails for it. As few where a song
# that was found can tell whose fault it is: if the failures may be the songs' own, or if one would be failed for them.
OPEN_AFTER_NOTHING, OPEN_AFTER_DOUBT = 3, 3

# Seconds until the first probe, fewer where it is to settle a doubt, for which all wait; later ones after three times
# as many, up to the most.
FIRST_PROBE, DOUBT_PROBE, MOST_PROBE = 0.25, 0.02, 5.0
# Where the first probe is found so soon, the failures were the songs' own, and what is sent in the next seconds may
# fail too: in more seconds after each such alarm.
FALSE_ALARM_SECONDS = 1.0
LEAST_TRUST, MOST_TRUST = 0.5, 5.0

# How long to wait for one that was up, and for one that never was.
PATIENCE_SECONDS, NEVER_UP_SECONDS = 150.0, 15.0

# No answer, or one of a gateway. A 500 is the application's own, and may be the song's fault.
SILENCE = frozenset({"connection", "timeout"})
OUTAGE = SILENCE | {"http_502", "http_503", "http_504"}


class CircuitBreaker:
    """Count failures in a row; open, let out one request at a time. Times are instants, in seconds."""

    def __init__(self) -> None:
        self.open = False
        self.doubtful = False  # opened for failures that may be the songs' own
        self.opened_at = math.inf  # while it is closed
        self.false_alarm = False  # what closed it last said that the failures were the songs' own
        self._failures = 0  # in a row, of whatever kind
        self._outages = 0  # of those that leave the upstream no word of its own
        self._reason = ""
        self._wait = FIRST_PROBE
        self._probes_failed = 0
        self._probe_at = math.inf
        self._probing = False
        self._trust = LEAST_TRUST
        self._trusted_until = -math.inf
        self._was_up = False

    def ready(self, now: float) -> tuple[int, float]:
        """Give whether a probe may go out now, while it is open; if not, when (math.inf: one is on its way)."""
        if self._probing:
            return 0, math.inf
        return (1, now) if now >= self._probe_at else (0, self._probe_at)

    def take(self) -> None:
        """Count a request that goes out."""
        self._probing = self.open

    def give_back(self) -> None:
        """Let another probe go where one was cut off."""
        self._probing = False

    def succeed(self, sent_at: float, now: float) -> bool:
        """Take an answer that shows the upstream alive; True if it ends an outage.

        One that was sent before the breaker opened shows nothing.
        """
        self._failures = self._outages = 0
        self._was_up = True
        if not self.open or sent_at <= self.opened_at:
            return False
        self.false_alarm = not self._probes_failed and sent_at - self.opened_at <= FALSE_ALARM_SECONDS
        self.opened_at = self._probe_at = math.inf
        self.open = self.doubtful = self._probing = False
        if self.false_alarm:
            self._trusted_until = now + self._trust
        self._trust = min(MOST_TRUST, 2 * self._trust) if self.false_alarm else LEAST_TRUST
        return not self.false_alarm

    def fail(self, sent_at: float, now: float, error: str, chance: float, *, known: bool, last: bool) -> bool:
        """Take a failure that may be the upstream's; True if it counts as its song's. `chance` from 0 to 1.

        `known`: there is a song to probe with that was found; `last`: this one would be failed.
        """
        if self.open:
            if sent_at > self.opened_at:
                self._probing = False
                self._probes_failed += 1
                self._wait = min(MOST_PROBE, 3 * self._wait)
                self._probe_at = now + self._wait * (0.9 + 0.2 * chance)
            return False
        self._failures += 1
        self._outages = self._outages + 1 if error in OUTAGE else 0
        outage = self._outages > 0 and self._outages >= self._most_outages(error)
        doubt = known and self._failures >= OPEN_AFTER_DOUBT and (last or error not in OUTAGE)
        if sent_at >= self._trusted_until and (outage or doubt):
            self.open, self.doubtful, self.opened_at = True, not outage, now
            self._reason = error
            self._wait, self._probes_failed = FIRST_PROBE if outage else DOUBT_PROBE, 0
            self._probe_at = now + self._wait * (0.9 + 0.2 * chance)
        return not self.open

    def _most_outages(self, error: str) -> int:
        if error not in SILENCE:
            return OPEN_AFTER
        return OPEN_AFTER_SILENCE if self._was_up else OPEN_AFTER_NOTHING

    def hopeless(self, now: float) -> str | None:
        """Say in a sentence why there is no use in waiting longer, if there is none."""
        patience = PATIENCE_SECONDS if self._was_up else NEVER_UP_SECONDS
        if now - self.opened_at < patience or self._probing or not self._probes_failed:
            return None
        return f"The upstream is down: {now - self.opened_at:.0f} s long every request came to {self._reason}."
