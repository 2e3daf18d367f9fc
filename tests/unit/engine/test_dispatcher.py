"""Check which song is tried next and when, and what becomes of every verdict: one thread, a clock that never waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import FakeChunk, FakeClock, FakeFetcher, PlainController, StalledError

from crawler.core.deadline import Deadline
from crawler.core.errors import StoreUnavailable, UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.verdict import (
    AGAIN,
    MISSING,
    UNSENT,
    Kind,
    Verdict,
    failed,
    found,
    redirected,
    refused,
    retry,
    throttled,
)
from crawler.engine.backlog import MOST_BUFFERED_BYTES, Attempt
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.known_songs import Canary
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter

SENTENCE = "The upstream answers 401: it wants credentials; set SONG_HEADERS."


class Scene:
    """A dispatcher, its clock and its chunks; `outcomes` are those that on_outcome was called with."""

    def __init__(
        self,
        *chunks: FakeChunk,
        limits: Limits = Limits(),  # noqa: B008 - a value
        deadline: float = float("inf"),
        at_once: bool = True,
        controller: RateController | None = None,
        limiter: Limiter | None = None,
        withholds: bool = False,
    ) -> None:
        """Prepare a dispatcher of the chunks; without `at_once` their advances wait in `advances`."""
        self.clock = FakeClock()
        self.opened = 0
        self.outcomes: list[Verdict] = []
        self.advances: list[Callable[[], None]] = []
        self.dispatcher = Dispatcher(
            self._opened(chunks),
            limits,
            self.clock,
            (lambda advance: advance()) if at_once else self.advances.append,
            Deadline.after(self.clock.now(), deadline),
            random.Random(1).random,
            lambda _item, outcome: self.outcomes.append(outcome),
            limiter=limiter or Limiter(controller or PlainController(limits.max_per_second, limits.max_at_once)),
            withholds=withholds,
        )

    def _opened(self, chunks: Iterable[FakeChunk]) -> Any:
        for chunk in chunks:
            self.opened += 1
            yield chunk

    def draw(self) -> Attempt:
        """Draw an attempt that there must be."""
        (attempt,) = self.dispatcher.draw_attempts()
        return attempt

    def settle(self, attempt: Attempt, verdict: Verdict) -> bool:
        """Settle one attempt; returns whether its verdict was learned."""
        return self.dispatcher.settle([(attempt, verdict)]) == 1

    def run(self, fetcher: FakeFetcher, seconds_each: float = 0.0) -> list[float]:
        """Try songs one after the other as a worker does, until none is left, and return when each was started."""
        starts = []
        while drawn := self.dispatcher.draw_attempts():
            attempt = drawn[0]
            starts.append(attempt.started)
            self.clock.advance(seconds_each)
            self.settle(attempt, fetcher.attempt(attempt.item, attempt.timeout))
        return starts


def most_within(seconds: float, times: list[float]) -> int:
    """Count the most of the instants that lie in any such span of time."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


VERDICTS = (found(1), MISSING, failed("http_400"), retry("timeout"), throttled("http_429"), throttled("http_429", 3.0))


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), max_size=5),
    verdicts=st.lists(st.sampled_from(VERDICTS), max_size=60),
    max_attempts=st.integers(1, 4),
)
def test_every_item_is_settled_exactly_once(sizes: list[int], verdicts: list[Verdict], max_attempts: int) -> None:
    """Give each item one outcome, whatever its attempts came to."""
    chunks = [FakeChunk([f"{number}/{index}" for index in range(size)]) for number, size in enumerate(sizes)]
    scene = Scene(*chunks, limits=Limits(max_attempts=max_attempts))
    script = iter(verdicts)
    scene.run(FakeFetcher(lambda item, _nth: next(script, found(item))))

    for chunk in chunks:
        assert sorted(item for item, _ in chunk.settled) == sorted(chunk.items)
        assert all(outcome.final for _, outcome in chunk.settled)
        assert chunk.advanced == 1
    assert len(scene.outcomes) == sum(sizes)
    assert scene.dispatcher.error is None


