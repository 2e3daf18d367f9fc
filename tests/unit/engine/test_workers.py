"""Check the strands: real threads and the real clock, lanes that answer from a table, one real upstream."""

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
from support.fakes import FakeBatch, FakeLane, FakeManyLane, PlainControl, join_new_threads

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.runtime.daemon_threads import DaemonThreads
from crawler.adapters.session.fetchers import DeclaredLane, open_session
from crawler.core.deadline import Deadline
from crawler.core.errors import BadSetting, StoreUnavailable, UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import ManyLane
from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.engine import workers as gather_module
from crawler.engine.backlog import Batch
from crawler.engine.dispatcher import Work
from crawler.engine.in_memory import BATCH_SONGS, Collected, collect
from crawler.engine.workers import gather_songs
from crawler.rate_control.limiter import Limiter
from crawler.upstream.classify import DeclaredSong

LIMITS = Limits(max_attempts=2, request_timeout=10.0, max_at_once=8)
# A stuck song costs half a second: a busy machine must not make one of a song that is not.
STUCK = Limits(max_attempts=1, request_timeout=0.3, max_at_once=2)


def gather(
    batches: Iterable[Batch], limits: Limits = LIMITS, deadline: float = float("inf"), lane: ManyLane | None = None
) -> Work:
    """Run strands over batches until they end, as a call does."""
    clock = SystemClock()
    with ThreadPoolExecutor(2) as ends:
        limiter = Limiter(PlainControl(limits.max_per_second, limits.max_at_once))
        work = Work(iter(batches), limits, clock, ends.submit, Deadline.after(clock.now(), deadline), limiter=limiter)
        asyncio.run(gather_songs(work, limits.max_at_once, DaemonThreads(), lane))
    return work


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


def hang_on(stuck: Callable[[Any, int], bool], release: threading.Event) -> FakeLane:
    """Give a lane whose attempts hang, past any timeout, where `stuck` says so."""

    def judge(item: Any, nth: int) -> Verdict:
        if stuck(item, nth):
            release.wait()
        return found(item)

    return FakeLane(judge)


def test_every_item_is_settled_exactly_once() -> None:
    """Settle each of a thousand items once when eight strands meet every kind of verdict."""

    def judge(item: int, nth: int) -> Verdict:
        early = (retry("timeout"), throttled("http_429", 0.0), found(item), MISSING, failed("http_400"))
        return early[item % 5] if nth == 1 else (retry("connection") if item % 10 == 0 else found(item))

    # 503 items are throttled or tried again; their backoff is what this test waits for, so they are few.
    items = [n for n in range(1000) if n % 5 > 1 or n < 50]
    batches = [FakeBatch(items[start : start + 50], FakeLane(judge)) for start in range(0, len(items), 50)]
    gather(batches)

    settled = [entry for batch in batches for entry in batch.settled]
    assert sorted(item for item, _ in settled) == items
    assert Counter(outcome.kind.value for _, outcome in settled) == {"found": 215, "missing": 200, "failed": 205}
    assert {batch.advanced for batch in batches} == {1}


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

    gather([FakeBatch(range(80), FakeLane(judge))])

    assert in_flight == [0, 8]


def test_upstream_sees_no_more_than_the_limits() -> None:
    """Keep max_at_once and max_per_second as the upstream itself measures them."""
    limits = Limits(max_at_once=5, max_per_second=100)
    with Upstream(lambda n, _nth: song(n).after(0.03)) as upstream:
        with open_session(5, "test", allow_private=True) as session:
            lane = DeclaredLane(session, upstream.url, DeclaredSong(), 1000)
            started = time.monotonic()
            gather([Collected(lane, list(range(200)))], limits)
            seconds = time.monotonic() - started
        most_at_once, peak = upstream.most_at_once, upstream.peak_per_second()

    assert most_at_once <= 5
    assert seconds >= 199 / 100 - 0.05
    assert peak <= 150  # a busy machine may bunch what was sent evenly


def test_strand_that_is_stuck_is_replaced(release: threading.Event) -> None:
    """Complete the crawl although a function never comes back, at the cost of its own song."""
    batch = FakeBatch(range(20), hang_on(lambda item, _nth: item == 3, release))
    work = gather([batch], STUCK)

    assert dict(batch.settled)[3] == failed("timeout")
    assert sorted(item for item, _ in batch.settled) == list(range(20))
    assert work.abandoned == 1


