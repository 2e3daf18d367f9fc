"""A song that was found, which probes ask for: if it fails now, that is hardly the song's own fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from crawler.ground.records import Verdict
from crawler.seams.ports import Lane


class KnownSong:
    """Be the batch of one song that was found, and keep nothing of what comes of asking for it again."""

    buffered_bytes = 0
    held_bytes = 0

    def __init__(self, lane: Lane, item: Any) -> None:
        self.lane = lane
        self.pending: deque[int] = deque()
        self._items = [item]

    def item(self, place: int) -> Any:
        """Give the song."""
        return self._items[place]

    def record(self, seconds: float, verdict: Verdict) -> None:
        """Count nothing: the attempt is no song's."""

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:  # noqa: ARG002 - none is kept
        """Keep nothing."""
        return False

    def advance(self) -> bool:
        """Never be finished."""
        return False