@pytest.mark.parametrize("max_attempts", [1, 2, 4])
def test_song_is_failed_after_the_last_attempt(max_attempts: int) -> None:
    """Try a song MAX_ATTEMPTS times, then fail it with the word of its last attempt."""
    chunk = FakeChunk(["song"])
    fetcher = FakeFetcher(lambda _item, nth: retry(f"error {nth}"))
    Scene(chunk, limits=Limits(max_attempts=max_attempts)).run(fetcher)

    assert len(fetcher.tried) == chunk.attempts == max_attempts
    assert chunk.settled == [("song", failed(f"error {max_attempts}"))]


def test_song_is_found_at_its_last_attempt() -> None:
    """Keep what the fourth of four attempts finds."""
    chunk = FakeChunk(["song"])
    Scene(chunk).run(FakeFetcher(lambda item, nth: found(item) if nth == 4 else retry("timeout")))

    assert chunk.settled == [("song", found("song"))]


def test_throttling_does_not_count() -> None:
    """Go on with a song that was throttled a hundred times, before and after an attempt that failed."""
    chunk = FakeChunk(["song"])
    verdicts = [throttled("http_429")] * 50 + [retry("timeout")] + [throttled("song_retry")] * 50 + [found(1)]
    Scene(chunk, limits=Limits(max_attempts=2)).run(FakeFetcher(lambda _item, nth: verdicts[nth - 1]))

    assert chunk.attempts == 102
    assert chunk.settled == [("song", found(1))]


@pytest.mark.parametrize("outcome", [found(None), MISSING, failed("http_400")], ids=lambda verdict: verdict.kind.value)
def test_final_verdict_ends_the_attempts(outcome: Verdict) -> None:
    """Try a song no more once it is found, missing, or beyond help."""
    fetcher = FakeFetcher(lambda _item, _nth: outcome)
    chunk = FakeChunk(["song"])
    Scene(chunk).run(fetcher)

    assert fetcher.tried == ["song"]
    assert chunk.settled == [("song", outcome)]


def test_songs_go_in_order_and_retries_wait_beside_them() -> None:
    """Try the next song while one that failed waits for its next attempt, which goes before new songs once due."""
    chunk = FakeChunk(range(6))
    fetcher = FakeFetcher(lambda item, nth: retry("timeout") if item == 0 and nth == 1 else found(item))
    Scene(chunk).run(fetcher, seconds_each=0.03)

    assert fetcher.tried.count(0) == 2
    assert fetcher.tried[:2] == [0, 1]
    assert fetcher.tried.index(0, 1) < 5
    assert [item for item in fetcher.tried if item] == [1, 2, 3, 4, 5]


def test_backoff_grows_between_attempts() -> None:
    """Wait longer before a later attempt than a song's first could ever wait."""
    scene = Scene(FakeChunk(["song"]), limits=Limits(max_attempts=12))
    starts = scene.run(FakeFetcher(lambda _item, _nth: retry("timeout")))

    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits[0] <= 0.05
    assert max(waits[-3:]) > 0.1
    assert max(waits) <= 20.0


def test_throttled_song_waits_at_least_half_a_second() -> None:
    """Leave the upstream in peace after a 429 that names no time: jitter never takes all of the wait away."""
    scene = Scene(FakeChunk(["song"]))
    first, second = scene.run(FakeFetcher(lambda item, nth: throttled("http_429") if nth == 1 else found(item)))

    assert second - first >= 0.5


def test_retry_after_holds_every_song() -> None:
    """Start nothing, this song or another, before the time that the upstream named."""
    scene = Scene(FakeChunk(range(5)))
    starts = scene.run(
        FakeFetcher(lambda item, nth: throttled("http_429", 7.5) if (item, nth) == (1, 1) else found(item))
    )

    assert starts[1] == 1000.0
    assert min(starts[2:]) >= 1007.5
    assert len(starts) == 6


