"""Check what becomes of requests on connections that the upstream closes without a word, in every fetcher."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from servers import song
from support.answers import TIMEOUT
from support.fetchers import Opening, every_fetcher
from support.wire import HOST, Wire

from crawler.adapters.session.sockets import connect
from crawler.core.ports import Fetcher
from crawler.core.verdict import Kind

SONGS = 200
ANSWER = song(1).head() + song(1).body


def close_at_once(sock: socket.socket) -> None:
    """Answer, and close."""
    sock.sendall(ANSWER)


def close_when_asked(sock: socket.socket) -> None:
    """Answer, and close when the next request has come."""
    sock.sendall(ANSWER)
    sock.recv(65_536)


@every_fetcher
@pytest.mark.parametrize("talk", [close_at_once, close_when_asked])
def test_connection_that_is_closed_costs_no_attempt(
    open_fetcher: Callable[[Opening], AbstractContextManager[Fetcher]], talk: Callable[[socket.socket], None]
) -> None:
    """Find each song with its first attempt, with at most a twentieth more requests than songs, all counted."""
    with Wire(talk) as wire, open_fetcher(Opening(wire.url)) as fetcher:
        verdicts = [fetcher.attempt(number, TIMEOUT) for number in range(SONGS)]

    assert {verdict.kind for verdict in verdicts} == {Kind.FOUND}
    assert SONGS <= sum(verdict.requests for verdict in verdicts) <= 1.05 * SONGS


@pytest.mark.skipif(sys.platform != "linux", reason="other systems answer for a server whose queue is full")
def test_silent_address_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the second address of a name in time where the first is silent, and try that one last from then on."""
    tried = []
    with socket.create_server((HOST, 0)) as server, socket.create_server(("127.0.0.2", 0), backlog=0) as silent:
        addresses = [silent.getsockname(), server.getsockname()]
        filling = [socket.socket() for _ in range(3)]
        for sock in filling:
            sock.setblocking(False)
            sock.connect_ex(addresses[0])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr("crawler.adapters.session.sockets.socket.getaddrinfo", lambda *_, **__: found)
        for _ in range(2):
            with connect("songs.example", 80, 0.6, allow_private=True) as sock:
                tried.append(sock.getpeername())
        for sock in filling:
            sock.close()

    assert tried == [addresses[1]] * 2
