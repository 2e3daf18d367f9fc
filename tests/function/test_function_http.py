"""The function under clients of every age and temper: bytes on the wire that no library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

import pytest
from servers import Upstream
from support.deployed import Deployed


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, each in a packet of its own, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        return b"".join(iter(lambda: client.recv(65536), b""))


def post(body: bytes, *headers: bytes) -> bytes:
    """Write a POST of a body that says its length and that it is the last."""
    lines = [b"POST / HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunks(pieces: Iterable[bytes]) -> bytes:
    """Write a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"songs": "3-4"}'

CRAWLS = {
    "http-1.0": [b"GET /?songs=3-4 HTTP/1.0\r\n\r\n"],
    "http-1.0-post": [b"POST / HTTP/1.0\r\nContent-Length: 16\r\n\r\n" + BODY],
    "byte-by-byte": [post(BODY)[place : place + 1] for place in range(len(post(BODY)))],
    "body-later": [post(BODY)[:-10], post(BODY)[-10:]],
    "chunked": [CHUNKED, chunks([BODY[:5], BODY[5:]])],
    "chunk-by-byte": [CHUNKED, chunks(BODY[place : place + 1] for place in range(len(BODY)))],
    "expect": [post(BODY, b"Expect: 100-continue")],
    "whole-address": [b"GET http://elsewhere.example/?songs=3-4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
    "fragment": [b"GET /?songs=3-4#top HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
    "encoded": [b"GET /?%73ongs=3%2D4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
    "blanks": [post(b" \r\n\t" + BODY + b"\n\n")],
    "method-override": [post(BODY, b"X-HTTP-Method-Override: DELETE")],
    "body-and-empty-query": [post(BODY).replace(b"POST / ", b"POST /?& ")],
}


@pytest.mark.parametrize("pieces", CRAWLS.values(), ids=CRAWLS)
def test_a_call_is_a_call_however_it_is_sent(standing: Deployed, pieces: list[bytes]) -> None:
    """Read the same call from any valid form of it."""
    head, _, body = exchange(standing.server.port, *pieces).rpartition(b"\r\n\r\n")

    assert b" 200 OK\r\n" in head
    assert json.loads(body)["songs"] == "3-4"


REFUSED = {
    "length-and-chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + CHUNKED[26:] + chunks([BODY]),
    "negative-length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "lower-case-method": b"get /?songs=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "raw-utf8": "GET /é?songs=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
    "long-header": b"GET /?songs=5 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "no-http": b"songs=5\r\n\r\n",
    "gzip-body": post(b"\x1f\x8b\x08", b"Content-Encoding: gzip"),
    "utf-16": post('{"songs": "5"}'.encode("utf-16")),
    "byte-order-mark": post('{"songs": "5"}'.encode("utf-8-sig")),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_is_no_valid_call_crawls_nothing(standing: Deployed, standing_upstream: Upstream, sent: bytes) -> None:
    """Answer a broken request with 4xx, or not at all, and crawl nothing for it."""
    before = standing_upstream.count(), standing.objects()
    answer = exchange(standing.server.port, sent)

    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert b"Traceback" not in answer
    assert (standing_upstream.count(), standing.objects()) == before


def test_a_caller_that_leaves_disturbs_nobody(standing: Deployed, standing_upstream: Upstream) -> None:
    """Go on serving others when callers hang up in the middle of their requests."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", standing.server.port), timeout=30) as client:
            client.sendall(post(BODY)[:-5])

    assert standing.crawl("3-4")["found"] == 2


def test_calls_on_one_connection_are_answered_in_turn(standing: Deployed) -> None:
    """Keep a connection usable after a refusal whose body nobody read."""
    put = post(b"x" * 100_000).replace(b"POST", b"PUT").replace(b"Connection: close\r\n", b"")
    answer = exchange(standing.server.port, put + post(BODY))

    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b'"songs":"3-4"' in answer