def test_longest_retry_after_wins() -> None:
    """Keep to the later of two times that the upstream named."""
    scene = Scene(FakeChunk(range(3)))
    first, second = scene.draw(), scene.draw()
    scene.settle(first, throttled("http_429", 9.0))
    scene.settle(second, throttled("http_429", 2.0))

    assert scene.draw().started >= 1009.0


def test_requests_keep_below_max_per_second() -> None:
    """Start no more songs within any second than allowed, but for a burst of a twenty-fifth of them."""
    scene = Scene(FakeChunk(range(500)), limits=Limits(max_per_second=50))
    starts = scene.run(FakeFetcher())

    assert most_within(1.0, starts) <= 50 * 1.04 + 1
    assert starts[-1] - starts[0] == pytest.approx(500 / 50, rel=0.02)


def test_attempts_of_one_song_count_against_max_per_second() -> None:
    """Pace attempts, not songs."""
    scene = Scene(FakeChunk(range(40)), limits=Limits(max_per_second=50, max_attempts=4))
    starts = scene.run(FakeFetcher(lambda _item, _nth: retry("timeout")))

    assert len(starts) == 160
    assert most_within(1.0, starts) <= 50 * 1.04 + 1


def test_no_ceiling_does_not_wait() -> None:
    """Start song after song where max_per_second is 0."""
    scene = Scene(FakeChunk(range(500)))
    scene.run(FakeFetcher())

    assert scene.clock.waited == []


def test_two_chunks_are_open_at_most() -> None:
    """Draw no third chunk before one of two is finished, however many workers ask."""
    first, second, third = (FakeChunk([f"{name}{n}" for n in range(3)]) for name in "abc")
    scene = Scene(first, second, third)
    attempts = [scene.draw() for _ in range(6)]
    with pytest.raises(StalledError):
        scene.dispatcher.draw_attempts()
    opened_before = scene.opened
    for attempt in attempts[3:]:
        scene.settle(attempt, found(attempt.item))

    assert opened_before == 2
    assert scene.draw().item == "c0"


def test_chunk_is_open_until_it_is_advanced() -> None:
    """Count a chunk as open while it is compressed and committed."""
    scene = Scene(*(FakeChunk([n]) for n in range(3)), at_once=False)
    for attempt in [scene.draw(), scene.draw()]:
        scene.settle(attempt, found(1))
    with pytest.raises(StalledError):
        scene.dispatcher.draw_attempts()
    scene.advances.pop()()

    assert scene.draw().item == 2


def test_no_song_is_drawn_while_too_much_waits() -> None:
    """Hold new songs back while rows wait that weigh too much, but not the attempts that may free them."""
    chunk = FakeChunk(range(4))
    scene = Scene(chunk)
    scene.settle(scene.draw(), retry("timeout"))
    scene.draw()
    chunk.buffered_bytes = MOST_BUFFERED_BYTES + 1
    retried = scene.draw()
    with pytest.raises(StalledError):
        scene.dispatcher.draw_attempts()
    chunk.buffered_bytes = MOST_BUFFERED_BYTES

    assert retried.item == 0
    assert scene.draw().item == 2


def test_worker_waits_while_others_may_leave_it_work() -> None:
    """Let no worker end while a song in flight may have to be tried again."""
    scene = Scene(FakeChunk(["song"]))
    attempt = scene.draw()
    with pytest.raises(StalledError):
        scene.dispatcher.draw_attempts()
    scene.settle(attempt, retry("timeout"))

    assert scene.draw().item == "song"


def test_nothing_is_drawn_after_the_deadline() -> None:
    """Give no attempt once the deadline has come, neither a new song nor a retry that is due."""
    scene = Scene(FakeChunk(range(3)), deadline=5.0)
    scene.settle(scene.draw(), retry("timeout"))
    scene.clock.advance(5.0)

    assert scene.dispatcher.draw_attempts() == []


