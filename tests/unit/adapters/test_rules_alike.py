"""Check that both fetchers of declared songs make the same of an answer by rules, and of what servers really send."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Page, Upstream
from servers.pages import raw
from support.fetchers import FETCHERS, MOST_BYTES, Opening, every_fetcher

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, open_session
from crawler.core.ports import Fetcher
from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, retry, throttled
from crawler.rate_control.circuit_breaker import NEVER_UP_SECONDS
from crawler.rate_control.controller import RateController
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.response_limits import MOST_HEAD_BYTES

TIMEOUT = 10.0
SONG = b'{"id": 1, "title": "Song 1"}'

ANSWERS: dict[str, Page] = {
    "song": Page(body=SONG),
    "backoff": Page(body=b'{"title": "Song 1", "backoff": 10}'),
    "later": Page(status=202, body=b"{}"),
    "later, with a time": Page(status=202, body=b"{}", headers={"Retry-After": "4"}),
    "nothing": Page(status=204),
    "nothing in 205": Page(status=205),
    "error 17": Page(status=400, body=b'{"error": {"code": 17}}'),
    "error 100": Page(status=400, body=b'{"error": {"code": 100}}'),
    "error 100, gzip": Page(
        status=400, body=gzip.compress(b'{"error": {"code": 100}}'), headers={"Content-Encoding": "gzip"}
    ),
    "no gzip": Page(status=400, body=b'{"error": {"code": 100}}', headers={"Content-Encoding": "gzip"}),
    "unknown coding": Page(status=400, body=b"\x00\x01", headers={"Content-Encoding": "br"}),
    "prose": Page(status=403, body=b"<h1>Slow down</h1>", headers={"Content-Type": "text/html"}),
    "spent": Page(status=403, body=b"{}", headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3"}),
    "two of a name": raw(
        b"HTTP/1.1 403 Forbidden\r\nX-Left: 1\r\nx-left: 2\r\nContent-Length: 2\r\n\r\n{}",
    ),
    "forbidden": Page(status=403, body=b'{"message": "Resource not accessible"}'),
    "large error": Page(status=403, body=b" " * (MOST_BYTES + 1)),
    "endless error": Page(exact=b"HTTP/1.1 403 Forbidden\r\n\r\n ", endless=b" " * 65536),
    "large": Page(body=b'"' + b" " * MOST_BYTES + b'"'),
    "elsewhere": Page(status=301, headers={"Location": "/songs/2"}, body=b'{"moved": true}'),
    "away": Page(status=302, headers={"Location": "http://other.example/"}, body=b'{"moved": true}'),
    "absent": Page(status=404),
    "unauthorized": Page(status=401, body=b'{"error": {"code": 17}}'),
    "slow": Page(status=429, headers={"Retry-After": "7"}),
    "busy": Page(status=503, body=b"busy", headers={"Retry-After": "2"}),
    "broken": Page(status=500, body=b"{}"),
    "odd": Page(status=599),
}

RULES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "by status": [{"status": 403, "action": "throttled"}, {"status": "3xx", "action": "missing"}],
    "by header": [
        {"status": 403, "when": "headers.\"x-ratelimit-remaining\" == '0'", "action": "throttled", "wait": 3},
        {"when": "headers.\"x-left\" == '1, 2'", "action": "failed", "error": "two"},
        {"when": 'headers."content-length" == `null`', "action": "failed", "error": "no length"},
    ],
    "by body": [
        {"when": "body.error.code == `100`", "action": "failed", "error": "hundred"},
        {"when": "contains(body, 'Slow')", "action": "retry", "error": "prose"},
        {"when": "body == `null`", "action": "failed", "error": "null"},
    ],
    "pauses": [{"when": "body.backoff", "wait": "body.backoff"}, {"status": [503, 202], "wait": 60}],
    "all found": [{"action": "found"}],
}

SONGS: dict[str, dict[str, str]] = {
    "plain": {},
    "expressions": {"missing": "error.code == `100`", "retry": "error.code == `17`", "info": "{title: title}"},
}


@contextmanager
def declared(url: str, song: DeclaredSong) -> Iterator[Fetcher]:
    """Open the fetcher on a session."""
    with open_session(1, "test", max_song_bytes=MOST_BYTES, allow_private=True) as session:
        yield DeclaredFetcher(session, url, song, MOST_BYTES)


@contextmanager
def curl(url: str, song: DeclaredSong) -> Iterator[Fetcher]:
    """Open the fetcher on libcurl."""
    yield CurlFetcher(url, song, MOST_BYTES, "test", allow_private=True)


both = pytest.mark.parametrize("opened", [declared, curl], ids=["declared", "curl"])
Opened = Callable[[str, DeclaredSong], Any]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Serve the answers, each under its number."""
    pages = list(ANSWERS.values())
    with Upstream(lambda song_num, _nth: pages[song_num - 1]) as server:
        yield server


