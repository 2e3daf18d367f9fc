"""Whose fault failures are, as far as the rate of requests goes: what opens the circuit breaker, what cuts the rate.

A failure may be its song's own, an outage, or a limit that calls itself something else; a pause may be told to all or
to one song. What is not known yet is decided by a canary, a song known to be there (engine/outage_probe.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from crawler.core.verdict import Kind, Verdict
from crawler.rate_control.circuit_breaker import CREDENTIALS, OUTAGE, BreakerState, CircuitBreaker
from crawler.rate_control.disguised_throttling import DisguisedThrottling, Meaning
from crawler.rate_control.pause import Pause
from crawler.rate_control.request_rate import RequestRate
from crawler.rate_control.revocable_cuts import RevocableCuts

# Bound once, as in core/verdict.py.
_FOUND, _RETRY, _CLOSED = Kind.FOUND, Kind.RETRY, BreakerState.CLOSED

# A refusal of all songs that ends by itself so soon is a limit's: at once where it is no fault of a server, else where
# it comes twice within the second span.
BLOCK_SECONDS, AGAIN_SECONDS = 60.0, 60.0


class FaultFinder:
    """The request rate, the pause and the circuit breaker of an upstream, and what failures teach them."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._rate = RequestRate()
        self._breaker = CircuitBreaker()
        self._pause = Pause()
        self._disguise = DisguisedThrottling()
        self._cuts = RevocableCuts(random)
        self._block_ended_at = -math.inf
        self._named_wait = False  # what opened the circuit breaker said how long to wait, which was heeded
        self.false_alarm = False
        """Whether what a canary told last was that the failures are the songs' own."""

    @property
    def needs_canary(self) -> bool:
        """Tell whether what goes out now should be a song that was found before: it tells whose fault failures are."""
        return self._breaker.needs_canary or self._pause.unproven

    @property
    def pause_is_unproven(self) -> bool:
        """Tell whether a pause was told to one song so far, and nothing but a canary may go out."""
        return self._pause.unproven

    @property
    def is_open(self) -> bool:
        """Tell whether the circuit breaker holds requests back."""
        return self._breaker.state is not _CLOSED

    @property
    def was_up(self) -> bool:
        """Tell whether the upstream ever answered anything."""
        return self._breaker.was_up

    def _throttle(
        self, sent_at: float, now: float, verdict: Verdict, may_know: bool, before: str | None, *, canary: bool
    ) -> bool:
        """Learn that the upstream wants fewer requests; a canary that is throttled tells nothing else."""
        if canary:
            self._breaker.release()
            self._end_proof(now, holds=True)
        self._hold(sent_at, now, verdict, again=before is not None, may_know=may_know)
        if not canary and self._breaker.observe_success(sent_at, now):
            self._rate.ease(now)
        return False

    def _come(self, sent_at: float, now: float, verdict: Verdict, before: str | None, *, canary: bool) -> None:
        """Learn that an answer came that shows the upstream alive."""
        if canary:
            self._end_proof(now, holds=False)
        self._resume([sent_at])
        self._answer(sent_at, now)
        if self._disguise and verdict.kind is _FOUND:
            self._end_trial(self._disguise.observe_came(1, before), now)

    def _answer(self, sent_at: float, now: float) -> None:
        """Have the circuit breaker learn that the upstream is alive, and draw the conclusions if that closes it."""
        was_open, word, opened_at = self.is_open, self._breaker.word, self._breaker.opened_at
        ended = self._breaker.observe_success(sent_at, now)
        self._rate.observe_accepted([sent_at])
        if not was_open or self.is_open:
            return
        self.false_alarm = self._breaker.false_alarm
        if ended:
            self._end_block(word, opened_at, now)
        elif self._disguise.begin(word, alarmed=True):
            self._rate = self._cuts.begin_trial(self._rate, opened_at, now)

    def _end_block(self, word: str, opened_at: float, now: float) -> None:
        """Take a refusal of all songs that was over soon for throttling."""
        ours = word not in OUTAGE and not word.startswith("http_5")
        again = opened_at - self._block_ended_at < AGAIN_SECONDS
        if (
            word.startswith("http_")
            and not (self._named_wait or word in CREDENTIALS)
            and now - opened_at < BLOCK_SECONDS
            and (ours or again)
        ):
            self._disguise.confess(word)
            self._pause.learn(self._breaker.waited)
            self._rate = self._cuts.cut_block(self._rate, opened_at, now, now - opened_at)
        self._block_ended_at = now
        self._rate.ease(now)

    def _fail(
        self,
        sent_at: float,
        now: float,
        verdict: Verdict,
        since_good: bool,
        *,
        has_canary: bool,
        last: bool,
        canary: bool,
    ) -> bool:
        """Learn of a failure whose fault it is not known; True if it counts as its song's."""
        word = verdict.error or verdict.kind.value
        if not canary and verdict.retry_after is None:
            self._end_trial(self._disguise.observe_refused(word, again=since_good), now)
        throttles = self._disguise.means_throttling(word)
        if canary:
            self._end_proof(now, holds=True)
        if throttles and not self.is_open:
            return False
        if word not in OUTAGE:
            self._rate.observe_accepted([sent_at])
        last = last or verdict.kind is not _RETRY
        counts = True
        if self._may_be_the_upstreams(word, has_canary):
            if not self.is_open:
                self._cuts.note_opening(self._rate)
                self._named_wait = verdict.retry_after is not None
            detail = verdict.reason or verdict.detail
            counts = self._breaker.observe_failure(
                sent_at, now, word, self._random(), has_canary=has_canary, last=last, detail=detail
            )
        else:
            self._breaker.observe_answer(sent_at)
        return counts and not self._disguise.on_trial(word) and not self._pause.unproven

    def _hear_of_limit(
        self, sent_at: float, now: float, verdict: Verdict, before: str | None, *, may_know: bool
    ) -> None:
        """Pause for a failure that names a wait, or that is taken for throttling."""
        throttles = self._disguise.means_throttling(verdict.error or "")
        self._hold(sent_at, now, verdict, again=before is not None, may_know=may_know, throttles=throttles)

    def try_slower(self, word: str, now: float) -> bool:
        """Begin to ask more slowly, to see whether songs come that would be failed for a word, if that makes sense."""
        if not self._disguise.begin(word, alarmed=False):
            return False
        self._rate = self._cuts.begin_trial(self._rate, now, now)
        return True

    def is_own(self, word: str) -> bool:
        """Tell whether a song that is refused with this word is to be believed without asking again."""
        return self._disguise.is_own(word)

    def passes(self, word: str) -> bool:
        """Tell whether songs that were refused with it came at another attempt."""
        return self._disguise.passes(word)

    def on_trial(self, word: str) -> bool:
        """Tell whether it is being tried whether a word goes away where fewer requests are sent."""
        return self._disguise.on_trial(word)

    def means_throttling(self, word: str) -> bool:
        """Tell whether a word is taken for throttling."""
        return self._disguise.means_throttling(word)

    def suspect(self, now: float, word: str, *, has_canary: bool, detail: str | None = None) -> None:
        """Hold back all songs until it is known whose fault failures are that nothing else tells of."""
        if not self.is_open:
            self._cuts.note_opening(self._rate)
            self._breaker.trip(now, word, self._random(), has_canary=has_canary, detail=detail, at_once=has_canary)

    def lose_canary(self, now: float) -> None:
        """Go on without a canary: no song is known to be there any more."""
        self._breaker.lose_canary()
        self._end_proof(now, holds=True)

    def _end_proof(self, now: float, *, holds: bool) -> None:
        """Take what a canary told of a pause that was unproven: it holds for all, or was one song's."""
        if self._pause.unproven:
            self._pause.judge(holds=holds)
            self._rate = self._cuts.end_pause(self._rate, now, holds=holds)
            self.false_alarm = not holds

    def _end_trial(self, meaning: Meaning | None, now: float) -> None:
        """Come back to the rate of before if it was cut for nothing."""
        if meaning:
            self._rate = self._cuts.end_trial(self._rate, now, in_vain=meaning is Meaning.OWN)

    def _may_be_the_upstreams(self, error: str, has_canary: bool) -> bool:
        """Tell whether a failure says something of the upstream as a whole."""
        breaker = self._breaker
        if error in OUTAGE or breaker.state is _CLOSED:
            return error in OUTAGE or has_canary
        return breaker.needs_canary or breaker.word not in OUTAGE

    def _hold(
        self, sent_at: float, now: float, verdict: Verdict, *, again: bool, may_know: bool, throttles: bool = True
    ) -> None:
        """Pause as an answer asks; only one that means throttling says anything of the rate."""
        seconds = verdict.retry_after or 0.0
        if may_know and self._pause.question(seconds, again=again):
            self._cuts.note_pause(self._rate)
        if throttles or self._pause.suspect(sent_at, now, seconds):
            self._rate = self._cuts.cut(self._rate, sent_at, now, seconds, again=again)
        self._pause.begin(sent_at, now, seconds)

    def _resume(self, sent: Sequence[float]) -> None:
        """Learn from good answers: what was served while others were refused tells of a quota, not of an outage."""
        for sent_at in sent:
            if quota := self._pause.observe_success(sent_at):
                refused_at, told_at, seconds = quota
                self._rate.observe_throttled(refused_at, told_at, seconds, self._random())