def test_worker_waits_no_longer_than_the_deadline() -> None:
    """End at the deadline where the upstream asked for more time than is left."""
    scene = Scene(FakeChunk(range(3)), deadline=5.0)
    scene.run(FakeFetcher(lambda _item, _nth: throttled("http_429", 3600.0)))

    assert scene.clock.now() == 1005.0
    assert scene.outcomes == []


@pytest.mark.parametrize(
    "verdict",
    [retry("timeout"), throttled("http_429"), refused(SENTENCE)],
    ids=lambda verdict: verdict.kind.value,
)
def test_song_cut_off_by_the_deadline_is_left_undone(verdict: Verdict) -> None:
    """Call no song failed that came to nothing because the time was over."""
    chunk = FakeChunk(["song"])
    scene = Scene(chunk, limits=Limits(max_attempts=1), deadline=5.0)
    attempt = scene.draw()
    scene.clock.advance(5.0)
    scene.settle(attempt, verdict)

    assert chunk.settled == []
    assert chunk.attempts == 1
    assert scene.dispatcher.draw_attempts() == []


def test_song_found_past_the_deadline_is_kept() -> None:
    """Keep an outcome that comes late: it costs nothing more."""
    chunk = FakeChunk(["song", "next"])
    scene = Scene(chunk, deadline=5.0)
    attempt = scene.draw()
    scene.clock.advance(6.0)
    scene.settle(attempt, found(1))

    assert chunk.settled == [("song", found(1))]
    assert scene.dispatcher.draw_attempts() == []


def test_timeout_ends_with_the_deadline() -> None:
    """Give an attempt its whole timeout, or what is left until the deadline."""
    scene = Scene(FakeChunk(range(2)), limits=Limits(request_timeout=10.0), deadline=12.0)
    early = scene.draw()
    scene.clock.advance(9.0)
    late = scene.draw()

    assert (early.timeout, late.timeout) == (10.0, 3.0)


def test_refusal_stops_the_work() -> None:
    """Stop with UpstreamUnavailable when the upstream as a whole refuses; keep what is in flight and turns up."""
    chunk = FakeChunk(["refused", "in flight", *range(30)])
    scene = Scene(chunk, controller=RateController(10.0, 1000))
    first, second = scene.draw(), scene.draw()
    scene.settle(first, refused(SENTENCE))
    scene.settle(second, found(2))
    scene.run(FakeFetcher(lambda _item, _nth: refused(SENTENCE)))

    assert scene.dispatcher.draw_attempts() == []
    assert chunk.settled == [("in flight", found(2))]
    assert isinstance(scene.dispatcher.error, UpstreamUnavailable)
    assert str(scene.dispatcher.error) == SENTENCE


def test_first_error_is_the_one_that_is_named() -> None:
    """Name the cause, not what followed from it."""
    scene = Scene(FakeChunk(range(2)))
    first, second = StoreUnavailable("first"), StoreUnavailable("second")
    scene.dispatcher.stop(first)
    scene.dispatcher.stop(second)
    scene.dispatcher.stop()

    assert scene.dispatcher.error is first


def test_chunk_that_can_not_be_finished_stops_the_work() -> None:
    """Draw nothing more when a part can't be stored, and say why."""

    class Lost(FakeChunk):
        def advance(self) -> bool:
            raise StoreUnavailable("The store is gone.")

    scene = Scene(Lost([1]), FakeChunk([2]), at_once=False)
    scene.settle(scene.draw(), found(1))
    with pytest.raises(StoreUnavailable):
        scene.advances.pop()()

    assert scene.dispatcher.draw_attempts() == []
    assert isinstance(scene.dispatcher.error, StoreUnavailable)


