"""Check a run that tasks in a queue work on: planned once, carried out in any order, swept, finished, stopped."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from support.fanned_out import DEADLINE, SPEC, World
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.errors import BadRequest, RunConflict, StoreUnavailable, UnknownRun, UpstreamUnavailable
from crawler.core.key_list import KeyList
from crawler.core.records import StoredObject
from crawler.core.verdict import Verdict, failed, found, refused, throttled
from crawler.fan_out.fleet import Fleet
from crawler.fan_out.plan import ENQUEUING_SECONDS, NAMES_LAST_SECONDS, Plan, Task
from crawler.fan_out.task_call import CAREFUL_RETRIES, MOST_DEATHS
from crawler.runs.ending.gate import Gate
from crawler.runs.index import FANNED_OUT, RunIndex, scopes_of
from crawler.runs.spec import Source
from crawler.runs.status import run_summary
from crawler.runs.verify import verify_run

SOURCE = Source(SPEC.source, SPEC.source_digest)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Begin a run of ten parts."""
    return World(tmp_path / "songs")


def test_a_run_too_large_for_a_call_is_enqueued(world: World) -> None:
    """Store the plan, and create a task for every three parts; nothing is asked of the song API."""
    assert world.fan_out()

    assert [(task.sweep, task.first, task.last) for task in world.tasks()] == [
        (0, 0, 2),
        (0, 3, 5),
        (0, 6, 8),
        (0, 9, 9),
    ]
    assert {(run, seconds) for run, _, seconds in world.queue.tasks.values()} == {("trial", DEADLINE)}
    assert world.names() == ["run.json", "sweeps/000000.json"]
    assert world.tried == []


def test_a_run_that_a_call_can_do_is_left_to_it(world: World) -> None:
    """Store and enqueue nothing where the call has the time for all that is missing."""
    assert not world.fan_out(most_parts=10)

    assert world.tasks() == []
    assert world.names() == ["run.json"]


def test_an_open_range_stays_with_its_call(tmp_path: Path) -> None:
    """Fan no range out whose end shows only in the order of its parts."""
    world = World(tmp_path, run_spec("1-40", asked="1-", end_after_missing=4))

    assert not world.fan_out()


@pytest.mark.parametrize("ending", ["stopped", "finished"])
def test_a_run_that_is_over_is_not_enqueued(world: World, ending: str) -> None:
    """Leave it to the call, which says how it stands."""
    world.fan_out()
    if ending == "stopped":
        world.run_store.stop()
    else:
        world.deliver_all()
    world.queue.tasks.clear()

    assert not world.fan_out()
    assert world.tasks() == []


def test_the_tasks_do_the_whole_run(world: World) -> None:
    """Ask for each song once, and have whoever commits the last part write the manifest."""
    world.fan_out()
    tasks = world.tasks()
    random.Random(2).shuffle(tasks)
    states = [world.deliver(task).state for task in tasks]

    assert states == ["complete"] * 4
    assert sorted(world.tried) == list(range(1, 41))
    assert verify_run(RunIndex(world.store), "trial").faults == []
    assert run_summary(world.run_store, SPEC, world.now).state == "complete"
    assert world.sweep() == []


def test_the_last_task_holds_a_run_at_the_gate(world: World) -> None:
    """Say held once, by the task that is the last, and have no sweep or second delivery begin anything."""
    world.gate = Gate(max_failed=0.05)
    world.judge = lambda number, _nth: failed("http_400") if number < 4 else found(number)
    world.fan_out()
    tasks = world.tasks()
    states = [world.deliver(task).state for task in [*tasks, tasks[0]]]

    assert states == ["complete", "complete", "complete", "held", "over"]
    assert run_summary(world.run_store, SPEC, world.now).state == "held"
    assert "manifest.json" not in world.names()
    assert world.sweep() == []
    assert not world.fan_out()


def test_a_sweep_holds_a_run_whose_last_task_died(world: World) -> None:
    """Decide where all parts are there and nobody said how the run ended."""
    world.judge = lambda number, _nth: failed("http_400") if number < 4 else found(number)
    world.fan_out()
    world.deliver_all()
    for path in (world.folder / "index" / "ended").rglob("trial*"):
        path.unlink()
    (world.folder / "runs/trial/manifest.json").unlink()
    world.gate = Gate(max_failed=0.05)

    assert [swept["state"] for swept in world.sweep()] == ["held"]
    assert world.sweep() == []


@pytest.mark.parametrize("who", ["the call", "a sweep"])
def test_a_resumed_run_is_enqueued_again(world: World, who: str) -> None:
    """Have new tasks for what is missing: the queue delivered the old ones while the run was stopped, for nothing."""
    world.fan_out()
    world.deliver(world.tasks()[0])
    world.run_store.stop()
    assert [world.deliver(task).state for task in world.tasks()[1:]] == ["over"] * 3
    assert world.sweep() == []
    used = list(world.queue.tasks)
    world.queue.tasks.clear()
    world.ahead = 2 * ENQUEUING_SECONDS
    RunIndex(world.store, "resume").resume(SPEC)
    again = world.fan_out() if who == "the call" else bool(world.sweep())

    assert again
    assert not set(world.queue.tasks) & set(used)
    assert {index for task in world.tasks() for index in task.part_range} == set(range(3, 10))
    world.deliver_all()
    assert run_summary(world.run_store, SPEC, world.now).state == "complete"


def test_a_task_delivered_twice_asks_for_nothing_again(world: World) -> None:
    """Find the parts there, before the run is finished as after it."""
    world.fan_out()
    first = world.tasks()[0]
    world.deliver(first)
    again = world.deliver(first)
    world.deliver_all()
    late = world.deliver(first)

    assert (again.state, late.state) == ("complete", "over")
    assert len(world.tried) == 40


def test_the_same_call_again_enqueues_nothing_twice(world: World) -> None:
    """Create each name once, however often the trigger fires, and say each time that the queue has the run."""
    assert [world.fan_out() for _ in range(3)] == [True] * 3

    assert len(world.queue.tasks) == 4
    assert [name for name in world.names() if name.startswith("sweeps/")] == ["sweeps/000000.json"]


def test_a_call_that_could_not_enqueue_all_is_continued_by_the_next(world: World) -> None:
    """Enqueue what the first call had no time for, under the same names."""
    world.fan_out()
    names = list(world.queue.tasks)
    for name in names[1:]:
        del world.queue.tasks[name]
    world.fan_out()

    assert sorted(world.queue.tasks) == sorted(names)


def test_the_first_plan_stands(world: World) -> None:
    """Cut a run as it was cut first, whatever a later call would make of it."""
    world.fan_out()
    with ThreadPoolExecutor(1) as executor:
        plan = Plan(task_parts=1, max_per_second=1, max_at_once=1, deadline_seconds=1)
        assert world.fleet(executor).fan_out(SPEC, 2, lambda _parts, _instances: plan)

    assert len(world.queue.tasks) == 4


def test_a_late_call_leaves_what_the_queue_holds(world: World) -> None:
    """Enqueue nothing for a run whose tasks wait, once the queue may no longer know the names of those that ended."""
    world.fan_out()
    world.age(NAMES_LAST_SECONDS + 1)
    world.deliver(world.tasks()[0])
    del world.queue.tasks[next(iter(world.queue.tasks))]

    assert world.fan_out()
    assert [(task.sweep, task.first) for task in world.tasks()] == [(0, 3), (0, 6), (0, 9)]


def test_a_late_call_enqueues_what_was_lost(world: World) -> None:
    """Sweep the run that the call means, if its tasks have vanished."""
    world.fan_out()
    world.queue.tasks.clear()
    world.age(NAMES_LAST_SECONDS + 1)
    world.fan_out()

    assert {task.sweep for task in world.tasks()} == {1}


def out_of_time(world: World, after: int) -> None:
    """Have the song API take an hour for each song after so many."""
    asked: set[int] = set()

    def judge(number: int, _nth: int) -> Verdict:
        asked.add(number)
        return throttled("http_429", 3600.0) if len(asked) > after else found(number)

    world.judge = judge


def test_a_task_that_ran_out_of_time_is_continued(world: World) -> None:
    """Keep what was fetched, enqueue the rest as another task, and tell the queue that all is well."""
    world.fan_out()
    first = world.tasks()[0]
    out_of_time(world, after=5)
    report = world.deliver(first, seconds=0.5)
    again = world.tasks()[-1]
    world.judge = lambda number, _nth: found(number)
    asked = set(world.tried[:5])
    before = len(world.tried)
    continued = world.deliver(again)

    assert (report.state, continued.state) == ("continued", "complete")
    assert again == Task(sweep=0, first=0, last=2, continuation=1)
    assert sorted(world.tried[before:]) == sorted(set(range(1, 13)) - asked)


def test_two_deliveries_have_one_continuation(world: World) -> None:
    """Name the continuation alike, whichever delivery of a task it comes from."""
    world.fan_out()
    first = world.tasks()[0]
    for _ in range(2):
        out_of_time(world, after=2)
        world.deliver(first, seconds=0.3)

    assert [task.continuation for task in world.tasks()] == [0, 0, 0, 0, 1]


