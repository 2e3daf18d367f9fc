"""Check the workers: real threads and the real clock, fetchers that answer from a table, one real upstream."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from servers import Upstream, song
from support.fakes import FakeChunk, FakeFetcher, FakeMultiFetcher, PlainController, join_new_threads

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.runtime.daemon_threads import DaemonThreads
from crawler.adapters.session.fetchers import DeclaredFetcher, open_session
from crawler.core.deadline import Deadline
from crawler.core.errors import BadSetting, StoreUnavailable, UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import MultiFetcher
from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.engine import workers as gather_module
from crawler.engine.backlog import Chunk
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.in_memory import CHUNK_SONGS, Collected, collect
from crawler.engine.workers import gather_songs
from crawler.rate_control import circuit_breaker
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.upstream.classify import DeclaredSong

LIMITS = Limits(max_attempts=2, request_timeout=10.0, max_at_once=8)
# A stuck song costs half a second: a busy machine must not make one of a song that is not.
STUCK = Limits(max_attempts=1, request_timeout=0.3, max_at_once=2)


def gather(
    chunks: Iterable[Chunk],
    limits: Limits = LIMITS,
    deadline: float = float("inf"),
    fetcher: MultiFetcher | None = None,
    controller: RateController | None = None,
) -> Dispatcher:
    """Run workers over chunks until they end, as a call does."""
    clock = SystemClock()
    with ThreadPoolExecutor(2) as ends:
        limiter = Limiter(controller or PlainController(limits.max_per_second, limits.max_at_once))
        dispatcher = Dispatcher(
            iter(chunks), limits, clock, ends.submit, Deadline.after(clock.now(), deadline), limiter=limiter
        )
        asyncio.run(gather_songs(dispatcher, limits.max_at_once, DaemonThreads(), fetcher))
    return dispatcher


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail a test after which a thread goes on."""
    before = set(threading.enumerate())
    yield
    left = join_new_threads(before)

    assert left == set()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Give what ends the functions that a test made hang, and little patience with them."""
    monkeypatch.setattr(gather_module, "GRACE_SECONDS", 0.2)
    event = threading.Event()
    yield event
    event.set()


def hang_on(stuck: Callable[[Any, int], bool], release: threading.Event) -> FakeFetcher:
    """Give a fetcher whose attempts hang, past any timeout, where `stuck` says so."""

    def judge(item: Any, nth: int) -> Verdict:
        if stuck(item, nth):
            release.wait()
        return found(item)

    return FakeFetcher(judge)


def test_every_item_is_settled_exactly_once() -> None:
    """Settle each of a thousand items once when eight workers meet every kind of verdict."""

    def judge(item: int, nth: int) -> Verdict:
        early = (retry("timeout"), throttled("http_429", 0.0), found(item), MISSING, failed("http_400"))
        return early[item % 5] if nth == 1 else (retry("connection") if item % 10 == 0 else found(item))

    # 503 items are throttled or tried again; their backoff is what this test waits for, so they are few.
    items = [n for n in range(1000) if n % 5 > 1 or n < 50]
    chunks = [FakeChunk(items[start : start + 50], FakeFetcher(judge)) for start in range(0, len(items), 50)]
    gather(chunks)

    settled = [entry for chunk in chunks for entry in chunk.settled]
    assert sorted(item for item, _ in settled) == items
    assert Counter(outcome.kind.value for _, outcome in settled) == {"found": 215, "missing": 200, "failed": 205}
    assert {chunk.advanced for chunk in chunks} == {1}


def test_as_many_attempts_as_allowed_are_in_flight() -> None:
    """Reach max_at_once, and never go above it."""
    everyone = threading.Barrier(8)
    in_flight = [0, 0]
    lock = threading.Lock()

    def judge(item: Any, _nth: int) -> Verdict:
        with lock:
            in_flight[0] += 1
            in_flight[1] = max(in_flight)
        everyone.wait(timeout=10)
        with lock:
            in_flight[0] -= 1
        return found(item)

    gather([FakeChunk(range(80), FakeFetcher(judge))])

    assert in_flight == [0, 8]


def test_upstream_sees_no_more_than_the_limits() -> None:
    """Keep max_at_once and max_per_second as the upstream itself measures them."""
    limits = Limits(max_at_once=5, max_per_second=100)
    with Upstream(lambda n, _nth: song(n).after(0.03)) as upstream:
        with open_session(5, "test", allow_private=True) as session:
            fetcher = DeclaredFetcher(session, upstream.url, DeclaredSong(), 1000)
            started = time.monotonic()
            gather([Collected(fetcher, list(range(200)))], limits)
            seconds = time.monotonic() - started
        most_at_once, peak = upstream.most_at_once, upstream.peak_per_second()

    assert most_at_once <= 5
    assert seconds >= 199 / 100 - 0.05
    assert peak <= 150  # a busy machine may bunch what was sent evenly


def test_worker_that_is_stuck_is_replaced(release: threading.Event) -> None:
    """Complete the crawl although a function never comes back, at the cost of its own song."""
    chunk = FakeChunk(range(20), hang_on(lambda item, _nth: item == 3, release))
    dispatcher = gather([chunk], STUCK)

    assert dict(chunk.settled)[3] == failed("timeout")
    assert sorted(item for item, _ in chunk.settled) == list(range(20))
    assert dispatcher.abandoned == 1


def test_all_workers_may_be_stuck(release: threading.Event) -> None:
    """Complete the crawl although more functions hang than there are workers."""
    chunk = FakeChunk(range(8), hang_on(lambda item, _nth: item < 4, release))
    dispatcher = gather([chunk], STUCK)

    assert {item for item, outcome in chunk.settled if outcome == failed("timeout")} == set(range(4))
    assert dispatcher.abandoned == 4


def test_stuck_song_is_tried_again(release: threading.Event) -> None:
    """Find a song at its second attempt while the first still hangs."""
    chunk = FakeChunk([1], hang_on(lambda _item, nth: nth == 1, release))
    gather([chunk], msgspec.structs.replace(STUCK, max_attempts=2))

    assert chunk.settled == [(1, found(1))]


def test_worker_that_comes_back_ends(release: threading.Event) -> None:
    """Run no more workers than allowed when one that was given up comes back while the crawl goes on."""
    stuck: list[threading.Thread] = []

    def judge(item: int, _nth: int) -> Verdict:
        if item == 0:
            stuck.append(threading.current_thread())
            release.wait()
        if item == 1:
            release.set()
            stuck[0].join(timeout=5)
            return found(stuck[0].is_alive())
        return found(item)

    chunk = FakeChunk(range(10), FakeFetcher(judge))
    gather([chunk], msgspec.structs.replace(STUCK, max_at_once=1))

    assert dict(chunk.settled)[1] == found(False)


def test_late_return_of_an_abandoned_worker_changes_nothing(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Take nothing, raise nothing and log nothing when a function comes back after the crawl has ended."""
    before = set(threading.enumerate())
    chunk = FakeChunk([1], hang_on(lambda _item, _nth: True, release))
    gather([chunk], STUCK)
    release.set()
    left = join_new_threads(before)

    assert left == set()
    assert chunk.settled == [(1, failed("timeout"))]
    assert caplog.records == []


