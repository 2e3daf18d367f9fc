"""Stand before a Cloud Storage emulator, do what the real service does and the emulator does not, and break things.

What the real service does: it refuses bytes whose CRC-32C is not the one declared (400), it keeps ifGenerationMatch=0
for resumable uploads too (412), and an identity that may not delete gets 403 for a name that is taken.
https://cloud.google.com/storage/docs/json_api/v1/objects/insert
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

import google_crc32c
import requests

from crawler.adapters.storage.gcs import GcsStore
from servers.process import HOST

Operation = Literal["upload", "begin_upload", "download", "stat", "list", "other"]
"""Name what a request does. An upload carries an object's bytes; a resumable one begins with a request without any."""

# Each side of the proxy has its own.
_OF_CONNECTION = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Fault:
    """Describe what becomes of one request."""

    name: str
    status: int = 0
    reason: str = ""
    message: str = ""
    forward: bool = False
    damage: bool = False
    stall: bool = False


def refuse(status: int, reason: str = "", message: str = "") -> Fault:
    """Answer an error in the service's place, with the reason and the message that the service gives."""
    return Fault(f"refuse {status}", status=status, reason=reason, message=message)


def reset() -> Fault:
    """Break the connection before the service has seen the request."""
    return Fault("reset")


def stall() -> Fault:
    """Say nothing until the client gives up; the service never sees the request."""
    return Fault("stall", stall=True)


def lose_answer() -> Fault:
    """Let the service do it, and break the connection in place of its answer."""
    return Fault("lose answer", forward=True)


def swallow_answer() -> Fault:
    """Let the service do it, and say nothing until the client gives up."""
    return Fault("swallow answer", forward=True, stall=True)


def damage() -> Fault:
    """Change one byte of an object's bytes on the way."""
    return Fault("damage", damage=True)


Faults = Callable[[Operation, int], Fault | None]
"""Choose the fault from the operation and the count of its requests, this one included; None: all is well."""


def no_faults(_: Operation, _nth: int) -> None:
    """Let everything pass."""


