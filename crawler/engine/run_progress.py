"""The count of one call: what became of the run's songs so far, for whoever looks on while others work."""

from __future__ import annotations

import threading
from collections import Counter

from crawler.engine.part_writer import RunPart
from crawler.engine.progress import Progress
from crawler.runs.tally import Tally


class RunCount:
    """Add up parts that are committed and those that are open, thread-safe; no song costs anything for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._open: list[RunPart] = []

    def was_there(self, tally: Tally) -> None:
        """Count a part that this call did not fetch."""
        with self._lock:
            self._counts.update(found=tally.found, missing=tally.missing, failed=tally.failed, before=tally.songs)

    def opened(self, part: RunPart, restored: int) -> None:
        """Look at a part from now on; of its rows, some were kept aside by an earlier call."""
        with self._lock:
            self._open.append(part)
            self._counts["before"] += restored

    def committed(self, part: RunPart) -> None:
        """Count a part whose rows stand, and let go of it."""
        with self._lock:
            self._open.remove(part)
            self._counts.update(part.counts)

    def progress(self, at: float, songs: int | None) -> Progress:
        """Say how far the run is at an instant, of so many songs."""
        with self._lock:
            counts = sum((part.counts for part in self._open), self._counts)
        return Progress(at, songs, **counts)
