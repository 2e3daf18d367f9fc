"""The engine's half of a probe: which song is the canary, and what becomes of failures until it tells whose they are.

A failure that would end its song waits until a song known to be there comes, by a request that set out after it. Mostly
that is the next song found, and costs nothing. Where none comes, the circuit breaker (rate_control/circuit_breaker.py)
lets nothing out but a canary: a known song, of which nobody keeps anything. So do numbers that are missing, though for
these nothing stands still. Where no song is known, a call that met nothing but one refusal is not finished by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from crawler.core.errors import UpstreamUnavailable
from crawler.core.verdict import Kind, Verdict, failed, retry
from crawler.engine.absent_songs import MANY, AbsentSongs, Held, Judged, again_as, ended
from crawler.engine.backlog import Attempt, Chunk
from crawler.engine.known_songs import TURNS, Canary, KnownSongs
from crawler.engine.refusal_odds import RefusalOdds
from crawler.rate_control.circuit_breaker import NO_SUCH_HOST
from crawler.rate_control.limiter import Limiter

# Bound once, as in core/verdict.py.
_FOUND, _MISSING, _FAILED, _REDIRECTED = Kind.FOUND, Kind.MISSING, Kind.FAILED, Kind.REDIRECTED
_RETRY, _THROTTLED = Kind.RETRY, Kind.THROTTLED
# Of songs that ask for no pause.
_PLAIN = {(_FOUND, None)}

# After so many refusals that pass for throttling, and nothing that came, a known song is asked for.
DRY = 3
# Who alone is refused, by the odds that chance did it: it teaches nothing from here on, and is failed from there on.
LONE_ODDS, FAILED_ODDS = 1e-2, 1e-6

_NO_CONNECTION = NO_SUCH_HOST | {"connection"}


class OutageProbe:
    """The failures whose fault is not known, and the songs that tell; for whoever holds the limiter.

    `withholds`: a call that met nothing but one refusal, and knows no song, is not finished by it. `nothing_else` tells
    whether no song is on its way or waits, `in_flight` how many are on their way.
    """

    def __init__(
        self,
        limiter: Limiter,
        max_attempts: int,
        known: KnownSongs,
        *,
        withholds: bool,
        nothing_else: Callable[[], bool],
        in_flight: Callable[[], int],
    ) -> None:
        self._limiter = limiter
        self._max_attempts = max_attempts
        self._known = known
        self._withholds = withholds
        self._nothing_else = nothing_else
        self._in_flight = in_flight
        self._suspect: Chunk | None = None  # that of the last failure
        self._deferred: list[tuple[Attempt, Verdict]] = []  # until the circuit breaker closes
        self._held: list[Held] = []  # until a song comes
        self._absent = AbsentSongs()
        self._came = -math.inf  # when the last request set out that found a song
        self._odds = RefusalOdds()
        self._dry = 0  # refusals since anything came
        self._word: str | None = None  # of the one refusal that all songs met
        self._mixed = False
        self._look: Chunk | None = None  # a known song is to be asked for beside the others, for this chunk
        self._canaries = 0  # on their way
        self._gone = 0  # known songs in a row that are missing now
        self._again = 0  # songs that were refused and are to be asked for again
        self.error: UpstreamUnavailable | None = None

    @property
    def waiting(self) -> int:
        """Count the songs that wait until it is known whose fault failures are."""
        return len(self._deferred) + len(self._held) + len(self._absent.held)

    def probe(self, now: float, in_flight: int) -> Attempt | None:
        """Return an attempt at a canary that is to go out now; None: none is needed, or no song is known."""
        needed = self._limiter.needs_canary
        chunk = self._suspect if needed else self._look
        if chunk is None:
            return None
        if not self._known.has(chunk.fetcher):
            if needed and not in_flight and not self._known.load():
                self._limiter.lose_canary(now)
            return None
        self._look = None
        self._canaries += 1
        return Attempt(Canary(chunk, self._known.pick(chunk.fetcher)), 0)

    def observe_found(self, settled: Sequence[tuple[Attempt, Verdict]], now: float) -> list[Judged] | None:
        """Have the limiter learn from songs that were all found, as most are; None: `observe` must.

        Returns what else was decided by it.
        """
        if self._deferred or self._held or {(verdict.kind, verdict.retry_after) for _, verdict in settled} != _PLAIN:
            return None
        if self._canaries or (self._again and any(attempt.refused is not None for attempt, _ in settled)):
            return None
        sent = [attempt.started for attempt, _ in settled]
        if not self._limiter.observe_found(sent, now):
            return None
        self._known.add(settled[-1][0])
        self._odds.good += len(settled)
        self._mixed, self._gone, self._dry = True, 0, 0
        if not self._absent.needs_release():
            return []
        self._absent.found()
        self._came = max(self._came, *sent)
        return self._release_absent()

    def observe(self, settled: Sequence[tuple[Attempt, Verdict]], now: float) -> list[Judged]:
        """Have the limiter learn from verdicts, and say what comes of each song, once that is known."""
        judged = []
        for attempt, verdict in settled:
            self._again -= attempt.refused is not None
            self._canaries -= attempt.chunk.is_canary
            judged += self._judge(attempt, verdict, now)
        return judged + self.told(now)

    def told(self, now: float) -> list[Judged]:
        """Say what comes of the songs of which it is known by now whose fault their failures are."""
        if self._held and self._limiter.is_open:
            self._defer_held()
        told: list[Judged] = []
        if self._deferred and not self._limiter.needs_canary:
            deferred, self._deferred = self._deferred, []
            own = self._limiter.false_alarm and not self._limiter.is_open
            told += [self._decide(*pair, now) if own else again_as(*pair, counts=False) for pair in deferred]
        if self._held:
            held, self._held = self._held, []
            told += [self._decide(each.attempt, each.verdict, now) for each in held if each.at < self._came]
            self._held = [each for each in held if each.at >= self._came]
        if self._absent.needs_release():
            told += self._release_absent()
        if not self._mixed and len(self._held) >= MANY and self._withholds:
            self._withhold(now)
        if self._absent.wants_look and not self._limiter.is_open:
            told += self._look_around(now)
        return told

    def conclude(self, now: float) -> list[Judged] | None:
        """Say what comes of the songs that wait, where no other is left that could tell; None: nothing yet."""
        if not self.waiting or self._limiter.is_open or self._look or self._known.load():
            return None
        if self._held:
            return self._conclude_held(now)
        return self._look_around(now) if self._absent.row_is_long else self.leftover()

    def leftover(self) -> list[Judged]:
        """Return the missing songs that wait, at the end of a call; too many in a row are left undone."""
        known = any(self._known.has(each.attempt.chunk.fetcher) for each in self._absent.held)
        return [] if self.error or (self._absent.row_is_long and known) else ended(self._absent.take())

    def send_again(self, attempt: Attempt) -> None:
        """Count an attempt as back that is to be as if it had not been made."""
        self._canaries -= attempt.chunk.is_canary

    def ask_again(self) -> None:
        """Count a song that is to be asked for again."""
        self._again += 1

    def _judge(self, attempt: Attempt, verdict: Verdict, now: float) -> list[Judged]:
        """Learn from one verdict; returns what comes of its song if that is known."""
        kind = verdict.kind
        if kind is _FOUND or (kind is _REDIRECTED and attempt.chunk.is_canary):  # it is there, be it elsewhere
            return [self._find(attempt, verdict, now)]
        if kind is _REDIRECTED:
            self._limiter.observe(attempt.started, now, verdict)
            return [Judged(attempt, verdict, counts=False)]
        if attempt.chunk.is_canary:
            self._judge_canary(attempt, verdict, now)
            return []
        if kind is _MISSING or (kind is _FAILED and not verdict.provisional):
            self._limiter.observe(attempt.started, now, verdict)
            self._mixed = True
            if not verdict.provisional or self._absent.believed:
                return [Judged(attempt, verdict, counts=True)]
            self._absent.add(Held(attempt, verdict, now))
            return []
        return self._refuse(attempt, verdict, now)

    def _find(self, attempt: Attempt, verdict: Verdict, now: float) -> Judged:
        before = attempt.refused.word if attempt.refused else None
        canary = attempt.chunk.is_canary
        if not canary:
            self._known.add(attempt)
            self._absent.found()
        self._limiter.observe(attempt.started, now, verdict, before=before, canary=canary)
        self._came = max(self._came, attempt.started)
        self._odds.note_found(attempt)
        self._dry = 0
        self._mixed, self._gone = True, 0
        return Judged(attempt, verdict, counts=True)

    def _refuse(self, attempt: Attempt, verdict: Verdict, now: float) -> list[Judged]:
        """Learn of a failure of which it is not known yet whose fault it is."""
        word, chunk = verdict.error or verdict.kind.value, attempt.chunk
        self._suspect = chunk
        limits = verdict.kind is _THROTTLED or verdict.retry_after is not None or self._limiter.means_throttling(word)
        before = attempt.refused.word if attempt.refused else None
        odds = self._odds.of(attempt, once_more=True)
        lone = limits and not verdict.alone and odds <= LONE_ODDS
        counts = self._limiter.observe(
            attempt.started,
            now,
            verdict,
            has_canary=self._known.has(chunk.fetcher),
            may_know=self._known.may_have(chunk.fetcher) or self._in_flight() > 0,
            last=attempt.number >= self._max_attempts,
            before=before,
            since_good=attempt.refused is not None and self._odds.good > attempt.refused.latest,
            lone=lone,
        )
        self._odds.note_refused(attempt, word)
        self._dry += 1
        if self._dry >= DRY and self._limiter.means_throttling(word) and not self._known.load():
            self._look, self._dry = chunk if self._known.has(chunk.fetcher) else None, 0
        if lone:
            self._look_beside(attempt)
            if attempt.number >= self._max_attempts and odds <= FAILED_ODDS:
                return [Judged(attempt, failed(word), counts=True)]
            return [Judged(attempt, retry(word), counts=True)]
        may_tell = self._known.has(chunk.fetcher) or self._limiter.pause_is_unproven
        if self._limiter.needs_canary and not counts and may_tell:
            self._deferred.append((attempt, verdict))
            return []
        if not counts or verdict.kind is _THROTTLED:
            self._look_beside(attempt)
            return [again_as(attempt, verdict, counts=False)]
        if verdict.alone or (self._may_pass(verdict) and attempt.number < self._max_attempts):
            return [again_as(attempt, verdict, counts=True)]
        self._hold(attempt, verdict, now)
        return []

    def _hold(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        word = verdict.error
        self._mixed = self._mixed or (self._word is not None and word != self._word)
        self._word = word
        self._held.append(Held(attempt, verdict, now))

    def _decide(self, attempt: Attempt, verdict: Verdict, now: float) -> Judged:
        """Say what comes of a song that failed while a song known to be there came."""
        word = verdict.error or verdict.kind.value
        again = Judged(attempt, retry(word), counts=True)
        limits = verdict.kind is _THROTTLED or self._limiter.means_throttling(word)
        if limits or verdict.retry_after is not None:
            chance = limits and self._odds.of(attempt, once_more=False) > FAILED_ODDS
            if chance or attempt.number < self._max_attempts:
                return again
            return Judged(attempt, failed(word), counts=True)
        if self._may_pass(verdict) or self._limiter.passes(word):
            if attempt.number < self._max_attempts:
                return again
        elif attempt.refused and attempt.refused.times == 1 and not self._limiter.is_own(word):
            return again._replace(counts=False)
        if self._limiter.on_trial(word) or self._limiter.try_slower(word, now):
            return again._replace(counts=False)
        return Judged(attempt, failed(word), counts=True)

    def _may_pass(self, verdict: Verdict) -> bool:
        return verdict.kind is _RETRY or verdict.error in NO_SUCH_HOST

    def _judge_canary(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        """Learn from a known song that did not come; one that is not there any more is replaced by the next."""
        chunk = attempt.chunk
        assert isinstance(chunk, Canary)
        if verdict.kind not in (_FOUND, _MISSING) and not (verdict.kind is _FAILED and not verdict.provisional):
            limits = verdict.kind is _THROTTLED or self._limiter.means_throttling(verdict.error or "")
            self._odds.bad += limits
            self._limiter.observe(attempt.started, now, verdict, has_canary=True, last=True, canary=True)
            if not (limits or self._limiter.needs_canary):
                self._look = chunk.suspect  # what fails in another way tells nothing: the next may
            return
        self._limiter.release(1)
        self._gone += verdict.kind is _MISSING
        found = self._known.found(chunk.fetcher)
        self._known.drop(chunk.fetcher, attempt.item)
        has = self._known.has(chunk.fetcher)
        if self._gone >= TURNS or (self._gone and not has and found and not self._known.load()):
            songs = "songs that were" if self._gone > 1 else "a song that was"
            self.error = UpstreamUnavailable(f"The upstream says of {songs} found before: missing.")
        elif has and not self._limiter.needs_canary:
            self._look = chunk.suspect
        elif not has:
            self._known.load()
            self._limiter.lose_canary(now)

    def _look_around(self, now: float) -> list[Judged]:
        """Have a known song asked for after many missing ones; where none is known they are believed."""
        chunk = self._absent.held[-1].attempt.chunk
        if self._known.load():
            return []
        if not self._known.has(chunk.fetcher):
            return ended(self._absent.believe(now))
        self._absent.look()
        self._look = chunk
        return []

    def _release_absent(self) -> list[Judged]:
        return ended(self._absent.release(self._came))

    def _conclude_held(self, now: float) -> list[Judged]:
        """Ask a known song, or decide without one."""
        first = self._held[0]
        if self._known.has(first.attempt.chunk.fetcher):
            self._suspect = first.attempt.chunk
            self._begin_suspicion(now, first.verdict, has_canary=True)
            return []
        if not self._mixed and self._withholds:
            self._withhold(now)
            return []
        silent = [each for each in self._held if each.verdict.error in _NO_CONNECTION]
        if silent and not self._limiter.was_up:
            self._begin_suspicion(now, silent[0].verdict, has_canary=False)
            return []
        held, self._held = self._held, []
        return [Judged(each.attempt, failed(each.verdict.error or "failed"), counts=True) for each in held]

    def _withhold(self, now: float) -> None:
        """Wait, and then end the call, where all songs met one refusal and none is known that could tell."""
        first = self._held[0]
        if self._limiter.is_open or self._known.load():
            return
        self._suspect = first.attempt.chunk
        self._begin_suspicion(now, first.verdict, has_canary=self._known.has(first.attempt.chunk.fetcher))

    def _begin_suspicion(self, now: float, verdict: Verdict, *, has_canary: bool) -> None:
        if verdict.kind is Kind.REFUSED and verdict.error not in NO_SUCH_HOST and not has_canary:
            self.error = UpstreamUnavailable(verdict.reason)  # credentials do not come by waiting
            return
        detail = verdict.reason or verdict.detail
        self._limiter.suspect(now, verdict.error or "failed", has_canary=has_canary, detail=detail)
        self._defer_held()

    def _defer_held(self) -> None:
        self._deferred += [(each.attempt, each.verdict) for each in self._held]
        self._held.clear()

    def _look_beside(self, attempt: Attempt) -> None:
        """Have a known song asked for beside the one song that is left and throttled: perhaps it alone is."""
        chunk = attempt.chunk
        refused = attempt.refused
        if refused and refused.asked > 1 and self._nothing_else() and not self._known.load():
            self._look = chunk if self._known.has(chunk.fetcher) else None
