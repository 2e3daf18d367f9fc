"""The function under a campaign: started as it is in the cloud, called as a scheduler calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests
from servers import ServerProcess, function_server

MAIN = Path(__file__).parents[2] / "main.py"


@dataclass(frozen=True)
class Answered:
    """What one call came to: its HTTP status, its JSON, and how long it took; status 0: the server died."""

    status: int
    answer: Mapping[str, Any]
    seconds: float
    retry_after: str | None = None

    def __getitem__(self, name: str) -> Any:
        """Return one field of the answer."""
        return self.answer[name]


@contextmanager
def start(song_url: str, output: Path | str, **settings: object) -> Iterator[ServerProcess]:
    """Run the function on an upstream and an output; `settings` are named as in the README, in lower case."""
    own = {"SONG_URL": song_url, "OUTPUT": str(output), "ALLOW_PRIVATE_UPSTREAM": "1", "MAX_PER_SECOND": "0"}
    server = function_server(MAIN, own | {name.upper(): str(value) for name, value in settings.items()})
    try:
        yield server
    finally:
        server.close(grace=0)  # nothing here waits for a graceful end: kill -9 is what must do no harm


class Revived:
    """Run the function while entered, another process of it whenever the last one was killed."""

    def __init__(self, song_url: str, output: Path | str, **settings: object) -> None:
        """Take what `start` takes."""
        self._start: Callable[[], AbstractContextManager[ServerProcess]] = partial(start, song_url, output, **settings)
        self._stack = ExitStack()
        self._server: ServerProcess | None = None

    def __enter__(self) -> Revived:
        """Return this; nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever runs."""
        self._stack.close()

    @property
    def server(self) -> ServerProcess:
        """Return the process that runs, or start one."""
        if self._server is None or self._server.returncode is not None:
            self._server = self._stack.enter_context(self._start())
        return self._server


def call(
    server: ServerProcess,
    parameters: Mapping[str, object],
    headers: Mapping[str, str] = MappingProxyType({}),
    path: str = "",
) -> Answered:
    """Send one call and wait for its answer, or for the death of the server."""
    started = time.monotonic()
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(server.url + path, json=dict(parameters), headers=dict(headers), timeout=3600)
    except requests.ConnectionError:
        return Answered(0, {}, time.monotonic() - started)
    seconds = time.monotonic() - started
    return Answered(response.status_code, response.json(), seconds, response.headers.get("Retry-After"))


def call_until_whole(server: ServerProcess, parameters: Mapping[str, object], most: int = 100) -> list[Answered]:
    """Do as a scheduler does, sending the same call again while it is answered 503; gives all answers, the last a 200.

    Raises AssertionError for any other status, and after `most` calls.
    """
    return until_whole(partial(call, server), parameters, most)


def until_whole(
    send: Callable[[Mapping[str, object]], Answered], parameters: Mapping[str, object], most: int = 100
) -> list[Answered]:
    """Do the same with any way to send a call."""
    answers: list[Answered] = []
    while not answers or answers[-1].status == 503:
        assert len(answers) < most, f"still not whole after {most} calls: {answers[-1]}"
        answers.append(send(parameters))
    assert answers[-1].status == 200, answers[-1]
    return answers
