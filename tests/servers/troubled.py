"""Stand before any HTTP server, pass its requests on, and break some: silent, slow, gone, or away for ten minutes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from servers.process import HOST

_OF_CONNECTION = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
SLOW_SECONDS = 0.4
DRIP_SECONDS = 0.05


class Trouble(Enum):
    """What becomes of a request."""

    NONE = "none"
    SILENT = "silent"  # nothing is answered, until the client leaves
    SWALLOWED = "swallowed"  # it is carried out, and nothing is answered
    SLOW = "slow"  # it is passed on after a while
    DRIP = "drip"  # an answer that has no end, byte by byte
    GONE = "gone"  # the connection is broken
    LOST = "lost"  # it is carried out, and the connection is broken
    AWAY = "away"  # 503, with ten minutes of Retry-After


class Troubled:
    """Pass requests on to the server at `target`; `trouble` says what becomes of each, by its path and its count."""

    def __init__(self, target: str) -> None:
        """Start on a free loopback port."""
        self.trouble: Callable[[str, int], Trouble] = lambda _path, _nth: Trouble.NONE
        self.requests = self.troubled = 0
        self._target = urlsplit(target).netloc
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _handler(self))
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="troubled", daemon=True)
        self._thread.start()

    def __enter__(self) -> Troubled:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self.heal()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def heal(self) -> None:
        """Let go of every request that is held, and pass all on from now on."""
        self.trouble = lambda _path, _nth: Trouble.NONE
        self._over.set()
        self._over = threading.Event()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request, or not."""
        over = self._over
        with self._lock:
            self.requests += 1
            trouble = self.trouble(handler.path, self.requests)
            self.troubled += trouble is not Trouble.NONE
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if trouble is Trouble.AWAY:
            handler.wfile.write(b"HTTP/1.1 503 Away\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n")
            return
        if trouble is Trouble.SLOW:
            over.wait(SLOW_SECONDS)
        if trouble in (Trouble.NONE, Trouble.SLOW, Trouble.SWALLOWED, Trouble.LOST):
            answer = self._pass_on(handler, body)
            if trouble in (Trouble.NONE, Trouble.SLOW):
                handler.wfile.write(answer)
                return
        if trouble in (Trouble.SILENT, Trouble.SWALLOWED):
            over.wait(60)
        if trouble is Trouble.DRIP:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Much: ")
            while not over.wait(DRIP_SECONDS):
                handler.wfile.write(b"x")
        # With a linger time of zero the close sends RST instead of FIN.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> bytes:
        kept = {name: value for name, value in handler.headers.items() if name.lower() not in _OF_CONNECTION}
        connection = HTTPConnection(self._target, timeout=30)
        try:
            connection.request(handler.command, handler.path, body, kept)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders() if name.lower() not in _OF_CONNECTION]
        head = "\r\n".join([*lines, f"Content-Length: {len(data)}", "\r\n"])
        return head.replace(f"http://{self._target}", self.url).encode("latin-1") + data


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without the FIN that would come before a reset."""
        self.close_request(request)


def _handler(troubled: Troubled) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 0
        disable_nagle_algorithm = True

        def _do(self) -> None:
            with suppress(OSError, HTTPException):
                troubled.serve(self)
                return
            self.close_connection = True

        do_GET = do_POST = do_PUT = _do

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
