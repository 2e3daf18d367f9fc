"""The runs that this instance is at work on: their figures are newer than what the store says of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from crawler.core.records import STATUSES
from crawler.engine.run_progress import Progress
from crawler.runs.summary import RunSummary

_Look = Callable[[], Progress]


class LiveRuns:
    """The calls under way on this instance, by their runs; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: defaultdict[str, list[tuple[_Look, Progress]]] = defaultdict(list)

    @contextmanager
    def shown(self, run: str, look: _Look) -> Iterator[None]:
        """Show a call's progress as its run's while the block runs."""
        call = (look, look())
        with self._lock:
            self._calls[run].append(call)
        try:
            yield
        finally:
            with self._lock:
                self._calls[run].remove(call)
                if not self._calls[run]:
                    del self._calls[run]

    def update(self, summary: RunSummary) -> RunSummary:
        """Return a run's summary with the figures of the call that is furthest, if that knows more than the store."""
        with self._lock:
            calls = list(self._calls.get(summary.run, ()))
        if not calls or summary.state in ("complete", "held"):
            return summary
        newest, first = max(((look(), first) for look, first in calls), key=lambda call: call[0].songs_done)
        if newest.songs_done < summary.counts.songs_done or newest.songs != _songs(summary):
            return summary
        return msgspec.structs.replace(
            summary,
            state="stopped" if summary.state == "stopped" else "running",
            remaining=newest.remaining,
            songs_per_second=round(newest.per_second(first), 1) or summary.songs_per_second,
            throttled=max(summary.throttled, newest.throttled),
            **{status: getattr(newest, status) for status in STATUSES},
        )


def _songs(summary: RunSummary) -> int | None:
    """Count the songs asked for; None while nobody knows. A task's call counts its own share alone, which is fewer."""
    return None if summary.remaining is None else summary.counts.songs_done + summary.remaining
