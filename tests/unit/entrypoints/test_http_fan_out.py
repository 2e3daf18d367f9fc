"""Check the calls of a function that has a queue: the trigger's, the queue's own, the sweep's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.fakes import FakeFetcher, FakeQueue

from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.queueing import Queueing
from crawler.core.errors import BadSetting
from crawler.core.settings import Settings
from crawler.core.verdict import refused, throttled
from crawler.entrypoints.http.routes import HttpRequest, HttpResponse, respond
from crawler.rate_control.controller import RateController
from crawler.rate_control.learned import LearnedRate
from crawler.rate_control.limiter import Limiter
from crawler.runs.spec import Source
from crawler.runs.summary import HANDED_TO_QUEUE

TASK = {"sweep": 0, "first": 0, "last": 0, "continuation": 0, "failures": 0}
QUEUE = {
    "QUEUE": "projects/p/locations/l/queues/q",
    "SERVICE_URL": "https://songs.example",
    "INVOKER": "invoker@songs.example",
}


class Function:
    """Be the function on a folder, with a queue that keeps its tasks for the test to deliver."""

    def __init__(self, folder: Path, queue: FakeQueue | None, **settings: str) -> None:
        """Deploy it: parts of ten songs, ten songs a second, calls of twelve seconds."""
        own = {"DEADLINE_SECONDS": "12", "MAX_PER_SECOND": "10", "PART_SONGS": "10", "MAX_AT_ONCE": "7"}
        self.fetcher = FakeFetcher()
        self.queue = queue
        source = Source("sim://{song_num}", "0123456789abcdef")
        read = Settings.from_environ({**own, **settings})
        known = RateController()
        known.start_from(LearnedRate(per_second=100_000, in_flight=100))
        self.deployment = Deployment(
            read, FolderStore(folder), source, lambda _: self.fetcher, limiter=Limiter(known), queueing=Queueing(queue)
        )

    def send(self, method: str, path: str, body: Any = None, /, **headers: str) -> HttpResponse:
        """Send a request; a header's underscores stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode()
        return respond(lambda: self.deployment, HttpRequest(method, path, [], named, data))

    def tasks(self) -> list[dict[str, Any]]:
        """List the tasks that were created."""
        assert self.queue is not None
        return [json.loads(content) for _, content, _ in self.queue.tasks.values()]


@pytest.fixture
def function(tmp_path: Path) -> Function:
    """Deploy the function with a queue that delivers five at once."""
    return Function(tmp_path, FakeQueue(at_once=5))


def test_a_run_too_large_for_its_call_is_202(function: Function) -> None:
    """Say that the queue goes on with it, and how it stands; ask the song API nothing."""
    response = function.send("POST", "/", {"songs": "1-1000", "run": "large"})
    answer = json.loads(response.body)

    assert response.status == 202
    assert (answer["run"], answer["state"], answer["remaining"]) == ("large", "running", 1000)
    assert answer["detail"] == HANDED_TO_QUEUE.detail
    assert function.fetcher.tried == []
    assert [(task["first"], task["last"]) for task in function.tasks()][:3] == [(0, 1), (2, 3), (4, 5)]


def test_a_run_that_its_call_can_do_is_done_at_once(function: Function) -> None:
    """Crawl where ten seconds are enough, and leave the queue alone."""
    response = function.send("POST", "/", {"songs": "1-20", "run": "small"})

    assert (response.status, len(function.fetcher.tried), function.tasks()) == (200, 20, [])


@pytest.mark.parametrize(
    ("songs", "limits", "status"),
    [
        pytest.param("1-100", {}, 200, id="as many as there is time for"),
        pytest.param("1-101", {}, 202, id="one part more"),
        pytest.param("1-30", {"deadline_seconds": 4}, 202, id="less time"),
        pytest.param("1-100", {"max_per_second": 5}, 202, id="a lower rate"),
    ],
)
def test_what_a_call_can_do_is_reckoned_from_its_own_limits(
    tmp_path: Path, songs: str, limits: dict[str, int], status: int
) -> None:
    """Compare the parts with the time less its reserve, at the call's rate; the song API is down, as it happens."""
    function = Function(tmp_path, FakeQueue())
    function.fetcher = FakeFetcher(lambda *_: refused("Down."))
    response = function.send("POST", "/", {"songs": songs, **limits})

    assert response.status == (202 if status == 202 else 503)


