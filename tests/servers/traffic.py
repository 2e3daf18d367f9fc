"""Record the requests that reach a server from many threads."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

OTHER_PATH = -1
"""Stand for the song number of a request whose path is not a song's."""


class Request(NamedTuple):
    """Hold one request as it came, its header names in lower case."""

    time: float
    song_num: int
    path: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


class Traffic:
    """Record requests and how many of them were in flight together."""

    def __init__(self) -> None:
        """Start with no requests."""
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._per_song: Counter[int] = Counter()
        self._in_flight = 0
        self._most_at_once = 0

    @property
    def requests(self) -> list[Request]:
        """Return a copy of the requests so far, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def most_at_once(self) -> int:
        """Return the greatest number of requests that were in flight together."""
        with self._changed:
            return self._most_at_once

    def count(self) -> int:
        """Return the number of requests so far."""
        with self._changed:
            return len(self._requests)

    def per_song(self) -> Counter[int]:
        """Return the number of requests for each song number."""
        with self._changed:
            return Counter(self._per_song)

    def peak_per_second(self) -> int:
        """Return the greatest number of requests that came within any one second."""
        times = [request.time for request in self.requests]
        return max((bisect_left(times, start + 1.0) - i for i, start in enumerate(times)), default=0)

    def wait_for(self, n: int, timeout: float = 10.0) -> None:
        """Wait until n requests came, or raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= n, timeout):
                raise TimeoutError(f"{len(self._requests)} of {n} requests came within {timeout:g} s")

    def wait_until_idle(self, timeout: float = 10.0) -> None:
        """Wait until no request is in flight, or raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_flight == 0, timeout):
                raise TimeoutError(f"{self._in_flight} requests still in flight after {timeout:g} s")

    def arrived(self, song_num: int, path: str, headers: dict[str, str], method: str = "GET", body: bytes = b"") -> int:
        """Record one request and return the count of requests for its song."""
        with self._changed:
            # The clock is read under the lock so that the list is in the order of time.
            self._requests.append(Request(time.monotonic(), song_num, path, headers, method, body))
            self._per_song[song_num] += 1
            self._in_flight += 1
            self._most_at_once = max(self._most_at_once, self._in_flight)
            self._changed.notify_all()
            return self._per_song[song_num]

    def left(self) -> None:
        """Record that one request is no longer in flight."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()
