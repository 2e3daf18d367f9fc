"""Serve the song API from a process of its own, fast and without a memory of what was asked: for a million songs."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import requests

from servers.process import HOST, ServerProcess, answers, free_port

_COUNT_PATH = b"/count"


def fast_upstream(song_bytes: int = 0) -> ServerProcess:
    """Serve a song of some `song_bytes` for every number at /songs/NUMBER, and at /count how many were served."""
    port = free_port()
    argv = [sys.executable, "-m", "servers.fast_upstream", str(port), str(song_bytes)]
    # python -m finds this package from the folder that holds it.
    return ServerProcess(argv, port, cwd=Path(__file__).parent.parent, ready=lambda: answers(port, "/count"))


def count_served(server: ServerProcess) -> int:
    """Ask a fast upstream how many songs it has served."""
    with requests.Session() as session:
        session.trust_env = False
        return int(session.get(f"{server.url}/count", timeout=10).text)


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


class _Songs(asyncio.Protocol):
    """Answer GETs on one keep-alive connection."""

    served = 0
    tail = b""

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
            body = b"%d" % _Songs.served
        else:
            _Songs.served += 1
            number = path.rpartition(b"/")[2]
            body = b'{"id": %b, "title": "Song %b", %b' % (number, number, _Songs.tail)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Songs, HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    _Songs.tail = f'"tracks": {filler(int(sys.argv[2]))}}}'.encode()
    asyncio.run(_serve(int(sys.argv[1])))
