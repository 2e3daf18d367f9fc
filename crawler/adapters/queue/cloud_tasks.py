"""The queue in Cloud Tasks, through its REST API: three calls of it are all that is needed, so no gRPC and no client.

https://cloud.google.com/tasks/docs/reference/rest
No operation outlasts the deadline of its call, whatever says nothing or asks for a longer wait.
"""

from __future__ import annotations

import base64
import copy
import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from crawler.adapters.google_credentials import without_credentials
from crawler.adapters.runtime.in_time import in_time
from crawler.core.deadline import Deadline
from crawler.core.errors import QueueUnavailable
from crawler.upstream.waits import parse_retry_after

if TYPE_CHECKING:
    import requests

_API = "https://cloudtasks.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-tasks"
_REQUEST_SECONDS = 10.0
_TRIES = 5
_BACKOFF_SECONDS = 0.2
# Tasks have names: one that is created again is refused, so that every request may be sent again.
_RETRIED = (429, 500, 502, 503, 504)
# Tasks listed on a page, as many as the service gives.
_PAGE_TASKS = 1000
# So many tasks are created at once.
CONNECTIONS = 8

# The service takes no other: https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task
_LEAST_DISPATCH_SECONDS, _MOST_DISPATCH_SECONDS = 15, 1800
# What a delivery may take beyond its call's own deadline: the start of an instance, the way there and back.
_MARGIN_SECONDS = 30

# What a queue has if nobody said otherwise.
_DEFAULT_AT_ONCE = 1000


class CloudTasksQueue:
    """Tasks of a queue, each of which POSTs to `service_url`/runs/RUN/parts as the service account `invoker`.

    `emulator` is the address of one, used without credentials.
    """

    def __init__(self, queue: str, service_url: str, invoker: str, emulator: str | None = None) -> None:
        self._queue = queue
        self._service_url = service_url
        self._invoker = invoker
        self._emulator = emulator
        self._opened: list[requests.Session] = []
        self._opening = threading.Lock()
        self._deadline = Deadline()

    def until(self, deadline: Deadline) -> CloudTasksQueue:
        """Return the same queue, on the same connections, whose operations end by a deadline of time.monotonic."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        return bounded

    def most_at_once(self) -> int:
        """Read from the queue itself how many tasks it delivers at the same time, so that no setting can differ."""
        response = self._send("GET", "")
        limits = self._content(response).get("rateLimits", {})
        return max(1, int(limits.get("maxConcurrentDispatches", _DEFAULT_AT_ONCE)))

    def create(self, name: str, run: str, content: bytes, seconds: float) -> None:
        """Create a task; a name that is taken, or was lately, is success: it may be our own, sent again."""
        response = self._send("POST", "/tasks", {"task": self._task(name, run, content, seconds)})
        if not response.ok and response.status_code != 409:
            raise self._refusal(response)

    def names(self) -> Iterator[str]:
        """Name the tasks in the queue; one that is being delivered stays there until that went well."""
        parameters: dict[str, Any] = {"pageSize": _PAGE_TASKS}
        while True:
            page = self._content(self._send("GET", "/tasks", parameters=parameters))
            yield from (task["name"].rpartition("/")[2] for task in page.get("tasks", ()))
            if not page.get("nextPageToken"):
                return
            parameters["pageToken"] = page["nextPageToken"]

    def _task(self, name: str, run: str, content: bytes, seconds: float) -> dict[str, Any]:
        dispatch = math.ceil(max(_LEAST_DISPATCH_SECONDS, min(_MOST_DISPATCH_SECONDS, seconds + _MARGIN_SECONDS)))
        return {
            "name": f"{self._queue}/tasks/{name}",
            "dispatchDeadline": f"{dispatch}s",
            "httpRequest": {
                "httpMethod": "POST",
                "url": f"{self._service_url}/runs/{run}/parts",
                "headers": {"Content-Type": "application/json"},
                "body": base64.b64encode(content).decode(),
                # The audience would be the whole URL if it were left out, which Cloud Run does not take.
                "oidcToken": {"serviceAccountEmail": self._invoker, "audience": self._service_url},
            },
        }

    def _send(
        self, method: str, path: str, content: dict[str, Any] | None = None, parameters: dict[str, Any] | None = None
    ) -> requests.Response:
        import requests
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError

        left = self._left()
        if not left:
            raise QueueUnavailable(f"The time of this call is over before {self._queue} had all its tasks.")
        url = f"{self._emulator or _API}/v2/{self._queue}{path}"
        try:
            return in_time(lambda: self._insist(method, url, params=parameters, json=content), left)
        except TimeoutError:
            reason = "no answer before the call's time was over"
        except (DefaultCredentialsError, RefreshError) as error:
            reason = without_credentials(error)
        except (GoogleAuthError, requests.RequestException) as error:
            reason = type(error).__name__
        raise QueueUnavailable(f"{self._queue} can't be reached: {reason}.")

    def _insist(self, method: str, url: str, **content: Any) -> requests.Response:
        """Send a request, again where it was not answered or refused for the moment, as long as there is time.

        Where the service asks for a longer wait than there is, its refusal is returned at once.
        """
        import requests

        session = self._session()
        for nth in range(1, _TRIES + 1):
            wait = _BACKOFF_SECONDS * 2**nth
            try:
                # A third of what is left: time for another after one that is not answered.
                response = session.request(method, url, timeout=min(_REQUEST_SECONDS, self._left() / 3), **content)
            except requests.RequestException:
                if nth == _TRIES or wait >= self._left():
                    raise
            else:
                wait = max(wait, _retry_after(response) or 0.0)
                if response.status_code not in _RETRIED or nth == _TRIES or wait >= self._left():
                    return response
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _left(self) -> float:
        return self._deadline.remaining(time.monotonic())

    def _session(self) -> requests.Session:
        """Open the connections at the first use: importing what they need takes a while, and the server forks."""
        with self._opening:
            if not self._opened:
                self._opened.append(self._open())
            return self._opened[0]

    def _open(self) -> requests.Session:
        import google.auth
        import requests
        from google.auth.transport.requests import AuthorizedSession

        if self._emulator is None:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        else:
            session = requests.Session()
            session.trust_env = False  # a proxy named in the environment must not see loopback requests
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
        return session

    def _content(self, response: requests.Response) -> dict[str, Any]:
        if not response.ok:
            raise self._refusal(response)
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise QueueUnavailable(f"{self._queue} can't be used: its answer is no JSON object.")
        return content

    def _refusal(self, response: requests.Response) -> QueueUnavailable:
        reason = {403: "this identity may not use it", 404: "there is no such queue"}.get(
            response.status_code, f"HTTP {response.status_code}"
        )
        seconds = _retry_after(response)
        return QueueUnavailable(f"{self._queue} can't be used: {reason}.", math.ceil(seconds) if seconds else None)


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After")
    return None if text is None else parse_retry_after(text, time.time(), response.headers.get("Date"))