def test_a_task_that_got_nowhere_is_to_come_again(world: World) -> None:
    """Say that the upstream is not there, so that the queue waits; mark no song failed, at no number of retries."""
    world.fan_out()
    first = world.tasks()[0]
    world.judge = lambda _number, _nth: refused("The upstream answers 401.")
    for retries in (0, CAREFUL_RETRIES, 1000, 1000, 1000, 1000):
        with pytest.raises(UpstreamUnavailable, match=r"The upstream answers 401\."):
            world.deliver(first, retries)
        world.age(2 * DEADLINE)

    assert len(world.tasks()) == 4
    assert world.run_store.parts(SPEC) == []


class Died(BaseException):
    """Stand for the end of a process."""


def die_at(world: World, poison: int) -> None:
    """Have a song end the process that asks for it."""

    def judge(number: int, _nth: int) -> Verdict:
        if number == poison:
            raise Died
        return found(number)

    world.judge = judge


def test_a_part_that_kills_who_asks_for_it_is_given_up(world: World) -> None:
    """Do all other parts of the task, and commit this one with its songs failed, once enough have died of it alone."""
    world.fan_out()
    first = world.tasks()[0]
    die_at(world, poison=6)
    deaths = 0
    retries = 0
    while (waiting := [task for task in world.tasks() if task.first == 0][-1]) and retries < 50:
        try:
            report = world.deliver(waiting, retries)
        except Died:
            deaths += 1
            retries += 1
            world.age(2 * DEADLINE)
            continue
        retries = 0
        if report.state == "complete":
            break
    songs = {row.song_num: row for index in first.part_range for row in world.run_store.rows(SPEC.grid[index])}

    assert sorted(songs) == list(range(1, 13))
    assert {number for number, row in songs.items() if row.error == "poison"} <= {5, 6, 7, 8}
    assert songs[6].error == "poison"
    assert deaths == CAREFUL_RETRIES + MOST_DEATHS
    world.judge = lambda number, _nth: found(number)
    world.deliver_all()
    assert verify_run(RunIndex(world.store), "trial").faults == []


def test_a_number_of_retries_alone_poisons_nothing(world: World) -> None:
    """Take the queue's header for a hint: whoever sends a large number gets songs fetched, part by part."""
    world.fan_out()
    first = world.tasks()[0]
    reports = [world.deliver(first, retries=10**6).state for _ in range(3)]

    assert reports == ["continued", "continued", "complete"]
    assert {row.status for index in first.part_range for row in world.run_store.rows(SPEC.grid[index])} == {"found"}


def test_careful_tasks_are_alone_on_their_instance(world: World) -> None:
    """Have one come again, without a try, while another is at work: what kills that one says nothing of this one."""
    world.fan_out()
    with world.alone, pytest.raises(UpstreamUnavailable, match="this one may come again"):
        world.deliver(world.tasks()[0], CAREFUL_RETRIES)

    assert world.tried == []
    assert not [name for name in world.names() if name.startswith("tries/")]
    assert world.deliver(world.tasks()[0], CAREFUL_RETRIES).state == "continued"


def test_tries_that_may_still_live_are_no_deaths(world: World) -> None:
    """Give nothing up for deliveries that began less than a deadline ago: they may be at it."""
    world.fan_out()
    first = world.tasks()[0]
    die_at(world, poison=2)
    for _ in range(MOST_DEATHS + 2):
        with pytest.raises(Died):
            world.deliver(first, CAREFUL_RETRIES)

    assert world.run_store.parts(SPEC) == []


