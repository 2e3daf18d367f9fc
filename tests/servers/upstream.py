"""Serve the song API from threads of the test's own process."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType

from servers.connection import Connection
from servers.pages import Ending, Page, Pages, error, missing, songs_to
from servers.process import HOST
from servers.traffic import OTHER_PATH, Traffic

_SONG_PATH = re.compile(r"/songs/(\d+)", re.ASCII)
_ROBOTS_PATH = "/robots.txt"
_BACKLOG = 1024
_LATE_SECONDS = 0.02


class Upstream(Traffic):
    """Serve `/songs/{song_num}` from a table of pages, by default the songs 1 to last, and record the traffic.

    `/robots.txt` is served by a table of its own, none by default, and is no traffic: `robots_asked` counts it.
    """

    def __init__(
        self, pages: Pages | None = None, *, last: int = 100, robots: Pages | None = None, method: str = "GET"
    ) -> None:
        """Start serving on a free loopback port, by one method; by POST also a number that stands in the body alone."""
        super().__init__()
        self._method = method
        self._pages = pages or songs_to(last)
        self._robots = robots or (lambda _song_num, _nth: missing())
        self.robots_asked = 0
        self._listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/songs/{{song_num}}"
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[threading.Thread, Connection] = {}
        self._acceptor = threading.Thread(target=self._accept, name="upstream-acceptor", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Upstream:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self.close()

    def url_of(self, song_num: int) -> str:
        """Return the address of one song."""
        return self.url.format(song_num=song_num)

    def close(self, timeout: float = 1.0) -> None:
        """End every connection and thread, or raise RuntimeError when a page function is stuck."""
        if self._closing.is_set():
            return
        self._closing.set()
        # Only a new connection wakes a blocked accept on every system.
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=timeout):
            self._acceptor.join(timeout)
        self._listener.close()
        self._hang_up(time.monotonic() + timeout)

    def _hang_up(self, deadline: float) -> None:
        with self._lock:
            clients = dict(self._clients)
        for client in clients.values():
            client.hang_up()
        for thread in clients:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in clients):
            raise RuntimeError("a page function did not return before the server closed")

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing.is_set():
                sock.close()
                return
            self._welcome(Connection(sock))

    def _welcome(self, client: Connection) -> None:
        thread = threading.Thread(target=self._serve, args=(client,), name="upstream-client", daemon=True)
        with self._lock:
            self._clients[thread] = client
        thread.start()

    def _serve(self, client: Connection) -> None:
        try:
            # ConnectionError alone: any other failure is the page function's and must be heard.
            with suppress(ConnectionError):
                while self._exchange(client):
                    pass
        finally:
            client.close()
            with self._lock:
                del self._clients[threading.current_thread()]

    def _exchange(self, client: Connection) -> bool:
        head = client.read_head()
        if head is None:
            return False
        method, path, headers = _parsed(head)
        if path == _ROBOTS_PATH:
            self.robots_asked += 1
            return _answer(client, self._robots(OTHER_PATH, self.robots_asked), ExitStack())
        body = client.read_body(int(headers.get("content-length", 0)))
        if body is None:
            return False
        song_num = _song_num(path) if _SONG_PATH.match(path) or not body else _number_in(body)
        nth = self.arrived(song_num, path, headers, method, body)
        with ExitStack() as flight:
            flight.callback(self.left)
            page = self._page(method, song_num, nth)
            kept = _answer(client, page, flight)
        return kept and "close" not in (headers.get("connection", "").lower(), page.headers.get("Connection"))

    def _page(self, method: str, song_num: int, nth: int) -> Page:
        if method != self._method:
            return replace(error(405), ending=Ending.CLOSE)
        return missing() if song_num == OTHER_PATH else self._pages(song_num, nth)


def _answer(client: Connection, page: Page, flight: ExitStack) -> bool:
    *chunks, last = page.chunks()
    wait = page.delay_seconds
    for chunk in chunks:
        if client.gone_within(wait):
            return False
        client.send(chunk)
        wait = page.pace_seconds
    if client.gone_within(wait):
        return False
    # The flight ends before the last send: after it the client may already be asking for more.
    if not page.late:
        flight.close()
    client.send(last)
    while page.endless:
        client.send(page.endless)
    if page.late and not client.gone_within(_LATE_SECONDS):
        client.send(page.late)
    return client.end(page.ending)


def _parsed(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return method, path, {name.lower(): value.strip() for name, _, value in pairs}


def _song_num(path: str) -> int:
    match = _SONG_PATH.fullmatch(path.partition("?")[0])
    return int(match[1]) if match else OTHER_PATH


def _number_in(body: bytes) -> int:
    match = re.search(rb"\d+", body)
    return int(match[0]) if match else OTHER_PATH