def test_chunk_that_is_not_finished_stays_open() -> None:
    """Let a chunk that was advanced half-way go on."""

    class Halves(FakeChunk):
        def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
            super().settle(outcomes)
            return True

        def advance(self) -> bool:
            return super().advance() and len(self.settled) == len(self.items)

    chunks = [Halves([1, 2]), Halves([3]), Halves([4])]
    Scene(*chunks).run(FakeFetcher())

    assert [chunk.advanced for chunk in chunks] == [2, 1, 1]


def test_abandoned_attempt_is_tried_again() -> None:
    """Count an abandoned attempt as a timeout, and take nothing more from it."""
    chunk = FakeChunk(["song"])
    scene = Scene(chunk, limits=Limits(max_attempts=2))
    stuck = scene.draw()

    assert scene.dispatcher.abandon(stuck)
    assert not scene.settle(stuck, found("late"))
    assert not scene.dispatcher.abandon(stuck)
    assert scene.dispatcher.abandoned == 1
    assert scene.dispatcher.abandon(scene.draw())
    assert scene.dispatcher.draw_attempts() == []
    assert chunk.settled == [("song", failed("timeout"))]


def test_attempt_that_came_back_is_not_abandoned() -> None:
    """Leave an attempt alone that was settled just before it would have been given up."""
    scene = Scene(FakeChunk(["song"]))
    attempt = scene.draw()
    scene.settle(attempt, found(1))

    assert not scene.dispatcher.abandon(attempt)
    assert scene.dispatcher.abandoned == 0


def test_watcher_sees_each_outcome_once() -> None:
    """Show a watcher every song's outcome, and no attempt that came to none."""
    scene = Scene(FakeChunk(range(30)), limits=Limits(max_attempts=3))
    scene.run(FakeFetcher(lambda item, nth: (found(item), MISSING, retry("x"), throttled("y"))[(item + nth) % 4]))

    kinds = Counter(outcome.kind for outcome in scene.outcomes)
    assert sum(kinds.values()) == 30
    assert set(kinds) <= {Kind.FOUND, Kind.MISSING, Kind.FAILED}


def test_no_chunks_is_nothing_to_do() -> None:
    """End at once where there is nothing to do."""
    assert Scene().dispatcher.draw_attempts() == []


def outage(scene: Scene, begins: float, ends: float, word: str) -> FakeFetcher:
    """Open a fetcher whose upstream is down from one second to another."""
    first = scene.clock.now()
    return FakeFetcher(lambda item, _nth: retry(word) if begins <= scene.clock.now() - first < ends else found(item))


WORDS = ["http_500", "http_503", "connection", "invalid_json"]


@pytest.mark.parametrize("word", WORDS)
def test_outage_fails_no_song(word: str) -> None:
    """Find every song after an outage, whatever word it shows by, and ask rarely while it lasts."""
    chunk = FakeChunk(range(400))
    scene = Scene(chunk, controller=RateController(50.0, 10))
    fetcher = outage(scene, 2, 62, word)
    scene.run(fetcher, 0.02)

    assert sorted(chunk.settled) == [(number, found(number)) for number in range(400)]
    assert len(fetcher.tried) - 400 <= 30
    assert scene.clock.now() - 1000 < 80


def test_songs_that_fail_by_themselves_are_no_outage() -> None:
    """Fail a range of songs that answer 500 for good, however many, and find the others, in little more time."""
    chunk = FakeChunk(range(300))
    scene = Scene(chunk, controller=RateController(100.0, 10))
    scene.run(FakeFetcher(lambda item, _nth: retry("http_500") if 100 <= item < 200 else found(item)), 0.001)

    assert sorted(item for item, outcome in chunk.settled if outcome.kind is Kind.FAILED) == list(range(100, 200))
    assert scene.clock.now() - 1000 < 20