def test_tasks_carry_the_limits_of_the_call(function: Function) -> None:
    """Store what the caller allowed with the sweep, for every task of it."""
    body = {"songs": "1-1000", "run": "large", "max_per_second": 4, "max_at_once": 3, "deadline_seconds": 9}
    function.send("POST", "/", body)
    plan = json.loads(function.deployment.store.read("runs/large/sweeps/000000.json") or b"")

    assert plan.pop("task_parts") >= 1
    assert plan == {"max_per_second": 4.0, "max_at_once": 3, "deadline_seconds": 9.0}
    assert {seconds for _, _, seconds in function.queue.tasks.values()} == {9.0}  # type: ignore[union-attr]


@pytest.fixture
def quick(tmp_path: Path) -> Function:
    """Deploy the function with a hundred songs a second for the one task that is delivered at a time."""
    return Function(tmp_path, FakeQueue(at_once=1), MAX_PER_SECOND="100")


def test_the_queue_has_the_run_done(quick: Function) -> None:
    """Answer each task 200; the same call again is then complete."""
    call = {"songs": "1-150", "run": "large", "deadline_seconds": 3}
    quick.send("POST", "/", call)
    tasks = quick.tasks()
    reports = [quick.send("POST", "/runs/large/parts", task) for task in tasks[:2]]
    before = json.loads(quick.send("GET", "/runs/large").body)
    reports += [quick.send("POST", "/runs/large/parts", task) for task in tasks[2:]]
    after = quick.send("POST", "/", call)

    assert {response.status for response in reports} == {200}
    assert json.loads(reports[0].body) == {"run": "large", "first": 0, "last": 0, "state": "complete"}
    assert (before["state"], before["found"]) == ("running", 20)
    assert (after.status, json.loads(after.body)["state"]) == (200, "complete")
    assert sorted(quick.fetcher.tried) == list(range(1, 151))


def test_a_scheduled_call_goes_on_with_what_the_queue_has(function: Function) -> None:
    """Answer each delivery of a scheduled call, and the next one, with the run that the first enqueued."""
    scheduled_call = {"x_cloudscheduler_jobname": "nightly", "x_cloudscheduler_scheduletime": "2026-01-01T02:00:00Z"}
    later = {**scheduled_call, "x_cloudscheduler_scheduletime": "2026-01-02T02:00:00Z"}
    answers = [function.send("POST", "/", {"songs": "1-1000"}, **scheduled_call) for _ in range(5)]
    tasks = len(function.tasks())
    answers.append(function.send("POST", "/", {"songs": "1-1000"}, **later))

    assert {answer.status for answer in answers} == {202}
    assert len({json.loads(answer.body)["run"] for answer in answers}) == 1
    assert len(function.tasks()) == tasks == len(set(map(msgspec.json.encode, function.tasks())))


def test_a_task_that_got_nowhere_is_503(function: Function) -> None:
    """Have the queue wait and deliver it again."""
    function.send("POST", "/", {"songs": "1-1000", "run": "large"})
    function.fetcher = FakeFetcher(lambda *_: refused("The upstream answers 401."))
    response = function.send("POST", "/runs/large/parts", TASK, x_cloudtasks_taskretrycount="7")

    assert response.status == 503
    assert response.headers["Retry-After"]
    assert "The upstream answers 401." in response.body.decode()


def test_a_task_passes_on_how_long_the_upstream_wants_peace(function: Function) -> None:
    """Tell the queue the upstream's own word on when to come again."""
    function.send("POST", "/", {"songs": "1-1000", "run": "large"})
    function.fetcher = FakeFetcher(lambda *_: throttled("http_429", 3600.0))
    response = function.send("POST", "/runs/large/parts", TASK)

    assert (response.status, response.headers["Retry-After"]) == (503, "3600")