class Full(FolderStore):
    """Have no room for parts."""

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store anything else."""
        if "/songs-" in name and "/tries/" not in name:
            raise StoreUnavailable("The disk is full.")
        return super().create(name, data, metadata)


def test_a_store_that_fails_is_no_death(world: World) -> None:
    """Note that a careful try ended where the store failed it: the part is not to blame."""
    world.fan_out()
    first = world.tasks()[0]
    world.store = Full(world.folder)
    for _ in range(MOST_DEATHS + 1):
        with pytest.raises(StoreUnavailable):
            world.deliver(first, CAREFUL_RETRIES)
        world.age(2 * DEADLINE)
    world.store = FolderStore(world.folder)
    world.deliver(first, CAREFUL_RETRIES)

    assert {row.status for row in world.run_store.rows(SPEC.grid[0])} == {"found"}


def test_stop_ends_all_tasks(world: World) -> None:
    """Answer the tasks of a stopped run without a request; the sweep leaves it alone."""
    world.fan_out()
    world.deliver(world.tasks()[0])
    world.run_store.stop()
    before = len(world.tried)
    states = [world.deliver(task).state for task in world.tasks()]
    world.age(10**6)

    assert states == ["over"] * 4
    assert len(world.tried) == before
    assert world.sweep() == []


def test_sweep_leaves_tasks_alone_that_live(world: World) -> None:
    """Enqueue nothing for parts whose tasks the queue still holds, however long nothing was stored."""
    world.fan_out()
    world.pass_time(10**6)

    assert world.sweep() == [{"run": "trial", "state": "running", "missing_parts": 10, "tasks": 0}]


def test_sweep_enqueues_what_the_queue_lost(world: World) -> None:
    """Create the tasks of what is missing under the next sweep's names, once; the run then comes to its end."""
    world.fan_out()
    world.deliver(world.tasks()[0])
    world.queue.tasks.clear()
    world.age(2 * DEADLINE)

    assert world.sweep() == [{"run": "trial", "state": "enqueued", "missing_parts": 7, "tasks": 7}]
    # So few are cut anew: for two instances to end together.
    assert [(task.sweep, task.first, task.last) for task in world.tasks()] == [(1, n, n) for n in range(3, 10)]
    assert world.sweep() == [{"run": "trial", "state": "running", "missing_parts": 7, "tasks": 0}]
    assert world.deliver_all() == ["complete"] * 7
    assert sorted(world.tried) == list(range(1, 41))
    assert verify_run(RunIndex(world.store), "trial").faults == []


def test_sweeps_at_the_same_moment_enqueue_once(world: World) -> None:
    """Give two that found the same tasks lost the same names."""
    world.fan_out()
    world.queue.tasks.clear()
    world.age(2 * DEADLINE)
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(lambda _: world.sweep(), range(4)))

    assert sorted((task.sweep, task.first, task.last) for task in world.tasks()) == [(1, n, n) for n in range(10)]


def test_sweeps_in_vain_come_less_often(world: World) -> None:
    """Wait twice as long after a sweep that nothing followed: the queue may forget tasks while the upstream is down."""
    world.fan_out()
    swept = []
    for _ in range(10):
        world.queue.tasks.clear()
        world.age(ENQUEUING_SECONDS)
        swept += [run["state"] for run in world.sweep()]

    assert swept == ["enqueued", "running", "enqueued", "running", "running", "running", "enqueued", *["running"] * 3]


def test_sweep_enqueues_at_once_what_no_task_will_do(world: World) -> None:
    """Leave the tasks that the queue holds alone, and create one for each part that is theirs no more."""
    world.fan_out()
    del world.queue.tasks[next(name for name in world.queue.tasks if "-parts-3-5-" in name)]
    world.age(ENQUEUING_SECONDS)

    assert world.sweep() == [{"run": "trial", "state": "enqueued", "missing_parts": 10, "tasks": 3}]
    assert [(task.sweep, task.first, task.last) for task in world.tasks()[3:]] == [(1, n, n) for n in (3, 4, 5)]
    assert world.deliver_all() == ["complete"] * 6
    assert sorted(world.tried) == list(range(1, 41))


def test_sweep_leaves_a_call_the_time_to_enqueue(world: World) -> None:
    """Enqueue nothing for tasks that may be on their way into the queue."""
    world.fan_out()
    world.queue.tasks.clear()
    world.age(ENQUEUING_SECONDS - 2)

    assert [run["state"] for run in world.sweep()] == ["running"]


def test_sweep_finishes_a_run_that_is_whole(world: World) -> None:
    """Write the manifest that a kill took, and never look at the run again."""
    world.fan_out()
    world.deliver_all()
    (world.folder / "runs/trial/manifest.json").unlink()
    for path in world.folder.glob("index/ended/*/trial"):
        path.unlink()

    assert world.sweep() == [{"run": "trial", "state": "complete", "missing_parts": 0, "tasks": 0}]
    assert verify_run(RunIndex(world.store), "trial").faults == []
    assert world.sweep() == []
    assert (world.folder / "index/ended" / scopes_of(SPEC.request_digest, None)[0] / "trial").exists()
    assert (world.folder / "index/ended" / FANNED_OUT / "trial").exists()


def test_sweep_touches_no_run_that_is_not_fanned_out(world: World) -> None:
    """Leave a run to its callers that no queue works on, however long it has stood still."""
    world.age(10**6)

    assert world.sweep() == []
    assert world.tasks() == []