def test_canary_is_a_found_song_of_which_nothing_is_kept() -> None:
    """Have a probe ask for the song found last, whatever waits, and count it as the suspect chunk's."""
    chunk = FakeChunk(range(10))
    scene = Scene(chunk, controller=RateController())
    fail_ambiguously(scene)
    before = chunk.attempts
    probe = scene.draw()

    assert probe.item == 0
    assert scene.settle(probe, found("again"))
    assert chunk.attempts == before + 1
    assert chunk.settled == [(0, found("first"))]
    assert scene.outcomes == [found("first")]


def test_every_request_of_an_outage_is_counted_once() -> None:
    """Count the probes of an outage too, however many fail, where the songs are counted."""
    chunk = FakeChunk(range(400))
    scene = Scene(chunk, controller=RateController(50.0, 10))
    fetcher = outage(scene, 2, 62, "http_500")
    scene.run(fetcher, 0.02)

    assert chunk.attempts == len(fetcher.tried) > 410


@pytest.mark.parametrize("word", WORDS)
def test_last_song_is_not_failed_for_an_outage(word: str) -> None:
    """Fail no song for an outage that comes when a single one is left, which is tried four times in a second."""
    chunk = FakeChunk(range(10))
    scene = Scene(chunk, controller=RateController())
    for _ in range(9):
        attempt = scene.draw()
        scene.settle(attempt, found(attempt.item))
    scene.run(outage(scene, 0, 60, word), 0.02)

    assert chunk.settled[-1] == (9, found(9))


def fail_ambiguously(scene: Scene) -> None:
    """Have a song found, and three more answered 500."""
    scene.settle(scene.draw(), found("first"))
    for _ in range(3):
        scene.settle(scene.draw(), retry("http_500"))


def defer_failures(scene: Scene) -> list[Attempt]:
    """Have a song found and four others answered 500, all of them on their way together; returns those."""
    scene.settle(scene.draw(), found("first"))
    attempts = [scene.draw() for _ in range(4)]
    for attempt in attempts:
        scene.settle(attempt, retry("http_500"))
    return attempts


def test_deferred_failures_count_if_they_are_the_songs_own() -> None:
    """Fail the songs that were answered 500 once one that was found is found again, and ask for none of them again."""
    chunk = FakeChunk(range(5))
    scene = Scene(chunk, limits=Limits(max_attempts=1), controller=RateController())
    defer_failures(scene)
    before = len(chunk.settled)
    scene.settle(scene.draw(), found("again"))

    assert before == 1
    assert sorted(chunk.settled) == [(0, found("first")), *((number, failed("http_500")) for number in range(1, 5))]
    assert scene.dispatcher.draw_attempts() == []


def test_deferred_failures_do_not_count_if_the_upstream_is_down() -> None:
    """Try the songs again, as often as before, where one that was found failed too."""
    chunk = FakeChunk(range(5))
    scene = Scene(chunk, limits=Limits(max_attempts=1), controller=RateController())
    attempts = defer_failures(scene)
    scene.settle(scene.draw(), retry("http_500"))
    scene.settle(scene.draw(), found("again"))
    again = [scene.draw() for _ in range(2)]

    assert {attempt.item for attempt in again} <= {attempt.item for attempt in attempts}
    assert {attempt.number for attempt in again} == {1}


def test_deferred_failures_are_tried_again_where_another_call_probes() -> None:
    """Lose no song whose failure was deferred while another call's request showed that the upstream is there."""
    limiter = Limiter(RateController())
    scene, other = (Scene(FakeChunk(range(5)), limits=Limits(max_attempts=1), limiter=limiter) for _ in range(2))
    defer_failures(scene)
    other.clock.advance(1)
    other.settle(other.draw(), found(0))
    scene.clock.advance(1)
    scene.run(FakeFetcher())

    assert scene.dispatcher.unfinished() == []
    assert len(scene.outcomes) == 5


