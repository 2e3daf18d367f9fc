"""Check that both fetchers follow redirects alike: each hop a request of its own, in the origin, with the headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Page, Upstream, error, missing, raw, song, throttled
from support.answers import MOST_BYTES, TIMEOUT

from crawler.adapters.access_tokens import AccessTokens
from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, open_session
from crawler.core.ports import Fetcher
from crawler.core.verdict import MISSING, Kind, Verdict, failed, redirected, retry
from crawler.core.verdict import throttled as throttled_verdict
from crawler.upstream.access_token import AccessToken
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.song_requests.template import RequestBody

HEADERS = {"Authorization": "Bearer k", "X-Api-Key": "k"}


@contextmanager
def declared(url: str, body: RequestBody | None = None) -> Iterator[Fetcher]:
    """Open the fetcher on a session."""
    with open_session(1, "test", HEADERS, max_song_bytes=MOST_BYTES, allow_private=True) as session:
        yield DeclaredFetcher(session, url, DeclaredSong(redirects="follow"), MOST_BYTES, body=body)


@contextmanager
def curl(url: str, body: RequestBody | None = None) -> Iterator[Fetcher]:
    """Open the fetcher on libcurl."""
    song = DeclaredSong(redirects="follow")
    yield CurlFetcher(url, song, MOST_BYTES, "test", HEADERS, allow_private=True, body=body)


Open = Callable[..., Any]
both = pytest.mark.parametrize("opened", [declared, curl], ids=["declared", "curl"])


def to(location: str, status: int = 301) -> Page:
    """Redirect, with a body that is a song for whoever does not look."""
    return Page(status=status, headers={"Location": location}, body=b'{"id": 666}')


def chase(fetcher: Fetcher, item: Any) -> tuple[Verdict, int]:
    """Try a song to its end, as whoever follows redirects does; returns how many requests that took too."""
    verdict, requests = fetcher.attempt(item, TIMEOUT), 1
    while verdict.kind is Kind.REDIRECTED:
        assert requests <= 6
        verdict, requests = fetcher.attempt(verdict.info, TIMEOUT), requests + 1
    return verdict, requests


FAILED = (failed("redirect"), 1)
ANSWERS: dict[int, tuple[Page, tuple[Verdict, int]]] = {
    1: (to("/songs/100"), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 2)),
    2: (to("100?x=a b|c"), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 2)),
    3: (to("/songs/1", 302), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 3)),
    4: (to("/songs/3", 307), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 4)),
    5: (to("/songs/4", 308), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 5)),
    6: (to("/songs/5", 303), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 6)),
    7: (to("/songs/6"), (failed("redirect"), 6)),
    8: (to("/songs/8"), FAILED),
    9: (to("/songs/10"), (failed("redirect"), 2)),
    10: (to("/songs/9"), (failed("redirect"), 2)),
    11: (Page(status=301), FAILED),
    12: (to(""), FAILED),
    13: (to("https://127.0.0.1/songs/100"), FAILED),
    14: (to("//other.example/songs/100"), FAILED),
    15: (to("http://[::1"), FAILED),
    17: (to("/songs/200"), (MISSING, 2)),
    18: (to("/songs/201"), (retry("http_500"), 2)),
    19: (to("/songs/202"), (throttled_verdict("http_429", 3.0), 2)),
    20: (Page(status=304, headers={"Location": "/songs/100"}), FAILED),
    21: (Page(status=300, headers={"Location": "/songs/100"}), FAILED),
    22: (to("/songs/0100#part"), (Verdict(Kind.FOUND, {"id": 100}, moved_to=100), 2)),
    23: (to("/songs/\xc3\xa0"), (MISSING, 2)),
    100: (Page(body=b'{"id": 100}'), (Verdict(Kind.FOUND, {"id": 100}), 1)),
    200: (missing(), (MISSING, 1)),
    201: (error(500), (retry("http_500"), 1)),
    202: (throttled("3"), (throttled_verdict("http_429", 3.0), 1)),
}


@both
def test_redirects_are_followed_alike(opened: Open) -> None:
    """Give every chain its verdict, at one request a hop, all of them with the deployment's headers."""
    with Upstream(lambda n, _nth: ANSWERS[n][0]) as server, opened(server.url) as fetcher:
        told = {number: chase(fetcher, number) for number in ANSWERS}
        requests = server.requests

    assert told == {number: expected for number, (_, expected) in ANSWERS.items()}
    assert len(requests) == sum(count for _, count in told.values())
    assert {request.headers["authorization"] for request in requests} == {HEADERS["Authorization"]}
    assert {"/songs/100?x=a%20b%7Cc", "/songs/0100", "/songs/%C3%A0"} <= {request.path for request in requests}


