"""The count of one call: what became of the run's songs so far, for whoever looks on while others work."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from crawler.core.records import STATUSES, Counts
from crawler.engine.part_writer import PartWriter


class RunProgress:
    """A sum of parts that are committed and those that are open, thread-safe; no song costs anything for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._open: list[PartWriter] = []

    def was_there(self, counts: Counts) -> None:
        """Count songs that this call did not fetch."""
        with self._lock:
            self._counts.update(counts.by_status(), before=counts.songs_done)

    def opened(self, part: PartWriter, restored: int) -> None:
        """Look at a part from now on; of its rows, some were kept aside by an earlier call."""
        with self._lock:
            self._open.append(part)
            self._counts["before"] += restored

    def committed(self, part: PartWriter) -> None:
        """Count a part whose rows stand, and let go of it."""
        with self._lock:
            self._open.remove(part)
            self._counts.update(part.counts)

    def progress(self, at: float, songs: int | None) -> Progress:
        """Say how far the run is at an instant, of so many songs."""
        with self._lock:
            counts = sum((part.counts for part in self._open), self._counts)
        return Progress(at=at, songs=songs, **counts)


class Progress(Counts, kw_only=True):
    """The songs accounted for at an instant `at`, in seconds of a monotonic clock.

    `songs` is how many were asked for, None while nobody knows. `before` of those accounted for were there when the
    call began, or another call fetched them meanwhile; `throttled` counts requests.
    """

    at: float
    songs: int | None
    before: int = 0
    throttled: int = 0

    @property
    def remaining(self) -> int | None:
        """Count the others; None while nobody knows."""
        return None if self.songs is None else max(0, self.songs - self.songs_done)

    def per_second(self, earlier: Progress) -> float:
        """Return the songs a second that the call fetched since an earlier instant; 0 if that is this one."""
        seconds = self.at - earlier.at
        fetched = self.songs_done - self.before - (earlier.songs_done - earlier.before)
        return max(0.0, fetched / seconds) if seconds > 0 else 0.0

    def fields(self, last: Progress, first: Progress) -> dict[str, Any]:
        """Describe the instant for a log: the rate since `last`, the time left by the mean rate since `first`."""
        rate = self.per_second(first)
        return {
            **{name: getattr(self, name) for name in (*STATUSES, "remaining", "throttled")},
            "songs_per_second": round(self.per_second(last), 1),
            "percent": round(100 * self.songs_done / self.songs, 1) if self.songs else None,
            "eta_seconds": round(self.remaining / rate, 1) if rate and self.remaining is not None else None,
        }
