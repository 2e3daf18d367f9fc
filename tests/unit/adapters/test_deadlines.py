"""Drive everything outside, one by one, into silence, a drip and a long Retry-After, and read the clock."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import google.auth
import pytest
from google.auth.credentials import Credentials
from servers.task_queue import QUEUE
from support.answers import declared
from support.wire import Wire, saying

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.queue.cloud_tasks import CloudTasksQueue
from crawler.adapters.robots_fetcher import RobotsFile
from crawler.adapters.runtime.in_time import in_time
from crawler.adapters.session.fetchers import open_session
from crawler.adapters.storage.gcs import GcsStore
from crawler.core.deadline import Deadline
from crawler.core.errors import QueueUnavailable, SongcrawlError, StoreUnavailable, UpstreamUnavailable
from crawler.core.verdict import Kind
from crawler.upstream.classify import DeclaredSong

SECONDS = 0.3
# What a call may take beyond its deadline.
LATE_SECONDS = 1.0

Operate = Callable[[str | None, float], object]


def say_nothing(sock: socket.socket, over: threading.Event) -> None:
    """Keep the connection until the client leaves, or the test is over."""
    sock.settimeout(0.1)
    while not over.is_set():
        with suppress(TimeoutError):
            if not sock.recv(65536):
                return


def drip(sock: socket.socket, over: threading.Event) -> None:
    """Send a head that has no end, byte by byte."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Much: ")
    while not over.wait(0.05):
        sock.sendall(b"x")


def send_away(sock: socket.socket, _: threading.Event) -> None:
    """Ask for ten minutes of peace."""
    sock.sendall(LATER)


LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n"
TALKS: dict[str, Callable[[socket.socket, threading.Event], None]] = {
    "silence": say_nothing,
    "drip": drip,
    "later": send_away,
}


def store(act: Callable[[GcsStore], object], address: str | None, seconds: float) -> object:
    """Do something with a bucket."""
    return act(GcsStore("songs", "p", address).until(Deadline.after(time.monotonic(), seconds)))


def queue(act: Callable[[CloudTasksQueue], object], address: str | None, seconds: float) -> object:
    """Do something with a queue."""
    tasks = CloudTasksQueue(QUEUE, "https://songs.example", "invoker@songs.example", address)
    return act(tasks.until(Deadline.after(time.monotonic(), seconds)))


def robots(by: str, address: str | None, seconds: float) -> object:
    """Ask for a robots.txt by one of the fetchers."""
    url = f"{address}/songs/{{song_num}}"
    with open_session(1, "songcrawl/test", allow_private=True) as session:
        curl = CurlFetcher(url, DeclaredSong("@"), 1000, "songcrawl/test", allow_private=True)
        fetcher: Any = curl if by == "curl" else declared(session, url)
        return RobotsFile(url, "songcrawl/test").obey(fetcher.fetch, seconds)


OF_GOOGLE: dict[str, Operate] = {
    "list": partial(store, lambda s: list(s.list("runs/"))),
    "read": partial(store, lambda s: s.read("runs/a")),
    "stat": partial(store, lambda s: s.stat("runs/a")),
    "create": partial(store, lambda s: s.create("runs/a", b"rows", {"attempt": "1"})),
    "create large": partial(store, lambda s: s.create("runs/a", bytes(9 << 20), {"attempt": "1"})),
    "read the queue": partial(queue, lambda q: q.most_at_once()),
    "create a task": partial(queue, lambda q: q.create("a", "run", b"{}", 60.0)),
    "list tasks": partial(queue, lambda q: list(q.names())),
}
OPERATIONS = OF_GOOGLE | {f"robots.txt by {by}": partial(robots, by) for by in ("curl", "requests")}


def late(operate: Operate, address: str | None) -> SongcrawlError:
    """Return what an operation raises, which must come in time."""
    began = time.monotonic()
    with pytest.raises((StoreUnavailable, QueueUnavailable, UpstreamUnavailable)) as caught:
        operate(address, SECONDS)
    assert time.monotonic() - began < SECONDS + LATE_SECONDS
    return caught.value


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
@pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS)
def test_no_operation_outlasts_its_deadline(
    operate: Operate, talk: Callable[[socket.socket, threading.Event], None]
) -> None:
    """End by the deadline, with a sentence, whatever the other side does."""
    over = threading.Event()
    with Wire(lambda sock: talk(sock, over)) as wire:
        sentence = str(late(operate, wire.url.removesuffix("/songs/{song_num}")))
        over.set()

    assert sentence.endswith(".")


