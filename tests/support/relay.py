"""A relay before a server, for the faults that an emulator does not have: lost answers, refusals, small pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple

import requests

_DROPPED_HEADERS = ("connection", "content-encoding", "content-length", "host", "transfer-encoding")


class Call(NamedTuple):
    """Hold one request on its way through; `nth` counts those of the same method, from 1."""

    method: str
    path: str
    nth: int


class Relay:
    """Pass requests on to the server at `target`, as `path_of` rewrites their paths.

    `status_of` may give a status to answer instead of passing the request on, or 0 to pass it on and lose the answer.
    """

    def __init__(
        self,
        target: str,
        *,
        path_of: Callable[[Call], str] = lambda call: call.path,
        status_of: Callable[[Call], int | None] = lambda _call: None,
    ) -> None:
        """Start relaying on a free loopback port."""
        self.calls: list[Call] = []
        self._target = target
        self._path_of = path_of
        self._status_of = status_of
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay._relay(self)

            def do_POST(self) -> None:
                relay._relay(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Relay:
        """Return this running relay."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the relay."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, method: str) -> int:
        """Return the number of requests of a method."""
        return sum(call.method == method for call in self.calls)

    def _relay(self, handler: BaseHTTPRequestHandler) -> None:
        call = Call(handler.command, handler.path, self.count(handler.command) + 1)
        self.calls.append(call)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        handler.close_connection = True
        status = self._status_of(call)
        if status:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        answer = self._pass_on(call, dict(handler.headers.items()), body)
        if status is None:
            handler.send_response(answer.status_code)
            for name, value in {**_kept(answer.headers), "Content-Length": str(len(answer.content))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(answer.content)

    def _pass_on(self, call: Call, headers: dict[str, str], body: bytes) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            url = self._target + self._path_of(call)
            return session.request(call.method, url, headers=_kept(headers), data=body, timeout=5)


def _kept(headers: object) -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name.lower() not in _DROPPED_HEADERS}  # type: ignore[call-overload]
