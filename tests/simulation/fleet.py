"""A fleet in a world: a queue that loses, doubles, delays and reorders tasks, and the calls that it makes.

A task is delivered again, a few times, when its process died, answered with an error or not in time; then the queue
forgets it. Sweeps must find out, and a run must come to its end whatever the queue did.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from crawler.core.deadline import CallTime, Deadline
from crawler.core.errors import QueueUnavailable
from crawler.fan_out.fleet import Fleet
from crawler.fan_out.plan import Plan, Task
from crawler.fan_out.task_call import TaskCall
from crawler.runs.index import RunIndex
from crawler.runs.resolve import Order
from crawler.runs.spec import RunSpec
from simulation.caller import SOURCE, make_order
from simulation.clock import run_coroutine
from simulation.threads import Process
from simulation.visits import CrawlCall, Pace, Visit
from simulation.weather import BREEZE

if TYPE_CHECKING:
    from simulation.world import World

T = TypeVar("T")

MOST_RETRIES = 8
MOST_SWEEPS = 60

# What a delivery may take beyond its call's deadline.
MARGIN_SECONDS = 30.0


class Queue:
    """Hold the names of a world's tasks; `lost` and `twice` are the shares of them that are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: set[str] = set()
        self.at_once = world.chance.choice((1, 2, 3, 5))
        self.lost = world.chance.choice((0.0, 0.1, 0.4))
        self.twice = world.chance.choice((0.0, 0.3, 1.0))
        self.late = world.chance.choice((0.0, 1.0, 60.0))
        self.undelivered: Counter[str] = Counter()  # deliveries of each task that are to come or on their way
        self.tasks = 0
        self.open = True
        self._service = Process(world.scheduler, "queue")

    def enqueue(self, name: str, run: str, task: Task, seconds: float) -> None:
        """Take a task, or lose it; the order in which tasks come is that of their delays."""
        chance = self.world.chance
        if chance.random() < self.lost:
            self.world.scheduler.note("queue", f"loses {task}")
            return
        for _ in range(1 + (chance.random() < self.twice)):
            self.deliver(Delivery(name, run, task, seconds), chance.random() * self.late)

    def deliver(self, delivery: Delivery, after: float) -> None:
        """Have an instance be given a task, so many seconds from now, and wait for it only so long."""
        self.tasks += 1
        self.undelivered[delivery.name] += 1
        visit = TaskVisit(self, f"task-{self.tasks}", delivery)
        visit.start(after)
        self.world.scheduler.spawn(self._service, visit.give_up, after + delivery.seconds + MARGIN_SECONDS)

    def ended(self, delivery: Delivery, well: bool) -> None:
        """Deliver again what did not end well, a few times."""
        self.undelivered[delivery.name] -= 1
        if self.open and not self.world.scheduler.violation and not well and delivery.retries < MOST_RETRIES:
            self.deliver(replace(delivery, retries=delivery.retries + 1), 0.1 * 2**delivery.retries)


@dataclass(frozen=True)
class Delivery:
    """Be one delivery of a task, for which the queue waits so many `seconds` and a margin."""

    name: str
    run: str
    task: Task
    seconds: float
    retries: int = 0


class Way:
    """Be one visit's way to the queue, on which requests and answers get lost."""

    def __init__(self, queue: Queue, visit: Visit) -> None:
        self._queue = queue
        self._visit = visit

    def until(self, deadline: Deadline) -> Way:
        """Give this way."""
        return self

    def most_at_once(self) -> int:
        """Ask how many deliveries there are at once."""
        self._go("asks the queue")
        return self._queue.at_once

    def create(self, name: str, run: str, content: bytes, seconds: float) -> None:
        """Create a task; raises QueueUnavailable before or after the fact."""
        self._go(f"enqueues {name}")
        if name not in self._queue.names:
            self._queue.names.add(name)
            self._queue.enqueue(name, run, msgspec.json.decode(content, type=Task), seconds)
        self._go("answers so")

    def names(self) -> Iterator[str]:
        """List the tasks that the queue holds."""
        self._go("lists the queue")
        names = [name for name, count in self._queue.undelivered.items() if count]
        self._go("names them")
        return iter(names)

    def _go(self, what: str) -> None:
        world = self._queue.world
        world.scheduler.living()
        world.scheduler.note(self._visit.name, what)
        world.truth.hold(not self._visit.over, f"{self._visit.name} {what} after its answer")
        world.scheduler.pause()
        if world.weather.unavailable and world.chance.random() < world.weather.unavailable:
            raise QueueUnavailable("The queue can't be reached.")


class AtOnce(Executor):
    """Run a call in the caller's own thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it now."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def fleet_of(queue: Queue, visit: Visit, run_index: RunIndex) -> Fleet:
    """Be one visit's fleet."""
    return Fleet(run_index, Way(queue, visit), AtOnce(), queue.world.clock.epoch())