@pytest.mark.parametrize("retries", ["", "0", "-1", "７", "9" * 30, "many"])
def test_a_strange_count_of_retries_is_none(quick: Function, retries: str) -> None:
    """Do a task in one go whose header says no credible number."""
    quick.send("POST", "/", {"songs": "1-1000", "run": "large", "deadline_seconds": 3})
    response = quick.send("POST", "/runs/large/parts", {**TASK, "last": 1}, x_cloudtasks_taskretrycount=retries)

    assert json.loads(response.body)["state"] == "complete"


def test_sweep_says_what_became_of_each_run(function: Function) -> None:
    """List the unfinished runs that are fanned out."""
    function.send("POST", "/", {"songs": "1-1000", "run": "large"})
    response = function.send("POST", "/sweep")

    assert response.status == 200
    assert json.loads(response.body) == {
        "runs": [{"run": "large", "state": "running", "missing_parts": 100, "tasks": 0}]
    }


def test_without_a_queue_a_call_does_what_it_can(tmp_path: Path) -> None:
    """Crawl at once, as ever, where there is no queue."""
    function = Function(tmp_path, None)
    response = function.send("POST", "/", {"songs": "1-2000", "deadline_seconds": 10})

    assert (response.status, len(function.fetcher.tried)) == (200, 2000)


def test_an_open_range_is_not_handed_to_the_queue(function: Function) -> None:
    """Crawl an open range in the call itself: its end shows only in the order of its parts."""
    response = function.send("POST", "/", {"songs": "1-", "deadline_seconds": 1})

    assert response.status == 503
    assert function.fetcher.tried
    assert function.tasks() == []


@pytest.mark.parametrize("path", ["/sweep", "/runs/large/parts"])
def test_without_a_queue_its_paths_are_not_there(tmp_path: Path, path: str) -> None:
    """Say that there is no queue."""
    response = Function(tmp_path, None).send("POST", path, TASK)

    assert response.status == 404
    assert "allowed: a deployment with QUEUE" in response.body.decode()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, "sweep is missing; allowed: a task that this function enqueued."),
        ({**TASK, "last": -1}, "last is -1; allowed: a whole number from 0 to 999999999."),
        ({**TASK, "first": 2, "last": 1}, "last is 1; allowed: a whole number from 2 (first)."),
        ({**TASK, "last": 100}, "last is 100; allowed: a whole number up to 99."),
        (
            {**TASK, "max_per_second": 1000},
            '"max_per_second" is no parameter; allowed: sweep, first, last, continuation, failures.',
        ),
        ([TASK], 'The body is no JSON object; allowed: one such as {"songs": "1-1000"}.'),
    ],
)
def test_what_is_no_task_is_refused(function: Function, body: Any, sentence: str) -> None:
    """Name the field, its value and what is allowed."""
    function.send("POST", "/", {"songs": "1-1000", "run": "large"})
    response = function.send("POST", "/runs/large/parts", body)

    assert (response.status, json.loads(response.body)["detail"]) == (400, sentence)


@pytest.mark.parametrize("missing", ["SERVICE_URL", "INVOKER"])
def test_a_queue_that_can_not_call_back_is_a_bad_setting(missing: str) -> None:
    """Name the setting that QUEUE needs beside it."""
    environ = {"SONG_URL": "https://songs.example/{song_num}", **QUEUE}
    del environ[missing]

    with pytest.raises(BadSetting, match=f"QUEUE is set, but {missing} is not"):
        deployment_from(environ)


def test_settings_open_the_queue() -> None:
    """Have a queue with all three settings, none without."""
    environ = {"SONG_URL": "https://songs.example/{song_num}"}

    assert deployment_from(environ).queueing.queue is None
    assert deployment_from({**environ, **QUEUE}).queueing.queue is not None
