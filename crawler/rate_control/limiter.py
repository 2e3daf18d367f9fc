"""The limiter: the one door through which all requests of an instance go out, whichever call they are of."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from crawler.core.verdict import Verdict
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.controller import RateController

# A call is not told when another call's requests come back: if it waits for that, it looks again after this time.
LOOK_SECONDS = 0.05


class Limiter:
    """Hold the control of an upstream, and lower ceilings for some calls, under one lock: `with limiter: ...`.

    Every method is for whoever holds it.
    """

    def __init__(self, controller: RateController, *ceilings: Ceiling) -> None:
        self.controller = controller
        self._ceilings = ceilings
        self._lock = threading.Lock()

    def narrowed(self, ceiling: Ceiling) -> Limiter:
        """Give the same door for calls that keep one more ceiling."""
        limiter = Limiter(self.controller, *self._ceilings, ceiling)
        limiter._lock = self._lock
        return limiter

    def __enter__(self) -> Limiter:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def ready(self, now: float, mine: int) -> tuple[float, float]:
        """Give how many requests may go out now; where none may, the instant to look again (math.inf: none).

        `mine` is how many of the caller's own are in flight: their coming back the caller will see by itself.
        """
        count, until = self.controller.ready(now)
        for ceiling in self._ceilings:
            allowed, ready_at = ceiling.ready(now)
            count = min(count, allowed)
            if allowed <= 0:
                until = max(until, ready_at)
        if until == math.inf and self.controller.in_flight > mine:
            until = now + LOOK_SECONDS
        return count, until

    def take(self, now: float, count: int, retries: int = 0) -> None:
        """Count requests that go out now, so many of them for songs that failed before."""
        self.controller.take(now, count, retries)
        for ceiling in self._ceilings:
            ceiling.take(now, count)

    def found(self, sent: Sequence[float], now: float) -> bool:
        """Take that songs were found, by requests sent at these instants; False: they must be told one by one."""
        if not self.controller.found(sent, now):
            return False
        for ceiling in self._ceilings:
            ceiling.give_back(len(sent))
        return True

    def answer(self, sent_at: float, now: float, verdict: Verdict, *, known: bool = False, last: bool = False) -> bool:
        """Take what came of a request; True if a failure counts as one of its song's attempts.

        `known`: there is a song to probe with that was found; `last`: for one more failure the song is failed.
        """
        for ceiling in self._ceilings:
            ceiling.give_back()
        return self.controller.answer(sent_at, now, verdict, known=known, last=last)

    def give_back(self, count: int) -> None:
        """Free the places of requests that were cut off."""
        self.controller.give_back(count)
        for ceiling in self._ceilings:
            ceiling.give_back(count)
