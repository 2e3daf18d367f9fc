"""The rate at which an upstream takes requests: found from what it throttles, at the price of few throttled requests.

Until the first throttled answer the rate grows exponentially. What is throttled at the end of that is the excess rate
times one round trip, since until the first throttled answer is back nothing tells; so the latency says how fast it may
grow, and the growth by itself finds quotas of any size at the price of the same share of rejected requests. From then
on it follows a cubic curve relative to the accepted rate, after CUBIC (RFC 9438, 4.2) and the adaptive mode of the AWS
clients, whose constants are absolute: too slow for a thousand requests a second, too eager for five.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

# Requests a second before a latency is known.
START_PER_SECOND = 150.0
# A quota of 50 a second, and as many at once, is found with the first 85 songs at the most: those come at a rate that
# exceeds it by what makes 12 throttled requests of a latency.
FIRST_SONGS, FIRST_PER_SECOND, FIRST_THROTTLED = 85, 50.0, 12.0
# From then on each song brings so many more in flight, and a second so many e-folds of the rate more: a quota of q,
# from 50 up, is found after 0.9 to 1.7 q songs, with less than 0.6 q throttled. The most is a doubling in 10 ms.
MORE_IN_FLIGHT, GROWTH, MOST_GROWTH = 0.6, 2 / 3, 70.0
# Where a limit was met before.
MOST_GROWTH_BEYOND = 3.5

# After a throttled answer: to this share of the rate that was accepted, back at it after the seconds.
CUT = 0.9
REGROW_SECONDS = 2.0
# How long to stay at a rate that was found again, before more is tried; doubled from the one to the other.
LEAST_HOLD, MOST_HOLD = 1.0, 3.0
# As many requests at least as are sent at a rate before more is tried.
HOLD_REQUESTS = 20.0
# Where each throttled answer costs a pause, more is tried this many pauses later.
HOLD_PAUSES = 20.0
SAME = 0.15
# Requests a second by which the curve rises at least, so that of instances that share a quota the slow ones catch up.
LEAST_STEP = 1.0
# So many times the limit, and not refused: there is no such limit any more.
BEYOND = 1.5
# A throttled answer at so many times the limit says nothing against the limit.
REFUTED = 1.05
MOST_STAY, MOST_REST = 6.0, 4.0
# What an earlier run learned is believed so long.
LEARNED_HOLD = 16.0

# What a quota grants at once beside its rate, in seconds of it, until we know better.
GRANT_SECONDS = 1.0
# So many requests left out, and as long a time at least: nothing is known of the quota's bucket any more but its size.
IDLE_REQUESTS = 4.0
# Accepted requests, or else seconds, from which on they tell a rate.
ENOUGH_ACCEPTED, ENOUGH_SECONDS = 10, 1.0
# Where fewer were accepted in all, the quota saves nothing up, and how large it is was not seen: the rate is doubled
# after so many requests, and after as many seconds at least, until the next throttled answer; this share of it is kept.
ROUGH_REQUESTS, ROUGH_SECONDS, ROUGH_SHARE = 3.0, 0.5, 0.7
# So few tell next to nothing: the rate is halved at most.
FEW_ACCEPTED = 3
OLD_SECONDS = 30.0

# After an outage the rate begins at half and is whole after the seconds.
EASE_SECONDS = 2.0

BURST_SECONDS = 0.05
# What sums of floats lack of a whole request.
ROUNDING = 1e-9
_TICK_SECONDS = 0.1
# Of the ramp: no tick more than doubles the rate.
_DOUBLING = math.log(2)
_USED = 0.6
_LEAST_PER_SECOND = 0.01


class RequestRate:
    """A rate of requests that grows while it is used and not refused. Times are instants, in seconds.

    `limit` is the accepted rate at which the upstream throttled last; None: it never did. `start` and `limit` may be
    what an earlier run learned.
    """

    def __init__(self, start: float = START_PER_SECOND, limit: float | None = None) -> None:
        self.per_second = limit or max(start, START_PER_SECOND)
        self.limit = limit
        self._growth = GROWTH  # of the ramp: e-folds a second
        self._tick_seconds = _TICK_SECONDS
        self._hold = LEAST_HOLD
        self._stays = LEARNED_HOLD
        self._age = REGROW_SECONDS  # seconds of use since the last cut
        self._tried: tuple[float, int] | None = None  # since when, and after how many accepted, more is tried
        self._rough = False  # the limit is a guess
        self._beyond = False  # so much more that there seems to be no limit any more
        self._eased_until = -math.inf
        self._tokens = 1.0
        self._refilled_at = -math.inf
        self._ticked_at = math.inf
        self._sent_at = math.inf
        self._sent = 0
        self._first = FIRST_SONGS if start <= START_PER_SECOND else 0
        self._cut_at = -math.inf
        self._accepted = 0
        self._since, self._grant = math.inf, GRANT_SECONDS  # from when accepted requests are measured
        self._span = 0.0  # the seconds that were measured last, and what was accepted of what was sent in them
        self._spanned = 0
        self._used = 0.0
        self.best = 0.0  # the most requests a second that went out, of the last half second or so

    @property
    def begun(self) -> bool:
        """Tell whether a request went out."""
        return self._ticked_at != math.inf

    def ready(self, now: float) -> tuple[int, float]:
        """Return how many requests may go out now; where none may, the instant from which one may."""
        tokens = self._refill(now) + ROUNDING
        if tokens >= 1.0:
            return int(tokens), now
        return 0, now + (1.0 - tokens) / self._current(now)

    def send(self, now: float, count: int) -> None:
        """Count requests that go out now; after a time without any the quota's bucket is full, as at the beginning."""
        idle = now - self._sent_at
        if idle > GRANT_SECONDS and idle * self.per_second > IDLE_REQUESTS:
            self._measure_from(now)
            self._grant, self._span = GRANT_SECONDS, 0.0
        self._sent_at = now
        self._tokens = (self._tokens if now == self._refilled_at else self._refill(now)) - count
        self._sent += count
        self._first -= count
        if self._ticked_at == math.inf:
            self._ticked_at = self._since = now

    def observe_accepted(self, sent: Sequence[float]) -> None:
        """Count requests, sent at these instants, that came back with anything but a throttled answer."""
        late = sum([sent_at < self._since for sent_at in sent])
        self._accepted += len(sent) - late
        if late and self._span:  # sent before the cut, and slower to come back than what was throttled
            self._spanned += late
            self.limit = max(self.limit or 0.0, self._spanned / self._span)

    def observe_throttled(self, sent_at: float, now: float, retry_after: float, chance: float) -> None:
        """Learn from a throttled answer: cut the rate, once for all that were on their way; `chance` from 0 to 1."""
        if sent_at < self._cut_at:
            return
        rough = self._accepted < FEW_ACCEPTED and (self._rough or self._grant > 0)
        was_rough, measured = self._rough, self._accepted
        accepted = self._accepted_per_second(sent_at)
        if was_rough and measured >= FEW_ACCEPTED:
            accepted = max(accepted, ROUGH_SHARE * self.per_second)
        self._cut_at, self._rough = now, rough
        before, self.limit = self.limit, accepted
        self._growth, self._tick_seconds = min(self._growth, MOST_GROWTH_BEYOND), _TICK_SECONDS
        repeated = before is not None and abs(accepted - before) <= SAME * before
        hold = min(MOST_HOLD, self._hold * 2) if repeated else LEAST_HOLD
        self._hold = hold
        pauses = HOLD_PAUSES * min(retry_after, 3.0)
        few = min(MOST_STAY, HOLD_REQUESTS / accepted) if repeated else 0.0
        # By chance, so that instances that share a quota do not try for more together.
        self._stays = max(hold, pauses, few) * (0.75 + 0.5 * chance)
        # A rest at the cut rate, until one request is saved up: where few are sent, the curve alone would save none.
        self._tried, self._beyond = None, False
        self._age = -min(MOST_REST, 1.0 / ((1.0 - CUT) * accepted))
        self.per_second = max(_LEAST_PER_SECOND, CUT * accepted)
        self._tokens = min(self._tokens, 0.0)

    @property
    def nothing_came(self) -> bool:
        """Tell whether nothing was accepted since the last cut."""
        return not self._accepted and not self._grant

    def snapshot(self) -> RequestRate:
        """Return what it is now, to come back to."""
        return copy.copy(self)

    def at_most(self, per_second: float) -> None:
        """Go no faster than this for now."""
        self.per_second = max(_LEAST_PER_SECOND, min(self.per_second, per_second))

    def go_on(self, now: float) -> RequestRate:
        """Have a snapshot go on from here, as if no time had passed."""
        self._cut_at = now
        self._tokens = min(self._tokens, 1.0)
        self._measure_from(now)
        self.wake(now)
        return self

    def wake(self, now: float) -> None:
        """Begin to send again after a time that nothing is to be concluded from."""
        self._refilled_at = self._ticked_at = self._sent_at = now
        self._sent = 0

    def ease(self, now: float) -> None:
        """Begin again after an outage: at half, and whole after EASE_SECONDS."""
        self._eased_until = now + EASE_SECONDS
        self._age = min(self._age, REGROW_SECONDS)

    def ramp(self, latency: float) -> None:
        """Have the ramp, if it still goes on, be as steep as a latency allows, in seconds."""
        if self.limit is None:
            self._growth = min(MOST_GROWTH, GROWTH + MORE_IN_FLIGHT / latency)
            self._tick_seconds = min(_TICK_SECONDS, _DOUBLING / self._growth)
            if self._first > 0:
                self.per_second = FIRST_PER_SECOND + FIRST_THROTTLED / latency

    def _accepted_per_second(self, sent_at: float) -> float:
        """Measure from one throttled answer to the next: a bucket is empty at both, so that its rate came between."""
        seconds, accepted = max(0.0, sent_at - self._since), self._accepted
        if self._grant and not accepted:
            return self.per_second / 2
        if not self._grant and accepted < ENOUGH_ACCEPTED and seconds < ENOUGH_SECONDS:
            return self.per_second
        grant = self._grant
        self._span, self._spanned = seconds + grant, accepted
        self._measure_from(sent_at)
        least = self.per_second / 2 if accepted < FEW_ACCEPTED and not grant else 0.0
        if self._tried:  # what is more than the old limit shows only from then on, and does not refute that
            since, count = self._tried
            least = max(least, (accepted - count) / (sent_at - since + GRANT_SECONDS))
            if self.per_second > REFUTED * (self.limit or 0.0):
                least = max(least, self.limit or 0.0)
        return min(self.per_second, max(least, accepted / self._span))

    def _measure_from(self, instant: float) -> None:
        self._since, self._accepted, self._grant = instant, 0, 0.0

    def _refill(self, now: float) -> float:
        per_second = self.per_second if now >= self._eased_until else self._current(now)
        seconds = now - self._refilled_at
        if seconds > 0:
            tokens, most = self._tokens + seconds * per_second, BURST_SECONDS * per_second
            self._tokens = tokens if tokens <= 1.0 or tokens <= most else max(1.0, most)
            self._refilled_at = now
            if now - self._ticked_at > self._tick_seconds:
                self._tick(now)
        return self._tokens

    def _current(self, now: float) -> float:
        return self.per_second * (1.0 - 0.5 * max(0.0, self._eased_until - now) / EASE_SECONDS)

    def _tick(self, now: float) -> None:
        """Let the rate grow by the time since the last tick, if it was used."""
        seconds = now - self._ticked_at
        if self._sent < 2 and seconds * self.per_second < 4:
            return
        self._used += min(1.0, 2.0 * seconds) * (self._sent / seconds - self._used)
        self.best = max(self.best, self._used)
        if self._sent >= _USED * seconds * self._current(now):
            self._grow(min(seconds, 4 * _TICK_SECONDS + 4 / self.per_second), now)
        self._ticked_at, self._sent = now, 0
        if now - self._since > OLD_SECONDS and not self._beyond:
            self._span = 0.0
            self._measure_from(now)

    def _grow(self, seconds: float, now: float) -> None:
        if self.limit is None and self._first > 0:
            return
        if self._rough:
            self.per_second *= math.exp(_DOUBLING * seconds / max(ROUGH_SECONDS, ROUGH_REQUESTS / self.per_second))
            return
        if self.limit is None or self._beyond:
            self.per_second *= math.exp(min(_DOUBLING, self._growth * seconds))
            return
        self._age += seconds
        past = self._age - REGROW_SECONDS
        if past > 0:
            past = max(0.0, past - self._stays)
        past = max(past, -REGROW_SECONDS)
        step = (1.0 - CUT) * self.limit
        if past > 0:
            step = max(step, min(self.limit, LEAST_STEP))
            self._tried = self._tried or (now, self._accepted)
        self.per_second = max(_LEAST_PER_SECOND, self.limit + step * (past / REGROW_SECONDS) ** 3)
        if self.per_second > BEYOND * (self.limit + LEAST_STEP):
            self._tried, self._beyond = (now, self._accepted), True