def test_sweep_goes_on_past_a_damaged_run(world: World) -> None:
    """Say which run can't be read, and sweep the others."""
    other = World(world.folder, run_spec("1-40", run="other"))
    for each in (world, other):
        each.fan_out()
        each.age(2 * DEADLINE)
        each.queue.tasks.clear()
    (world.folder / "runs/trial/sweeps/000000.json").write_text("{")

    assert {swept["run"]: swept["state"] for swept in other.sweep()} == {"trial": "damaged", "other": "enqueued"}


def test_sweep_leaves_a_newer_releases_run_to_it(world: World) -> None:
    """Pass over a run of a form that is not known, and sweep the others."""
    other = World(world.folder, run_spec("1-40", run="other"))
    for each in (world, other):
        each.fan_out()
        each.age(2 * DEADLINE)
        each.queue.tasks.clear()
    for name in ("run.json", ".run.json.meta"):
        (world.folder / "runs/trial" / name).unlink()
    world.run_store.begin(run_spec("1-40", version=4))

    assert {swept["run"]: swept["state"] for swept in other.sweep()} == {"other": "enqueued"}


def test_sweep_passes_over_a_marker_that_leads_nowhere(world: World) -> None:
    """Do nothing for a run whose first sweep was never stored: its call will be made again."""
    RunIndex(world.store, "x").mark_fanned_out("trial")

    assert world.sweep() == [{"run": "trial", "state": "running", "missing_parts": 10, "tasks": 0}]
    assert world.tasks() == []


@pytest.fixture
def fleet(world: World) -> Iterator[Fleet]:
    """Be an instance of a world whose run is fanned out."""
    world.fan_out()
    with ThreadPoolExecutor(1) as executor:
        yield world.fleet(executor)


def test_a_task_of_no_run_is_refused(fleet: Fleet) -> None:
    """Name the run and the sweep that are not there."""
    with pytest.raises(UnknownRun, match=r"There is no run other whose sweep 0 enqueued this\."):
        fleet.assignment("other", Task(sweep=0, first=0, last=0), SOURCE)
    with pytest.raises(UnknownRun, match="sweep 7"):
        fleet.assignment("trial", Task(sweep=7, first=0, last=0), SOURCE)


def test_a_task_past_the_grid_is_refused(fleet: Fleet) -> None:
    """Say how many parts there are."""
    with pytest.raises(BadRequest, match=r"last is 10; allowed: a whole number up to 9\."):
        fleet.assignment("trial", Task(sweep=0, first=0, last=10), SOURCE)


def test_a_task_is_never_done_with_another_song_api(fleet: Fleet) -> None:
    """Refuse the tasks that a function enqueued before it was given another SONG_URL."""
    with pytest.raises(RunConflict, match="of another source"):
        fleet.assignment("trial", Task(sweep=0, first=0, last=0), Source("sim://other", "another"))


def test_a_task_is_never_done_under_other_settings_or_keys(fleet: Fleet) -> None:
    """Refuse the tasks of a run that other code began, or whose keys are no longer those of the file."""
    keys = KeyList.parse("".join(f"{number}\n" for number in range(40)).encode())
    others = KeyList.parse(b"0\n1\n")
    source = msgspec.structs.replace(SOURCE, keys=keys, answers_digest="a" * 16)
    spec = run_spec("1-40", run="keyed", version=3, keys=source.keys_digest, answers_digest="a" * 16)
    fleet.run_index.run_store("keyed").begin(spec)
    plan = fleet.sweeps("trial").plan(0)
    assert plan
    fleet.sweeps("keyed").begin(0, plan)
    task = Task(sweep=0, first=0, last=0)

    assert fleet.assignment("keyed", task, source)[0] == spec
    with pytest.raises(RunConflict, match=r"^The run keyed is of other keys: KEYS does not begin with the 40 that it"):
        fleet.assignment("keyed", task, msgspec.structs.replace(source, keys=others))
    with pytest.raises(RunConflict, match=r"^The run keyed was begun with other settings or code for its answers"):
        fleet.assignment("keyed", task, msgspec.structs.replace(source, answers_digest="b" * 16))


@pytest.mark.parametrize("last", range(4))
def test_whoever_is_last_finishes_the_run(tmp_path: Path, last: int) -> None:
    """Write the manifest at the end of the last task, and not before, whichever is the last."""
    world = World(tmp_path)
    world.fan_out()
    tasks = world.tasks()
    for task in [task for index, task in enumerate(tasks) if index != last]:
        world.deliver(task)
        assert not world.run_store.finished()
    world.deliver(tasks[last])

    assert world.run_store.finished()