def every(n: int, operation: Operation, *faults: Fault) -> Faults:
    """Give the faults in turn, one to every nth request of the operation."""

    def choose(done: Operation, nth: int) -> Fault | None:
        return faults[(nth // n - 1) % len(faults)] if done == operation and nth % n == 0 else None

    return choose


def first_of(*tables: Faults) -> Faults:
    """Ask several tables; the first that has a fault gives it."""

    def choose(operation: Operation, nth: int) -> Fault | None:
        return next((fault for table in tables if (fault := table(operation, nth))), None)

    return choose


def generations(url: str, bucket: str, prefix: str = "") -> dict[str, list[int]]:
    """List every generation of the objects whose names start with the prefix, in a bucket that keeps versions."""
    found: dict[str, list[int]] = {}
    with requests.Session() as session:
        session.trust_env = False
        wanted = {"versions": "true", "prefix": prefix}
        page: dict[str, str] | None = wanted
        while page is not None:
            answer = session.get(f"{url}/storage/v1/b/{bucket}/o", params=page, timeout=10).json()
            for item in answer.get("items", []):
                found.setdefault(item["name"], []).append(int(item["generation"]))
            token = answer.get("nextPageToken")
            page = {**wanted, "pageToken": token} if token else None
    return found


@contextmanager
def closing_store(store: GcsStore) -> Iterator[GcsStore]:
    """Close a store's connections in the end, which the function leaves to the end of its process."""
    try:
        yield store
    finally:
        for bucket in store._opened:
            bucket.client.close()


class FaultyStorage:
    """Pass the Storage API's requests on to the service at `target`, but for those that a fault befalls.

    `may_delete` False: the identity gets 403 where the name of an upload is taken. `done` counts the faults.
    """

    def __init__(self, target: str, faults: Faults = no_faults, *, may_delete: bool = True) -> None:
        """Start on a free loopback port."""
        self.faults = faults
        self.may_delete = may_delete
        self.done: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._target = urlsplit(target).netloc
        self._counts: Counter[Operation] = Counter()
        self._lock = threading.Lock()
        self._creating = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._gone = False
        self._server = _Server(self)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="storage", daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultyStorage:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server, and every connection to it."""
        self._server.shutdown()
        self._server.hang_up()
        self._thread.join()
        self._server.server_close()

    def count(self, operation: Operation) -> int:
        """Return the number of requests of an operation so far."""
        with self._lock:
            return self._counts[operation]

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Break every connection, new or old, while entered."""
        self._gone = True
        self._server.hang_up()
        try:
            yield
        finally:
            self._gone = False

    def answer(self, request: _Request) -> _Answer | Fault:
        """Answer a request, or give the fault that befell it."""
        fault = self._draw(request.operation)
        if fault and not (fault.forward or fault.damage):
            return fault
        if fault and fault.damage and request.operation == "upload":
            request = request.damaged()
        answer = self._serve(request)
        if fault and fault.damage and request.operation == "download":
            answer = _Answer(answer.status, answer.headers, _flipped(answer.body))
        with self._lock:
            self.statuses[answer.status] += 1
        return fault if fault and fault.forward else answer

    def _draw(self, operation: Operation) -> Fault | None:
        with self._lock:
            self._counts[operation] += 1
            nth = self._counts[operation]
        fault = reset() if self._gone else self.faults(operation, nth)
        if fault:
            with self._lock:
                self.done[fault.name] += 1
        return fault

    def _serve(self, request: _Request) -> _Answer:
        if request.operation == "begin_upload":
            return self._begin_upload(request)
        if request.operation != "upload":
            return self._forward(request)
        if not request.checksum_right:
            return _error(400, "Provided CRC32C doesn't match calculated CRC32C")
        # One upload at a time: what is looked up must still be so when the service stores it.
        with self._creating:
            name = self._sessions.get(request.parameter("upload_id"))
            taken = bool(name) and self._forward(_Request("GET", name or "")).status == 200
            answer = _error(412, "At least one of the pre-conditions you specified did not hold") if taken else None
            answer = answer or self._forward(request)
        return answer if self.may_delete or answer.status != 412 else _error(403, "storage.objects.delete is denied")

    def _begin_upload(self, request: _Request) -> _Answer:
        answer = self._forward(request)
        location = next((value for name, value in answer.headers if name.lower() == "location"), "")
        if request.parameter("ifGenerationMatch") == "0" and location:
            bucket = request.path.split("/")[5]
            name = json.loads(request.body)["name"]
            self._sessions[_parameter(location, "upload_id")] = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        headers = [(key, value.replace(f"http://{self._target}", self.url)) for key, value in answer.headers]
        return _Answer(answer.status, headers, answer.body)

    def _forward(self, request: _Request) -> _Answer:
        connection = HTTPConnection(self._target, timeout=30)
        try:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            return _Answer.of(connection.getresponse())
        finally:
            connection.close()


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, response: HTTPResponse) -> _Answer:
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OF_CONNECTION]
        return cls(response.status, kept, response.read())


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def operation(self) -> Operation:
        path = urlsplit(self.path).path
        if path.startswith("/upload/"):
            return "begin_upload" if self.method == "POST" and self.parameter("uploadType") == "resumable" else "upload"
        if self.method != "GET":
            return "other"
        if path.startswith("/download/") or self.parameter("alt") == "media":
            return "download"
        match = re.fullmatch(r"/storage/v1/b/[^/]+/o(/.+)?", path)
        return "other" if match is None else "stat" if match[1] else "list"

    @property
    def checksum_right(self) -> bool:
        """Hold the bytes against the CRC-32C declared with them, if one is."""
        declared, data = self._declared()
        return declared is None or declared == base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()

    def parameter(self, name: str) -> str:
        """Give a parameter of the query; empty: there is none."""
        return _parameter(self.path, name)

    def damaged(self) -> _Request:
        """Change a byte of the object's own bytes, if it has any."""
        _, data = self._declared()
        start = self.body.rindex(data)
        body = self.body[:start] + _flipped(data) + self.body[start + len(data) :]
        return _Request(self.method, self.path, self.headers, body)

    def _declared(self) -> tuple[str | None, bytes]:
        """Take the declared checksum and the object's bytes out of a multipart or resumable upload."""
        content_type = self.headers.get("content-type", "")
        if not content_type.startswith("multipart/related"):
            match = re.search(r"crc32c=([^,]+)", self.headers.get("x-goog-hash", ""))
            return match[1] if match else None, self.body
        whole = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode())
        boundary = b"--" + str(whole.get_boundary()).encode()
        _, described, data = self.body.removesuffix(boundary + b"--").split(boundary + b"\r\n", 2)
        object_metadata = json.loads(described.split(b"\r\n\r\n", 1)[1])
        return object_metadata.get("crc32c"), data.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


class _Server(ThreadingHTTPServer):
    """Take connections, and remember them so that they can be broken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, storage: FaultyStorage) -> None:
        self.storage = storage
        self._open: set[socket.socket] = set()
        super().__init__((HOST, 0), _Handler)

    def opened(self, sock: socket.socket) -> None:
        """Remember a connection."""
        self._open.add(sock)

    def closed(self, sock: socket.socket) -> None:
        """Forget a connection."""
        self._open.discard(sock)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without the FIN that would come before a reset."""
        self.close_request(request)

    def hang_up(self) -> None:
        """End every connection; whoever waits on one wakes."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Speak HTTP/1.1 with one client."""

    protocol_version = "HTTP/1.1"
    # Answers go out in one piece: without, each waits 40 ms for the acknowledgement of its head.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
        answer = self.server.storage.answer(_Request(self.command, self.path, kept, body))
        if isinstance(answer, Fault) and answer.status:
            answer = _error(answer.status, answer.message or answer.name, answer.reason)
        if isinstance(answer, Fault):
            self._break(answer)
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _do

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _break(self, fault: Fault) -> None:
        while fault.stall and self.connection.recv(65536):
            pass
        # With a linger time of zero the close sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _error(status: int, message: str, reason: str = "") -> _Answer:
    """Write an error as the JSON API does."""
    errors = [{"domain": "global", "reason": reason, "message": message}] if reason else []
    body = json.dumps({"error": {"code": status, "message": message, "errors": errors}}).encode()
    return _Answer(status, [("Content-Type", "application/json")], body)


def _parameter(url: str, name: str) -> str:
    return parse_qs(urlsplit(url).query).get(name, [""])[0]


def _flipped(data: bytes) -> bytes:
    """Change the byte in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 1 for byte in data[middle : middle + 1]) + data[middle + 1 :]
