"""Check what both fetchers make of an upstream's answers, good and bad, over real connections."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import (
    Page,
    Upstream,
    cut,
    drip,
    error,
    free_port,
    hang,
    html,
    missing,
    reset,
    song,
    throttled,
)
from support.answers import ANSWERS, BODY, MOST_BYTES, SHORT, SONG, TIMEOUT, always, declared, gzipped
from support.wire import Wire, dripping, saying, self_signed

from crawler.adapters.session.connections import _parse
from crawler.adapters.session.fetchers import FunctionFetcher, open_session
from crawler.core.errors import SongNotFetched
from crawler.core.ports import Fetcher
from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, retry
from crawler.core.verdict import throttled as throttled_verdict

# What a request that ought to end after SHORT may take on a machine that has other things to do.
GENEROUS = 3 * SHORT + 0.5


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Open a session that may reach loopback addresses."""
    with open_session(8, "songcrawl/test", allow_private=True) as opened:
        yield opened


def request_info(url: str) -> Callable[[requests.Session, Any], Any]:
    """Give the function that a user would write for the songs at a URL."""

    def request_song_info(session: requests.Session, song_num: Any) -> Any:
        response = session.get(url.replace("{song_num}", str(song_num)))
        response.raise_for_status()
        return response.json()

    return request_song_info


def function(session: requests.Session, url: str) -> Fetcher:
    """Open the fetcher of a user's function."""
    return FunctionFetcher(session, request_info(url))


both_fetchers = pytest.mark.parametrize("open_fetcher", [declared, function])


def attempt(session: requests.Session, page: Page, timeout: float = TIMEOUT) -> Verdict:
    """Try a declared song that is answered with the page."""
    with Upstream(always(page)) as upstream:
        return declared(session, upstream.url).attempt(1, timeout)