def test_stuck_worker_does_not_outlast_the_deadline(release: threading.Event) -> None:
    """End soon after the deadline, whatever a function does, and leave its song undone."""
    chunk = FakeChunk(range(2), hang_on(lambda item, _nth: item == 0, release))
    started = time.monotonic()
    gather([chunk], Limits(max_at_once=2, request_timeout=60.0), deadline=1.0)

    assert time.monotonic() - started < 10.0
    assert chunk.settled == [(1, found(1))]


def test_deadline_ends_every_worker() -> None:
    """Draw nothing more once the time is over, with songs left."""

    def judge(item: Any, _nth: int) -> Verdict:
        time.sleep(0.01)
        return found(item)

    chunk = FakeChunk(range(100_000), FakeFetcher(judge))
    dispatcher = gather([chunk], deadline=0.2)

    assert len(chunk.settled) < 100_000
    assert dispatcher.error is None


@pytest.mark.parametrize("items", [1, 200], ids=["one item", "many items"])
def test_error_that_is_no_songs_is_raised(items: int) -> None:
    """Raise what a fetcher raises: it says that the whole crawl can't work."""

    def judge(_item: Any, _nth: int) -> Verdict:
        raise BadSetting("The upstream is a private address.")

    fetcher = FakeFetcher(judge)
    with pytest.raises(BadSetting, match="private address"):
        gather([FakeChunk(range(items), fetcher)])

    assert len(fetcher.tried) <= LIMITS.max_at_once


