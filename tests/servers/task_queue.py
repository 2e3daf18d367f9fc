"""A queue that speaks what we need of the Cloud Tasks REST API: create a task, list them, read the queue; and delivers
over HTTP.

It keeps the promises of the service (names are refused while they are known, failures are delivered again after a
growing wait, no more at once than the queue says) and, as far as asked for, no more than them: tasks come twice, late
and in any order. A lost task is what the service promises never to do; that is on trial too.
https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from servers.process import HOST

QUEUE = "projects/songs/locations/nowhere/queues/parts"
# Tasks on a page of a listing; the service gives 1,000.
MOST_LISTED = 10


@dataclass(frozen=True)
class QueueFaults:
    """Say how likely each task is to be lost, to be delivered once more, and how much later than asked at the most."""

    lost: float = 0.0
    twice: float = 0.0
    late_seconds: float = 0.0
    shuffled: bool = False


NO_FAULTS = QueueFaults()


@dataclass(frozen=True)
class Delivery:
    """Hold one delivery: when it went out, to which address, and the status it was answered (0: none)."""

    task: str
    retries: int
    target: str
    began: float
    ended: float
    status: int


@dataclass(eq=False)
class _Task:
    name: str
    request: dict[str, Any]
    seconds: float
    due: float
    copies: int
    retries: int = 0
    executions: int = 0
    previous: int = 0
    on_the_way: int = field(default=0)


class TaskQueue:
    """Deliver tasks to whichever of `targets()` (addresses of running instances) has the least to do.

    With `alone` one that has nothing to do is waited for, as Cloud Run does for instances that take one call at a time.
    `at_once` deliveries go out together, `per_second` at the most in a second (0: any number); a failed one is repeated
    after `least_backoff` seconds, doubling up to `most_backoff`. `draw` decides on faults.
    """

    def __init__(
        self,
        targets: Callable[[], Sequence[str]],
        *,
        at_once: int = 3,
        per_second: float = 0.0,
        alone: bool = False,
        least_backoff: float = 0.1,
        most_backoff: float = 1.0,
        faults: QueueFaults = NO_FAULTS,
        draw: random.Random | None = None,
    ) -> None:
        """Start serving on a free loopback port."""
        self.at_once = at_once
        self.faults = faults
        self.created: list[str] = []
        self.refused: Counter[str] = Counter()
        self.lost: list[str] = []
        self.deliveries: list[Delivery] = []
        self.requests: list[dict[str, Any]] = []
        self._targets = targets
        self._per_second = per_second
        self._alone = alone
        self._backoff = (least_backoff, most_backoff)
        self._draw = draw or random.Random()
        self._changed = threading.Condition()
        self._known: set[str] = set()
        self._held: dict[str, _Task] = {}
        self._waiting: list[_Task] = []
        self._busy: Counter[str] = Counter()
        self._next_dispatch = 0.0
        self._closing = False
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._threads = [threading.Thread(target=self._dispatch, daemon=True) for _ in range(at_once)]
        self._threads.append(threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True))
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> TaskQueue:
        """Return this running queue."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver nothing more, and end; deliveries on their way are waited for."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """Give the function's settings that reach this queue."""
        return {
            "QUEUE": QUEUE,
            "SERVICE_URL": "https://songs.example",
            "INVOKER": "invoker@songs.example",
            "CLOUD_TASKS_EMULATOR_HOST": self.url,
        }

    def wait_until_empty(self, timeout: float = 60.0) -> None:
        """Wait until no task waits or is on its way, or raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not +self._busy, timeout):
                raise TimeoutError(f"{len(self._waiting)} tasks wait, {sum(self._busy.values())} are on their way")

    def pause(self) -> None:
        """Deliver nothing until `resume`."""
        with self._changed:
            self._next_dispatch = float("inf")

    def resume(self) -> None:
        """Deliver again."""
        with self._changed:
            self._next_dispatch = 0.0
            self._changed.notify_all()

    def lose_all(self) -> int:
        """Lose every task that waits; gives how many."""
        with self._changed:
            lost, self._waiting = self._waiting, []
            for task in lost:
                del self._held[task.name]
            self.lost += [task.name for task in lost]
            self._changed.notify_all()
            return len(lost)

    def create(self, task: dict[str, Any]) -> int:
        """Take a task as the API does; gives the HTTP status."""
        name, now = task["name"], time.monotonic()
        with self._changed:
            if name in self._known:
                self.refused[name] += 1
                return HTTPStatus.CONFLICT
            self._known.add(name)
            self.created.append(name)
            self.requests.append(task)
            if self._draw.random() < self.faults.lost:
                self.lost.append(name)
                return HTTPStatus.OK
            copies = 1 + (self._draw.random() < self.faults.twice)
            due = now + self._draw.random() * self.faults.late_seconds
            seconds = float(task["dispatchDeadline"].removesuffix("s"))
            self._held[name] = _Task(name, task["httpRequest"], seconds, due, copies)
            self._waiting.append(self._held[name])
            self._changed.notify_all()
        return HTTPStatus.OK

    def page(self, size: int, after: str) -> dict[str, Any]:
        """List so many of the tasks that wait or are on their way, from behind a name on."""
        with self._changed:
            names = sorted(name for name in self._held if name > after)
        more = {"nextPageToken": names[size - 1]} if len(names) > size else {}
        return {"tasks": [{"name": name} for name in names[:size]], **more}

    def _dispatch(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (chosen := self._next()) is not None:
                self._deliver(session, *chosen)

    def _next(self) -> tuple[_Task, str] | None:
        """Wait for a task that is due and an instance to send it to; None: the queue is closing."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                due = [task for task in self._waiting if task.due <= now]
                targets = self._free() if due and self._next_dispatch <= now else []
                if due and targets:
                    return self._take(due, targets, now)
                instants = [task.due for task in self._waiting if task.due > now]
                instants += [self._next_dispatch] if now < self._next_dispatch < float("inf") else []
                # Instances come and go without telling: look again soon.
                self._changed.wait(max(0.0, min([*instants, now + 0.05]) - now))
        return None

    def _free(self) -> list[str]:
        return [each for each in self._targets() if not (self._alone and self._busy[each])]

    def _take(self, due: list[_Task], targets: list[str], now: float) -> tuple[_Task, str]:
        task = self._draw.choice(due) if self.faults.shuffled else due[0]
        if task.copies > 1:
            task.copies -= 1
        else:
            self._waiting.remove(task)
        task.on_the_way += 1
        target = min(targets, key=lambda each: self._busy[each])
        self._busy[target] += 1
        if self._per_second:
            self._next_dispatch = max(now, self._next_dispatch) + 1 / self._per_second
        return task, target

    def _deliver(self, session: requests.Session, task: _Task, target: str) -> None:
        began, retries = time.monotonic(), task.retries
        status = self._send(session, task, target)
        with self._changed:
            self._busy[target] -= 1
            task.on_the_way -= 1
            self.deliveries.append(Delivery(task.name, retries, target, began, time.monotonic(), status))
            if not 200 <= status < 300:
                self._again(task, status)
            elif task not in self._waiting and not task.on_the_way:
                self._held.pop(task.name, None)
            self._changed.notify_all()

    def _again(self, task: _Task, status: int) -> None:
        least, most = self._backoff
        wait = min(most, least * 2**task.retries)
        task.retries += 1
        task.executions += 0 < status < 500
        task.previous = status
        task.due = time.monotonic() + wait
        if task not in self._waiting:
            self._waiting.append(task)

    def _send(self, session: requests.Session, task: _Task, target: str) -> int:
        url = target + urlsplit(task.request["url"]).path
        body = base64.b64decode(task.request["body"])
        try:
            response = session.post(url, data=body, headers=self._headers(task), timeout=task.seconds)
        except requests.RequestException:
            return 0
        return response.status_code

    def _headers(self, task: _Task) -> dict[str, str]:
        token = task.request["oidcToken"]
        previous = {"X-CloudTasks-TaskPreviousResponse": str(task.previous)} if task.previous else {}
        return {
            **task.request["headers"],
            **previous,
            "Authorization": f"Bearer {token['serviceAccountEmail']} for {token['audience']}",
            "User-Agent": "Google-Cloud-Tasks",
            "X-CloudTasks-QueueName": QUEUE.rpartition("/")[2],
            "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(task.retries),
            "X-CloudTasks-TaskExecutionCount": str(task.executions),
            "X-CloudTasks-TaskETA": f"{time.time():.6f}",
            "Connection": "close",
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        queue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                if asked.path == f"/v2/{QUEUE}/tasks":
                    query = dict(parse_qsl(asked.query))
                    size = min(int(query.get("pageSize", MOST_LISTED)), MOST_LISTED)
                    self._answer(HTTPStatus.OK, queue.page(size, query.get("pageToken", "")))
                    return
                if asked.path != f"/v2/{QUEUE}":
                    self._answer(HTTPStatus.NOT_FOUND, {})
                    return
                limits = {"maxConcurrentDispatches": queue.at_once, "maxDispatchesPerSecond": queue._per_second or 500}
                self._answer(HTTPStatus.OK, {"name": QUEUE, "rateLimits": limits, "state": "RUNNING"})

            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != f"/v2/{QUEUE}/tasks":
                    self._answer(HTTPStatus.NOT_FOUND, {})
                    return
                self._answer(queue.create(content["task"]), content["task"])

            def _answer(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler
