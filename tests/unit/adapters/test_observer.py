"""Check that an observer hears of the requests that a fetcher really sends, and why no answer came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from servers import Upstream, free_port, nginx, nginx_available
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


@pytest.mark.skipif(nginx_available() is not None, reason=str(nginx_available()))
@pytest.mark.parametrize("http2", [True, False], ids=["HTTP/2", "HTTP/1.1"])
def test_requests_over_tls_are_told(tmp_path: Path, http2: bool) -> None:
    """Tell method, URL and headers of a request, whichever HTTP it is sent by."""
    authority, recorder = trustme.CA(), Recorder()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with nginx(tmp_path, tmp_path / "server.pem", http2=http2) as server:
        url, trusted = f"{server.url}/songs/{{song_num}}", str(tmp_path / "authority.pem")
        song = DeclaredSong("protocol")
        fetcher = CurlFetcher(url, song, MOST_BYTES, "test", HEADERS, allow_private=True, authorities=trusted)
        fetcher.observe(recorder)
        assert fetcher.attempt(7, TIMEOUT) == found("HTTP/2.0" if http2 else "HTTP/1.1")

    (told,) = recorder.requests
    headers = {name.lower(): value for name, value in told.headers}
    assert (told.method, told.url) == ("GET", f"{server.url}/songs/7")
    assert (headers["user-agent"], headers["x-own"]) == ("test", "own")
