"""Fan-out: how a run that is too large for one call is cut into tasks, and which parts no task is to do any more."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec

from crawler.runs.cost import ASSUMED_PER_SECOND

# A task is some five minutes of work: long against what a delivery costs, short against a call's deadline.
TASK_SECONDS = 300.0
# So many for each instance at least, where there are parts enough: then all instances end at about the same time.
TASKS_PER_INSTANCE = 16
# A sweep has no more: a longer range goes on in continuations, and planning any run is the work of one call.
MOST_TASKS = 500
# A task may be waited for 30 minutes at the most, and its call needs a moment to answer.
MOST_DEADLINE_SECONDS = 1750.0

# The queue refuses the name of a task that ended a while ago: for an hour at least, by its documentation.
NAMES_LAST_SECONDS = 1200.0
# So long after a sweep began its tasks may still be on their way into the queue: 500, eight at a time, take some 3 s.
ENQUEUING_SECONDS = 10.0
MOST_WAIT_SECONDS = 6 * 3600.0

_NAME = re.compile(r"[0-9a-f]{16}-.+-sweep-(\d+)-parts-(\d+)-(\d+)-(\d+)", re.ASCII)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of one sweep have in common.

    `max_per_second` is for all instances together (0: no ceiling), `max_at_once` and `deadline_seconds` for each task.
    """

    task_parts: Annotated[int, msgspec.Meta(ge=1)]
    max_per_second: float
    max_at_once: int
    deadline_seconds: float


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the parts at the places `first` to `last` of a run's grid.

    `continuation` counts from 0; `failures` is how often those before failed, and none of them found out why.
    """

    sweep: int
    first: int
    last: int
    continuation: int = 0
    failures: int = 0

    @property
    def part_range(self) -> range:
        """Return the places of its parts in the grid."""
        return range(self.first, self.last + 1)

    def next(self, failures: int = 0) -> Task:
        """Return the task that goes on where this one was cut off."""
        return msgspec.structs.replace(self, continuation=self.continuation + 1, failures=failures)

    def name(self, run: str) -> str:
        """Name the task of a run: the same whatever its failures, so that the queue takes it once.

        The hash before all else spreads the names: sequential ones slow the service down.
        https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create
        """
        text = f"{run}-sweep-{self.sweep}-parts-{self.first}-{self.last}-{self.continuation}"
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{text.replace('.', '_')}"

    @classmethod
    def named(cls, name: str, run: str) -> Task | None:
        """Return the task of a run that has this name, whatever its failures; None: it is none of that run's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        sweep, first, last, continuation = (int(number) for number in match.groups())
        task = cls(sweep=sweep, first=first, last=last, continuation=continuation)
        return task if task.name(run) == name else None


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a task: its parts are all committed, another task continues them, or nothing is left to do.

    `held`: its parts were the last, and the gate holds the run.
    """

    run: str
    first: int
    last: int
    state: Literal["complete", "held", "continued", "over"]


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep made of a run: how many parts it lacks, and how many tasks were enqueued for them."""

    run: str
    state: Literal["complete", "held", "running", "enqueued", "damaged"]
    missing_parts: int = 0
    tasks: int = 0


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a sweep."""

    runs: list[Swept]


def instances(max_per_second: float, at_once: int) -> int:
    """Return how many of the queue's deliveries may work on a run: one for each request a second at the most."""
    return max(1, min(at_once, int(max_per_second))) if max_per_second else at_once


def share(max_per_second: float, at_once: int) -> float:
    """Return one task's part of a ceiling that holds for all of them together; 0: there is none.

    A request is whole: a share of 1.5 would let two into some seconds of every instance.
    """
    working = instances(max_per_second, at_once)
    return max_per_second if working == 1 else float(max_per_second // working)


def task_parts(parts: int, part_songs: int, max_per_second: float, at_once: int, deadline_seconds: float) -> int:
    """Return how many parts a task is to have, of so many missing ones: see the constants above.

    Where not all of the queue's deliveries may work, there are only as many tasks, however long.
    """
    working = instances(max_per_second, at_once)
    if working < at_once:
        return math.ceil(parts / working)
    songs_per_second = share(max_per_second, at_once) or ASSUMED_PER_SECOND
    in_time = songs_per_second * min(TASK_SECONDS, deadline_seconds * 0.8) / part_songs
    in_balance = parts / (TASKS_PER_INSTANCE * working)
    return math.ceil(max(parts / MOST_TASKS, min(in_time, in_balance)))


def cut_tasks(missing: Iterable[int], sweep: int, plan: Plan, parts: int) -> list[Task]:
    """Return the tasks of a sweep: of the grid's `parts`, cut every `task_parts`, the pieces where some are missing."""
    pieces = sorted({index // plan.task_parts for index in missing})
    size = plan.task_parts
    return [Task(sweep=sweep, first=piece * size, last=min(parts, (piece + 1) * size) - 1) for piece in pieces]


def recut(size: int, least: int) -> int:
    """Return the least divisor of a task's `size` that has so many parts, or the size itself.

    New tasks then never reach over the borders of the old ones: a piece that one of these still does stays its own.
    """
    return min((part for part in range(1, size + 1) if size % part == 0 and part >= least), default=size)


def orphans(run: str, missing: Iterable[int], names: Iterable[str]) -> list[int]:
    """List which missing parts of a run no task in the queue is to do; `names` are those of the tasks it holds.

    They must have been read before it was seen what is missing: a task leaves the queue when its parts are stored.
    """
    tasks = [task for name in names if (task := Task.named(name, run))]
    return sorted(set(missing).difference(*(task.part_range for task in tasks)))


def may_follow(now: float, sweeps: Sequence[float], signs: Iterable[float]) -> bool:
    """Tell whether another sweep may follow those that began at these times, by all that their tasks stored.

    The last one's tasks must have had time to come into the queue. The wait doubles with each sweep that nothing came
    of: a queue that forgets its tasks while an upstream is down is not to be filled again and again.
    """
    last_sign = max(signs, default=sweeps[0])
    fruitless = sum(at > last_sign for at in sweeps[1:])
    return now - sweeps[-1] >= min(ENQUEUING_SECONDS * 2.0**fruitless, MOST_WAIT_SECONDS)
