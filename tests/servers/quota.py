"""Serve the song API from a process of its own, behind a quota, a queue or an outage, and count what came each second.

The quota is a token bucket of one second's burst. Seconds count from the first request for a song.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests

from servers.process import HOST, ServerProcess, answers, free_port

_COUNTS_PATH = "/counts"


def quota_upstream(**facts: Any) -> ServerProcess:
    """Serve songs at /songs/NUMBER.

    `quota` is a list of (second, requests a second from then on); `retry_after` the header of a 429; `latency` the
    seconds a song takes; `workers` how many are answered at once; in the seconds of `down` all is
    `down_status`.
    """
    port = free_port()
    argv = [sys.executable, "-m", "servers.quota", str(port), json.dumps(facts)]
    return ServerProcess(argv, port, cwd=Path(__file__).parent.parent, ready=lambda: answers(port, _COUNTS_PATH))


def counts(server: ServerProcess) -> dict[str, list[int]]:
    """Ask what came in each second: `accepted`, `rejected`, `failed`, and the most `in_flight` together."""
    with requests.Session() as session:
        session.trust_env = False
        found: dict[str, list[int]] = session.get(f"{server.url}{_COUNTS_PATH}", timeout=10).json()
        return found


class _Quota:
    """Be a token bucket whose rate follows a schedule."""

    def __init__(self, schedule: list[list[float]]) -> None:
        self._schedule = schedule
        self._tokens = self._per_second(0.0)
        self._at = 0.0

    def take(self, now: float) -> bool:
        per_second = self._per_second(now)
        self._tokens = min(max(1.0, per_second), self._tokens + (now - self._at) * per_second)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _per_second(self, now: float) -> float:
        return [per_second for since, per_second in self._schedule if since <= now][-1]


class _Api:
    """Judge requests and count them."""

    def __init__(
        self,
        quota: list[list[float]] | None = None,
        retry_after: str | None = None,
        latency: float = 0.0,
        workers: int | None = None,
        down: tuple[float, float] = (0.0, 0.0),
        down_status: str = "503 Service Unavailable",
    ) -> None:
        self._quota = _Quota(quota) if quota else None
        self._wait = f"Retry-After: {retry_after}\r\n" if retry_after else ""
        self._latency, self._workers = latency, workers
        self._down, self._down_status = down, down_status
        self._free = [0.0] * (workers or 0)
        self._began: float | None = None
        self._counted = {name: Counter[int]() for name in ("accepted", "rejected", "failed", "in_flight")}
        self._in_flight = 0

    def ask(self, number: str) -> tuple[bytes, float]:
        """Give the answer to a request for a song, and after how many seconds."""
        now = self._now()
        second = int(now)
        self._in_flight += 1
        self._counted["in_flight"][second] = max(self._counted["in_flight"][second], self._in_flight)
        if self._down[0] <= now < self._down[1]:
            self._counted["failed"][second] += 1
            return _answer(self._down_status, "{}"), 0.0
        if self._quota and not self._quota.take(now):
            self._counted["rejected"][second] += 1
            return _answer("429 Too Many Requests", "{}", self._wait), self._latency
        self._counted["accepted"][second] += 1
        return _answer("200 OK", f'{{"id": {number}}}'), self._seconds(now)

    def answered(self) -> None:
        """Count an answer that has gone out."""
        self._in_flight -= 1

    def counts(self) -> bytes:
        """Tell what was counted in each second so far."""
        seconds = int(self._now()) + 1 if self._began is not None else 0
        told = {name: [counted[second] for second in range(seconds)] for name, counted in self._counted.items()}
        return _answer("200 OK", json.dumps(told))

    def _now(self) -> float:
        now = time.monotonic()
        self._began = self._began if self._began is not None else now
        return now - self._began

    def _seconds(self, now: float) -> float:
        """Take the worker that is free first."""
        if not self._workers:
            return self._latency
        begins = max(now, min(self._free))
        self._free[self._free.index(min(self._free))] = begins + self._latency
        return begins + self._latency - now


class _Connection(asyncio.Protocol):
    """Answer GETs on one keep-alive connection."""

    api: _Api

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            self._take(head.split(b" ", 2)[1].decode())

    def _take(self, path: str) -> None:
        if not path.startswith("/songs/"):
            known = path == _COUNTS_PATH
            self._transport.write(self.api.counts() if known else _answer("404 Not Found", "{}"))
            return
        answer, seconds = self.api.ask(path.rpartition("/")[2])
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        self.api.answered()
        self._transport.write(answer)


def _answer(status: str, body: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    _Connection.api = _Api(**json.loads(sys.argv[2]))
    asyncio.run(_serve(int(sys.argv[1])))
