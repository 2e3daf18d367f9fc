"""The circuit breaker: when failure upon failure says that the upstream is down, ask it rarely until it answers.

    CLOSED ──── too many failures in a row ────> OPEN <── the probe failed, or was cut off ──┐
       ^                                          └──── a wait is over: one probe goes out ──> HALF_OPEN
       └──────────────────────────── the probe was answered ────────────────────────────────────┘

It opens for one of two reasons. Either nobody speaks for the upstream any more: an outage. Or the failures may be the
songs' own: then the probe is to be a canary, a song that was found before, and what comes of it tells whose they are.
"""

from __future__ import annotations

import math
from enum import Enum

# Failures in a row, none of the upstream's answers among them. A gateway speaks for the upstream, a broken answer may
# be the song's own: where three in ten requests fail by themselves, ten in a row come once in 200,000.
OPEN_AFTER, OPEN_AFTER_SILENCE = 6, 10
# As long as nothing at all was answered, fewer than a song has attempts, so that none fails for it. As few where a
# canary can tell whose fault it is: if the failures may be the songs' own, or if a song would be failed for them.
OPEN_AFTER_NOTHING, OPEN_AFTER_AMBIGUOUS = 3, 3

# Seconds until the first probe, fewer where it is a canary, for which all wait; later ones after three times as many,
# up to the most.
FIRST_PROBE, CANARY_PROBE, MOST_PROBE = 0.25, 0.02, 5.0
# Where the first probe is found so soon, the failures were the songs' own, and what is sent in the next seconds may
# fail too: in more seconds after each such alarm.
FALSE_ALARM_SECONDS = 1.0
LEAST_TRUST, MOST_TRUST = 0.5, 5.0

# How long to wait for one that was up, and for one that never was.
PATIENCE_SECONDS, NEVER_UP_SECONDS = 150.0, 15.0

# No answer, or one of a gateway. A 500 is the application's own, and may be the song's fault.
SILENCE = frozenset({"connection", "timeout"})
OUTAGE = SILENCE | {"http_502", "http_503", "http_504"}


class BreakerState(Enum):
    """What a circuit breaker lets out: all, nothing until its probe is due, nothing until its probe came back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


_CLOSED, _OPEN, _HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class CircuitBreaker:
    """A count of failures in a row, which lets one request out at a time after too many. Times are in seconds."""

    def __init__(self) -> None:
        self.state = _CLOSED
        self.false_alarm = False  # what closed it last said that the failures were the songs' own
        self._ambiguous = False  # it opened for failures that may be the songs' own
        self._opened_at = -math.inf
        self._failures = 0  # in a row, of whatever kind
        self._outages = 0  # of those that leave the upstream no word of its own
        self._reason = ""
        self._wait = FIRST_PROBE
        self._probes_failed = 0
        self._probe_at = math.inf
        self._trust = LEAST_TRUST
        self._trusted_until = -math.inf
        self._was_up = False

    @property
    def needs_canary(self) -> bool:
        """Tell whether nothing but a song that was found before tells whose fault the failures are."""
        return self._ambiguous and self.state is not _CLOSED

    def ready(self, now: float) -> tuple[int, float]:
        """Return whether a probe may go out now, while it is not closed; if not, when (math.inf: one is on its way)."""
        if self.state is _HALF_OPEN:
            return 0, math.inf
        return (1, now) if now >= self._probe_at else (0, self._probe_at)

    def send(self) -> None:
        """Count a request that goes out: while it is open, that is the probe."""
        if self.state is _OPEN:
            self.state = _HALF_OPEN

    def release(self) -> None:
        """Let another probe go where one was cut off."""
        if self.state is _HALF_OPEN:
            self.state = _OPEN

    def observe_success(self, sent_at: float, now: float) -> bool:
        """Learn from an answer that shows the upstream alive; True if it ends an outage.

        One that was sent before the breaker opened shows nothing.
        """
        self._failures = self._outages = 0
        self._was_up = True
        if self.state is _CLOSED or sent_at <= self._opened_at:
            return False
        self.state = _CLOSED
        self.false_alarm = not self._probes_failed and sent_at - self._opened_at <= FALSE_ALARM_SECONDS
        if self.false_alarm:
            self._trusted_until = now + self._trust
        self._trust = min(MOST_TRUST, 2 * self._trust) if self.false_alarm else LEAST_TRUST
        return not self.false_alarm

    def observe_failure(
        self,
        sent_at: float,
        now: float,
        error: str,
        chance: float,
        *,
        has_canary: bool,
        last: bool,
        detail: str | None = None,
    ) -> bool:
        """Learn from a failure that may be the upstream's; True if it counts as its song's. `chance` from 0 to 1.

        `has_canary`: a song was found, so that one can be sent; `last`: the song would be failed for this failure;
        `detail` says more of it than the word `error`.
        """
        if self.state is not _CLOSED:
            if sent_at > self._opened_at:
                self._probes_failed += 1
                self._await_probe(now, min(MOST_PROBE, 3 * self._wait), chance)
            return False
        self._failures += 1
        self._outages = self._outages + 1 if error in OUTAGE else 0
        outage = self._outages > 0 and self._outages >= self._most_outages(error)
        ambiguous = has_canary and self._failures >= OPEN_AFTER_AMBIGUOUS and (last or error not in OUTAGE)
        if sent_at < self._trusted_until or not (outage or ambiguous):
            return True
        self._opened_at, self._ambiguous, self._reason = now, not outage, detail or error
        self._probes_failed = 0
        self._await_probe(now, FIRST_PROBE if outage else CANARY_PROBE, chance)
        return False

    def _await_probe(self, now: float, seconds: float, chance: float) -> None:
        self.state = _OPEN
        self._wait = seconds
        self._probe_at = now + seconds * (0.9 + 0.2 * chance)

    def _most_outages(self, error: str) -> int:
        if error not in SILENCE:
            return OPEN_AFTER
        return OPEN_AFTER_SILENCE if self._was_up else OPEN_AFTER_NOTHING

    def hopeless(self, now: float) -> str | None:
        """Say in a sentence why there is no use in waiting longer, if there is none."""
        patience = PATIENCE_SECONDS if self._was_up else NEVER_UP_SECONDS
        seconds = now - self._opened_at
        if self.state is not _OPEN or seconds < patience or not self._probes_failed:
            return None
        return f"The upstream is down: {seconds:.0f} s long every request came to {self._reason}."