@pytest.fixture
def held() -> Iterator[Callable[..., Any]]:
    """Give a function that waits, whatever it is given, until the test is over."""
    over = threading.Event()

    def wait(*_: object, **__: object) -> Any:
        over.wait(10)
        raise OSError("it is over")

    yield wait
    over.set()


@pytest.mark.parametrize("operate", OF_GOOGLE.values(), ids=OF_GOOGLE)
def test_no_name_look_up_outlasts_the_deadline(
    operate: Operate, held: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave a name server behind that says nothing; the system's look-up can't be cut."""
    monkeypatch.setattr(socket, "getaddrinfo", held)

    late(operate, "http://storage.example")


def test_no_name_look_up_outlasts_a_request(held: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a song whose name server says nothing as timed out, once its timeout is over."""
    monkeypatch.setattr(socket, "getaddrinfo", held)
    with open_session(1, "songcrawl/test", allow_private=True) as session:
        began = time.monotonic()
        verdict = declared(session, "http://songs.example/{song_num}").attempt(1, SECONDS)

    assert (verdict.kind, verdict.error) == (Kind.RETRY, "timeout")
    assert time.monotonic() - began < SECONDS + LATE_SECONDS


@pytest.mark.parametrize("operate", OF_GOOGLE.values(), ids=OF_GOOGLE)
@pytest.mark.parametrize("found", [False, True], ids=["no credentials", "no token"])
def test_no_metadata_server_outlasts_the_deadline(
    operate: Operate, found: bool, held: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave behind what says nothing of who we are, and what gives no token."""

    class Silent(Credentials):
        refresh = before_request = held

    find = (lambda *_, **__: (Silent(), "project")) if found else held  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google.auth, "default", find)

    late(operate, None)


@pytest.mark.parametrize("operate", OF_GOOGLE.values(), ids=OF_GOOGLE)
def test_without_credentials_it_is_said_how_to_get_some(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the command that makes credentials where there are none."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")

    assert "`gcloud auth application-default login`" in str(late(operate, None))


def test_pages_of_a_listing_share_one_deadline() -> None:
    """End a listing by its deadline though each of its pages comes in time."""
    page = json.dumps({"items": [], "nextPageToken": "more"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"

    def talk(sock: socket.socket) -> None:
        time.sleep(SECONDS / 4)  # the slowness is what is served
        sock.sendall(head.encode() + page)

    with Wire(talk) as wire:
        late(OPERATIONS["list"], wire.url.removesuffix("/songs/{song_num}"))

        assert 2 <= wire.connections <= 5


def test_a_queue_that_asks_for_a_long_wait_is_not_waited_for() -> None:
    """Say at once when the queue wants to be asked again, if that is after the deadline."""
    with Wire(saying(LATER)) as wire:
        began = time.monotonic()
        error = late(OPERATIONS["create a task"], wire.url.removesuffix("/songs/{song_num}"))

    assert time.monotonic() - began < SECONDS
    assert getattr(error, "retry_after", None) == 600
    assert wire.connections == 1


def test_another_call_that_asks_for_robots_is_not_waited_for_too_long() -> None:
    """End by the own deadline where another call, which has more time, is asking for the same robots.txt."""
    file, asked, over = RobotsFile("http://songs.example/{song_num}", "test"), threading.Event(), threading.Event()

    def fetch(*_: object) -> Any:
        asked.set()
        over.wait(10)
        raise UpstreamUnavailable("It is over.")

    def ask() -> None:
        with suppress(UpstreamUnavailable):
            file.obey(fetch, 60.0)

    with ExitStack() as stack:
        other = threading.Thread(target=ask)
        other.start()
        stack.callback(other.join)
        stack.callback(over.set)
        asked.wait(10)
        late(lambda _address, seconds: file.obey(fetch, seconds), None)


def test_an_operation_in_time_gives_and_raises_what_it_does() -> None:
    """Pass a result and an error on, a TimeoutError of its own among them."""

    def fail() -> None:
        raise TimeoutError("its own")

    assert in_time(lambda: 7, 5.0) == 7
    with pytest.raises(TimeoutError, match="its own"):
        in_time(fail, 5.0)
    with pytest.raises(TimeoutError, match="no end after 0 s"):
        in_time(threading.Event().wait, 0.0)
