"""The limiter: the one door through which all requests of an instance go out, whichever call they are of."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

from crawler.core.errors import UpstreamUnavailable
from crawler.core.verdict import Kind, Verdict
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.controller import RateController

# No call is notified when another call's requests come back: if it waits for that, it looks again after this time.
LOOK_SECONDS = 0.05


class Limiter:
    """The rate controller of an upstream, and lower ceilings for some calls, under one lock: `with limiter: ...`.

    Every method is for whoever holds the lock.
    """

    def __init__(self, controller: RateController, *ceilings: Ceiling) -> None:
        self.controller = controller
        self._ceilings = ceilings
        self._lock = threading.Lock()

    def narrowed(self, ceiling: Ceiling) -> Limiter:
        """Return the same door for calls that keep one more ceiling."""
        limiter = Limiter(self.controller, *self._ceilings, ceiling)
        limiter._lock = self._lock
        return limiter

    def __enter__(self) -> Limiter:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def ready(self, now: float, mine: int) -> tuple[float, float]:
        """Return how many requests may go out now; where none may, the instant to look again (math.inf: none).

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

    def retries(self, now: float) -> tuple[float, float]:
        """Return how many of those that go out may be songs tried again; where none may, the instant to look again."""
        return self.controller.retries(now)

    def renew(self, now: float) -> None:
        """Let a new call ask at once where waiting had become hopeless for those before it."""
        self.controller.renew(now)

    def hopeless(self, now: float, deadline: float) -> UpstreamUnavailable | None:
        """Return the reason why nothing can be sent any more before the deadline, if nothing can."""
        return self.controller.hopeless(now, deadline)

    @property
    def needs_canary(self) -> bool:
        """Tell whether what goes out now should be a song that was found before: it tells whose fault failures are."""
        return self.controller.needs_canary

    @property
    def false_alarm(self) -> bool:
        """Tell whether what a canary told last was that the failures are the songs' own."""
        return self.controller.false_alarm

    @property
    def pause_is_unproven(self) -> bool:
        """Tell whether a pause was told to one song so far, and nothing but a canary may go out."""
        return self.controller.pause_is_unproven

    @property
    def is_open(self) -> bool:
        """Tell whether the circuit breaker holds requests back."""
        return self.controller.is_open

    @property
    def was_up(self) -> bool:
        """Tell whether the upstream ever answered anything."""
        return self.controller.was_up

    def is_own(self, word: str) -> bool:
        """Tell whether a song that is refused with this word is to be believed without asking again."""
        return self.controller.is_own(word)

    def passes(self, word: str) -> bool:
        """Tell whether songs that were refused with it came at another attempt."""
        return self.controller.passes(word)

    def on_trial(self, word: str) -> bool:
        """Tell whether it is being tried whether a word goes away where fewer requests are sent."""
        return self.controller.on_trial(word)

    def means_throttling(self, word: str) -> bool:
        """Tell whether a word is taken for throttling."""
        return self.controller.means_throttling(word)

    def try_slower(self, word: str, now: float) -> bool:
        """Begin to ask more slowly, to see whether songs come that would be failed for a word, if that makes sense."""
        return self.controller.try_slower(word, now)

    def suspect(self, now: float, word: str, *, has_canary: bool, detail: str | None = None) -> None:
        """Hold back all songs until it is known whose fault failures are that nothing else tells of."""
        self.controller.suspect(now, word, has_canary=has_canary, detail=detail)

    def lose_canary(self, now: float) -> None:
        """Go on without a canary: no song is known to be there any more."""
        self.controller.lose_canary(now)

    def send(self, now: float, count: int, retries: int = 0) -> None:
        """Count requests that go out now, so many of them for songs that failed before."""
        self.controller.send(now, count, retries)
        for ceiling in self._ceilings:
            ceiling.send(now, count)

    def observe_found(self, sent: Sequence[float], now: float) -> bool:
        """Learn that songs were found, by requests sent at these instants; False: `observe` must, one by one."""
        if not self.controller.observe_found(sent, now):
            return False
        for ceiling in self._ceilings:
            ceiling.release(len(sent))
        return True

    def observe(self, sent_at: float, now: float, verdict: Verdict, **circumstances: Any) -> bool:
        """Learn from what came of a request; True if a failure counts as one of its song's attempts.

        The `circumstances` are those of `RateController.observe`.
        """
        for ceiling in self._ceilings:
            ceiling.release()
        return self.controller.observe(sent_at, now, verdict, **circumstances)

    def observe_quota(self, sent_at: float, now: float, verdict: Verdict) -> None:
        """Learn the quota that an answer announces, once it was observed what came of its request.

        And the requests that went out for it beside the first: others wait for their turns.
        """
        if verdict.requests > 1:
            self.send(now, verdict.requests - 1)
            self.release(verdict.requests - 1)
        if verdict.quota:
            served = verdict.kind not in (Kind.THROTTLED, Kind.REFUSED)
            self.controller.observe_quota(sent_at, now, verdict.quota, served=served)

    def release(self, count: int) -> None:
        """Count requests as back that were cut off."""
        self.controller.release(count)
        for ceiling in self._ceilings:
            ceiling.release(count)
