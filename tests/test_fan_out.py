"""Check how a run is cut into tasks, how they are named, what one may do, and when they count as lost."""

from __future__ import annotations

import math
import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rules.fan_out import (
    MOST_TASKS,
    Plan,
    Task,
    cut_tasks,
    instances,
    is_lost,
    quiet_seconds,
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
    places = list(chain.from_iterable(task.places for task in tasks))

    assert missing <= set(places) <= set(range(100))
    assert len(places) == len(set(places))
    assert all(missing & set(task.places) for task in tasks)
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
def test_names_are_such_as_the_queue_takes(run: str, place: int) -> None:
    """Use letters, digits, dashes and underscores, 500 at the most, and begin with a hash."""
    name = Task(sweep=place, first=place, last=place, continuation=place).name(run)

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


def test_tasks_are_lost_after_a_silence_such_as_never_was() -> None:
    """Wait three times as long as the longest silence so far, from the last sign of them."""
    assert not is_lost(139.9, [0.0], [20.0, 40.0, 35.0, 60.0, 80.0], 540)
    assert is_lost(140.0, [0.0], [20.0, 40.0, 35.0, 60.0, 80.0], 540)


def test_a_silence_has_its_bounds() -> None:
    """Wait ten seconds at the least, and half as long again as a task may take at the most."""
    assert [quiet_seconds(longest, 60, 0) for longest in (0, 1, 20, 40)] == [10, 10, 60, 90]


def test_tasks_of_which_nothing_was_ever_seen_are_lost() -> None:
    """Give them the time that a task may take, and half of it again."""
    assert not is_lost(89.9, [0.0], [], 60)
    assert is_lost(90.0, [0.0], [], 60)


def test_fruitless_sweeps_come_less_and_less_often() -> None:
    """Double the wait with each sweep that nothing followed, to six hours; sweep 0 is no sweep in vain."""
    assert [quiet_seconds(20, 60, fruitless) for fruitless in (0, 1, 2, 9)] == [60, 120, 240, 21600]
    answered, in_vain = [0.0, 89.0], [0.0, 91.0]  # the last sign is of second 90, the longest silence took 30
    assert not is_lost(179.9, answered, [30.0, 60.0, 90.0], 100)
    assert is_lost(180.0, answered, [30.0, 60.0, 90.0], 100)
    assert not is_lost(270.9, in_vain, [30.0, 60.0, 90.0], 100)
    assert is_lost(271.0, in_vain, [30.0, 60.0, 90.0], 100)
