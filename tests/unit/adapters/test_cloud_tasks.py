"""Check what is asked of Cloud Tasks, and what is made of its answers, over real connections."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers.task_queue import MOST_LISTED, QUEUE, TaskQueue
from support.relay import Call, Relay

from crawler.adapters.queue.cloud_tasks import CloudTasksQueue
from crawler.core.deadline import Deadline
from crawler.core.errors import QueueUnavailable


@pytest.fixture
def service() -> Iterator[TaskQueue]:
    """Serve a queue that delivers nothing."""
    with TaskQueue(list, at_once=7) as queue:
        yield queue


@contextmanager
def opened(url: str | None, queue: str = QUEUE) -> Iterator[CloudTasksQueue]:
    """Open a queue at an address; close its connections, which the function leaves to the end of its process."""
    tasks = CloudTasksQueue(queue, "https://songs.example", "invoker@songs.example", url)
    try:
        yield tasks
    finally:
        for session in tasks._opened:
            session.close()


def test_task_is_created_as_the_service_wants_it(service: TaskQueue) -> None:
    """Name it, address it to the run's parts, and have it come with a token for the service's URL."""
    with opened(service.url) as queue:
        queue.create("abc-1", "trial", b'{"sweep":0}', 100.0)
    (task,) = service.requests
    body = base64.b64decode(task["httpRequest"].pop("body"))

    assert body == b'{"sweep":0}'
    assert task == {
        "name": f"{QUEUE}/tasks/abc-1",
        "dispatchDeadline": "130s",
        "httpRequest": {
            "httpMethod": "POST",
            "url": "https://songs.example/runs/trial/parts",
            "headers": {"Content-Type": "application/json"},
            "oidcToken": {"serviceAccountEmail": "invoker@songs.example", "audience": "https://songs.example"},
        },
    }


@pytest.mark.parametrize(("seconds", "deadline"), [(1.0, "31s"), (540.0, "570s"), (3000.0, "1800s"), (0.5, "31s")])
def test_delivery_may_take_what_the_call_takes(service: TaskQueue, seconds: float, deadline: str) -> None:
    """Leave a delivery more time than its call has, within what the service takes."""
    with opened(service.url) as queue:
        queue.create("abc-1", "trial", b"{}", seconds)

    assert service.requests[0]["dispatchDeadline"] == deadline


def test_a_name_that_is_taken_is_success(service: TaskQueue) -> None:
    """Create a task once, however often it is asked for."""
    with opened(service.url) as queue:
        for _ in range(3):
            queue.create("abc-1", "trial", b"{}", 60.0)

    assert len(service.requests) == 1
    assert sum(service.refused.values()) == 2


def test_the_queue_itself_says_how_many_come_at_once(service: TaskQueue) -> None:
    """Read the queue's own rate limits."""
    with opened(service.url) as queue:
        assert queue.most_at_once() == 7


def test_all_tasks_that_the_queue_holds_are_named(service: TaskQueue) -> None:
    """Read the listing to its last page."""
    expected = [f"abc-{number}" for number in range(2 * MOST_LISTED + 1)]
    with opened(service.url) as queue:
        none = list(queue.names())
        for name in expected:
            queue.create(name, "trial", b"{}", 60.0)
        listed = list(queue.names())
        service.lose_all()
        lost = list(queue.names())

    assert (none, sorted(listed), lost) == ([], sorted(expected), [])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_service_is_asked_again(service: TaskQueue, status: int) -> None:
    """Send a request again that was refused for the moment, or whose answer was lost."""

    def trouble(call: Call) -> int | None:
        return {1: status, 2: 0}.get(call.nth)

    with Relay(service.url, status_of=trouble) as relay, opened(relay.url) as queue:
        queue.create("abc-1", "trial", b"{}", 60.0)

    assert len(service.requests) == 1
    assert relay.count("POST") == 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "this identity may not use it"), (404, "there is no such queue"), (400, "HTTP 400"), (503, "HTTP 503")],
)
def test_a_refusal_is_said(service: TaskQueue, status: int, reason: str) -> None:
    """Say why the queue can't be used, naming it."""
    refusing = Relay(service.url, status_of=lambda _: status)
    with refusing as relay, opened(relay.url) as queue, pytest.raises(QueueUnavailable, match=f"{QUEUE}.*{reason}"):
        queue.until(Deadline.after(time.monotonic(), 30)).create("abc-1", "trial", b"{}", 60.0)


def test_a_queue_that_is_not_there_is_said(service: TaskQueue) -> None:
    """Read of no queue how many tasks come at once but of the one that there is."""
    with opened(service.url, "projects/p/locations/l/queues/other") as queue, pytest.raises(QueueUnavailable):
        queue.most_at_once()


def test_a_service_out_of_reach_is_said() -> None:
    """Say that the queue can't be reached, and by what error."""
    with TaskQueue(list) as gone:
        url = gone.url
    with opened(url) as queue, pytest.raises(QueueUnavailable, match="can't be reached: ConnectionError"):
        queue.most_at_once()


def test_nothing_is_sent_once_the_time_is_over(service: TaskQueue) -> None:
    """Leave the rest of the tasks to the next call."""
    with opened(service.url) as queue, pytest.raises(QueueUnavailable, match="The time of this call is over"):
        queue.until(Deadline(time.monotonic())).create("abc-1", "trial", b"{}", 60.0)

    assert service.requests == []


def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that the service can't be reached where no identity is to be had."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with opened(None) as queue, pytest.raises(QueueUnavailable, match="DefaultCredentialsError"):
        queue.most_at_once()
