"""The songs that are missing by a status alone, until a song comes that shows the upstream to be as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from crawler.core.verdict import Kind, Verdict, retry
from crawler.engine.backlog import Attempt

# After so many missing ones in a row a known song is asked for; where it comes, after twice as many more, up to these.
MANY, MOST_MISSING = 20, 1000


class Held(NamedTuple):
    """A verdict that would end its song, learned at an instant."""

    attempt: Attempt
    verdict: Verdict
    at: float


class Judged(NamedTuple):
    """What came of an attempt: a verdict that ends the song, or one that does not and counts as an attempt or not."""

    attempt: Attempt
    verdict: Verdict
    counts: bool


class AbsentSongs:
    """The missing songs that wait, and how many there are in a row since a song came."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self._row = 0
        self._interval = self._look_after = MANY
        self._believed_at: float | None = None  # no song is known: all are believed as long as none comes

    @property
    def believed(self) -> bool:
        """Tell whether missing songs need not wait."""
        return self._believed_at is not None

    @property
    def row_is_long(self) -> bool:
        """Tell whether so many are missing in a row that it may not be theirs."""
        return self._row >= MANY

    @property
    def wants_look(self) -> bool:
        """Tell whether a known song is to be asked for."""
        return bool(self.held) and self._row >= self._look_after

    def add(self, held: Held) -> None:
        """Have one more wait."""
        self._row += 1
        self.held.append(held)

    def look(self) -> None:
        """Note that a known song is asked for."""
        self._interval = min(2 * self._interval, MOST_MISSING)
        self._look_after = self._row + self._interval

    def found(self) -> None:
        """Note that a song came that was not asked for to see whether any does."""
        self._interval = MANY

    def believe(self, now: float) -> list[Held]:
        """Let all go, and those to come, as long as no song is known."""
        self._believed_at = now
        return self.take()

    def take(self) -> list[Held]:
        """Let all go."""
        held, self.held, self._row = self.held, [], 0
        return held

    def release(self, came: float) -> list[Held]:
        """Let those go that were missing before the request set out that found a song."""
        if self._believed_at is not None and came > self._believed_at:
            self._believed_at = None
        told = [each for each in self.held if each.at < came]
        if told:
            self.held = [each for each in self.held if each.at >= came]
            self._row, self._look_after = len(self.held), self._interval
        return told

    def needs_release(self) -> bool:
        """Tell whether a song that comes changes anything."""
        return bool(self.held) or self._believed_at is not None


def ended(held: Iterable[Held]) -> list[Judged]:
    """End songs by the verdicts that were held back."""
    return [Judged(each.attempt, each.verdict, counts=True) for each in held]


def again_as(attempt: Attempt, verdict: Verdict, *, counts: bool) -> Judged:
    """Have a song asked for again, as its verdict wants it."""
    if verdict.kind in (Kind.FAILED, Kind.REFUSED):
        verdict = retry(verdict.error or "failed", verdict.retry_after)
    return Judged(attempt, verdict, counts)
