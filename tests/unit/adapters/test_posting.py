"""Check songs that are asked for by POST: both fetchers send the same bytes, and try again what a GET would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Page, Upstream, raw, song, throttled
from support.answers import MOST_BYTES, TIMEOUT

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, open_session
from crawler.core.ports import Fetcher
from crawler.core.ports import Page as PlainPage
from crawler.core.verdict import Kind, retry
from crawler.core.verdict import throttled as throttled_verdict
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.song_requests.template import RequestBody

Open = Callable[..., Any]


@contextmanager
def declared(url: str, text: str, headers: dict[str, str] | None = None) -> Iterator[Fetcher]:
    """Open the fetcher on a session."""
    with open_session(1, "test", headers, max_song_bytes=MOST_BYTES, allow_private=True) as session:
        yield DeclaredFetcher(session, url, DeclaredSong(), MOST_BYTES, body=RequestBody(text, headers))


@contextmanager
def curl(url: str, text: str, headers: dict[str, str] | None = None) -> Iterator[Fetcher]:
    """Open the fetcher on libcurl."""
    body = RequestBody(text, headers)
    yield CurlFetcher(url, DeclaredSong(), MOST_BYTES, "test", headers, allow_private=True, body=body)


both = pytest.mark.parametrize("opened", [declared, curl], ids=["declared", "curl"])


def attempt_all(fetcher: Fetcher, numbers: range) -> list[Any]:
    """Try songs one after the other, on libcurl over one connection."""
    if not isinstance(fetcher, CurlFetcher):
        return [fetcher.attempt(number, TIMEOUT) for number in numbers]
    transfers = fetcher.open_transfers(1)
    verdicts = []
    try:
        for number in numbers:
            transfers.start(number, number, TIMEOUT)
            while not (ended := transfers.perform(TIMEOUT)):
                pass
            verdicts.append(ended[0][1])
    finally:
        transfers.close()
    return verdicts


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ('{"id": {song_num}, "ids": [{song_num}], "q": "{x} \\u00e4 ä"}', {}),
        ("id={song_num:010}", {"content-type": "application/x-www-form-urlencoded", "X-Key": "k"}),
        ("<id>{song_num}</id>\r\n", {"Content-Type": "text/xml", "Accept": "text/xml", "Expect": ""}),
        ("", {}),
        ('["{song_num}", "' + "x" * 2_000_000 + '"]', {}),
    ],
    ids=["JSON", "form", "XML", "nothing", "large"],
)
def test_both_fetchers_send_the_same(text: str, headers: dict[str, str]) -> None:
    """Send the same method, path, headers and body for each song, one after the other on a connection."""
    sent = []
    for opened in (declared, curl):
        with Upstream(lambda n, _nth: song(n), method="POST") as server:
            with opened(server.url + "?q=a|b%zz&n={song_num:03}", text, headers) as fetcher:
                verdicts = attempt_all(fetcher, range(7, 9))
            requests = server.requests
        assert [verdict.kind for verdict in verdicts] == [Kind.FOUND] * 2
        sent.append([(r.method, r.path, {**r.headers, "connection": "", "host": ""}, r.body) for r in requests])

    assert sent[0] == sent[1]
    assert [(r[0], r[3]) for r in sent[1]] == [("POST", RequestBody(text, headers).of(number)) for number in (7, 8)]


@both
def test_number_may_stand_in_the_body_alone(opened: Open) -> None:
    """Ask one address for all songs."""
    with Upstream(lambda n, _nth: song(n), method="POST") as server:
        with opened(
            server.url.replace("/songs/{song_num}", "/graphql"), '{"query": "{ song(id: {song_num}) }"}'
        ) as fetcher:
            verdicts = attempt_all(fetcher, range(1, 4))
        assert {request.path for request in server.requests} == {"/graphql"}

    assert [verdict.info["id"] for verdict in verdicts] == [1, 2, 3]


@both
def test_post_is_a_read_and_tried_again(opened: Open) -> None:
    """Judge answers and broken connections as those of a GET, and send again what is lost on a used connection."""
    pages: dict[int, Page] = {2: Page(status=503, body=b"{}"), 3: raw(b""), 4: throttled("3")}
    with Upstream(lambda n, _nth: pages.get(n, song(n)), method="POST") as server:
        with opened(server.url, '{"id": {song_num}}') as fetcher:
            verdicts = attempt_all(fetcher, range(1, 6))
        assert server.count() == sum(verdict.requests for verdict in verdicts) <= 6

    assert verdicts[1:4] == [retry("http_503"), retry("connection"), throttled_verdict("http_429", 3.0)]
    assert [verdicts[0].kind, verdicts[4].kind] == [Kind.FOUND] * 2


@both
def test_song_on_a_connection_that_ended_goes_out_once(opened: Open) -> None:
    """Ask again on a new connection where the server closed the idle one, and lose no song."""
    with Upstream(lambda n, _nth: song(n), method="POST") as server, opened(server.url, "[{song_num}]") as fetcher:
        transfers = fetcher.open_transfers(1) if isinstance(fetcher, CurlFetcher) else None

        def attempt(number: int) -> Any:
            if transfers is None:
                return fetcher.attempt(number, TIMEOUT)
            transfers.start(None, number, TIMEOUT)
            while not (ended := transfers.perform(TIMEOUT)):
                pass
            return ended[0][1]

        verdicts = [attempt(1)]
        ((thread, client),) = server._clients.items()
        client.hang_up()
        thread.join(5)
        verdicts += [attempt(2), attempt(3)]
        if transfers is not None:
            transfers.close()
        bodies = [request.body for request in server.requests]

    assert [verdict.kind for verdict in verdicts] == [Kind.FOUND] * 3
    assert bodies == [b"[1]", b"[2]", b"[3]"]


@both
def test_robots_file_is_asked_for_by_get(opened: Open) -> None:
    """Send no body for other pages of the origin."""
    robots = Page(body=b"User-agent: *")
    with (
        Upstream(method="POST", robots=lambda _n, _nth: robots) as server,
        opened(server.url, "[{song_num}]") as fetcher,
    ):
        page = fetcher.fetch(server.url.replace("/songs/{song_num}", "/robots.txt"), 100, TIMEOUT)
    assert isinstance(page, PlainPage)
    assert page.body == b"User-agent: *"
