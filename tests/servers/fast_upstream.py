"""Serve the song API from a process of its own, fast and without a memory of what was asked: for a million songs."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from pathlib import Path

import requests

from servers.process import HOST, ServerProcess, answers, free_port

_COUNT_PATH = b"/count"
_PEAK_PATH = b"/peak"
_BEAT_SECONDS, _LATE_SECONDS = 0.005, 0.025


def fast_upstream(song_bytes: int = 0, delay_seconds: float = 0.0) -> ServerProcess:
    """Serve a song of some `song_bytes` for every number at /songs/NUMBER, each after a while.

    At /count it says how many were asked for, at /peak how many of them in any one second, at the most, and of how many
    seconds it knows: not of those in which it was late itself, and found waiting what had come one after the other.
    """
    port = free_port()
    argv = [sys.executable, "-m", "servers.fast_upstream", str(port), str(song_bytes), str(delay_seconds)]
    # python -m finds this package from the folder that holds it.
    return ServerProcess(argv, port, cwd=Path(__file__).parent.parent, ready=lambda: answers(port, "/count"))


def count_served(server: ServerProcess) -> int:
    """Ask a fast upstream how many songs it has served."""
    return int(_ask(server, "/count"))


def peak_per_second(server: ServerProcess) -> tuple[int, float]:
    """Ask a fast upstream how many requests came within any one second, at the most, and how many seconds it knows."""
    peak, seconds = _ask(server, "/peak").split()
    return int(peak), float(seconds)


def _ask(server: ServerProcess, path: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(server.url + path, timeout=10).text


def filler(size: int) -> str:
    """Make a JSON array of some `size` bytes that compresses seven times; real ones of 100 KiB do 5 to 10 times."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(3, 9))) for _ in range(400)]
    tracks: list[str] = []
    length = 0
    while length < size:
        number, title = draw.randrange(10**6), " ".join(draw.choices(words, k=3))
        link = f"https://songs.example/track/{number}"
        track = {"type": "track", "id": number, "title": title, "link": link, "readable": True, "explicit": False}
        tracks.append(json.dumps(track))
        length += len(tracks[-1]) + 2
    return f"[{', '.join(tracks)}]"


class _Peak:
    """Count the requests of the fullest second, as long as `beat` is called in time."""

    def __init__(self) -> None:
        self.most = 0
        self.seconds = 0.0
        self._times: deque[float] = deque()
        self._calm_since = self._beat = time.monotonic()

    def beat(self) -> None:
        now = time.monotonic()
        if now - self._beat > _LATE_SECONDS:
            self._times.clear()
            self._calm_since = now
        elif now - self._calm_since > 1.0:
            self.seconds += now - self._beat
        self._beat = now
        asyncio.get_running_loop().call_later(_BEAT_SECONDS, self.beat)

    def count(self, now: float) -> None:
        if now - self._beat > _LATE_SECONDS:
            return
        self._times.append(now)
        while self._times[0] <= now - 1.0:
            self._times.popleft()
        self.most = max(self.most, len(self._times))


_PEAK = _Peak()


class _Songs(asyncio.Protocol):
    """Answer GETs on one keep-alive connection."""

    served = 0
    tail = b""
    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        if path in (_COUNT_PATH, b"/robots.txt"):  # which asks for nothing
            self._send(b"%d" % _Songs.served)
        elif path == _PEAK_PATH:
            self._send(b"%d %.1f" % (_PEAK.most, _PEAK.seconds))
        else:
            _Songs.served += 1
            _PEAK.count(time.monotonic())
            number = path.rpartition(b"/")[2]
            body = b'{"id": %b, "title": "Song %b", %b' % (number, number, _Songs.tail)
            if _Songs.delay:
                asyncio.get_running_loop().call_later(_Songs.delay, self._send, body)
            else:
                self._send(body)

    def _send(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve(port: int) -> None:
    _PEAK.beat()
    server = await asyncio.get_running_loop().create_server(_Songs, HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    _Songs.tail = f'"tracks": {filler(int(sys.argv[2]))}}}'.encode()
    _Songs.delay = float(sys.argv[3])
    asyncio.run(_serve(int(sys.argv[1])))