@pytest.mark.parametrize(("page", "verdict"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answer_has_its_verdict(session: requests.Session, page: Page, verdict: Verdict) -> None:
    """Judge a declared song by what comes back for it."""
    assert attempt(session, page) == verdict


def hinted(song_num: int) -> Page:
    """Answer a song's early hints at once, and its record after them, on the same connection."""
    final = song(song_num)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(final.body)}\r\n\r\n".encode()
    return Page(status=103, body=head + final.body, pace_seconds=0.001)


def test_final_answer_is_not_taken_for_the_next_songs(session: requests.Session) -> None:
    """Wait for the final answer after an interim one: left unread, it would become the info of another song."""
    with Upstream(lambda song_num, _nth: hinted(song_num)) as upstream:
        fetcher = declared(session, upstream.url)
        verdicts = [fetcher.attempt(song_num, TIMEOUT) for song_num in (1, 2, 3)]

    assert [verdict.info and verdict.info["id"] for verdict in verdicts] == [1, 2, 3]


def test_redirect_is_not_followed(session: requests.Session) -> None:
    """Send one request, and none to where the answer points."""
    with Upstream(always(Page(status=301, headers={"Location": "/songs/2"}))) as upstream:
        declared(session, upstream.url).attempt(1, TIMEOUT)

        assert [request.song_num for request in upstream.requests] == [1]


@pytest.mark.parametrize("status", [401, 407])
@both_fetchers
def test_upstream_that_wants_credentials_refuses(
    session: requests.Session, open_fetcher: Callable[..., Fetcher], status: int
) -> None:
    """Blame the deployment, not the song, where the upstream lets nobody in."""
    with Upstream(always(error(status))) as upstream:
        verdict = open_fetcher(session, upstream.url).attempt(1, TIMEOUT)

    assert verdict.kind is Kind.REFUSED
    assert str(status) in (verdict.reason or "")


@both_fetchers
def test_date_of_retry_after_becomes_seconds(session: requests.Session, open_fetcher: Callable[..., Fetcher]) -> None:
    """Read the HTTP date of a Retry-After as seconds from now."""
    with Upstream(always(throttled(formatdate(time.time() + 60, usegmt=True)))) as upstream:
        verdict = open_fetcher(session, upstream.url).attempt(1, TIMEOUT)

    assert verdict.retry_after == pytest.approx(60, abs=10)


def header_drip() -> Callable[[socket.socket], None]:
    """Drip an answer whose headers alone take half a minute."""
    return dripping(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 300 + b"\r\n\r\n", 0.1)


def body_drip() -> Callable[[socket.socket], None]:
    """Drip an answer whose body takes half a minute."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"

    def talk(sock: socket.socket) -> None:
        sock.sendall(head)
        dripping(b" " * 300, 0.1)(sock)

    return talk


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("talk", [header_drip(), body_drip()], ids=["headers", "body"])
@both_fetchers
def test_drip_ends_with_the_timeout(
    session: requests.Session,
    tmp_path: Path,
    open_fetcher: Callable[..., Fetcher],
    talk: Callable[[socket.socket], None],
    scheme: str,
) -> None:
    """Give up an answer that drips, a byte at a time, when the whole request's timeout is over."""
    context, certificate = self_signed(tmp_path)
    session.verify = str(certificate)
    with Wire(talk, context if scheme == "https" else None) as wire:
        started = time.monotonic()
        verdict = open_fetcher(session, wire.url).attempt(1, SHORT)
        seconds = time.monotonic() - started

    assert verdict == retry("timeout")
    assert SHORT * 0.9 < seconds < GENEROUS


@pytest.mark.parametrize(
    "page",
    [hang(), song(1).after(60), drip(BODY, 0.1)],
    ids=["hang", "late", "drip"],
)
@both_fetchers
def test_slow_answer_ends_with_the_timeout(
    session: requests.Session, open_fetcher: Callable[..., Fetcher], page: Page
) -> None:
    """Give up an answer that does not come in time."""
    with Upstream(always(page)) as upstream:
        started = time.monotonic()
        verdict = open_fetcher(session, upstream.url).attempt(1, SHORT)
        seconds = time.monotonic() - started

    assert verdict == retry("timeout")
    assert SHORT * 0.9 < seconds < GENEROUS


def test_requests_of_one_function_share_its_timeout(session: requests.Session) -> None:
    """Count the timeout over everything that one call of a function asks for."""
    with Upstream(always(song(1).after(0.15))) as upstream:

        def several(session: requests.Session, _song_num: int) -> None:
            for number in range(20):
                session.get(upstream.url_of(number), timeout=5)

        started = time.monotonic()
        verdict = FunctionFetcher(session, several).attempt(1, SHORT)
        seconds = time.monotonic() - started

    assert verdict == retry("timeout")
    assert seconds < GENEROUS


def test_longer_timeout_within_a_function_does_not_count(session: requests.Session) -> None:
    """Keep to the function's own timeout where it calls another fetcher that was given more time."""
    with Upstream(always(hang())) as upstream:
        started = time.monotonic()
        nested = FunctionFetcher(session, lambda session, n: declared(session, upstream.url).attempt(n, TIMEOUT).error)
        nested.attempt(1, SHORT)
        seconds = time.monotonic() - started

    assert seconds < GENEROUS


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Give a port whose server takes no connection: its queue is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems answer for a server whose queue is full")
@both_fetchers
def test_connecting_ends_with_the_timeout(
    session: requests.Session, open_fetcher: Callable[..., Fetcher], deaf_port: int
) -> None:
    """Give up a connection that is not made in time."""
    started = time.monotonic()
    verdict = open_fetcher(session, f"http://127.0.0.1:{deaf_port}/{{song_num}}").attempt(1, SHORT)
    seconds = time.monotonic() - started

    assert verdict == retry("timeout")
    assert SHORT * 0.9 < seconds < GENEROUS


def test_timeout_is_over_with_its_attempt(session: requests.Session) -> None:
    """Leave no limit on the thread after an attempt, nor on the connection that it leaves behind."""
    with Upstream(lambda n, _nth: song(n).after(SHORT * 2 if n == 2 else 0)) as upstream:
        declared(session, upstream.url).attempt(1, SHORT)
        verdict = declared(session, upstream.url).attempt(2, TIMEOUT)
        response = session.get(upstream.url_of(1))

    assert verdict.kind is Kind.FOUND
    assert response.status_code == 200


def test_refused_connection_is_an_attempt(session: requests.Session) -> None:
    """Try again where nothing listens: it may be on its way back."""
    assert declared(session, f"http://127.0.0.1:{free_port()}/{{song_num}}").attempt(1, TIMEOUT) == retry("connection")


@both_fetchers
def test_name_that_can_not_be_resolved_refuses(
    session: requests.Session, open_fetcher: Callable[..., Fetcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blame no song for a host name that does not exist."""

    def resolve(*_args: Any, **_kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    verdict = open_fetcher(session, "http://songs.example/{song_num}").attempt(1, TIMEOUT)

    assert verdict.kind is Kind.REFUSED
    assert verdict.reason == "The upstream's host name can't be resolved."


def sized(size: int) -> bytes:
    """Give a JSON text of so many bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


@pytest.mark.parametrize("page_of", [lambda body: Page(body=body), gzipped], ids=["plain", "gzip"])
def test_largest_body_is_measured_after_decompression(
    session: requests.Session, page_of: Callable[[bytes], Page]
) -> None:
    """Take a body of MAX_SONG_BYTES, and fail the song whose body has one byte more."""
    assert attempt(session, page_of(sized(MOST_BYTES))).kind is Kind.FOUND
    assert attempt(session, page_of(sized(MOST_BYTES + 1))) == failed("too_large")


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Give 64 KB that become 64 MB."""
    return gzip.compress(sized(64 << 20))


@pytest.mark.parametrize("status", [200, 500])
def test_gzip_bomb_stays_small(session: requests.Session, bomb: bytes, status: int) -> None:
    """Inflate no more of a body than is allowed, whatever status it comes with."""
    page = Page(status=status, body=bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        verdict = attempt(session, page)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert verdict == (failed("too_large") if status == 200 else retry("http_500"))
    assert peak < 4 << 20


def test_song_url_takes_the_number(session: requests.Session) -> None:
    """Put the number wherever the template names it."""
    with Upstream() as upstream:
        declared(session, upstream.url + "?again={song_num}").attempt(7, TIMEOUT)

        assert [request.path for request in upstream.requests] == ["/songs/7?again=7"]


@pytest.mark.parametrize("info", [0, "", False, [], {}, 1.5, "text", [1], {"title": "Song 1"}], ids=repr)
def test_anything_but_none_is_found(session: requests.Session, info: Any) -> None:
    """Keep whatever a function returns or appends, empty or not."""
    returning = FunctionFetcher(session, lambda _session, _song_num: info)

    def append(session: requests.Session, song_num: int, song_urls: list[Any]) -> None:
        song_urls.append((song_num, info))

    assert returning.attempt(1, TIMEOUT) == found(info)
    assert FunctionFetcher(session, append).attempt(1, TIMEOUT) == found(info)


def test_nothing_is_missing(session: requests.Session) -> None:
    """Call a song missing for which a function returns None, or appends nothing."""

    def append(session: requests.Session, song_num: int, song_urls: list[Any]) -> None:
        return None

    assert FunctionFetcher(session, lambda _session, _song_num: None).attempt(1, TIMEOUT) == MISSING
    assert FunctionFetcher(session, append).attempt(1, TIMEOUT) == MISSING


def test_function_is_given_the_session_and_the_item(session: requests.Session) -> None:
    """Hand over the shared session and the caller's own object, and an empty list of its own each time."""
    item = object()
    given: list[tuple[Any, ...]] = []

    def append(session: requests.Session, song_num: object, song_urls: list[Any]) -> None:
        given.append((session, song_num, list(song_urls)))
        song_urls.append((song_num, 1))

    fetcher = FunctionFetcher(session, append)
    fetcher.attempt(item, TIMEOUT)
    fetcher.attempt(item, TIMEOUT)

    assert given == [(session, item, [])] * 2


class Methods:
    """Hold single-request functions that are no plain functions."""

    def info(self, session: requests.Session, song_num: int) -> int:
        """Return the info."""
        return song_num

    def append(self, session: requests.Session, song_num: int, song_urls: list[Any]) -> None:
        """Append the info."""
        song_urls.append((song_num, song_num))

    def __call__(self, session: requests.Session, song_num: int, scale: int = 1) -> int:
        """Return the info; an argument with a default is not the article's list."""
        return song_num * scale


@pytest.mark.parametrize(
    "function", [Methods().info, Methods().append, Methods()], ids=["method", "article's form", "callable object"]
)
def test_form_is_told_by_what_must_be_given(session: requests.Session, function: Callable[..., Any]) -> None:
    """Tell the two forms apart by how many arguments a function needs."""
    assert FunctionFetcher(session, function).attempt(7, TIMEOUT) == found(7)


STATUSES = {
    404: MISSING,
    410: MISSING,
    400: retry("http_400"),
    403: retry("http_403"),
    429: throttled_verdict("http_429", 3.0),
    500: retry("http_500"),
}


@pytest.mark.parametrize(("status", "verdict"), STATUSES.items(), ids=map(str, STATUSES))
def test_status_that_a_function_raises_is_judged(session: requests.Session, status: int, verdict: Verdict) -> None:
    """Take the HTTPError of raise_for_status for what it says: 404 and 410 missing, 429 throttled, else an attempt."""
    headers = {"Retry-After": "3"} if status == 429 else {}
    with Upstream(always(replace(error(status), headers=headers))) as upstream:
        assert function(session, upstream.url).attempt(1, TIMEOUT) == verdict


@pytest.mark.parametrize(
    ("page", "verdict"),
    [
        (song(1), found(SONG)),
        (html(), retry("invalid_json")),
        (cut(BODY[:10], len(BODY)), retry("connection")),
        (reset(), retry("connection")),
    ],
    ids=["found", "html", "cut short", "reset"],
)
def test_answer_to_a_function_has_its_verdict(session: requests.Session, page: Page, verdict: Verdict) -> None:
    """Judge a user's function by what its requests raise."""
    with Upstream(always(page)) as upstream:
        assert function(session, upstream.url).attempt(1, TIMEOUT) == verdict


@pytest.mark.parametrize(
    ("raised", "word"),
    [
        (KeyError("title"), "KeyError"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (RecursionError(), "RecursionError"),
        (requests.Timeout(), "timeout"),
        (TimeoutError(), "timeout"),
        (requests.ConnectionError(), "connection"),
        (requests.HTTPError("no response"), "HTTPError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exception_of_a_function_is_an_attempt(session: requests.Session, raised: Exception, word: str) -> None:
    """Try again after any other exception, and keep its name as the word."""

    def raising(session: requests.Session, song_num: int) -> None:
        raise raised

    assert FunctionFetcher(session, raising).attempt(1, TIMEOUT) == retry(word)


def test_function_may_pass_on_a_verdict(session: requests.Session) -> None:
    """Take the verdict of the built-in request_song_info as it is."""

    def raising(session: requests.Session, song_num: int) -> None:
        raise SongNotFetched(song_num, failed("no_info"))

    assert FunctionFetcher(session, raising).attempt(1, TIMEOUT) == failed("no_info")


def test_headers_are_sent() -> None:
    """Send the user agent, the deployment's own headers, and ask for no encoding but gzip."""
    headers = {"X-Api-Key": "secret", "Accept": "application/json"}
    with Upstream() as upstream, open_session(1, "songcrawl/1", headers, allow_private=True) as session:
        declared(session, upstream.url).attempt(1, TIMEOUT)
        sent = upstream.requests[0].headers

    assert sent["user-agent"] == "songcrawl/1"
    assert sent["x-api-key"] == "secret"
    assert sent["accept"] == "application/json"
    assert sent["accept-encoding"] == "gzip"


def test_cookies_are_kept_within_a_session() -> None:
    """Send back the cookies of an upstream, and forget them with the session."""
    page = replace(song(1), headers={"Set-Cookie": "visitor=7"})
    with Upstream(always(page)) as upstream:
        for _ in range(2):
            with open_session(1, "test", allow_private=True) as session:
                declared(session, upstream.url).attempt(1, TIMEOUT)
                declared(session, upstream.url).attempt(2, TIMEOUT)
        cookies = [request.headers.get("cookie") for request in upstream.requests]

    assert cookies == [None, "visitor=7", None, "visitor=7"]


@pytest.mark.parametrize(
    "page",
    [song(1), missing(), error(500), throttled("0"), gzipped(BODY), Page(status=302)],
    ids=["found", "missing", "error", "throttled", "gzip", "redirect"],
)
def test_connection_is_used_again(session: requests.Session, page: Page) -> None:
    """Ask for song after song over one connection, whatever is answered."""
    connections: set[threading.Thread] = set()

    def pages(_song_num: int, _nth: int) -> Page:
        connections.add(threading.current_thread())
        return page

    with Upstream(pages) as upstream:
        for number in range(20):
            declared(session, upstream.url).attempt(number, TIMEOUT)

    assert len(connections) == 1


def test_each_thread_has_a_connection_to_use_again(session: requests.Session) -> None:
    """Open no more connections than there are threads, and drop none between two songs."""
    connections: set[threading.Thread] = set()

    def pages(song_num: int, _nth: int) -> Page:
        connections.add(threading.current_thread())
        return song(song_num)

    with Upstream(pages) as upstream, ThreadPoolExecutor(8) as threads:
        fetcher = declared(session, upstream.url)
        verdicts = list(threads.map(lambda number: fetcher.attempt(number, TIMEOUT), range(400)))

    assert {verdict.kind for verdict in verdicts} == {Kind.FOUND}
    assert len(connections) <= 8


@both_fetchers
def test_untrusted_certificate_refuses(
    session: requests.Session, tmp_path: Path, open_fetcher: Callable[..., Fetcher]
) -> None:
    """Refuse an upstream whose certificate nobody we know has signed, and blame no song for it."""
    context, _ = self_signed(tmp_path)
    with Wire(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + BODY), context) as wire:
        verdict = open_fetcher(session, wire.url).attempt(1, TIMEOUT)

    assert verdict.kind is Kind.REFUSED
    assert "certificate can't be trusted" in (verdict.reason or "")


def test_trusted_certificate_is_found(session: requests.Session, tmp_path: Path) -> None:
    """Fetch a song over TLS."""
    context, certificate = self_signed(tmp_path)
    session.verify = str(certificate)
    with Wire(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + BODY), context) as wire:
        assert declared(session, wire.url).attempt(1, TIMEOUT) == found(SONG)


def test_plain_server_at_a_tls_address_is_no_songs_fault(session: requests.Session) -> None:
    """Make no failed song of an upstream that speaks no TLS at all."""
    with Wire(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as wire:
        verdict = declared(session, wire.url.replace("http:", "https:")).attempt(1, TIMEOUT)

    assert verdict.kind in (Kind.REFUSED, Kind.RETRY)


EXTRAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "headers": {"headers": {"accept": "text/html", "X-Mine": "1"}},
    "a header less": {"headers": {"Accept": None}},
    "parameters": {"params": {"fields": "all"}},
    "password": {"auth": ("user", "secret")},
    "body": {"data": b"songs"},
    "JSON": {"json": {"songs": 1}},
    "cookies": {"cookies": {"mine": "1"}},
    "hook": {"hooks": {"response": [print]}},
}


@pytest.mark.parametrize("extras", EXTRAS.values(), ids=EXTRAS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_is_prepared_as_requests_does(session: requests.Session, method: str, extras: dict[str, Any]) -> None:
    """Send what requests itself would send, whatever is asked for beside the URL."""
    session.headers["X-Key"] = "1"
    session.cookies.set("visitor", "7")
    request = requests.Request(method, "http://songs.example:80/a b/../c?q=\u00e9#part", **extras)

    sent, expected = session.prepare_request(request), requests.Session.prepare_request(session, request)

    for name in ("method", "url", "headers", "body", "hooks"):
        assert getattr(sent, name) == getattr(expected, name)


@pytest.mark.parametrize("proxies", [None, {}, {"http": "http://proxy.example"}])
@pytest.mark.parametrize(("stream", "verify", "cert"), [(None, None, None), (True, "authorities.pem", "mine.pem")])
def test_settings_are_merged_as_requests_does(
    session: requests.Session, proxies: dict[str, str] | None, stream: bool | None, verify: str | None, cert: str | None
) -> None:
    """Let a request's own settings go before the session's."""
    session.verify = "session.pem"
    asked = ("http://songs.example/", proxies, stream, verify, cert)
    expected = requests.Session.merge_environment_settings(session, *asked)

    assert session.merge_environment_settings(*asked) == {**expected, "proxies": expected["proxies"] or {}}


def test_closed_session_opens_again(session: requests.Session) -> None:
    """Go on with new connections after a session was closed, as requests does."""
    with Upstream() as upstream:
        first = declared(session, upstream.url).attempt(1, TIMEOUT)
        session.close()
        second = declared(session, upstream.url).attempt(1, TIMEOUT)

    assert first == second == found(SONG)


def test_a_carriage_return_within_a_line_ends_it() -> None:
    """Read a head with a bare CR as Python's own parser does: what follows it is a line of its own."""
    assert _parse([b"A: 1\rB: 2\r\n", b"\r\n"]).items() == [("A", "1"), ("B", "2")]
