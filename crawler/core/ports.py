"""What the engine asks of the world: store, queue, clock and fetchers. Adapters and fakes fulfil these."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from crawler.core.deadline import Deadline
from crawler.core.records import StoredObject
from crawler.core.verdict import Verdict


class Store(Protocol):
    """Objects that are created once and never changed.

    Every method raises StoreUnavailable if the store can't be reached or refuses.
    """

    @property
    def url(self) -> str:
        """Name the store for people: gs://bucket/prefix, or a folder."""

    def until(self, deadline: Deadline) -> Store:
        """Return the same store for a call, no operation of which outlasts a deadline of time.monotonic."""

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, all of it or nothing; raises ObjectExists if the name is taken.

        `metadata["attempt"]` tells our own object from another's: an upload whose acknowledgement was lost finds its
        own object there, and that is success.
        """

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, checksum verified; None if there is none."""

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe every object whose name starts with `prefix` and comes after `after`, by name, ascending."""


class Queue(Protocol):
    """Tasks that are delivered to instances of this function, each at least once, some time.

    Every method raises QueueUnavailable if the queue can't be reached or refuses.
    """

    def until(self, deadline: Deadline) -> Queue:
        """Return the same queue for a call, no operation of which outlasts a deadline of time.monotonic."""

    def most_at_once(self) -> int:
        """Return how many tasks are delivered at the same time, at most."""

    def create(self, name: str, run: str, content: bytes, seconds: float) -> None:
        """Enqueue a task of a run, each delivery of which may take so many seconds; do nothing if its name is taken."""

    def names(self) -> Iterator[str]:
        """Name the tasks that it holds: those that wait, and those that are being delivered."""


class Clock(Protocol):
    """The time, and waiting."""

    def now(self) -> float:
        """Return the instant on a monotonic clock, in seconds."""

    def epoch(self) -> float:
        """Return the wall clock, in seconds since 1970 UTC."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition, `seconds` at most; None: until notified."""


class Transfers(Protocol):
    """Many songs on their way at once, all in the calling thread.

    Where caches can be asked past there is `start_fresh(token, item, timeout)` too.
    """

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt, which ends within `timeout` seconds; `token` comes back with its verdict."""

    def perform(self, seconds: float) -> Sequence[tuple[Any, Verdict]]:
        """Move all transfers on, wait `seconds` at most until one ends, and return those that did."""

    def close(self) -> None:
        """Cut what is on its way, and close the connections."""


class Fetcher(Protocol):
    """What tries songs: one attempt, in the calling thread.

    One that can ask past caches, and tells an answer of a cache by `CACHED`, has `attempt_fresh(item, timeout)` too.
    A fetcher that can do many there at once has `open_transfers(most)` too (`MultiFetcher`). One whose infos all are
    what JSON says, and need no second look, has a true `gives_json`.
    """

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Try one item within `timeout` seconds; never raises for what the upstream or a user's function did."""


class SentRequest(NamedTuple):
    """A request as it goes out, but for its body; header names and values are as they are sent."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]


class Observer(Protocol):
    """Whoever looks on while songs are tried: no crawl has one. Calls come from the thread that tries the song."""

    def sent(self, request: SentRequest) -> None:
        """Hear of a request as it goes out."""

    def sent_body(self, chunk: bytes) -> None:
        """Hear of what is sent after the head of the latest request."""

    def answered(self, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        """Hear of an answer that a user's function got; None: its body is still to be read."""

    def broken(self, why: str) -> None:
        """Hear why no whole answer came, in the words of the library that asked."""

    def raised(self, error: BaseException) -> None:
        """Hear what a user's function raised."""


class Page(NamedTuple):
    """An answer that is no song, of whatever status; `target` is where it redirects to, if it does."""

    status: int
    body: bytes
    target: str | None = None


@runtime_checkable
class PageFetcher(Fetcher, Protocol):
    """A fetcher that asks the songs' origin for other pages too."""

    def fetch(self, url: str, most_bytes: int, timeout: float) -> Page | Verdict:
        """Ask for a page of `most_bytes` at most, redirected within its origin only; a Verdict says why not."""


@runtime_checkable
class ObservableFetcher(Fetcher, Protocol):
    """A fetcher that somebody may look at while it works."""

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each request from now on."""


@runtime_checkable
class MultiFetcher(Fetcher, Protocol):
    """A fetcher that tries many songs at once in one thread."""

    def open_transfers(self, most: int) -> Transfers:
        """Open what does so, `most` at once, for the calling thread alone."""