def test_canary_after_one_that_failed_counts_as_the_suspects() -> None:
    """Count no canary as one of the canary before it."""
    chunk = FakeChunk(range(10))
    scene = Scene(chunk, controller=RateController())
    fail_ambiguously(scene)
    scene.settle(scene.draw(), retry("http_500"))
    probe = scene.draw().chunk

    assert isinstance(probe, Canary)
    assert probe.suspect is chunk


def test_no_probe_is_sent_for_nothing() -> None:
    """End once every song has its outcome, though another call needs a canary."""
    limiter = Limiter(RateController())
    failing, done = (Scene(FakeChunk(range(size)), limiter=limiter) for size in (10, 2))
    for verdict in (found(0), retry("http_500"), found(1)):
        done.settle(done.draw(), verdict)
    fail_ambiguously(failing)
    done.clock.advance(1)

    assert limiter.needs_canary
    assert done.dispatcher.draw_attempts() == []


def test_no_probe_is_sent_where_there_is_no_room() -> None:
    """Give a worker that is full nothing, though a canary is needed."""
    scene = Scene(FakeChunk(range(10)), controller=RateController())
    fail_ambiguously(scene)
    scene.clock.advance(1)
    more = scene.dispatcher.draw_more(0)

    assert more
    assert more[0] == []


@pytest.mark.parametrize("songs", [1, 10])
def test_call_that_found_no_song_fails_none_without_a_canary(songs: int) -> None:
    """Count no 500 as a song's own while another call of the instance has seen that all are answered so."""
    limiter = Limiter(RateController())
    knowing, new = Scene(FakeChunk(range(10)), limiter=limiter), FakeChunk(range(100, 100 + songs))
    fail_ambiguously(knowing)
    scene = Scene(new, limiter=limiter)
    scene.run(outage(scene, 0, 20, "http_500"), 0.02)

    assert sorted(new.settled) == [(number, found(number)) for number in range(100, 100 + songs)]


def test_each_fetcher_is_probed_by_a_song_of_its_own() -> None:
    """Take no answer of one upstream as a sign that another one is there."""
    first, second = FakeFetcher(), FakeFetcher()
    chunks = FakeChunk(["a"], first), FakeChunk(["b", "c", "d", "e"], second)
    scene = Scene(*chunks, controller=RateController())
    for name in "ab":
        scene.settle(scene.draw(), found(name))
    for _ in range(3):
        scene.settle(scene.draw(), retry("http_500"))
    probe = scene.draw()

    assert (probe.item, probe.chunk.fetcher) == ("b", second)


def test_probe_that_is_refused_ends_the_work() -> None:
    """Stop where probes learn for half a minute that the upstream refuses us."""
    scene = Scene(FakeChunk(range(10)), controller=RateController())
    scene.settle(scene.draw(), found("first"))
    scene.run(FakeFetcher(lambda _item, _nth: refused(SENTENCE)))

    assert 25 < scene.clock.now() - 1000 < 60
    assert scene.dispatcher.draw_attempts() == []
    assert str(scene.dispatcher.error) == SENTENCE


def test_more_is_due_when_the_rate_lets_out_more() -> None:
    """Tell a worker that took all that may go when the next may, not only when an answer may come."""
    scene = Scene(FakeChunk(range(100)), controller=RateController(10.0, 50))
    scene.dispatcher.draw_attempts()
    scene.clock.advance(0.1)
    first = scene.dispatcher.draw_more(50)
    assert first
    assert len(first[0]) == 1
    scene.clock.advance(first[1] + 0.001)
    second = scene.dispatcher.draw_more(50)

    assert first[1] == pytest.approx(0.1)
    assert second
    assert len(second[0]) == 1


@pytest.mark.parametrize("first", ["the upstream's", "the store's"])
def test_error_of_the_store_goes_before_the_upstreams(first: str) -> None:
    """Say that rows may be lost, though the upstream had refused us just before."""
    scene = Scene(FakeChunk(range(2)))
    lost = StoreUnavailable("The bucket is gone.")
    for error in (
        (UpstreamUnavailable(SENTENCE), lost) if first == "the upstream's" else (lost, UpstreamUnavailable(SENTENCE))
    ):
        scene.dispatcher.stop(error)

    assert scene.dispatcher.error is lost


