"""Cuts of the request rate that may be taken back: what it was before they turned out to be for nothing.

A rate is cut before it is known whose fault a refusal is: the upstream's, or that of one song alone.
"""

from __future__ import annotations

from collections.abc import Callable

from crawler.rate_control.request_rate import RequestRate


class RevocableCuts:
    """The rates of before. Each method takes the present rate and returns the one to go on with."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._before_trial: RequestRate | None = None
        self._before_pause: RequestRate | None = None
        self._before_songs: RequestRate | None = None
        self._songs = 0  # that have cut it since
        self._when_opened: RequestRate | None = None

    def note_opening(self, rate: RequestRate) -> None:
        """Keep the rate at which the circuit breaker opens: probes tell nothing of it."""
        self._when_opened = rate.snapshot()

    def note_pause(self, rate: RequestRate) -> None:
        """Keep the rate of before a pause that is unproven."""
        self._before_pause = rate.snapshot()

    def end_pause(self, rate: RequestRate, now: float, *, holds: bool) -> RequestRate:
        """Take the cut by a pause back, unless that holds for all."""
        before, self._before_pause = self._before_pause, None
        return rate if holds or before is None else before.go_on(now)

    def cut(self, rate: RequestRate, sent_at: float, now: float, seconds: float, *, again: bool) -> RequestRate:
        """Cut for a throttled answer, to a song that met one before, or did not.

        That one song is refused again, and nothing came since the last cut, teaches nothing new: it may be that alone.
        """
        if again and rate.nothing_came:
            return rate
        self._before_songs = self._before_songs or rate.snapshot()
        self._songs += not again
        rate.observe_throttled(sent_at, now, seconds, self._random())
        return rate

    def end_lone(self, rate: RequestRate, now: float) -> RequestRate:
        """Take the cut by one song back that is refused alone, if it was the only one to cut."""
        before, songs = self._before_songs, self._songs
        self._before_songs, self._songs = None, 0
        return before.go_on(now) if before and songs == 1 else rate

    def cut_block(self, rate: RequestRate, opened_at: float, now: float, seconds: float) -> RequestRate:
        """Cut by what was accepted until the circuit breaker opened."""
        if self._when_opened and opened_at < now:
            rate = self._when_opened.snapshot()
        rate.observe_throttled(opened_at, now, seconds, self._random())
        rate.wake(now)
        return rate

    def begin_trial(self, rate: RequestRate, opened_at: float, now: float) -> RequestRate:
        """Go at half the rate at most, to see whether refusals go away."""
        opened = opened_at < now and self._when_opened is not None
        self._before_trial = self._when_opened if opened else rate.snapshot()
        most = (self._before_trial or rate).per_second / 2
        rate = self.cut_block(rate, opened_at, now, 0.0)
        rate.at_most(most)
        return rate

    def end_trial(self, rate: RequestRate, now: float, *, in_vain: bool) -> RequestRate:
        """Take the cut of a trial back if it changed nothing."""
        if not in_vain or self._before_trial is None:
            return rate
        before, self._before_trial = self._before_trial, None
        return before.go_on(now)