def test_all_strands_may_be_stuck(release: threading.Event) -> None:
    """Complete the crawl although more functions hang than there are strands."""
    batch = FakeBatch(range(8), hang_on(lambda item, _nth: item < 4, release))
    work = gather([batch], STUCK)

    assert {item for item, outcome in batch.settled if outcome == failed("timeout")} == set(range(4))
    assert work.abandoned == 4


def test_stuck_song_is_tried_again(release: threading.Event) -> None:
    """Find a song at its second attempt while the first still hangs."""
    batch = FakeBatch([1], hang_on(lambda _item, nth: nth == 1, release))
    gather([batch], msgspec.structs.replace(STUCK, max_attempts=2))

    assert batch.settled == [(1, found(1))]


def test_strand_that_comes_back_ends(release: threading.Event) -> None:
    """Run no more strands than allowed when one that was given up comes back while the crawl goes on."""
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

    batch = FakeBatch(range(10), FakeLane(judge))
    gather([batch], msgspec.structs.replace(STUCK, max_at_once=1))

    assert dict(batch.settled)[1] == found(False)


def test_late_return_of_an_abandoned_strand_changes_nothing(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Take nothing, raise nothing and log nothing when a function comes back after the crawl has ended."""
    before = set(threading.enumerate())
    batch = FakeBatch([1], hang_on(lambda _item, _nth: True, release))
    gather([batch], STUCK)
    release.set()
    left = join_new_threads(before)

    assert left == set()
    assert batch.settled == [(1, failed("timeout"))]
    assert caplog.records == []


def test_stuck_strand_does_not_outlast_the_deadline(release: threading.Event) -> None:
    """End soon after the deadline, whatever a function does, and leave its song undone."""
    batch = FakeBatch(range(2), hang_on(lambda item, _nth: item == 0, release))
    started = time.monotonic()
    gather([batch], Limits(max_at_once=2, request_timeout=60.0), deadline=1.0)

    assert time.monotonic() - started < 10.0
    assert batch.settled == [(1, found(1))]


def test_deadline_ends_every_strand() -> None:
    """Draw nothing more once the time is over, with songs left."""

    def judge(item: Any, _nth: int) -> Verdict:
        time.sleep(0.01)
        return found(item)

    batch = FakeBatch(range(100_000), FakeLane(judge))
    work = gather([batch], deadline=0.2)

    assert len(batch.settled) < 100_000
    assert work.error is None


@pytest.mark.parametrize("items", [1, 200], ids=["one item", "many items"])
def test_error_that_is_no_songs_is_raised(items: int) -> None:
    """Raise what a lane raises: it says that the whole crawl can't work."""

    def judge(_item: Any, _nth: int) -> Verdict:
        raise BadSetting("The upstream is a private address.")

    lane = FakeLane(judge)
    with pytest.raises(BadSetting, match="private address"):
        gather([FakeBatch(range(items), lane)])

    assert len(lane.tried) <= LIMITS.max_at_once


def test_error_wakes_the_strands_that_wait() -> None:
    """End the strands that wait for the upstream's time when another meets an error."""
    both = threading.Barrier(2)
    throttled_once = threading.Event()

    class Told(FakeBatch):
        def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
            throttled_once.set()

    def judge(item: int, _nth: int) -> Verdict:
        both.wait(timeout=10)
        if item == 0:
            return throttled("http_429", 60.0)
        throttled_once.wait()
        raise BadSetting("The upstream is a private address.")

    with pytest.raises(BadSetting):
        gather([Told(range(2), FakeLane(judge))], Limits(max_at_once=2))


def test_error_of_the_items_is_raised() -> None:
    """Raise what the caller's own iterable raises."""

    def items() -> Iterator[int]:
        yield from range(BATCH_SONGS + 10)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gather(collect([(FakeLane(), items())], []))


def test_refusal_is_raised() -> None:
    """Raise UpstreamUnavailable with the refusal's sentence, and leave the rest of the songs alone."""
    lane = FakeLane(lambda item, _nth: refused("The upstream answers 401.") if item == 5 else found(item))
    batch = FakeBatch(range(100_000), lane)
    with pytest.raises(UpstreamUnavailable, match="The upstream answers 401"):
        gather([batch])

    assert len(batch.settled) < 100_000
    assert 5 not in dict(batch.settled)


def test_batch_that_can_not_be_finished_is_raised() -> None:
    """Raise what came between a part and its store, also when no strand is left to hear of it."""

    class Lost(FakeBatch):
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
        gather([FakeBatch(range(20))])
    left = join_new_threads(before)

    assert left == set()


def test_calls_at_the_same_time_do_not_disturb_each_other() -> None:
    """Give four crawls in four threads each its own."""
    batches = [FakeBatch(range(n * 1000, n * 1000 + 500)) for n in range(4)]
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(lambda batch: gather([batch]), batches))

    for batch in batches:
        assert sorted(item for item, _ in batch.settled) == batch.items


