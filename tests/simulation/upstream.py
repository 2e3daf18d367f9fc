"""A song API: which songs there are, and how it answers an attempt at one of them."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.engine.workers import GRACE_SECONDS

if TYPE_CHECKING:
    from simulation.visits import CrawlCall
    from simulation.world import World


class Upstream:
    """Hold a catalogue of `size` numbers, some of which are holes, some of which fail for good.

    An unsteady one gives another info each time it is asked, and at times hides a song.
    """

    def __init__(self, salt: int, size: int, holes_percent: int, failing_percent: int, *, steady: bool) -> None:
        self._salt = salt
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
        if not self.exists(number) or (not self.steady and luck < 0.05):
            return MISSING
        if self._percent(number) >= 100 - self._failing:
            return failed("http_451")
        return found({"n": number, "at": 0 if self.steady else self._asked})

    def _percent(self, number: int) -> int:
        return (number * 2654435761 + self._salt * 40503 >> 8) % 100


class SimFetcher:
    """Try songs for one call, with the trouble that the world's weather has."""

    def __init__(self, world: World, call: CrawlCall) -> None:
        self._world = world
        self._call = call

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Answer after a while; one that hangs is a user's function that ignores its timeout."""
        scheduler = self._world.scheduler
        began = scheduler.now
        seconds = self.ask(item)
        scheduler.pause(timeout + GRACE_SECONDS * 3 if seconds == math.inf else min(seconds, timeout))
        verdict = retry("timeout") if seconds > timeout else self.verdict(item)
        # One that was given up meanwhile counts as a try, whatever comes of it.
        self._world.truth.answered(self._call, item, verdict, late=scheduler.now > began + timeout + GRACE_SECONDS)
        scheduler.pause()
        return verdict

    def ask(self, item: Any) -> float:
        """Ask for a song, and draw after how many seconds the answer comes; math.inf: never."""
        world, weather, chance = self._world, self._world.weather, self._world.chance
        world.scheduler.living()
        world.scheduler.note(self._call.name, f"asks for {item}")
        world.truth.asked(self._call, item)
        seconds = chance.random() * 2 * weather.song_seconds
        if weather.hanging and chance.random() < weather.hanging:
            world.truth.hangs(self._call)
            return math.inf
        return seconds

    def verdict(self, number: int) -> Verdict:
        """Draw an answer."""
        weather, chance = self._world.weather, self._world.chance
        luck = chance.random()
        if luck < weather.refused:
            return refused("The upstream refuses us.")
        if luck < weather.refused + weather.throttled:
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
        self._on_the_way: list[tuple[float, Any, Any, bool]] = []

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Ask for a song."""
        seconds = self._fetcher.ask(item)
        ends = self._world.scheduler.now + min(seconds, timeout)
        self._on_the_way.append((ends, token, item, seconds > timeout))

    def perform(self, seconds: float) -> list[tuple[Any, Verdict]]:
        """Wait for the next verdict."""
        scheduler = self._world.scheduler
        first = min(self._on_the_way, key=itemgetter(0))
        scheduler.pause(max(0.0, min(first[0] - scheduler.now, seconds)))
        if first[0] > scheduler.now:
            return []
        self._on_the_way.remove(first)
        _, token, item, timed_out = first
        verdict = retry("timeout") if timed_out else self._fetcher.verdict(item)
        self._world.truth.answered(self._call, item, verdict)
        scheduler.pause()
        return [(token, verdict)]

    def close(self) -> None:
        """Let go of what is on its way."""
        self._on_the_way.clear()