class FanOutCall(CrawlCall):
    """Be a trigger's call: it hands its run to the queue, or does it if that is little enough."""

    def __init__(self, queue: Queue, name: str, order: Order, pace: Pace) -> None:
        super().__init__(queue.world, name, order, pace)
        self._queue = queue

    def crawl(self, run_index: RunIndex, spec: RunSpec, time: CallTime) -> None:
        """Hand the run over."""
        chance = self.world.chance
        plan = Plan(
            task_parts=chance.randint(1, 4),
            max_per_second=0.0,
            max_at_once=3,
            deadline_seconds=chance.choice((2.0, 10.0, 60.0)),
        )
        if not fleet_of(self._queue, self, run_index).fan_out(
            spec, chance.randint(0, 2), lambda _parts, _at_once: plan
        ):
            super().crawl(run_index, spec, time)


class TaskVisit(CrawlCall):
    """Be one delivery of a task."""

    def __init__(self, queue: Queue, name: str, delivery: Delivery) -> None:
        super().__init__(queue.world, name, make_order("1"), Pace())
        self._queue = queue
        self._delivery = delivery
        self._awaited = True
        self._alone = Lock()
        self._well = False

    def give_up(self) -> None:
        """Have the queue wait no longer, whatever becomes of the call."""
        if self._awaited:
            self._awaited = False
            self.scheduler.note("queue", f"waits no longer for {self.name}")
            self._queue.ended(self._delivery, well=False)

    def visit(self) -> None:
        """Carry the task out."""
        time = CallTime(self.world.clock.now(), self.pace.deadline_seconds)
        run_index = self.run_index(time.end)
        fleet = fleet_of(self._queue, self, run_index)
        run, asked = self._delivery.run, self._delivery.task
        self.spec, plan = fleet.assignment(run, asked, SOURCE)
        with self.opened_call(run_index, self.spec, CallTime(time.began, plan.deadline_seconds)) as call:
            task = TaskCall(fleet, call, asked, plan, self._alone, self._delivery.retries)
            report = run_coroutine(self.scheduler, task.carry_out())
        self.scheduler.note(self.name, f"answers: {report}")
        self._hold_kept()

    def _hold_kept(self) -> None:
        """Hold a task that answered well against what it settled: all of it is stored."""
        run = self.world.truth.runs[self._delivery.run]
        lost = self.settled - set(run.rows_at(self.world.bucket.serial))
        self.world.truth.hold(not lost, f"{self.name} answers well and loses {sorted(lost)}")
        self._well = True

    def _end(self) -> None:
        super()._end()
        if self._awaited:
            self._awaited = False
            self._queue.ended(self._delivery, self._well)


class Sweep(Visit):
    """Be a call of POST /sweep."""

    def __init__(self, queue: Queue, name: str) -> None:
        super().__init__(queue.world, name)
        self._queue = queue

    def visit(self) -> None:
        """Sweep."""
        run_index = self.run_index(Deadline.after(self.world.clock.now(), 600.0))
        for swept in fleet_of(self._queue, self, run_index).sweep():
            self.scheduler.note(self.name, f"swept: {swept}")


def run_fleet(world: World) -> Queue:
    """Have one run done by a fleet, through bad weather and the calm after it; raises Violation."""
    chance, queue = world.chance, Queue(world)
    order = make_order(_songs(chance), run="trial", part_songs=chance.randint(1, 4))
    for index in range(chance.randint(1, 4)):
        visit = _visit(queue, order, index)
        visit.start(chance.choice((0.0, 0.1, 5.0, 300.0)))
    world.scheduler.run()
    world.calm(BREEZE)
    for index in range(MOST_SWEEPS):
        call = FanOutCall(queue, f"last-{index}", order, Pace())
        for visit in (call, Sweep(queue, f"sweep-{index}")):
            visit.start()
            world.scheduler.run()
        if not world.truth.runs["trial"].waiting():
            break
        world.scheduler.now += 1800.0
    world.truth.hold(not world.truth.runs["trial"].waiting(), "the run does not come to its end")
    world.thaw()
    world.scheduler.run()
    world.truth.at_the_end()
    queue.open = False
    return queue


def _songs(chance: random.Random) -> str:
    first = chance.randint(0, 10)
    return f"{first}-{first + chance.randint(5, 30)}"


def _visit(queue: Queue, order: Order, index: int) -> Visit:
    if index and queue.world.chance.random() < 0.4:
        return Sweep(queue, f"early-sweep-{index}")
    return FanOutCall(queue, f"call-{index}", order, Pace(deadline_seconds=queue.world.chance.choice((3.0, 600.0))))
