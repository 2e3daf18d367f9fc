"""Serve an API that wants access tokens, and the server that gives them: OAuth 2.0 client credentials, RFC 6749, 4.4.

The bytes are those of a large API of songs, its times scaled to a test's: the life of a token, told in whole seconds or
not at all.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from servers.pages import Page, song
from servers.process import HOST

GOOD = "t-{nth}-canary"

_SERVERS = count()

# What the token server answers to the nth request.
Answers = Callable[[int], Page]


class TokenApi:
    """Serve `/songs/N`, good for whoever has a token that lives, and `/token`, which gives one for a POST.

    `life` is how long a token lives, in seconds; `answers` are of the token server, None: tokens; `private` songs are
    refused whatever the token.
    """

    def __init__(
        self,
        life: float = 3600.0,
        *,
        told: Any = None,
        answers: Answers | None = None,
        private: Callable[[int], bool] = lambda _song_num: False,
        slow: float = 0.0,
    ) -> None:
        self.life = life
        self.told = told
        self.answers = answers
        self.private = private
        self.slow = slow
        self.moved: str | None = None  # where every song redirects to
        self.asked: list[tuple[float, dict[str, str], dict[str, str]]] = []
        self.songs: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.robots_authorized = False
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._born: dict[str, float] = {}

    def __enter__(self) -> TokenApi:
        """Start to serve."""
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        address = f"http://{HOST}:{self._server.server_address[1]}"
        # A port may come again, and a process keeps a token by its address.
        self.url, self.token_url = f"{address}/songs/{{song_num}}", f"{address}/token/{next(_SERVERS)}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """Return what a deployment sets to crawl it."""
        return {"SONG_URL": self.url, "TOKEN_URL": self.token_url, "ALLOW_PRIVATE_UPSTREAM": "1"}

    def revoke(self) -> None:
        """Let all tokens die."""
        with self._lock:
            self._born.clear()

    def give_token(self, headers: Mapping[str, str], body: bytes) -> Page:
        """Answer one request for a token."""
        with self._lock:
            self.asked.append((time.monotonic(), dict(headers), dict(parse_qsl(body.decode()))))
            nth = len(self.asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.slow)
        with self._lock:
            self._at_once -= 1
            page = self.answers(nth) if self.answers else self.token(nth)
            if page.status == 200 and GOOD.format(nth=nth).encode() in page.body:
                self._born[GOOD.format(nth=nth)] = time.monotonic()
            return page

    def token(self, nth: int) -> Page:
        """Return a good answer."""
        content = {"access_token": GOOD.format(nth=nth), "token_type": "Bearer"}
        told = {} if self.told is None else {"expires_in": self.told}
        return Page(body=json.dumps({**content, **told}).encode())

    def give_song(self, song_num: int, authorization: str) -> Page:
        """Answer one request for a song."""
        token = authorization.removeprefix("Bearer ")
        with self._lock:
            self.songs[song_num] += 1
            alive = time.monotonic() < self._born.get(token, -1e9) + self.life
            if not alive or self.private(song_num):
                self.refused[song_num] += 1
                error = {"status": 401, "message": "The access token expired"}
                return Page(401, json.dumps({"error": error}).encode())
        return Page(302, b"", {"Location": self.moved}) if self.moved else song(song_num)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, api: TokenApi) -> None:
        super().__init__((HOST, 0), _Handler)
        self.api = api

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer for a song, or with no robots.txt."""
        match = re.fullmatch(r"/songs/(\d+)", self.path, re.ASCII)
        authorization = self.headers.get("Authorization", "")
        if match:
            self._answer(self.server.api.give_song(int(match[1]), authorization))
        else:
            self.server.api.robots_authorized |= bool(authorization)
            self._answer(Page(404))

    def do_POST(self) -> None:
        """Give a token."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(self.server.api.give_token(headers, body))

    def _answer(self, page: Page) -> None:
        head = f"HTTP/1.1 {page.status} X\r\nContent-Length: {len(page.body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in page.headers.items())
        self.wfile.write(head.encode() + b"\r\n" + page.body)
