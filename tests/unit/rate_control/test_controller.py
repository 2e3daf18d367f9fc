"""Check the control in virtual time, by seed: what it finds, and at the price of how many rejected requests."""

from __future__ import annotations

import math
import random
import time
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual import Bucket, Sent, VirtualUpstream, World, between, send

from crawler.core.verdict import MISSING, Kind, Verdict, found, retry, throttled
from crawler.rate_control.circuit_breaker import NEVER_UP_SECONDS, PATIENCE_SECONDS
from crawler.rate_control.concurrency import START_IN_FLIGHT
from crawler.rate_control.controller import RateController
from crawler.rate_control.learned import LearnedRate
from crawler.rate_control.request_rate import START_PER_SECOND
from crawler.rate_control.retry_budget import FREE_PER_SECOND, MOST, RetryBudget

SEEDS = range(3)
NOW = 1000.0


def upstream(seed: int, **facts: object) -> VirtualUpstream:
    """Make an upstream whose chance is drawn by a seed."""
    return VirtualUpstream(random.Random(seed), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("latency", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("seed", SEEDS)
def test_quota_that_names_a_wait_is_found_at_once(seed: int, latency: float) -> None:
    """Find 1,000 songs behind 50 a second in 22 s, 20 requests rejected; the next run 3."""
    sent = send(upstream(seed, bucket=Bucket((0, 50)), retry_after=1.0, latency=latency), 60, 1000)
    learned = sent.controller.learned()
    controller = RateController(0.0, 100, random.Random(seed).random)
    assert learned
    controller.start_from(learned)
    again = send(upstream(seed, bucket=Bucket((0, 50)), retry_after=1.0, latency=latency), 60, 1000, controller)

    assert len(sent.found) == len(again.found) == 1000
    assert max(sent.found[-1], again.found[-1]) <= 22
    assert len(sent.rejected) <= 20
    assert len(again.rejected) <= 3


@pytest.mark.parametrize(("quota", "most"), [(5, 0.05), (100, 0.01), (1000, 0.01)])
@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_quota_is_used_up(seed: int, quota: int, most: float) -> None:
    """Get 95 % of a quota that says nothing of when, next to nothing of it rejected."""
    seconds = 120 if quota < 1000 else 30
    sent = send(upstream(seed, bucket=Bucket((0, quota))), seconds)

    assert len(sent.found) >= 0.95 * quota * seconds
    assert sent.rejected_share <= most


def test_idle_time_is_no_measure_of_a_quota() -> None:
    """Slow down after a first 429 to what was accepted since the last pause, not since the first request long ago."""
    controller = RateController(0.0, 100)
    for now in (NOW, NOW + 20):
        controller.send(now, 10)
        for _ in range(10):
            controller.observe(now, now + 0.01, found(1))
    controller.send(NOW + 20.02)
    controller.observe(NOW + 20.02, NOW + 20.03, throttled("http_429"))

    assert controller._rate.limit == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("quota", [0.2, 0.5, 1])
def test_quota_below_one_a_second_works(quota: float) -> None:
    """Get more than half of a quota so small that its bucket holds one song."""
    sent = send(upstream(1, bucket=Bucket((0, quota))), 600)

    assert len(sent.found) >= 0.55 * quota * 600


@pytest.mark.parametrize("seed", SEEDS)
def test_quota_that_changes_is_followed(seed: int) -> None:
    """Get nine tenths of a quota that falls to a fifth and rises again."""
    sent = send(upstream(seed, bucket=Bucket((0, 100), (40, 20), (80, 100))), 120)

    assert len(sent.found) >= 0.9 * (100 + 20 + 100) * 40


@pytest.mark.parametrize(("instances", "quota", "rejected"), [(4, 100, 0.05), (20, 100, 0.1)])
def test_instances_share_a_quota(instances: int, quota: int, rejected: float) -> None:
    """Use a quota up together without knowing of each other, and leave every one its part."""
    chance = random.Random(instances)
    sent = [
        Sent(RateController(0.0, 100, random.Random(n).random), begins=chance.random() * 5) for n in range(instances)
    ]
    World(VirtualUpstream(chance, bucket=Bucket((0, quota))), sent).run(120)

    assert sum(len(each.found) for each in sent) >= 0.95 * quota * 120
    assert sum(len(each.rejected) for each in sent) <= rejected * sum(each.requests for each in sent)
    shares = [between(each.found, 60, 120) / (quota * 60 / instances) for each in sent]
    assert min(shares) > 0.2


@pytest.mark.parametrize(("workers", "latency"), [(20, 0.05), (8, 0.1), (4, 0.2)])
def test_knee_of_latency_is_found(workers: int, latency: float) -> None:
    """Keep a server's workers busy, and no queue before them."""
    sent = send(upstream(1, workers=workers, latency=latency), 45)

    assert len(sent.found) >= 0.9 * workers / latency * 45
    assert median(sent.latencies) <= 1.5 * latency


def test_last_songs_of_a_call_cut_nothing() -> None:
    """Keep as many in flight as there were at the beginning where the few songs that are left come late."""
    controller = RateController(0.0, 100)
    for sent, came in ((NOW, NOW + 0.001), (NOW + 0.001, NOW + 0.1)):
        controller.send(sent, 8)
        for _ in range(8):
            controller.observe(sent, came, found(1))

    assert controller._in_flight.limit >= START_IN_FLIGHT


def test_moment_of_standing_still_is_no_queue() -> None:
    """Go on to as many in flight as are allowed where one round of the start was slow, and the next is not."""
    controller = RateController(0.0, 32)
    now, limits = NOW, []
    for latency in (0.001, 0.001, 0.03, *[0.001] * 8):
        controller.send(now, controller._in_flight.limit)
        for _ in range(controller.in_flight):
            controller.observe(now, now + latency, found(1))
        now += latency
        limits.append(controller._in_flight.limit)

    assert limits[3] == limits[2]  # as many as in the slow round, so that the two can be compared
    assert limits[-1] == 32


SLOW = {
    "of a cache or not": (lambda chance: lambda _now: 0.005 if chance.random() < 0.5 else 0.2, 100 / 0.1025 * 20),
    "404s at times": (lambda _: lambda now: 0.01 if now // 5 % 2 else 0.05, 10 * 100 / 0.05 + 10 * 100 / 0.01),
    "ten times slower": (lambda _: lambda now: 0.05 if now < 10 else 0.5, 10 * 100 / 0.05 + 10 * 100 / 0.5),
}


@pytest.mark.parametrize(("slow", "best"), SLOW.values(), ids=SLOW)
def test_latency_that_is_no_queue_does_not_confuse(slow: object, best: float) -> None:
    """Keep as many in flight where fewer would not be answered sooner."""
    chance = random.Random(1)
    sent = send(VirtualUpstream(chance, slow=slow(chance)), 20)  # type: ignore[operator]

    assert len(sent.found) >= 0.75 * best


@pytest.mark.parametrize("latency", [0.01, 0.05, 0.1, 0.6])
def test_useful_speed_comes_at_once(latency: float) -> None:
    """Reach nine tenths of what an unlimited upstream gives at max_at_once within 3 s."""
    sent = send(upstream(1, latency=latency), 4)

    assert between(sent.found, 3, 4) >= 0.9 * 100 / latency


@pytest.mark.parametrize(
    ("latency", "at_once", "most"),
    [(0.001, 5, 0.2), (0.001, 32, 0.1), (0.02, 100, 0.3), (0.1, 512, 1.0), (0.6, 100, 2.4)],
)
def test_start_costs_little(latency: float, at_once: int, most: float) -> None:
    """Lose no more seconds of full speed to finding it than the latency makes worth it."""
    sent = send(upstream(1, latency=latency), 4, controller=RateController(0.0, at_once, random.Random(1).random))

    assert 4 - len(sent.found) * latency / at_once <= most


@pytest.mark.parametrize("word", ["http_503", "connection"])
@pytest.mark.parametrize("seed", SEEDS)
def test_outage_is_left_in_peace(seed: int, word: str) -> None:
    """Send 30 requests in an outage of a minute at most, and go on soon after it."""
    sent = send(
        upstream(seed, down=(30, 90), word=word), 105, controller=RateController(100, 100, random.Random(seed).random)
    )

    assert len(sent.failed) <= 30
    assert between(sent.found, 99, 100) >= 0.9 * 100


def test_ceiling_of_requests_a_second_holds() -> None:
    """Keep MAX_PER_SECOND whatever the upstream would take."""
    sent = send(upstream(1), 20, controller=RateController(30.0, 100))

    assert max(between(sent.found, second, second + 1) for second in range(20)) <= 33
    assert len(sent.found) >= 0.95 * 30 * 19


def test_named_wait_holds_for_all() -> None:
    """Send nothing before the instant that the upstream named."""
    controller = RateController()
    controller.send(NOW)
    controller.observe(NOW, NOW, throttled("http_429", 7.0))

    assert controller.ready(NOW + 6.9) == (0, NOW + 7)
    assert controller.ready(NOW + 7)[0] > 0


@pytest.mark.parametrize("kind", [Kind.FOUND, Kind.MISSING, Kind.FAILED])
def test_pause_after_a_good_answer_costs_no_rate(kind: Kind) -> None:
    """Send nothing for as long as an answer asks for, and then as fast as before."""
    controller = RateController()
    controller.send(NOW)
    rate = controller._rate.per_second

    assert controller.observe(NOW, NOW + 0.1, Verdict(kind, 1, None, 10.0))
    assert controller.ready(NOW + 10.09) == (0, NOW + 10.1)
    assert controller.ready(NOW + 10.11)[0] > 0
    assert controller._rate.per_second >= rate
    assert controller._rate.limit is None


class _Backoff(VirtualUpstream):
    """Ask for two seconds of peace in every hundredth song, and note the requests that do not keep them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.served = 0
        self.early: list[float] = []
        self.pauses: list[tuple[float, float]] = []

    def ask(self, now: float) -> tuple[Verdict, float]:
        self.early += [now for begin, end in self.pauses if begin < now < end - 1e-6]
        self.served += 1
        verdict, answered = super().ask(now)
        if self.served % 100:
            return verdict, answered
        self.pauses.append((answered, answered + 2.0))
        return Verdict(Kind.FOUND, 1, None, 2.0), answered


@pytest.mark.parametrize("seed", SEEDS)
def test_upstream_that_asks_for_pauses_gets_them(seed: int) -> None:
    """Pause after each good answer that asks for it, and send as fast as ever between."""
    served = _Backoff(random.Random(seed), latency=0.02)
    sent = send(served, 60, 1000)

    assert len(sent.found) == 1000
    assert sent.rejected == sent.failed == served.early == []
    assert sent.found[-1] <= len(served.pauses) * 2.0 + 1


def test_song_that_is_not_ready_waits_alone() -> None:
    """Go on with the others where an answer asks for time for its own song."""
    controller = RateController()
    controller.send(NOW)
    controller.observe(NOW, NOW, retry("http_202", 60.0, alone=True))

    assert controller.ready(NOW + 1)[0] > 0


def test_wait_beyond_the_deadline_is_hopeless() -> None:
    """Say so where the upstream names more time than the call has; not where it has enough."""
    controller = RateController()
    controller.send(NOW)
    controller.observe(NOW, NOW, throttled("http_429", 3600.0))

    reason = controller.hopeless(NOW, NOW + 60)
    assert reason
    assert "3600 s" in str(reason)
    assert reason.retry_after == 3600
    assert controller.hopeless(NOW, NOW + 4000) is None


def fail(controller: RateController, times: int, word: str = "http_503", now: float = NOW) -> list[bool]:
    """Have requests fail one after the other; gives which counted."""
    counted = []
    for _ in range(times):
        controller.send(now)
        counted.append(controller.observe(now, now, retry(word)))
    return counted


def test_failures_in_an_outage_do_not_count() -> None:
    """Count failures as the songs' own until they say that the upstream is down."""
    controller = RateController()
    controller.send(NOW)
    controller.observe(NOW, NOW, found(1))

    assert fail(controller, 8) == [True] * 5 + [False] * 3
    assert controller.ready(NOW)[0] == 0


def fail_ambiguously(controller: RateController, now: float = NOW) -> None:
    """Have three requests fail as songs of their own may, where one was found."""
    for verdict in (found(1), *[retry("http_500")] * 3):
        controller.send(now)
        controller.observe(now, now, verdict, has_canary=True)


def test_failures_of_songs_are_trusted_though_they_take_long() -> None:
    """Count what was sent after a false alarm as the songs' own failures, however late they come."""
    controller = RateController()
    fail_ambiguously(controller)
    controller.send(NOW + 0.3)
    controller.observe(NOW + 0.3, NOW + 0.4, found(1))
    controller.send(NOW + 0.5, 4)

    assert [controller.observe(NOW + 0.5, NOW + 9, retry("http_500"), has_canary=True) for _ in range(4)] == [True] * 4


def test_answers_between_silences_are_no_outage() -> None:
    """Take ten failures for no outage that have the upstream's own answers among them."""
    controller = RateController()
    controller.send(NOW, 20)
    controller.observe(NOW, NOW, found(1), has_canary=True)
    in_trust = NOW + 0.5
    controller._breaker._trusted_until = in_trust
    for word in ["connection", "timeout", "http_500"] * 4:
        controller.observe(NOW, NOW, retry(word), has_canary=True)

    assert controller.observe(in_trust, in_trust, retry("connection"), has_canary=True)
    assert controller.ready(in_trust)[0] > 0


def test_pause_that_outlasts_an_outage_is_no_false_alarm() -> None:
    """Begin at half the rate after an outage, though the first probe that a Retry-After let out was answered."""
    controller = RateController()
    controller.send(NOW, 6)
    for _ in range(6):
        controller.observe(NOW, NOW, retry("http_503", 30.0))
    controller.send(NOW + 30)
    controller.observe(NOW + 30, NOW + 30.1, found(1))

    assert controller._rate._eased_until > NOW + 31
    assert controller._breaker._trusted_until < NOW


def test_trust_grows_with_each_false_alarm() -> None:
    """Have songs fail by themselves for half a second after the first alarm, then for longer, up to 5 s."""
    controller, now, trusted = RateController(), NOW, []
    for _ in range(6):
        fail_ambiguously(controller, now)
        controller.send(now + 0.3)
        controller.observe(now + 0.3, now + 0.4, found(1))
        trusted.append(round(controller._breaker._trusted_until - now - 0.4, 6))
        now += 10

    assert trusted == [0.5, 1, 2, 4, 5, 5]


def test_upstream_that_was_never_there_fails_no_song() -> None:
    """Count no song's last attempt where nothing at all has answered."""
    assert fail(RateController(), 4, "connection") == [True, True, False, False]


def test_probes_are_single_and_end_the_outage() -> None:
    """Let one request out at a time while the upstream is down, and all once it is answered."""
    controller = RateController()
    fail(controller, 6)
    count, _ = controller.ready(NOW + 1)
    controller.send(NOW + 1)

    assert count == 1
    assert controller.ready(NOW + 1) == (0, math.inf)
    controller.observe(NOW + 1, NOW + 1.1, MISSING)
    assert controller.ready(NOW + 3)[0] >= 1


def test_probe_keeps_the_ceilings() -> None:
    """Send no probe that MAX_PER_SECOND would not let out."""
    controller = RateController(0.1)
    fail(controller, 6)

    assert controller.ready(NOW + 30)[0] == 0
    assert controller.ready(NOW + 61)[0] == 1


def test_probe_that_is_cut_off_is_not_waited_for() -> None:
    """Let the next call probe where one ended with its probe on the way."""
    controller = RateController()
    fail(controller, 6)
    controller.send(NOW + 1)
    controller.release()

    assert controller.ready(NOW + 1)[0] == 1


def test_call_does_not_wait_for_ever() -> None:
    """Give up on an upstream that is down for long, sooner on one that was never up."""
    never, was = RateController(), RateController()
    was.send(NOW)
    was.observe(NOW, NOW, found(1))
    for each in (never, was):
        fail(each, 6)
        each.send(NOW + 1)
        each.observe(NOW + 1, NOW + 1, retry("http_503"))

    assert never.hopeless(NOW + NEVER_UP_SECONDS - 1, math.inf) is None
    assert "http_503" in str(never.hopeless(NOW + NEVER_UP_SECONDS, math.inf))
    assert was.hopeless(NOW + PATIENCE_SECONDS - 1, math.inf) is None
    assert was.hopeless(NOW + PATIENCE_SECONDS, math.inf)


def test_no_call_gives_up_before_a_probe() -> None:
    """Hope until one probe has failed, however long a ceiling delayed it."""
    controller = RateController()
    fail(controller, 6)

    assert controller.hopeless(NOW + 2 * PATIENCE_SECONDS, math.inf) is None


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(1e-4, 0.3), st.sampled_from(["found", "throttled"])), max_size=60)
)
def test_songs_found_together_teach_what_each_would(answers: list[tuple[int, float, str]]) -> None:
    """Be in the same state whether songs that were found are observed together or one by one."""
    together, alone = RateController(0.0, 64), RateController(0.0, 64)
    now = NOW
    for count, seconds, kind in answers:
        sent = [now] * count
        for controller in (together, alone):
            controller.send(now, count)
        now += seconds
        if kind == "throttled":
            for controller in (together, alone):
                for sent_at in sent:
                    controller.observe(sent_at, now, throttled("http_429"))
            continue
        assert together.observe_found(sent, now)
        for sent_at in sent:
            alone.observe(sent_at, now, found(None))
        assert together.ready(now) == alone.ready(now)

    assert together.in_flight == alone.in_flight == 0
    assert vars(together._rate) == vars(alone._rate)
    assert vars(together._in_flight) == vars(alone._in_flight)