@both
def test_two_places_are_none(opened: Open) -> None:
    """Follow neither of two Locations; libcurl may refuse the whole head."""
    page = raw(b"HTTP/1.1 301 x\r\nLocation: /songs/2\r\nLocation: /songs/3\r\nContent-Length: 0\r\n\r\n")
    with Upstream(lambda _n, _nth: page) as server, opened(server.url) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) in (failed("redirect"), retry("connection"))
        assert server.count() == 1


@both
def test_nothing_goes_out_of_the_origin(opened: Open) -> None:
    """Ask no other server, and none for which a user name stands in the address."""
    with Upstream(lambda n, _nth: song(n)) as away:
        places = [away.url_of(1), away.url_of(1).removeprefix("http:"), "http://u:p@{own}/songs/9", "//x@{own}/songs/9"]
        with Upstream(lambda n, _nth: to(places[n].replace("{own}", f"127.0.0.1:{server.port}"))) as server:
            with opened(server.url) as fetcher:
                told = [chase(fetcher, number) for number in range(4)]
            assert server.count() == 4
        assert away.count() == 0
    assert told == [FAILED] * 4


@both
def test_wait_of_a_redirect_is_its_songs_own(opened: Open) -> None:
    """Hear Retry-After on a redirect (RFC 9110, 10.2.3)."""
    page = Page(status=302, headers={"Location": "/songs/2", "Retry-After": "2"})
    with Upstream(lambda _n, _nth: page) as server, opened(server.url) as fetcher:
        verdict = fetcher.attempt(1, TIMEOUT)

    assert (verdict.kind, verdict.retry_after, verdict.alone) == (Kind.REDIRECTED, 2.0, redirected().alone)


@both
def test_post_is_followed_with_its_body(opened: Open) -> None:
    """Send the body of the song again, by 307 and 308 alone."""
    statuses = {1: 301, 2: 302, 3: 303, 4: 307, 5: 308}
    pages = {number: to("/songs/100", status) for number, status in statuses.items()}
    with Upstream(lambda n, _nth: pages.get(n, song(n)), method="POST") as server:
        with opened(server.url, RequestBody('{"id": {song_num}}')) as fetcher:
            told = {number: chase(fetcher, number) for number in statuses}
        bodies = [request.body for request in server.requests if request.song_num == 100]

    assert [told[number] for number in (1, 2, 3)] == [FAILED] * 3
    assert [told[number][0].moved_to for number in (4, 5)] == [100, 100]
    assert bodies == [b'{"id": 4}', b'{"id": 5}']


def test_access_token_goes_along_with_body_and_redirect() -> None:
    """Send token, body and headers again where a song was redirected, through libcurl."""
    token = AccessToken("t1", math.inf, math.inf)
    tokens = AccessTokens(lambda _timeout: token, TIMEOUT, spawn=lambda request: request())
    body = RequestBody('{"id": {song_num}}')
    with Upstream(lambda n, _nth: to("/songs/9", 308) if n == 1 else song(n), method="POST") as server:
        own = DeclaredSong(redirects="follow")
        options: dict[str, Any] = {"allow_private": True, "tokens": tokens, "body": body}
        fetcher = CurlFetcher(server.url, own, MOST_BYTES, "test", {"X": "1"}, **options)
        verdict, requests = chase(fetcher, 1)
        sent = [
            (r.headers["authorization"], r.headers["content-type"], r.headers["x"], r.body) for r in server.requests
        ]

    assert (verdict.kind, verdict.moved_to, requests) == (Kind.FOUND, 9, 2)
    assert sent == [("Bearer t1", "application/json", "1", b'{"id": 1}')] * 2
