"""Answers of an upstream, and the verdict that each comes to, for every fetcher."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

import requests
from servers import (
    Page,
    Pages,
    cut,
    error,
    html,
    missing,
    raw,
    reset,
    song,
    throttled,
)

from crawler.adapters.session.fetchers import DeclaredFetcher
from crawler.core.ports import Fetcher
from crawler.core.verdict import MISSING, failed, found, retry
from crawler.core.verdict import throttled as throttled_verdict
from crawler.upstream.classify import DeclaredSong

MOST_BYTES = 10_000


TIMEOUT = 10.0


SHORT = 0.25


SONG = {"id": 1, "title": "Song 1"}


BODY = b'{"id": 1, "title": "Song 1"}'


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


def declared(session: requests.Session, url: str) -> Fetcher:
    """Open the fetcher of a declared song."""
    return DeclaredFetcher(session, url, DeclaredSong(), MOST_BYTES)


def always(page: Page) -> Pages:
    """Serve one page for every number."""
    return lambda _song_num, _nth: page


def gzipped(body: bytes, encoding: str = "gzip") -> Page:
    """Give a page whose body is compressed."""
    return Page(body=gzip.compress(body), headers={"Content-Encoding": encoding})


ANSWERS = {
    "found": (song(1), found(SONG)),
    "found, gzip": (gzipped(BODY), found(SONG)),
    "found, deflate": (Page(body=zlib.compress(BODY), headers={"Content-Encoding": "deflate"}), found(SONG)),
    "found, in chunks": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n" + BODY + b"\r\n0\r\n\r\n"),
        found(SONG),
    ),
    "found, until the end": (raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), found(SONG)),
    "null": (Page(body=b"null"), failed("no_info")),
    "missing": (missing(), MISSING),
    "gone": (error(410), MISSING),
    "bad request": (error(400), failed("http_400")),
    "forbidden": (error(403), failed("http_403")),
    "server error": (error(500), retry("http_500")),
    "unavailable": (error(503), retry("http_503")),
    "unavailable for a while": (
        replace(error(503), headers={"Retry-After": "9"}),
        retry("http_503", 9.0),
    ),
    "throttled": (throttled(), throttled_verdict("http_429")),
    "throttled for a while": (throttled("7.5"), throttled_verdict("http_429", 7.5)),
    "throttled without sense": (throttled("soon"), throttled_verdict("http_429")),
    "redirect": (Page(status=302, headers={"Location": "/songs/2"}), failed("redirect")),
    "early hints, then a song": (
        raw(HINTS + HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + BODY),
        found(SONG),
    ),
    "early hints, then nothing": (raw(HINTS), retry("connection")),
    "early hints without end": (
        raw(HINTS * 5000 + b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + BODY),
        retry("connection"),
    ),
    "switching protocols": (raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), retry("connection")),
    "html": (html(), retry("invalid_json")),
    "empty": (Page(body=b""), retry("invalid_json")),
    "not UTF-8": (Page(body=b'{"title": "\xff"}'), retry("invalid_json")),
    "deep": (Page(body=b"[" * 9_000), retry("invalid_json")),
    "cut short": (cut(BODY[:10], len(BODY)), retry("connection")),
    "cut short, in chunks": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n" + BODY[:10]),
        retry("connection"),
    ),
    "reset": (reset(), retry("connection")),
    "no HTTP": (raw(b"not HTTP at all\r\n\r\n"), retry("connection")),
    "nothing": (raw(b""), retry("connection")),
    "broken gzip": (
        Page(body=b"\x1f\x8b\x08" + b"x" * 20, headers={"Content-Encoding": "gzip"}),
        retry("invalid_encoding"),
    ),
}