def shown(verdict: Verdict) -> tuple[Any, ...]:
    """Write all of a verdict that anything depends on."""
    return verdict.kind, verdict.info, verdict.error, verdict.retry_after, verdict.alone


@pytest.mark.parametrize("song", SONGS)
@pytest.mark.parametrize("rules", RULES)
def test_both_fetchers_judge_alike(upstream: Upstream, rules: str, song: str) -> None:
    """Give the same verdict on every answer, whatever the rules and expressions."""
    verdicts = []
    for opened in (declared, curl):
        with opened(upstream.url, DeclaredSong(rules=RULES[rules], **SONGS[song])) as fetcher:
            verdicts.append({n: shown(fetcher.attempt(i, TIMEOUT)) for i, n in enumerate(ANSWERS, 1)})

    assert verdicts[0] == verdicts[1]


EXPECTED: list[tuple[str, str, str, Verdict]] = [
    ("none", "plain", "nothing", MISSING),
    ("none", "plain", "later", retry("http_202")),
    ("none", "plain", "later, with a time", retry("http_202", 4.0)),
    ("none", "plain", "error 17", failed("http_400")),
    ("none", "expressions", "error 17", throttled("song_retry")),
    ("none", "expressions", "error 100", MISSING),
    ("none", "expressions", "error 100, gzip", MISSING),
    ("none", "expressions", "no gzip", failed("http_400")),
    ("none", "expressions", "unauthorized", throttled("song_retry")),
    ("none", "expressions", "broken", retry("http_500")),
    ("by status", "plain", "endless error", throttled("http_403")),
    ("by status", "plain", "large error", throttled("http_403")),
    ("by status", "plain", "elsewhere", MISSING),
    ("by status", "plain", "away", MISSING),
    ("by header", "plain", "spent", throttled("http_403", 3.0)),
    ("by header", "plain", "two of a name", failed("two")),
    ("by header", "plain", "forbidden", failed("http_403")),
    ("by body", "expressions", "error 100", failed("hundred")),
    ("by body", "plain", "prose", retry("prose")),
    ("by body", "plain", "large", failed("null")),
    ("by body", "plain", "no gzip", failed("null")),
    ("pauses", "plain", "backoff", Verdict(Kind.FOUND, {"title": "Song 1", "backoff": 10}, None, 10.0)),
    ("pauses", "plain", "busy", retry("http_503", 60.0)),
    ("pauses", "plain", "song", found({"id": 1, "title": "Song 1"})),
    ("all found", "plain", "error 17", found({"error": {"code": 17}})),
    ("all found", "expressions", "error 17", failed("no_info")),
    ("all found", "plain", "large", failed("too_large")),
]


@pytest.mark.parametrize(("rules", "song", "answer", "verdict"), EXPECTED)
@both
def test_verdict_is_what_the_table_says(
    upstream: Upstream, opened: Opened, rules: str, song: str, answer: str, verdict: Verdict
) -> None:
    """Judge an answer by the first rule that fits it."""
    with opened(upstream.url, DeclaredSong(rules=RULES[rules], **SONGS[song])) as fetcher:
        assert fetcher.attempt(1 + list(ANSWERS).index(answer), TIMEOUT) == verdict


