"""Whether connections to an upstream are used again: some servers close each after an answer and don't say so.

That is allowed (RFC 9112, 9.3), and whoever asks on such a connection just then loses the request. It is sent again at
once, which RFC 9110, 9.2.2, permits for what only reads; but a crawl that loses many asks for all of them twice.
"""

from __future__ import annotations

# So many requests may be lost, and this share of all, before nearly all have new connections.
MOST_LOST, MOST_LOST_SHARE = 1, 0.02
# So many may be on their way on connections that were used before, until one of them is answered: all may be lost.
FIRST_TRIALS = 4
# After so many requests on new connections another is tried on an old one; after twice as many if it is lost, too.
LEAST_PAUSE, MOST_PAUSE = 100, 12_800


class ConnectionReuse:
    """What requests on used connections came to; `careful` says that it is not known, or bad: ask `wants_new` then."""

    def __init__(self) -> None:
        self.careful = True
        self._requests = 0
        self._lost = 0
        self._trials = 0
        self._most_trials = FIRST_TRIALS
        self._pause = LEAST_PAUSE
        self._left = 0

    def wants_new(self) -> bool:
        """Tell whether the next request is to have a new connection; of one that is not, `count_trial` must hear."""
        if self._left > 0:
            self._left -= 1
            return True
        if self._trials >= self._most_trials:
            return True
        self._trials += 1
        return False

    def count_trial(self, *, kept: bool) -> None:
        """Learn that a request ended which was not to have a new connection; `kept`: a used one answered it."""
        self._trials = max(0, self._trials - 1)
        if kept and self._left <= 0:
            self.careful = False
            self._most_trials = FIRST_TRIALS
            self._requests = self._lost = 0

    def count(self, requests: int) -> None:
        """Count requests that ended."""
        self._requests += requests

    def count_lost(self, requests: int = 1) -> None:
        """Count requests that were lost on used connections."""
        self._lost += requests
        tolerated = MOST_LOST + MOST_LOST_SHARE * self._requests if self._most_trials > 1 else 0
        if self._left <= 0 and self._lost > tolerated:
            self.careful = True
            self._most_trials = 1
            self._left, self._pause = self._pause, min(MOST_PAUSE, 2 * self._pause)