def test_error_wakes_the_workers_that_wait() -> None:
    """End the workers that wait for the upstream's time when another meets an error."""
    both = threading.Barrier(2)
    throttled_once = threading.Event()

    class Watched(FakeChunk):
        def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
            throttled_once.set()

    def judge(item: int, _nth: int) -> Verdict:
        both.wait(timeout=10)
        if item == 0:
            return throttled("http_429", 60.0)
        throttled_once.wait()
        raise BadSetting("The upstream is a private address.")

    with pytest.raises(BadSetting):
        gather([Watched(range(2), FakeFetcher(judge))], Limits(max_at_once=2))


def test_error_of_the_items_is_raised() -> None:
    """Raise what the caller's own iterable raises."""

    def items() -> Iterator[int]:
        yield from range(CHUNK_SONGS + 10)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gather(collect([(FakeFetcher(), items())], []))


def test_refusal_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise UpstreamUnavailable with the refusal's sentence, and leave the rest of the songs alone."""
    monkeypatch.setattr(circuit_breaker, "CREDENTIALS_SECONDS", 0.0)
    refusing = threading.Event()

    def judge(item: Any, _nth: int) -> Verdict:
        if item == 5:
            refusing.set()
        return refused("The upstream answers 401.") if refusing.is_set() else found(item)

    fetcher = FakeFetcher(judge)
    chunk = FakeChunk(range(100_000), fetcher)
    with pytest.raises(UpstreamUnavailable, match="The upstream answers 401"):
        gather([chunk], controller=RateController())

    assert len(chunk.settled) < 100_000
    assert 5 not in dict(chunk.settled)


def test_chunk_that_can_not_be_finished_is_raised() -> None:
    """Raise what came between a part and its store, also when no worker is left to hear of it."""

    class Lost(FakeChunk):
        def advance(self) -> bool:
            raise StoreUnavailable("The store is gone.")

    try:
        error = gather([Lost(range(3))]).error
    except StoreUnavailable as raised:
        error = raised

    assert isinstance(error, StoreUnavailable)


def test_fifty_calls_leave_no_thread() -> None:
    """Run as many threads after fifty crawls as before the first."""
    before = set(threading.enumerate())
    for _ in range(50):
        gather([FakeChunk(range(20))])
    left = join_new_threads(before)

    assert left == set()


def test_calls_at_the_same_time_do_not_disturb_each_other() -> None:
    """Give four crawls in four threads each its own."""
    chunks = [FakeChunk(range(n * 1000, n * 1000 + 500)) for n in range(4)]
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(lambda chunk: gather([chunk]), chunks))

    for chunk in chunks:
        assert sorted(item for item, _ in chunk.settled) == chunk.items


def test_many_songs_are_tried_in_one_thread() -> None:
    """Settle each of a thousand items once, whatever the verdicts, with no more transfers than max_at_once."""

    def judge(item: int, nth: int) -> Verdict:
        early = (retry("timeout"), throttled("http_429", 0.0), found(item), MISSING, failed("http_400"))
        return early[item % 5] if nth == 1 else (retry("connection") if item % 10 == 0 else found(item))

    items = [n for n in range(1000) if n % 5 > 1 or n < 50]
    fetcher = FakeMultiFetcher(judge)
    chunks = [FakeChunk(items[start : start + 50], fetcher) for start in range(0, len(items), 50)]
    gather(chunks, fetcher=fetcher)

    settled = [entry for chunk in chunks for entry in chunk.settled]
    assert sorted(item for item, _ in settled) == items
    assert Counter(outcome.kind.value for _, outcome in settled) == {"found": 215, "missing": 200, "failed": 205}
    assert {chunk.advanced for chunk in chunks} == {1}
    assert [transfers.most for transfers in fetcher.opened] == [8]
    assert fetcher.opened[0].largest <= 8
    assert fetcher.opened[0].closed