@every_fetcher
def test_nothing_with_204_is_missing(open_fetcher: Callable[[Opening], Any]) -> None:
    """Take 204 for no such song at the first request, also where a function asks for its JSON."""
    with Upstream(lambda _num, _nth: Page(status=204)) as server, open_fetcher(Opening(server.url)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == MISSING
        assert server.count() == 1


@pytest.mark.parametrize(
    "encoding",
    ["UTF-8", "utf8", "none", "identity", "binary", "8bit", "text/plain", "none, utf-8", "iso-8859-1", " None "],
)
@every_fetcher
def test_plain_body_under_a_label_that_is_no_coding_is_read(
    open_fetcher: Callable[[Opening], Any], encoding: str
) -> None:
    """Find a song whose Content-Encoding names no coding at all."""
    page = Page(body=SONG, headers={"Content-Encoding": encoding})
    with Upstream(lambda _num, _nth: page) as server, open_fetcher(Opening(server.url)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == found("Song 1")


@pytest.mark.parametrize("encoding", ["br", "zstd", "x-bzip2", "gzip, gzip", "UTF-8, br"])
@every_fetcher
def test_body_in_a_coding_that_we_do_not_read_is_none(open_fetcher: Callable[[Opening], Any], encoding: str) -> None:
    """Try a song again whose body is said to be compressed otherwise than we ask for."""
    page = Page(body=SONG, headers={"Content-Encoding": encoding})
    with Upstream(lambda _num, _nth: page) as server, open_fetcher(Opening(server.url)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == retry("invalid_encoding")


def headed(lines: int, bytes_each: int = 17) -> Page:
    """Answer with a song and so many header lines more."""
    head = "".join(f"X-{n:04}: ".ljust(bytes_each - 2, "x") + "\r\n" for n in range(lines))
    return raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(SONG)}\r\n{head}\r\n".encode() + SONG)


@pytest.mark.parametrize("lines", [120, 1000, 3000])
@every_fetcher
def test_bytes_bound_a_head_and_not_lines(open_fetcher: Callable[[Opening], Any], lines: int) -> None:
    """Find a song with many header lines."""
    with Upstream(lambda _num, _nth: headed(lines)) as server, open_fetcher(Opening(server.url)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == found("Song 1")


@pytest.mark.parametrize(
    "page", [headed(MOST_HEAD_BYTES // 1000 + 1, 1000), headed(1, 400_000)], ids=["many lines", "one line"]
)
@every_fetcher
def test_refused_head_is_named_in_the_sentence(open_fetcher: Callable[[Opening], Any], page: Page) -> None:
    """Say that the heads are refused, where nothing else ever comes, instead of a lost connection."""
    with Upstream(lambda _num, _nth: page) as server, open_fetcher(Opening(server.url)) as fetcher:
        verdict = fetcher.attempt(1, TIMEOUT)
    controller = RateController()
    controller.send(0.0, 4)
    for second in range(3):
        controller.observe(0.0, float(second), verdict)
    controller.send(3.0)
    controller.observe(3.0, 3.1, verdict)

    assert verdict == retry("connection")
    assert "every request came to a head of more than 65536 bytes or 5000 lines, which is refused." in str(
        controller.hopeless(3.0 + NEVER_UP_SECONDS, 100.0)
    )


@pytest.mark.parametrize("fetcher_name", FETCHERS)
def test_cookie_line_is_counted_whole(fetcher_name: str) -> None:
    """Send a Cookie line of 8,190 bytes at most, its name and end too, however many small cookies come."""
    cookies = [f"c{n:03}={'x' * 50}" for n in range(400)]

    def pages(song_num: int, _nth: int) -> Page:
        lines = "".join(f"Set-Cookie: {cookie}; Path=/\r\n" for cookie in cookies[24 * (song_num - 1) : 24 * song_num])
        return Page(exact=f"HTTP/1.1 200 OK\r\nContent-Length: {len(SONG)}\r\n{lines}\r\n".encode() + SONG)

    with Upstream(pages) as server, FETCHERS[fetcher_name](Opening(server.url)) as fetcher:
        verdicts = [fetcher.attempt(number, TIMEOUT) for number in range(1, 21)]
        lines = [len(f"Cookie: {request.headers.get('cookie', '')}\r\n") for request in server.requests]

    assert verdicts == [found("Song 1")] * 20
    assert 7_000 < max(lines) <= 8_190
