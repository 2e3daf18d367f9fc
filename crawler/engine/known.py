"""A song that was found, which probes ask for: if it fails now, that is hardly the song's own fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from crawler.core.verdict import Verdict
from crawler.engine.backlog import Batch


class KnownSong:
    """Be the batch of one song that was found; the request counts as one of the batch that is in doubt.

    Nothing else is kept of it.
    """

    buffered_bytes = 0
    held_bytes = 0

    def __init__(self, doubted: Batch, item: Any) -> None:
        self.lane = doubted.lane
        self.doubted = doubted
        self.pending: deque[int] = deque()
        self._items = [item]

    def item(self, place: int) -> Any:
        """Give the song."""
        return self._items[place]

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts where the doubt came from."""
        self.doubted.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:  # noqa: ARG002 - none is kept
        """Keep nothing."""
        return False

    def advance(self) -> bool:
        """Never be finished."""
        return False
