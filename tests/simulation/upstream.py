"""A song API: which songs there are, and how it answers an attempt at one of them."""

from __future__ import annotations

import math
import random
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from crawler.core.verdict import ABSENT, Verdict, failed, found, retry, throttled
from crawler.engine.workers import GRACE_SECONDS
from simulation.weather import CALM

if TYPE_CHECKING:
    from simulation.visits import CrawlCall
    from simulation.world import World


class Upstream:
    """Hold a catalogue of `size` numbers, some of which are holes, some of which fail for good, some are private.

    `busy` is a number that is always throttled; `per_second` what a limiter lets pass, which answers 503 (0: there is
    none).

    An unsteady one gives another info each time it is asked, and at times hides a song.
    """

    def __init__(
        self,
        salt: int,
        size: int,
        holes_percent: int,
        failing_percent: int,
        *,
        steady: bool,
        private_percent: int = 0,
        busy: int | None = None,
        per_second: float = 0.0,
    ) -> None:
        self._salt = salt
        self._private = private_percent
        self.busy = busy
        self._per_second = per_second
        self._free_at = 0.0
        self.size = size
        self._holes = holes_percent
        self._failing = failing_percent
        self.steady = steady
        self._asked = 0

    def exists(self, number: int) -> bool:
        """Tell whether there is such a song, now."""
        return 0 < number <= self.size and self._percent(number) >= self._holes

    def verdict(self, number: int, luck: float) -> Verdict:
        """Answer, without any trouble on the way; `luck` from 0 to 1."""
        self._asked += 1
        if number == self.busy:
            return throttled("http_429")
        if not self.exists(number) or (not self.steady and luck < 0.05):
            return ABSENT
        if self.is_private(number):
            return failed("http_403", provisional=True)
        if self._percent(number) >= 100 - self._failing:
            return failed("http_451")
        return found({"n": number, "at": 0 if self.steady else self._asked})

    def is_private(self, number: int) -> bool:
        """Tell whether a song is refused whoever asks."""
        return self._percent(number + 17) < self._private

    def limits(self, now: float) -> bool:
        """Tell whether a limiter refuses a request that comes now, and count it if not."""
        if not self._per_second or now >= self._free_at:
            self._free_at = now + 1 / self._per_second if self._per_second else 0.0
            return False
        return True

    def refuses_all(self, now: float, share: float) -> bool:
        """Tell whether a firewall stands before all songs now, as it does for this share of all times."""
        return random.Random(f"{self._salt} {now // 7.0}").random() < share

    def _percent(self, number: int) -> int:
        return (number * 2654435761 + self._salt * 40503 >> 8) % 100


class SimFetcher:
    """Try songs for one call, with the trouble that the world's weather has."""

    def __init__(self, world: World, call: CrawlCall) -> None:
        self._world = world
        self._call = call

    def attempt(self, item: Any, timeout: float, *, canary: bool = False) -> Verdict:
        """Answer after a while; one that hangs is a user's function that ignores its timeout."""
        scheduler = self._world.scheduler
        began = scheduler.now
        seconds = self.ask(item, canary=canary)
        scheduler.pause(timeout + GRACE_SECONDS * 3 if seconds == math.inf else min(seconds, timeout))
        verdict = retry("timeout") if seconds > timeout else self.verdict(item)
        if canary:
            return verdict
        # One that was given up meanwhile counts as a try, whatever comes of it.
        self._world.truth.answered(self._call, item, verdict, late=scheduler.now > began + timeout + GRACE_SECONDS)
        scheduler.pause()
        return verdict

    def attempt_fresh(self, item: Any, timeout: float) -> Verdict:
        """Answer a canary."""
        return self.attempt(item, timeout, canary=True)

    def ask(self, item: Any, *, canary: bool = False) -> float:
        """Ask for a song, and draw after how many seconds the answer comes; math.inf: never."""
        world, weather, chance = self._world, self._world.weather, self._world.chance
        world.scheduler.living()
        world.scheduler.note(self._call.name, f"asks for {item}")
        world.truth.asked(self._call, item, canary=canary)
        seconds = chance.random() * 2 * weather.song_seconds
        if weather.hanging and chance.random() < weather.hanging:
            world.truth.hangs(self._call)
            return math.inf
        return seconds

    def verdict(self, number: int) -> Verdict:
        """Draw an answer."""
        weather, chance = self._world.weather, self._world.chance
        luck, upstream, now = chance.random(), self._world.upstream, self._world.scheduler.now
        if upstream.refuses_all(now, weather.refused):
            return failed("http_403", provisional=True)
        if weather is not CALM and upstream.limits(now):
            return retry("http_503")
        if luck < weather.throttled:
            return throttled("http_429", chance.choice((None, 0.0, 0.5, 30.0)))
        if chance.random() < weather.retry:
            return retry(chance.choice(("http_500", "connection")))
        return self._world.upstream.verdict(number, chance.random())


class SimMultiFetcher(SimFetcher):
    """Try many songs in one thread."""

    def open_transfers(self, most: int) -> SimTransfers:
        """Open what does so."""
        return SimTransfers(self._world, self._call, self)


class SimTransfers:
    """Have many songs on their way; each ends in its time, and gives its verdict by itself."""

    def __init__(self, world: World, call: CrawlCall, fetcher: SimFetcher) -> None:
        self._world = world
        self._call = call
        self._fetcher = fetcher
        self._on_the_way: list[tuple[float, Any, Any, bool, bool]] = []

    def start(self, token: Any, item: Any, timeout: float, *, canary: bool = False) -> None:
        """Ask for a song."""
        seconds = self._fetcher.ask(item, canary=canary)
        ends = self._world.scheduler.now + min(seconds, timeout)
        self._on_the_way.append((ends, token, item, seconds > timeout, canary))

    def start_fresh(self, token: Any, item: Any, timeout: float) -> None:
        """Ask for a canary."""
        self.start(token, item, timeout, canary=True)

    def perform(self, seconds: float) -> list[tuple[Any, Verdict]]:
        """Wait for the next verdict."""
        scheduler = self._world.scheduler
        first = min(self._on_the_way, key=itemgetter(0))
        scheduler.pause(max(0.0, min(first[0] - scheduler.now, seconds)))
        if first[0] > scheduler.now:
            return []
        self._on_the_way.remove(first)
        _, token, item, timed_out, canary = first
        verdict = retry("timeout") if timed_out else self._fetcher.verdict(item)
        if not canary:
            self._world.truth.answered(self._call, item, verdict)
        scheduler.pause()
        return [(token, verdict)]

    def close(self) -> None:
        """Let go of what is on its way."""
        self._on_the_way.clear()
