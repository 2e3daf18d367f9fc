"""The limiter: the one door through which all requests of an instance go out, whichever call they are of."""

from __future__ import annotations

import math
import threading

from crawler.ground.records import Verdict
from crawler.rules.control import Control

# A call is not told when another call's requests come back: if it waits for that, it looks again after this time.
LOOK_SECONDS = 0.05


class Limiter:
    """Hold the control of an upstream, and stricter ones for some calls, under one lock: `with limiter: ...`.

    Every method is for whoever holds it.
    """

    def __init__(self, control: Control, *stricter: Control) -> None:
        self._shared = control
        self._controls = [control, *stricter]
        self._lock = threading.Lock()

    def narrowed(self, stricter: Control) -> Limiter:
        """Give the same door for calls that keep one more control."""
        limiter = Limiter(*self._controls, stricter)
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
        count, until = math.inf, now
        for control in self._controls:
            allowed, ready_at = control.ready(now)
            count = min(count, allowed)
            if allowed <= 0:
                until = max(until, ready_at)
        if until == math.inf and self._shared.in_flight > mine:
            until = now + LOOK_SECONDS
        return count, until

    def take(self, now: float, count: int) -> None:
        """Count requests that go out now."""
        for control in self._controls:
            control.take(now, count)

    def answer(self, sent_at: float, now: float, verdict: Verdict) -> bool:
        """Take what came of a request; True if a failure counts as one of its song's attempts."""
        counts = True
        for control in self._controls:
            counts &= control.answer(sent_at, now, verdict)
        return counts

    def give_back(self, count: int) -> None:
        """Free the places of requests that were cut off."""
        for control in self._controls:
            control.give_back(count)
