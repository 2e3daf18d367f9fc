"""Check on real processes that a run which a queue hands to several of them is the run that one would have made."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from campaigns.fan_out import Instances, fan_out
from campaigns.function import call
from campaigns.places import BUCKET, BucketPlace, FolderPlace, Place, check_rows, verify
from servers import Page, ServerProcess, Upstream, fake_gcs, fake_gcs_available, song
from servers.task_queue import NO_FAULTS, QueueFaults, TaskQueue
from support.fakes import wait_until

TESTS = Path(__file__).parents[1]
FIRING = {
    "X-CloudScheduler": "true",
    "X-CloudScheduler-JobName": "projects/p/locations/l/jobs/nightly",
    "X-CloudScheduler-ScheduleTime": "2026-01-05T02:00:00Z",
}


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Serve a Cloud Storage emulator whose bucket keeps versions: one that is stored twice shows."""
    if reason := fake_gcs_available():
        pytest.skip(reason)
    with fake_gcs(BUCKET, versioned=True) as server:
        yield server


@pytest.fixture
def place(service: ServerProcess, tmp_path: Path) -> Place:
    """Give an empty output in the bucket."""
    return BucketPlace(service, tmp_path.name, service.url)


@contextmanager
def fleet(
    url: str, place: Place, count: int, faults: QueueFaults = NO_FAULTS, at_once: int = 3, **settings: Any
) -> Iterator[tuple[TaskQueue, Instances]]:
    """Run processes of the function, and a queue that delivers to them, some at once."""
    with ExitStack() as stack:
        found: list[Instances] = []
        targets = partial(lambda: found[0].urls() if found else [])
        queue = stack.enter_context(TaskQueue(targets, at_once=at_once, faults=faults, draw=random.Random(3)))
        reached = {name.lower(): value for name, value in queue.settings.items()}
        instances = Instances(url, place, stack, **settings, **reached)
        instances.start(count)
        found.append(instances)
        yield queue, instances


def test_one_scheduled_call_five_times_and_each_task_twice_is_one_run(place: Place) -> None:
    """Store each part once when a scheduled call comes five times at once, to two processes, and every task twice."""
    twice = QueueFaults(twice=1.0, late_seconds=0.2, shuffled=True)
    with Upstream(last=600) as upstream:
        settings: dict[str, Any] = {"part_songs": 20, "max_per_second": 300, "max_at_once": 20, "deadline_seconds": 3}
        with fleet(upstream.url, place, 2, twice, **settings) as (queue, instances), ThreadPoolExecutor(5) as callers:
            servers = [instances.first(), instances.last()]
            answers = list(
                callers.map(lambda nth: call(servers[nth % 2], {"songs": "1-600"}, headers=FIRING), range(5))
            )
            queue.wait_until_empty()
            again = call(servers[0], {"songs": "1-600"}, headers=FIRING)
    (run,) = {answered["run"] for answered in answers}

    assert {answered.status for answered in answers} == {202}
    assert len(queue.created) == len(set(queue.created)) == 30
    assert len(queue.deliveries) == 2 * len(queue.created)
    assert {delivery.status for delivery in queue.deliveries} == {200}
    assert (again.status, again["run"], again["found"]) == (200, run, 600)
    assert verify(place, run)["found"] == 600
    check_rows(place.objects(run), range(1, 601))  # raises if the bucket holds two versions of anything


def test_a_fleet_that_is_killed_and_whose_tasks_are_lost_comes_to_the_whole(place: Place) -> None:
    """Finish a run over three processes, one of them killed now and then, and keep the ceiling of all together.

    On a machine that does other things too, what was sent evenly may arrive in a crowd: three ceilings would be more.
    """
    faults = QueueFaults(lost=0.1, twice=0.1, late_seconds=0.2, shuffled=True)
    limits: dict[str, Any] = {"max_per_second": 240, "max_at_once": 20, "part_songs": 20}
    done = fan_out(
        place,
        900,
        random.Random(5),
        song_seconds=0.05,
        kill_seconds=2.5,
        faults=faults,
        deadline=3,
        slack=0.5,
        **limits,
    )

    assert done.kills >= 1
    assert done.lost >= 1
    assert done.sweeps >= 1


def test_a_task_out_of_time_is_continued_until_the_run_is_whole(tmp_path: Path) -> None:
    """Answer 200 each time and go on in another task, where no task has the time for all its parts."""
    place = FolderPlace(tmp_path / "songs")
    with Upstream(lambda number, _nth: song(number).after(0.05)) as upstream:
        settings: dict[str, Any] = {"part_songs": 80, "max_per_second": 300, "max_at_once": 4, "deadline_seconds": 2}
        with fleet(upstream.url, place, 1, at_once=1, **settings) as (queue, instances):
            answered = call(instances.first(), {"songs": "1-320", "run": "slow"})
            wait_until(lambda: "manifest.json" in place.objects("slow"), timeout=60)
            queue.wait_until_empty()

    assert answered.status == 202
    assert {delivery.status for delivery in queue.deliveries} == {200}
    assert any(name.endswith("-1") for name in queue.created)
    check_rows(place.objects("slow"), range(1, 321))


def test_a_song_that_kills_every_instance_is_poison(tmp_path: Path) -> None:
    """Come to an end although one song ends the process that asks for it: its part's songs are failed, no others."""
    place = FolderPlace(tmp_path / "songs")
    settings: dict[str, Any] = {
        "song_function": "campaigns.deadly:request_song_info",
        "pythonpath": TESTS,
        "part_songs": 5,
    }
    limits: dict[str, Any] = {"max_per_second": 40, "max_at_once": 2, "deadline_seconds": 2}
    with fleet("", place, 1, **settings, **limits) as (queue, instances):
        answered = call(instances.first(), {"songs": "1-40", "run": "deadly"})
        wait_until(lambda: "manifest.json" in place.objects("deadly"), timeout=60)
        queue.wait_until_empty()
    proof = verify(place, "deadly")

    assert answered.status == 202
    assert (proof["found"], proof["failed"]) == (35, 5)
    assert b'"failed_songs": "11-15"' in place.objects("deadly")["manifest.json"].data


def test_stop_ends_the_tasks_of_a_run(tmp_path: Path) -> None:
    """Let the queue empty itself without a request once a run is stopped."""
    place = FolderPlace(tmp_path / "songs")

    def pages(number: int, _nth: int) -> Page:
        return song(number).after(0.1)

    with Upstream(pages) as upstream:
        settings: dict[str, Any] = {"part_songs": 10, "max_per_second": 100, "max_at_once": 5, "deadline_seconds": 4}
        with fleet(upstream.url, place, 1, **settings) as (queue, instances):
            call(instances.first(), {"songs": "1-2000", "run": "long"})
            upstream.wait_for(20)
            stopped = call(instances.first(), {}, path="/runs/long/stop")
            queue.wait_until_empty()
            asked = upstream.count()

    assert stopped["state"] == "stopped"
    assert asked < 2000
    assert {delivery.status for delivery in queue.deliveries} == {200}