def test_one_song_at_once_takes_one_thread() -> None:
    """Open transfers for no more than may be on their way."""
    fetcher = FakeMultiFetcher()
    gather([FakeChunk(range(20), fetcher)], Limits(max_at_once=1), fetcher=fetcher)

    assert [(transfers.most, transfers.largest) for transfers in fetcher.opened] == [(1, 1)]


def test_transfers_are_cut_off_at_the_deadline() -> None:
    """Leave songs undone not answered at the deadline, keep the others, and count their requests as back."""
    fetcher = FakeMultiFetcher(silent=range(0, 20, 2))
    chunk = FakeChunk(range(20), fetcher)
    dispatcher = gather([chunk], Limits(max_at_once=20), deadline=0.3, fetcher=fetcher)

    assert sorted(item for item, _ in chunk.settled) == list(range(1, 20, 2))
    assert dispatcher.unfinished() == [chunk]
    assert not dispatcher._in_flight
    assert dispatcher.limiter.controller.in_flight == 0
    assert all(transfers.closed for transfers in fetcher.opened)


def test_error_among_transfers_stops_the_work() -> None:
    """Raise what a fetcher raises that is no song's fault, once all workers have ended."""

    def judge(item: int, _nth: int) -> Verdict:
        if item == 7:
            raise BadSetting("The address is refused.")
        return found(item)

    fetcher = FakeMultiFetcher(judge)
    with pytest.raises(BadSetting):
        gather([FakeChunk(range(100), fetcher)], fetcher=fetcher)

    assert all(transfers.closed for transfers in fetcher.opened)


def test_next_chunk_is_opened_before_it_is_needed() -> None:
    """Look for the next chunk while the last songs of the one before it are on their way."""
    fetcher = FakeMultiFetcher(silent=[3])
    opened = threading.Event()

    def chunks() -> Iterator[FakeChunk]:
        yield FakeChunk(range(4), fetcher)
        opened.set()
        fetcher.silent = ()
        yield FakeChunk(range(4, 8), fetcher)

    gather(chunks(), Limits(max_at_once=3), deadline=10.0, fetcher=fetcher)

    assert opened.is_set()
    assert sorted(fetcher.tried) == list(range(8))


def test_items_are_cut_into_chunks_in_their_order() -> None:
    """Draw the items of several fetchers in turn, no more than a chunk of them ahead."""
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(2 * CHUNK_SONGS + 1):
            drawn.append(number)
            yield number

    one, other = FakeFetcher(), FakeFetcher()
    into: list[Collected] = []
    chunks = collect([(one, items()), (other, "ab")], into)
    first = next(chunks)
    drawn_first = len(drawn)
    rest = list(chunks)

    assert drawn_first == CHUNK_SONGS
    assert into == [first, *rest]
    assert [len(chunk.items) for chunk in into] == [CHUNK_SONGS, CHUNK_SONGS, 1, 2]
    assert [chunk.fetcher is other for chunk in into] == [False, False, False, True]


def test_collected_chunk_is_whole_once() -> None:
    """Tell one thread alone that the last outcome has come, when two bring theirs at the same moment."""
    meeting = threading.Barrier(2)

    class Outcomes(dict[int, Verdict]):
        def __len__(self) -> int:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(timeout=0.1)
            return super().__len__()

    chunk = Collected(FakeFetcher(), ["a", "b"])
    chunk.outcomes = Outcomes()
    with ThreadPoolExecutor(2) as settling:
        asked = list(settling.map(lambda index: chunk.settle([(index, MISSING)]), range(2)))

    assert sorted(asked) == [False, True]


def test_clock_waits_for_more_seconds_than_there_are() -> None:
    """Wait until notified where an upstream asks for a pause of thirty thousand years."""
    condition = threading.Condition()
    waiting = threading.Event()

    def notify() -> None:
        waiting.wait()
        with condition:
            condition.notify_all()

    thread = threading.Thread(target=notify)
    thread.start()
    with condition:
        waiting.set()
        SystemClock().wait(condition, 1e12)
    thread.join()

    assert not thread.is_alive()


def test_daemon_threads_give_results_and_errors() -> None:
    """Be an executor like any other."""
    executor = DaemonThreads()

    assert executor.submit(lambda x, y: x + y, 1, y=2).result(timeout=10) == 3
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result(timeout=10)
    assert executor.submit(lambda: threading.current_thread().daemon).result(timeout=10)
