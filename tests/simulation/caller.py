"""Callers: each wants some songs, and calls until it has them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from crawler.core.errors import BadRequest, RunConflict
from crawler.core.limits import Limits
from crawler.runs.resolve import Order
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import FromRun, NextNumbers, OpenRange, parse_selection
from crawler.runs.spec import Source
from simulation.threads import Process
from simulation.visits import CrawlCall, Pace
from simulation.weather import BREEZE

if TYPE_CHECKING:
    from simulation.world import World

SOURCE = Source("sim://songs/{song_num}", "5150c0de5150c0de")

# Once nothing goes wrong any more a long call must bring a run to its end; a short one must get further.
LONG = Pace(limits=Limits(max_at_once=3))
SHORT_SECONDS = 2.0
MOST_SHORT_CALLS = 3
MOST_NEXT_RUNS = 60


@dataclass(frozen=True)
class Wish:
    """Say what a caller wants, and in what manner it calls."""

    order: Order
    job: str | None = None
    restless: bool = False  # PART_SONGS changes between its calls
    copies: int = 1
    calls: int = 3


class Caller(Process):
    """Call through bad weather for a while (`call`), then until there is nothing left to do (`finish`)."""

    def __init__(self, world: World, name: str, wish: Wish) -> None:
        super().__init__(world.scheduler, name)
        self._world = world
        self._chance = world.chance
        self._wish = wish
        self._scheduled_call: ScheduledCall | None = None

    def start(self) -> None:
        """Begin to call, at some moment soon."""
        self.scheduler.spawn(self, self.call, self._chance.choice((0.0, 0.5, 5.0)))

    def call(self) -> None:
        """Make some calls, each after the last was answered or took too long; some more than once."""
        for _ in range(self._wish.calls):
            self._prepare()
            copies = self._chance.randint(1, self._wish.copies)
            calls = [self._deliver(self._pace(), self._chance.random() / 10) for _ in range(copies)]
            self._meddle()
            for call in calls:
                call.await_end(self._chance.choice((1.0, 60.0, 900.0)))
            self.scheduler.wait(self.scheduler.now + self._chance.choice((0.0, 1.0, 40.0, 30000.0)))

    def finish(self) -> None:
        """Call until nothing is left to do, with nobody else about; from outside of the simulated threads."""
        if isinstance(self._wish.order.selection, NextNumbers) and not self._wish.order.run:
            for _ in range(MOST_NEXT_RUNS):
                call = self._complete()
                if not call.answers[-1].found:
                    return
            self._world.truth.fail(f"{self.name} never comes to the end of next:")
        self._complete()

    def deliver(self, deadline_seconds: float) -> CrawlCall:
        """Make the call once."""
        self._prepare()
        return self._deliver(replace(LONG, deadline_seconds=deadline_seconds))

    def _complete(self) -> CrawlCall:
        """Make short calls, each of which must get further, then a long one that must get to the end."""
        self.scheduler.now += 60.0
        self._scheduled_call = self._next_scheduled_call()
        self._world.calm()
        for _ in range(self._chance.randint(0, MOST_SHORT_CALLS)):
            call = self._answered(replace(LONG, deadline_seconds=SHORT_SECONDS))
            if self._content(call):
                return call
            further = bool(call.settled) or bool(call.spec and self._world.truth.stubborn(call.spec.run))
            self._world.truth.hold(further, f"{call.name} got no further")
        self._world.calm(BREEZE)
        call = self._answered(LONG)
        self._world.truth.hold(self._content(call), f"{call.name} did not complete its run")
        return call

    def _answered(self, pace: Pace) -> CrawlCall:
        call = self._deliver(pace)
        self.scheduler.run()
        self._world.truth.hold(call.over, f"{call.name} is never answered")
        return call

    def _content(self, call: CrawlCall) -> bool:
        """Tell whether there is nothing left to call for."""
        if isinstance(call.error, RunConflict):
            return self._wish.order.run is not None
        if isinstance(call.error, BadRequest):
            return isinstance(self._wish.order.selection, FromRun)
        return bool(call.answers) and call.answers[-1].state in ("complete", "stopped")

    def _deliver(self, pace: Pace, after: float = 0.0) -> CrawlCall:
        part_songs = self._chance.randint(1, 6) if self._wish.restless else self._wish.order.part_songs
        order = msgspec.structs.replace(self._wish.order, scheduled_call=self._scheduled_call, part_songs=part_songs)
        return self._world.deliver(order, pace, after)

    def _prepare(self) -> None:
        """Have another scheduled call now and then, and the catalogue grow, between calls."""
        if self._scheduled_call is None or self._chance.random() < 0.4:
            self._scheduled_call = self._next_scheduled_call()
        if all(visit.over for visit in self._world.visits):
            self._world.upstream.size += self._chance.choice((0, 0, 1, 5))

    def _next_scheduled_call(self) -> ScheduledCall | None:
        time = datetime.fromtimestamp(self._world.clock.epoch(), timezone.utc)
        return ScheduledCall(self._wish.job, f"{time:%Y%m%dt%H%M%Sz}") if self._wish.job else None

    def _pace(self) -> Pace:
        chance = self._chance
        return Pace(
            deadline_seconds=chance.choice((1.0, 3.0, 20.0, 600.0)),
            limits=Limits(
                max_attempts=chance.randint(1, 4),
                request_timeout=chance.choice((0.2, 10.0)),
                max_per_second=chance.choice((0.0, 0.0, 20.0)),
                max_at_once=chance.choice((1, 2, 2, 3)),
            ),
        )

    def _meddle(self) -> None:
        """Have somebody look meanwhile, or stop a run."""
        luck, soon = self._chance.random(), self._chance.random() * 2
        runs = list(self._world.truth.runs)
        if luck < 0.3:
            self._world.look(self._chance.choice([None, *runs]), soon)
        elif luck < 0.35 and runs:
            self._world.stop(self._chance.choice(runs), soon)
        elif luck < 0.9 and (stopped := [run for run in runs if self._may_resume(run)]):
            self._world.resume(self._chance.choice(stopped), soon)

    def _may_resume(self, run: str) -> bool:
        """Tell whether a run is stopped; of next: later claims have the songs by then."""
        stored = self._world.truth.runs[run]
        return stored.stopped is not None and not stored.spec["asked"].startswith("next:")


def draw_wishes(chance: random.Random) -> list[Wish]:
    """Draw what the callers of a world want: mostly one or two of them, at times the same."""
    wishes = [_draw_wish(chance) for _ in range(chance.choice((1, 1, 2, 2, 3)))]
    if chance.random() < 0.3:
        wishes.append(replace(wishes[0], calls=chance.randint(1, 3)))
    return wishes


def make_order(
    songs: str, run: str | None = None, part_songs: int = 4, end_after_missing: int = 3, max_songs: int = 40
) -> Order:
    """Make what a call asks for, of the one source that a world has."""
    return Order(
        selection=parse_selection(songs),
        run=run,
        source=SOURCE,
        format="jsonl",
        part_songs=part_songs,
        end_after_missing=end_after_missing,
        max_songs=max_songs,
    )


def _draw_wish(chance: random.Random) -> Wish:
    songs = chance.choice((_range, _range, _sparse, _open, _next, _of_run))(chance)
    order = make_order(
        songs,
        run=chance.choice((None, None, "trial", "other")),
        part_songs=chance.choice((1, 2, 3, 4, 6, 12)),
        end_after_missing=chance.randint(1, 8),
        max_songs=chance.randint(10, 40),
    )
    job = chance.choice((None, None, None, "projects/p/locations/l/jobs/nightly"))
    if isinstance(order.selection, OpenRange | FromRun):
        job = None if chance.random() < 0.8 else job
    return Wish(
        order=order,
        job=None if order.run else job,
        restless=chance.random() < 0.4,
        copies=chance.choice((1, 1, 2, 3)),
        calls=chance.randint(1, 4),
    )


def _range(chance: random.Random) -> str:
    first = chance.randint(0, 10)
    return f"{first}-{first + chance.randint(0, 24)}"


def _sparse(chance: random.Random) -> str:
    return ",".join(str(chance.randint(0, 60)) for _ in range(chance.randint(1, 15)))


def _open(chance: random.Random) -> str:
    return f"{chance.randint(0, 5)}-"


def _next(chance: random.Random) -> str:
    return f"next:{chance.randint(3, 15)}"


def _of_run(chance: random.Random) -> str:
    return chance.choice(("failed:trial", "missing:trial", "missing:other"))
