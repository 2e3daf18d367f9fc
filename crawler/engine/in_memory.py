"""A crawl whose results stay in memory: for a notebook, a script, a test."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from crawler.core.ports import Fetcher
from crawler.core.verdict import Verdict

CHUNK_SONGS = 1000


class Collected:
    """A chunk of some items (see engine/dispatcher.py) that keeps every outcome as it came."""

    is_canary = False

    def __init__(self, fetcher: Fetcher, items: list[Any]) -> None:
        self.fetcher = fetcher
        self.items = items
        self.outcomes: dict[int, Verdict] = {}
        self.pending = deque(range(len(items)))
        self._lock = threading.Lock()

    def item(self, index: int) -> Any:
        """Return the caller's own object at an index."""
        return self.items[index]

    @property
    def buffered_bytes(self) -> int:
        """Return 0: what is kept here is the result."""
        return 0

    @property
    def held_bytes(self) -> int:
        """Return 0, as above."""
        return 0

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count nothing."""

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
        """Keep outcomes; True from the one call after which all are there."""
        with self._lock:
            self.outcomes.update(outcomes)
            return len(self.outcomes) == len(self.items)

    def advance(self) -> bool:
        """Do nothing: there is nothing heavy to do."""
        return True


def collect(fetchers: Iterable[tuple[Fetcher, Iterable[Any]]], into: list[Collected]) -> Iterator[Collected]:
    """Cut the items of several fetchers into chunks, kept in the order of the items as they are drawn."""
    for fetcher, items in fetchers:
        rest = iter(items)
        while drawn := list(islice(rest, CHUNK_SONGS)):
            chunk = Collected(fetcher, drawn)
            into.append(chunk)
            yield chunk