def test_many_songs_are_tried_in_one_thread() -> None:
    """Settle each of a thousand items once, whatever the verdicts, with no more transfers than max_at_once."""

    def judge(item: int, nth: int) -> Verdict:
        early = (retry("timeout"), throttled("http_429", 0.0), found(item), MISSING, failed("http_400"))
        return early[item % 5] if nth == 1 else (retry("connection") if item % 10 == 0 else found(item))

    items = [n for n in range(1000) if n % 5 > 1 or n < 50]
    lane = FakeManyLane(judge)
    batches = [FakeBatch(items[start : start + 50], lane) for start in range(0, len(items), 50)]
    gather(batches, lane=lane)

    settled = [entry for batch in batches for entry in batch.settled]
    assert sorted(item for item, _ in settled) == items
    assert Counter(outcome.kind.value for _, outcome in settled) == {"found": 215, "missing": 200, "failed": 205}
    assert {batch.advanced for batch in batches} == {1}
    assert [transfers.most for transfers in lane.opened] == [8]
    assert lane.opened[0].largest <= 8
    assert lane.opened[0].closed


def test_one_song_at_once_takes_one_thread() -> None:
    """Open transfers for no more than may be on their way."""
    lane = FakeManyLane()
    gather([FakeBatch(range(20), lane)], Limits(max_at_once=1), lane=lane)

    assert [(transfers.most, transfers.largest) for transfers in lane.opened] == [(1, 1)]


def test_transfers_are_cut_off_at_the_deadline() -> None:
    """Leave songs undone whose answers have not come at the deadline, keep the others, and free their places."""
    lane = FakeManyLane(silent=range(0, 20, 2))
    batch = FakeBatch(range(20), lane)
    work = gather([batch], Limits(max_at_once=20), deadline=0.3, lane=lane)

    assert sorted(item for item, _ in batch.settled) == list(range(1, 20, 2))
    assert work.unfinished() == [batch]
    assert not work._in_flight
    assert work._limiter.control.in_flight == 0
    assert all(transfers.closed for transfers in lane.opened)


def test_error_among_transfers_stops_the_work() -> None:
    """Raise what a lane raises that is no song's fault, once all strands have ended."""

    def judge(item: int, _nth: int) -> Verdict:
        if item == 7:
            raise BadSetting("The address is refused.")
        return found(item)

    lane = FakeManyLane(judge)
    with pytest.raises(BadSetting):
        gather([FakeBatch(range(100), lane)], lane=lane)

    assert all(transfers.closed for transfers in lane.opened)


def test_next_batch_is_opened_before_it_is_needed() -> None:
    """Look for the next batch while the last songs of the one before it are on their way."""
    lane = FakeManyLane(silent=[3])
    opened = threading.Event()

    def batches() -> Iterator[FakeBatch]:
        yield FakeBatch(range(4), lane)
        opened.set()
        lane.silent = ()
        yield FakeBatch(range(4, 8), lane)

    gather(batches(), Limits(max_at_once=3), deadline=10.0, lane=lane)

    assert opened.is_set()
    assert sorted(lane.tried) == list(range(8))


def test_items_are_cut_into_batches_in_their_order() -> None:
    """Draw the items of several lanes in turn, no more than a batch of them ahead."""
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(2 * BATCH_SONGS + 1):
            drawn.append(number)
            yield number

    one, other = FakeLane(), FakeLane()
    into: list[Collected] = []
    batches = collect([(one, items()), (other, "ab")], into)
    first = next(batches)
    drawn_first = len(drawn)
    rest = list(batches)

    assert drawn_first == BATCH_SONGS
    assert into == [first, *rest]
    assert [len(batch.items) for batch in into] == [BATCH_SONGS, BATCH_SONGS, 1, 2]
    assert [batch.lane is other for batch in into] == [False, False, False, True]


def test_collected_batch_is_whole_once() -> None:
    """Tell one thread alone that the last outcome has come, when two bring theirs at the same moment."""
    meeting = threading.Barrier(2)

    class Outcomes(dict[int, Verdict]):
        def __len__(self) -> int:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(timeout=0.1)
            return super().__len__()

    batch = Collected(FakeLane(), ["a", "b"])
    batch.outcomes = Outcomes()
    with ThreadPoolExecutor(2) as settling:
        told = list(settling.map(lambda place: batch.settle([(place, MISSING)]), range(2)))

    assert sorted(told) == [False, True]


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
