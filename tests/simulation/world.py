"""A world: a bucket, an upstream, callers and the processes that answer them, all drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crawler.core.deadline import Deadline
from crawler.core.ports import Store
from crawler.runs.index import RunIndex
from crawler.runs.resolve import Order
from simulation.clock import SimClock
from simulation.locks import engine_scaled
from simulation.store import Bucket, SimStore
from simulation.threads import Process, Scheduler
from simulation.truth import Truth
from simulation.upstream import Upstream
from simulation.visits import CrawlCall, Look, Pace, Resume, Stop, Visit
from simulation.weather import CALM, Weather

# 2026-11-23 in UTC; a world begins so long before the next midnight.
DAY = 1795392000.0
BEFORE_MIDNIGHT = (10.0, 3600.0, 80000.0)

# Bytes of a piece of rows, and the most that may wait in memory: a song's row has some 60.
SIZES = ((20, 150), (200, 800), (60, 1 << 25), (1 << 18, 1 << 25))

OpenRunIndex = Callable[[Store, str], RunIndex]


class World:
    """Hold everything, and let callers call, look and stop; `open_run_index` may open a broken engine instead."""

    def __init__(self, seed: int, weather: Weather | None = None, open_run_index: OpenRunIndex = RunIndex) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.scheduler = Scheduler(self.chance, self.chance.choice((0.05, 0.3, 0.8)))
        self.scheduler.on_pause = self._trouble
        self.clock = SimClock(self.scheduler, DAY + 86400 - self.chance.choice(BEFORE_MIDNIGHT))
        self.bucket = Bucket(folder=self.chance.random() < 0.25)
        self.upstream = draw_upstream(self.chance)
        self.many = self.chance.random() < 0.4  # songs of a thread at once
        self.weather = Weather.draw(self.chance) if weather is None else weather
        self.truth = Truth(self)
        self.open_run_index = open_run_index
        self.visits: list[Visit] = []
        self._nature = Process(self.scheduler, "nature")

    @contextmanager
    def alive(self) -> Iterator[World]:
        """Have the engine run in this world meanwhile, scaled down to it; ends what is left of it."""
        with engine_scaled(*self.chance.choice(SIZES)):
            try:
                yield self
            finally:
                self.scheduler.clear()

    def deliver(self, order: Order, pace: Pace, after: float = 0.0) -> CrawlCall:
        """Make a call that crawls."""
        call = CrawlCall(self, self._name("call"), order, pace)
        self._start(call, after)
        return call

    def look(self, run: str | None, after: float = 0.0) -> None:
        """Ask how a run stands, or all."""
        self._start(Look(self, self._name("look"), run), after)

    def stop(self, run: str, after: float = 0.0) -> None:
        """Stop a run."""
        self._start(Stop(self, self._name("stop"), run), after)

    def resume(self, run: str, after: float = 0.0) -> None:
        """Take back that a run was stopped."""
        self._start(Resume(self, self._name("resume"), run), after)

    def calm(self, weather: Weather = CALM) -> None:
        """Have no trouble from now on; who is frozen stays so."""
        self.weather = weather
        self.bucket.lost_acknowledgements = 0

    def thaw(self) -> None:
        """Wake all that are frozen."""
        for visit in self.visits:
            visit.thaw()

    def calm_run_index(self) -> RunIndex:
        """Open the run index outside of all calls, to read what is there."""
        return RunIndex(_Quiet(self))

    def _name(self, kind: str) -> str:
        return f"{kind}-{len(self.visits)}"

    def _start(self, visit: Visit, after: float) -> None:
        self.visits.append(visit)
        visit.start(after)

    def _trouble(self, process: Process) -> None:
        """Kill or freeze who pauses, now and then."""
        weather = self.weather
        if not isinstance(process, Visit) or not (weather.crash or weather.freeze):
            return
        luck = self.chance.random()
        if luck < weather.crash:
            process.kill()
        elif luck < weather.crash + weather.freeze:
            process.freeze()
            if self.chance.random() < 0.5:
                after = self.chance.choice((0.5, 20.0, 700.0))
                self.scheduler.spawn(self._nature, process.thaw, after)


class _Quiet(SimStore):
    """Be the store for whoever reads outside of the simulated threads."""

    def __init__(self, world: World) -> None:
        super().__init__(world, Visit(world, "proof"), Deadline())

    def _arrive(self, operation: str, name: str) -> None:
        """Take no time."""

    def _leave(self, operation: str, name: str) -> None:
        """Take no time."""


def draw_upstream(chance: random.Random) -> Upstream:
    """Draw a catalogue."""
    odd = chance.choice((None, None, "private"))
    return Upstream(
        chance.randrange(1 << 16),
        chance.randint(0, 40),
        chance.choice((0, 10, 40)),
        chance.choice((0, 0, 20)),
        steady=chance.random() < 0.7,
        private_percent=chance.choice((10, 50)) if odd == "private" else 0,
        per_second=5.0 if odd == "limited" else 0.0,
    )
