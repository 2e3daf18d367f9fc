"""The circuit breaker: when failure upon failure says that the upstream is down, ask it rarely until it answers.

    CLOSED ──── too many failures in a row ────> OPEN <── the probe failed, or was cut off ──┐
       ^                                          └──── a wait is over: one probe goes out ──> HALF_OPEN
       └──────────────────────────── the probe was answered ────────────────────────────────────┘

It opens for one of two reasons. Either nobody speaks for the upstream any more: an outage. Or the failures may be the
songs' own, or a refusal of all. The probe is to be a canary where there is one, a song that is known to be there: what
comes of it tells whose the failures are.
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
# up to the most; a refusal may last as long as somebody asks every ten seconds (mod_evasive's DOSBlockingPeriod,
# https://github.com/jzdziarski/mod_evasive), and so may what looks like an outage, once it has lasted so long.
FIRST_PROBE, CANARY_PROBE, MOST_PROBE = 0.25, 0.02, 5.0
MOST_REFUSED_PROBE, LONG_OUTAGE_SECONDS = 12.5, 65.0
# Where the first probe is found so soon, the failures were the songs' own, and what is sent in the next seconds may
# fail too: in more seconds after each such alarm.
FALSE_ALARM_SECONDS = 1.0
LEAST_TRUST, MOST_TRUST = 0.5, 5.0

# How long to wait for one that was up, and for one that never was: less for a name, a certificate, which seldom mend
# themselves; credentials that are refused do so least.
PATIENCE_SECONDS, NEVER_UP_SECONDS = 150.0, 15.0
NO_SUCH_HOST_SECONDS, CREDENTIALS_SECONDS = 2.5, 30.0
NO_SUCH_HOST, CREDENTIALS = frozenset({"dns", "tls"}), frozenset({"http_401", "http_407"})

# No answer, or one of a gateway. A 500 is the application's own, and may be the song's fault.
SILENCE = frozenset({"connection", "timeout"}) | NO_SUCH_HOST
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
        self._canary = False  # there was a song to be sent as one when it opened
        self.opened_at = -math.inf
        self._failures = 0  # in a row, of whatever kind
        self._outages = 0  # of those that leave the upstream no word of its own
        self.word = ""  # of the failure that opened it
        self._detail: str | None = None
        self.waited = FIRST_PROBE  # before the last probe
        self._probes_failed = 0
        self._probe_at = math.inf
        self._trust = LEAST_TRUST
        self._trusted_until = -math.inf
        self.was_up = False

    @property
    def needs_canary(self) -> bool:
        """Tell whether the probe is to be a song that is known to be there."""
        return self._canary and self.state is not _CLOSED

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
        self.was_up = True
        if self.state is _CLOSED or sent_at <= self.opened_at:
            return False
        self.state = _CLOSED
        self.false_alarm = not self._probes_failed and sent_at - self.opened_at <= FALSE_ALARM_SECONDS
        if self.false_alarm:
            self._trusted_until = now + self._trust
        self._trust = min(MOST_TRUST, 2 * self._trust) if self.false_alarm else LEAST_TRUST
        return not self.false_alarm

    def observe_answer(self, sent_at: float) -> None:
        """Learn from a failure that is no outage's, of which nothing else is known: somebody is there."""
        self._failures = self._outages = 0
        if self.state is not _CLOSED and sent_at > self.opened_at:
            self.state = _CLOSED

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

        `has_canary`: a song is known to be there, so that one can be sent; `last`: the song would be failed for this
        failure; `detail` says more of it than the word `error`.
        """
        if self.state is not _CLOSED:
            if sent_at > self.opened_at:
                self._probes_failed += 1
                self._await_probe(now, min(self._most_probe(now, error), 3 * self.waited), chance)
            return False
        self._failures += 1
        self._outages = self._outages + 1 if error in OUTAGE else 0
        outage = self._outages > 0 and self._outages >= self._most_outages(error)
        ambiguous = has_canary and self._failures >= OPEN_AFTER_AMBIGUOUS and (last or error not in OUTAGE)
        if sent_at < self._trusted_until or not (outage or ambiguous):
            return True
        self.trip(now, error, chance, has_canary=has_canary, detail=detail, at_once=not outage)
        return False

    def trip(
        self, now: float, error: str, chance: float, *, has_canary: bool, detail: str | None = None, at_once: bool
    ) -> None:
        """Let nothing out but a probe; `at_once`: that goes soon, since all wait for what it tells."""
        self.opened_at, self._canary, self.word, self._detail = now, has_canary, error, detail
        self._probes_failed = 0
        self._await_probe(now, CANARY_PROBE if at_once else FIRST_PROBE, chance)

    def lose_canary(self) -> None:
        """Probe with whatever song is next: none that was known is there any more."""
        self._canary = False

    def _most_probe(self, now: float, error: str) -> float:
        long = error not in OUTAGE or now - self.opened_at > LONG_OUTAGE_SECONDS
        return MOST_REFUSED_PROBE if long else MOST_PROBE

    def _await_probe(self, now: float, seconds: float, chance: float) -> None:
        self.state = _OPEN
        self.waited = seconds
        self._probe_at = now + seconds * (0.9 + 0.2 * chance)

    def _most_outages(self, error: str) -> int:
        if error not in SILENCE:
            return OPEN_AFTER
        return OPEN_AFTER_SILENCE if self.was_up else OPEN_AFTER_NOTHING

    def renew(self, now: float) -> None:
        """Let a new call ask at once, and once, where waiting had become hopeless for those before it."""
        if self.hopeless(now):
            self._probe_at, self._probes_failed = now, 0

    def hopeless(self, now: float) -> str | None:
        """Say in a sentence why there is no use in waiting longer, if there is none."""
        seconds = now - self.opened_at
        if self.state is not _OPEN or seconds < self._patience() or not self._probes_failed:
            return None
        if self._detail and self._detail.endswith("."):
            return self._detail
        down = self.word in OUTAGE or self.word.startswith("http_5")
        what = "The upstream is down" if down else "The upstream refuses us"
        return f"{what}: {seconds:.0f} s long every request came to {self._detail or self.word}."

    def _patience(self) -> float:
        if self._detail and self._detail.endswith(".") and self.word not in NO_SUCH_HOST:
            return CREDENTIALS_SECONDS
        if not self.was_up:
            return NO_SUCH_HOST_SECONDS if self.word in NO_SUCH_HOST else NEVER_UP_SECONDS
        return PATIENCE_SECONDS
