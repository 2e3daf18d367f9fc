"""Check how a run is cut into tasks, how they are named, what one may do, and which parts none will do."""

from __future__ import annotations

import math
import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.fan_out.plan import (
    MOST_TASKS,
    Plan,
    Task,
    cut_tasks,
    instances,
    may_follow,
    orphans,
    recut,
    share,
    task_parts,
)


def plan_of(parts: int) -> Plan:
    """Make a plan of so many parts a task."""
    return Plan(task_parts=parts, max_per_second=100, max_at_once=10, deadline_seconds=60)


@given(st.sets(st.integers(0, 99)), st.integers(1, 120))
def test_tasks_cover_what_is_missing_and_never_meet(missing: set[int], size: int) -> None:
    """Put each missing part in exactly one task, and make no task of which nothing is missing."""
    tasks = cut_tasks(missing, 3, plan_of(size), 100)
    part_range = list(chain.from_iterable(task.part_range for task in tasks))

    assert missing <= set(part_range) <= set(range(100))
    assert len(part_range) == len(set(part_range))
    assert all(missing & set(task.part_range) for task in tasks)
    assert {task.sweep for task in tasks} <= {3}


def test_the_cuts_do_not_depend_on_what_is_missing() -> None:
    """Cut at the same places whatever is there already: or two calls that look at two moments would overlap."""
    assert set(cut_tasks([7], 0, plan_of(4), 10)) < set(cut_tasks(range(10), 0, plan_of(4), 10))


def test_equal_tasks_have_one_name_and_others_another() -> None:
    """Tell run, sweep, parts and continuation apart, and nothing else."""
    task = Task(sweep=0, first=0, last=3)
    others = [
        task.next(),
        Task(sweep=1, first=0, last=3),
        Task(sweep=0, first=4, last=7),
        Task(sweep=0, first=0, last=4),
    ]
    names = [each.name("trial") for each in [task, *others]] + [task.name("other"), task.name("tri.al")]

    assert Task(sweep=0, first=0, last=3).name("trial") == names[0]
    assert task.next(failures=7).name("trial") == task.next().name("trial")
    assert len(set(names)) == len(names)


@given(st.from_regex(re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII), fullmatch=True), st.integers(0, 10**9))
def test_names_are_such_as_the_queue_takes(run: str, index: int) -> None:
    """Use letters, digits, dashes and underscores, 500 at the most, and begin with a hash."""
    name = Task(sweep=index, first=index, last=index, continuation=index).name(run)

    assert re.fullmatch(r"[0-9a-f]{16}-[A-Za-z0-9_-]{1,480}", name)


def test_runs_whose_names_look_alike_have_tasks_of_their_own() -> None:
    """Keep a.b and a_b apart, although a name may hold no dot."""
    task = Task(sweep=0, first=0, last=3)

    assert task.name("a.b") != task.name("a_b")


@given(st.floats(0.001, 10**6), st.integers(1, 1000))
def test_no_second_has_more_than_the_ceiling_whatever_the_shares_do_together(ceiling: float, at_once: int) -> None:
    """Divide the ceiling so that the fullest seconds of all instances, which may be one, hold no more than it."""
    working = instances(ceiling, at_once)

    assert 1 <= working <= at_once
    assert working * math.ceil(share(ceiling, at_once)) <= math.ceil(ceiling)
    assert share(ceiling, at_once) > 0


@pytest.mark.parametrize(
    ("ceiling", "at_once", "expected"),
    [(100, 10, (10, 10)), (100, 8, (8, 12)), (0, 8, (8, 0)), (7, 20, (7, 1)), (0.5, 20, (1, 0.5)), (1.5, 1, (1, 1.5))],
)
def test_shares(ceiling: float, at_once: int, expected: tuple[int, float]) -> None:
    """Give whole requests a second to as many as there is one for; no ceiling stays none, one instance has it all."""
    assert (instances(ceiling, at_once), share(ceiling, at_once)) == expected


