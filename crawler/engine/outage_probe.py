"""Whose fault failures are: the songs' own, or that of the upstream as a whole. A song that was found before tells.

While that is in doubt nothing should go out but such a song, of the fetcher whose failure came last; nobody keeps what
comes of it. The failures are held until it is told: then they count, or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from crawler.core.ports import Fetcher
from crawler.core.verdict import Kind, Verdict
from crawler.engine.backlog import Attempt, Chunk
from crawler.rate_control.limiter import Limiter

# A member of an enumeration is looked up anew each time it is named: so is this one, once for every song.
_FOUND = Kind.FOUND


class OutageProbe:
    """Say which failures count; every method is for whoever holds the limiter."""

    def __init__(self, limiter: Limiter, max_attempts: int) -> None:
        self._limiter = limiter
        self._max_attempts = max_attempts
        self._known: dict[Fetcher, Attempt] = {}  # what was found last
        self._doubted: Chunk | None = None  # that of the last failure
        self._held: list[tuple[Attempt, Verdict]] = []

    @property
    def held(self) -> int:
        """Count the failures that are held."""
        return len(self._held)

    def probe(self) -> Attempt | None:
        """Give the attempt that would tell; None: nothing is in doubt, or no song is known that would."""
        chunk = self._doubted
        if not self._limiter.controller.in_doubt or chunk is None or chunk.fetcher not in self._known:
            return None
        return Attempt(Canary(chunk, self._known[chunk.fetcher].item), 0)

    def all_found(self, taken: Sequence[tuple[Attempt, Verdict]], now: float) -> bool:
        """Have the limiter learn from songs that were all found, as most are; False: they are not that plain."""
        if self._held or {verdict.kind for _, verdict in taken} != {_FOUND}:
            return False
        if not self._limiter.found([attempt.started for attempt, _ in taken], now):
            return False
        attempt = taken[-1][0]
        self._known[attempt.chunk.fetcher] = attempt
        return True

    def judge(self, taken: Sequence[tuple[Attempt, Verdict]], now: float) -> list[tuple[Attempt, Verdict, bool]]:
        """Say of each verdict whether it counts, and of those held before once that is told; hold what is in doubt."""
        counted = [(attempt, verdict, self._learn(attempt, verdict, now)) for attempt, verdict in taken]
        controller = self._limiter.controller
        if not controller.in_doubt:
            return [(attempt, verdict, controller.false_alarm) for attempt, verdict in self._let_go()] + counted
        judged = []
        for attempt, verdict, counts in counted:
            ordinary = not isinstance(attempt.chunk, Canary)
            # Where there is nothing to probe with but the songs themselves, each of them must be tried again.
            if verdict.kind is Kind.RETRY and not counts and ordinary and attempt.chunk.fetcher in self._known:
                self._held.append((attempt, verdict))
            else:
                judged.append((attempt, verdict, counts))
        return judged

    def told(self) -> list[tuple[Attempt, Verdict]]:
        """Give the failures that were held, if another call's probe has told meanwhile: they do not count."""
        return [] if self._limiter.controller.in_doubt else self._let_go()

    def _let_go(self) -> list[tuple[Attempt, Verdict]]:
        held, self._held = self._held, []
        return held

    def _learn(self, attempt: Attempt, verdict: Verdict, now: float) -> bool:
        """Have the limiter learn from a verdict; True if a failure counts."""
        fetcher = attempt.chunk.fetcher
        if verdict.kind is _FOUND:
            self._known[fetcher] = attempt
            return self._limiter.answer(attempt.started, now, verdict)
        if not isinstance(attempt.chunk, Canary):
            self._doubted = attempt.chunk
        last = attempt.number >= self._max_attempts
        return self._limiter.answer(attempt.started, now, verdict, known=fetcher in self._known, last=last)


class Canary:
    """Be the chunk of one song that was found; the request counts as one of the chunk that is in doubt.

    Nothing else is kept of it.
    """

    buffered_bytes = 0
    held_bytes = 0

    def __init__(self, doubted: Chunk, item: Any) -> None:
        self.fetcher = doubted.fetcher
        self.doubted = doubted
        self.pending: deque[int] = deque()
        self._items = [item]

    def item(self, index: int) -> Any:
        """Give the song."""
        return self._items[index]

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts where the doubt came from."""
        self.doubted.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:  # noqa: ARG002 - none is kept
        """Keep nothing."""
        return False

    def advance(self) -> bool:
        """Never be finished."""
        return False
