"""The engine's half of a probe: which song is the canary, and what becomes of failures until it tells whose they are.

The circuit breaker (rate_control/circuit_breaker.py) says when failures may be the upstream's or the songs' own, and
what a canary told. Until then nothing should go out but the canary, a song that was found before by the fetcher whose
failure came last; nobody keeps what comes of it. The failures are deferred: then they count, or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from crawler.core.ports import Fetcher
from crawler.core.verdict import Kind, Verdict
from crawler.engine.backlog import Attempt, Chunk
from crawler.rate_control.limiter import Limiter

# Bound once, as in core/verdict.py.
_FOUND = Kind.FOUND
# Of songs that ask for no pause.
_PLAIN = {(_FOUND, None)}


class OutageProbe:
    """The failures that wait for a canary, and the songs that may be one; for whoever holds the limiter."""

    def __init__(self, limiter: Limiter, max_attempts: int) -> None:
        self._limiter = limiter
        self._max_attempts = max_attempts
        self._found: dict[Fetcher, Attempt] = {}  # last
        self._suspect: Chunk | None = None  # that of the last failure
        self._deferred: list[tuple[Attempt, Verdict]] = []

    @property
    def deferred(self) -> int:
        """Count the failures that wait for a canary."""
        return len(self._deferred)

    def probe(self) -> Attempt | None:
        """Return an attempt at the canary; None: none is needed, or no song was found that could be one."""
        chunk = self._suspect
        if not self._limiter.needs_canary or chunk is None or chunk.fetcher not in self._found:
            return None
        return Attempt(Canary(chunk, self._found[chunk.fetcher].item), 0)

    def observe_found(self, settled: Sequence[tuple[Attempt, Verdict]], now: float) -> bool:
        """Have the limiter learn from songs that were all found, as most are; False: `observe` must."""
        if self._deferred or {(verdict.kind, verdict.retry_after) for _, verdict in settled} != _PLAIN:
            return False
        if not self._limiter.observe_found([attempt.started for attempt, _ in settled], now):
            return False
        attempt = settled[-1][0]
        self._found[attempt.chunk.fetcher] = attempt
        return True

    def observe(self, settled: Sequence[tuple[Attempt, Verdict]], now: float) -> list[tuple[Attempt, Verdict, bool]]:
        """Have the limiter learn from verdicts, and say of each whether it counts as an attempt.

        Failures are deferred while a canary is needed, and come with the verdicts that tell whose they are.
        """
        judged = [(attempt, verdict, self._observe(attempt, verdict, now)) for attempt, verdict in settled]
        if not self._limiter.needs_canary:
            return [(*pair, self._limiter.false_alarm) for pair in self._take_deferred()] + judged
        due = []
        for attempt, verdict, counts in judged:
            if verdict.kind is Kind.RETRY and not counts and self._waits(attempt.chunk):
                self._deferred.append((attempt, verdict))
            else:
                due.append((attempt, verdict, counts))
        return due

    def release_deferred(self) -> list[tuple[Attempt, Verdict]]:
        """Return the failures that were deferred, if another call's canary has told meanwhile: they do not count."""
        return [] if self._limiter.needs_canary else self._take_deferred()

    def _take_deferred(self) -> list[tuple[Attempt, Verdict]]:
        deferred, self._deferred = self._deferred, []
        return deferred

    def _waits(self, chunk: Chunk) -> bool:
        """Tell whether a chunk's failures wait; without a canary each song must be tried again, or nothing would go."""
        return not chunk.is_canary and chunk.fetcher in self._found

    def _observe(self, attempt: Attempt, verdict: Verdict, now: float) -> bool:
        """Have the limiter learn from a verdict; True if a failure counts."""
        fetcher = attempt.chunk.fetcher
        if verdict.kind is _FOUND:
            self._found[fetcher] = attempt
            return self._limiter.observe(attempt.started, now, verdict)
        if not attempt.chunk.is_canary:
            self._suspect = attempt.chunk
        last = attempt.number >= self._max_attempts
        return self._limiter.observe(attempt.started, now, verdict, has_canary=fetcher in self._found, last=last)


class Canary:
    """The chunk of one song that was found; the request counts as one of the suspect, the chunk that failed last.

    Nothing else is kept of it.
    """

    is_canary = True
    buffered_bytes = 0
    held_bytes = 0

    def __init__(self, suspect: Chunk, item: Any) -> None:
        self.fetcher = suspect.fetcher
        self.suspect = suspect
        self.pending: deque[int] = deque()
        self._items = [item]

    def item(self, index: int) -> Any:
        """Return the song."""
        return self._items[index]

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts as the suspect's."""
        self.suspect.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:  # noqa: ARG002 - none is kept
        """Keep nothing."""
        return False

    def advance(self) -> bool:
        """Do nothing: it is never finished."""
        return False
