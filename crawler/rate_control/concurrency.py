"""How many requests may be on their way: more while latency stays what it was, fewer where they wait for one another.

The window doubles each round trip at first, as in TCP's slow start, until latency shows a queue (after HyStart++, RFC
9406). From then on the limit keeps the median latency of a window near the least median of the last minute, after TCP
Vegas. A latency that grew is no proof of a queue of ours: the upstream may have slowed down, or songs may come from a
cache or not. So a cut is a trial: where the wait does not shorten with it, it is taken back.
"""

from __future__ import annotations

import math
from collections import deque

START_IN_FLIGHT = 10

# The median latency may be so many times the base, and so many seconds above it (RFC 9406 has 4 ms as its least).
GROWS_BELOW, CUTS_ABOVE = 1.1, 1.25
SLACK_SECONDS = 0.004
# A round of the start whose quickest quarter takes so many times the first rounds' ends it, if the next is as slow with
# no more in flight: a process that stands still for a moment (an import, another thread) looks like a queue, once.
START_ENDS_ABOVE = 2.0
BASE_SECONDS = 60.0

WINDOW_SECONDS, LONGEST_WINDOW_SECONDS = 0.5, 4.0
SAMPLES, LEAST_SAMPLES = 40, 8
MANY_WINDOWS = 8
# Now and then the base is measured anew with fewer in flight: a queue that always stands would become the base
# (https://github.com/Netflix/concurrency-limits/issues/88; BBR's ProbeRTT is the same).
PROBE_SECONDS, PROBE = 30.0, 0.7
LEAST_CUT = 0.5
LEAST_MUTE, MOST_MUTE = 2.0, 64.0
_BUSY = 0.7


class ConcurrencyLimit:
    """A limit on requests in flight that follows their latencies, in seconds; instants are of one clock."""

    def __init__(self, most: float, start: float = START_IN_FLIGHT) -> None:
        self._most = most
        self.limit = int(min(most, start))
        self._start = min(self.limit, START_IN_FLIGHT)
        self.starting = True
        self.latency = math.inf  # the least of the window medians, of late
        self._suspected = False  # the last round of the start was slow
        self._samples: list[float] = []
        self._since = -math.inf
        self._busy = False
        self._medians: deque[tuple[float, float]] = deque()
        self._quickest = math.inf
        self._trial: tuple[int, float, float] | None = None  # limit and mean latency before, factor
        self._mute = LEAST_MUTE
        self._muted_until = -math.inf
        self._probed_at = -math.inf
        self._probing = False

    def observe(self, sent_at: float, now: float, in_flight: int) -> bool:
        """Learn from a latency; `in_flight` counts those on their way with it. True if it ended a window."""
        if in_flight >= _BUSY * self.limit:
            self._busy = True
            if self.starting and self.limit < self._most and not self._suspected:
                self.limit += 1
        if self._since == -math.inf:
            self._since = sent_at
        if sent_at < self._since:
            return False  # of before the limit was changed
        samples = self._samples
        samples.append(now - sent_at)
        if len(samples) < LEAST_SAMPLES:
            return False
        if self.starting:
            self._close_round(now, in_flight)
            return True
        seconds = now - self._since
        if seconds < WINDOW_SECONDS or (len(samples) < SAMPLES and seconds < LONGEST_WINDOW_SECONDS):
            return False
        self._close_window(now)
        return True

    def _close_round(self, now: float, in_flight: int) -> None:
        samples = sorted(self._samples)
        quickest = samples[len(samples) // 4]
        self.latency = min(self.latency, samples[len(samples) // 2])
        slow = quickest > START_ENDS_ABOVE * self._quickest + SLACK_SECONDS
        if slow and self._suspected:
            # Eight samples, perhaps the last of a call, don't say that fewer would do than it began with.
            self.limit = max(self._start, min(self.limit, int(CUTS_ABOVE * in_flight * self._quickest / quickest)))
            self.starting = False
        elif self.limit >= self._most and not slow:
            self.starting = False
            self._probed_at = now  # no queue showed: the base was measured just now
        self._suspected = slow
        self._quickest = min(self._quickest, quickest)
        if not self.starting:
            self._medians.append((now, self.latency))
        self._begin(now)

    def _close_window(self, now: float) -> None:
        median, mean = sorted(self._samples)[len(self._samples) // 2], math.fsum(self._samples) / len(self._samples)
        self._note(now, median)
        if self._trial:
            self._judge(now, median, mean)
        elif self._busy:
            self._adapt(now, median, mean)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._samples.clear()
        self._since = now
        self._busy = False

    def _note(self, now: float, median: float) -> None:
        medians = self._medians
        medians.append((now, median))
        while medians[0][0] < now - BASE_SECONDS:
            medians.popleft()
        # The least but one of many: the least is too much of a lucky one.
        self.latency = sorted(median for _, median in medians)[len(medians) >= MANY_WINDOWS]

    def _adapt(self, now: float, median: float, mean: float) -> None:
        excess = median - SLACK_SECONDS
        if excess > CUTS_ABOVE * self.latency:
            if now >= self._muted_until:
                self._try(mean, max(LEAST_CUT, GROWS_BELOW * self.latency / median))
        elif now - self._probed_at >= PROBE_SECONDS:
            self._probed_at = now
            self._try(mean, PROBE)
            self._probing = True
        elif excess <= GROWS_BELOW * self.latency:
            self.limit = int(min(self._most, self.limit + max(1.0, 0.1 * self.limit)))

    def _try(self, mean: float, factor: float) -> None:
        """Cut the limit, and see in the next window what it did."""
        fewer = int(self.limit * factor)
        if fewer:
            self._trial = self.limit, mean, fewer / self.limit
            self.limit = fewer

    def _judge(self, now: float, median: float, mean: float) -> None:
        """Keep a cut if throughput (by Little's law, in flight over latency) fell by less than half as much."""
        limit, before, factor = self._trial or (self.limit, mean, 1.0)
        probing, self._probing, self._trial = self._probing, False, None
        if factor * before / mean > (1 + factor) / 2:
            self._mute = LEAST_MUTE
            return
        self.limit = limit
        if probing:
            return
        self._muted_until = now + self._mute
        self._mute = min(MOST_MUTE, 2 * self._mute)
        self._medians.clear()
        self._note(now, median)