def test_an_open_breaker_observes_one_by_one() -> None:
    """Take no songs together while it is to be found out whether the upstream is there."""
    controller = RateController(0.0, 64)
    controller.send(NOW, 12)
    for _ in range(12):
        controller.observe(NOW, NOW + 1, retry("http_503"))

    assert not controller.observe_found([NOW], NOW + 1)


def test_retries_are_held_back_where_most_fail() -> None:
    """Spend on trying again what was saved, and what successes and time earn."""
    budget = RetryBudget()
    budget.ready(NOW)
    budget.spend(int(MOST))
    count, at = budget.ready(NOW)
    assert count == 0
    assert at == pytest.approx(NOW + 1 / FREE_PER_SECOND)
    budget.earn(2)

    assert budget.ready(NOW)[0] == 1
    assert budget.ready(NOW + 1)[0] == 1 + FREE_PER_SECOND


def test_rate_without_a_limit_is_half_believed() -> None:
    """Begin at half of what an earlier run reached that met no limit, unless something went out already."""
    learned = LearnedRate(per_second=1000.0, in_flight=80)
    controller, begun = RateController(0.0, 100), RateController(0.0, 100)
    begun.send(NOW)
    for each in (controller, begun):
        each.start_from(learned)

    assert controller._rate.per_second == 500
    assert begun._rate.per_second == START_PER_SECOND
    assert RateController().learned() is None


def test_control_costs_little() -> None:
    """Take a few microseconds a song; the promise is 3, a busy machine is granted five times that."""
    controller = RateController(0.0, 100)
    verdict, songs = found(1), 20_000
    best = math.inf
    for _ in range(3):
        started = time.process_time()
        for song in range(songs):
            now = NOW + song / 2000
            if controller.ready(now)[0]:
                controller.send(now)
                controller.observe(now - 0.02, now, verdict)
        best = min(best, time.process_time() - started)

    assert best / songs < 15e-6
