"""Check that an observer hears of the requests that a fetcher really sends, and why no answer came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Upstream, free_port
from support.fetchers import MOST_BYTES, request_title

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, FunctionFetcher, open_session
from crawler.core.ports import ObservableFetcher, SentRequest
from crawler.core.verdict import found, retry
from crawler.upstream.classify import DeclaredSong

TIMEOUT = 10.0
HEADERS = {"X-Own": "own", "Accept": "application/json"}


class Recorder:
    """Keep all that it hears."""

    def __init__(self) -> None:
        self.requests: list[SentRequest] = []
        self.answers: list[tuple[int, bytes | None]] = []
        self.whys: list[str] = []
        self.errors: list[BaseException] = []

    def sent(self, request: SentRequest) -> None:
        """Keep a request."""
        self.requests.append(request)

    def sent_body(self, chunk: bytes) -> None:
        """Hear nothing of bodies: these requests have none."""
        raise AssertionError(chunk)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        """Keep an answer."""
        assert headers["content-type"] == "application/json"
        self.answers.append((status, body))

    def broken(self, why: str) -> None:
        """Keep a reason."""
        self.whys.append(why)

    def raised(self, error: BaseException) -> None:
        """Keep what a function raised."""
        self.errors.append(error)


@contextmanager
def declared(url: str) -> Iterator[ObservableFetcher]:
    """Open the fetcher on a session."""
    with open_session(1, "test", HEADERS, allow_private=True) as session:
        yield DeclaredFetcher(session, url, DeclaredSong("title"), MOST_BYTES)


@contextmanager
def function(url: str) -> Iterator[ObservableFetcher]:
    """Open the fetcher of a user's function."""
    with open_session(1, "test", HEADERS, allow_private=True) as session:
        yield FunctionFetcher(session, request_title(url))


@contextmanager
def curl(url: str) -> Iterator[ObservableFetcher]:
    """Open the fetcher on libcurl."""
    yield CurlFetcher(url, DeclaredSong("title"), MOST_BYTES, "test", HEADERS, allow_private=True)


Open = Callable[[str], Any]
every = pytest.mark.parametrize("opened", [declared, function, curl], ids=["declared", "function", "curl"])


@every
def test_requests_are_told_as_they_are_sent(opened: Open, upstream: Upstream) -> None:
    """Tell method, URL and headers, the same that the server gets."""
    recorder = Recorder()
    with opened(upstream.url) as fetcher:
        fetcher.observe(recorder)
        assert fetcher.attempt(7, TIMEOUT) == found("Song 7")

    (told,) = recorder.requests
    (got,) = upstream.requests
    assert (told.method, told.url) == ("GET", upstream.url_of(7))
    assert {name.lower(): value for name, value in told.headers} == dict(got.headers)
    assert recorder.whys == []


def test_answer_to_a_function_is_told(upstream: Upstream) -> None:
    """Tell what a user's function was answered."""
    recorder = Recorder()
    with function(upstream.url) as fetcher:
        fetcher.observe(recorder)
        fetcher.attempt(7, TIMEOUT)

    assert recorder.answers == [(200, b'{"id": 7, "title": "Song 7"}')]


def test_what_a_function_raises_is_told(upstream: Upstream) -> None:
    """Tell the exception itself, which the verdict has only the name of."""
    recorder = Recorder()
    with open_session(1, "test", allow_private=True) as session:
        fetcher = FunctionFetcher(session, lambda _session, song_num: {}[song_num])
        fetcher.observe(recorder)
        assert fetcher.attempt(7, TIMEOUT) == retry("KeyError")

    assert [repr(error) for error in recorder.errors] == ["KeyError(7)"]


@every
def test_why_no_answer_came_is_told(opened: Open) -> None:
    """Tell what the library says where nothing listens."""
    recorder = Recorder()
    with opened(f"http://127.0.0.1:{free_port()}/songs/{{song_num}}") as fetcher:
        fetcher.observe(recorder)
        assert fetcher.attempt(7, TIMEOUT) == retry("connection")

    assert recorder.whys
    assert "connect" in recorder.whys[0].lower()