@pytest.mark.parametrize("verdict", [AGAIN, UNSENT], ids=["for an old token", "for want of a token"])
def test_song_that_came_in_vain_was_not_tried(verdict: Verdict) -> None:
    """Draw it anew at once, through the limiter, at no attempt and whatever came before; nobody learns anything."""
    chunk, controller = FakeChunk([1, 2]), PlainController(max_at_once=1)
    scene = Scene(chunk, limits=Limits(max_attempts=1, max_at_once=1), controller=controller)
    for _ in range(50):
        attempt = scene.draw()
        assert (attempt.item, attempt.number, attempt.throttles) == (1, 1, 0)
        scene.settle(attempt, verdict)
        assert controller.in_flight == 0
    scene.run(FakeFetcher())

    assert sorted(chunk.settled) == [(1, found(1)), (2, found(2))]
    assert scene.clock.waited == []


def test_canary_that_came_in_vain_goes_again() -> None:
    """Send another canary where one was refused for an old token: it has told nothing."""
    chunk = FakeChunk(range(12))
    scene = Scene(chunk, limits=Limits(max_attempts=2, max_at_once=1), controller=RateController(max_at_once=1))
    scene.settle(scene.draw(), found(0))
    canaries = 0
    while canaries < 3:
        attempt = scene.draw()
        canaries += attempt.chunk.is_canary
        scene.settle(attempt, AGAIN if attempt.chunk.is_canary else retry("http_500"))
    scene.run(FakeFetcher())

    assert sorted(item for item, _ in chunk.settled) == list(range(12))
    assert [verdict for item, verdict in chunk.settled if item == 0] == [found(0)]


def test_redirected_song_is_asked_for_elsewhere_at_once() -> None:
    """Ask for what a redirect leads to, as a request of the rate that is no further attempt at the song."""
    chunk = FakeChunk(["song"])
    answers = {"song": redirected_to("there"), "there": redirected_to("farther"), "farther": found("info")}
    fetcher = FakeFetcher(lambda item, _nth: answers[item])
    scene = Scene(chunk, limits=Limits(max_attempts=1, max_per_second=2.0))
    starts = scene.run(fetcher)

    assert fetcher.tried == ["song", "there", "farther"]
    assert chunk.settled == [("song", found("info"))]
    assert chunk.attempts == 3
    assert most_within(1.0, starts) == 2


def test_refusals_on_the_way_mean_what_they_do_elsewhere() -> None:
    """Wait as a 429 says and ask again for the same place; count failures there as attempts at the song."""
    chunk = FakeChunk(["song"])
    there = iter([throttled("http_429", 3.0), retry("http_503"), retry("http_503")])
    fetcher = FakeFetcher(lambda item, _nth: redirected_to("there", 2.0) if item == "song" else next(there))
    starts = Scene(chunk, limits=Limits(max_attempts=2)).run(fetcher)

    assert fetcher.tried == ["song", "there", "there", "there"]
    assert chunk.settled == [("song", failed("http_503"))]
    assert starts[1] - starts[0] >= 2.0
    assert starts[2] - starts[1] >= 3.0


def test_redirected_song_is_undone_where_time_is_over() -> None:
    """Leave a song that was on its way to another place for the next call."""
    chunk = FakeChunk(["song"])
    scene = Scene(chunk, deadline=5.0)
    attempt = scene.draw()
    scene.clock.advance(6.0)
    scene.settle(attempt, redirected_to("there"))

    assert scene.dispatcher.draw_attempts() == []
    assert chunk.settled == []


def redirected_to(target: str, wait: float | None = None) -> Verdict:
    """Judge a song to be elsewhere."""
    return msgspec.structs.replace(redirected(wait), info=target)