def test_few_requests_a_second_are_few_tasks() -> None:
    """Make no more tasks than may work, where the queue would deliver more of them at once."""
    size = task_parts(1000, 100, 3, 20, 540)

    assert len(cut_tasks(range(1000), 0, plan_of(size), 1000)) == 3


@pytest.mark.parametrize(
    ("parts", "part_songs", "per_second", "at_once", "deadline", "expected"),
    [
        pytest.param(3000, 1000, 500, 20, 540, 8, id="five minutes of work at a share of 25 a second"),
        pytest.param(200, 1000, 500, 4, 540, 4, id="enough tasks for all instances to end together"),
        pytest.param(500, 1000, 500, 20, 60, 2, id="no more than the deadline allows"),
        pytest.param(3, 1000, 20, 20, 540, 1, id="one part at least"),
        pytest.param(1_000_000, 1000, 500, 20, 540, 2000, id="no more than 500 tasks"),
        pytest.param(10_000, 1000, 0, 2, 540, 270, id="what was measured where there is no ceiling"),
    ],
)
def test_size_of_a_task(
    parts: int, part_songs: int, per_second: float, at_once: int, deadline: float, expected: int
) -> None:
    """Give a task some minutes of work, and every instance several."""
    assert task_parts(parts, part_songs, per_second, at_once, deadline) == expected


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.floats(0, 10**4), st.integers(1, 1000), st.floats(1, 1750))
def test_a_sweep_never_has_too_many_tasks(
    parts: int, part_songs: int, per_second: float, at_once: int, deadline: float
) -> None:
    """Stay under the bound whatever is asked."""
    size = task_parts(parts, part_songs, per_second, at_once, deadline)

    assert size >= 1
    assert -(-parts // size) <= MOST_TASKS


RUN_NAMES = st.from_regex(re.compile(r"[a-z0-9][a-z0-9._-]{0,20}", re.ASCII), fullmatch=True)


@given(RUN_NAMES, RUN_NAMES, st.integers(0, 99), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 99))
def test_a_name_tells_the_task_to_its_own_run(
    run: str, other: str, sweep: int, first: int, last: int, continuation: int
) -> None:
    """Read from a name which parts a task has, and nothing from those of other runs."""
    task = Task(sweep=sweep, first=first, last=last, continuation=continuation)

    assert Task.named(task.name(run), run) == task
    assert run == other or Task.named(task.name(run), other) is None


def test_parts_without_a_task_are_orphans() -> None:
    """List what is missing and no task of that run is to do, whatever else the queue holds."""
    names = [Task(sweep=0, first=2, last=4).name("a.b"), Task(sweep=1, first=0, last=0, continuation=3).name("a.b")]
    foreign = [Task(sweep=0, first=5, last=9).name("a_b"), "by-hand", ""]

    assert orphans("a.b", [0, 1, 3, 5, 8], [*names, *foreign]) == [1, 5, 8]


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_new_cuts_lie_within_the_old(size: int, least: int) -> None:
    """Divide a task's size without remainder, into pieces no smaller than asked for."""
    new = recut(size, least)

    assert size % new == 0
    assert new >= min(size, least)


def test_new_cuts_are_as_fine_as_may_be() -> None:
    """Take the least divisor that is large enough, and the old size where none is."""
    assert [recut(12, least) for least in (1, 2, 3, 5, 7, 12, 13)] == [1, 2, 3, 6, 12, 12, 12]


def test_a_sweep_gives_the_one_before_time_to_enqueue() -> None:
    """Wait ten seconds from the last sweep, whatever was stored since."""
    assert not may_follow(109.9, [0.0, 100.0], [105.0])
    assert may_follow(110.0, [0.0, 100.0], [105.0])


def test_fruitless_sweeps_come_less_and_less_often() -> None:
    """Double the wait with each sweep that nothing followed, to six hours; sweep 0 is no sweep in vain."""
    waits = []
    for fruitless in (0, 1, 2, 20):
        sweeps = [float(number) for number in range(fruitless + 1)]
        waits.append(next(wait for wait in range(10**5) if may_follow(fruitless + wait, sweeps, [])))

    assert waits == [10, 20, 40, 21600]
