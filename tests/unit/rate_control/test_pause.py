"""Check the pauses that an upstream asks for: they teach no rate, grow where they are too short, and end."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from support.virtual import Bucket, Sent, VirtualUpstream, between, send

from crawler.core.verdict import Kind, Verdict, found, retry, throttled
from crawler.rate_control.controller import RateController

NOW = 1000.0


class Disguised(VirtualUpstream):
    """Refuse by 503 with a Retry-After, as some limiters do, in place of 429."""

    def ask(self, now: float) -> tuple[Verdict, float]:
        """Give the answer, and when it comes."""
        verdict, comes = super().ask(now)
        return (retry("http_503", self.retry_after) if verdict.kind is Kind.THROTTLED else verdict), comes


class Block(VirtualUpstream):
    """Block for ten seconds after forty songs, and as long again whenever somebody asks meanwhile."""

    served, until = 0, -1.0

    def ask(self, now: float) -> tuple[Verdict, float]:
        """Give the answer, and when it comes."""
        blocked = now < self.until
        self.served += not blocked
        if blocked or self.served % 40 == 0:
            self.until = now + 10
        return throttled("http_429", 0.0) if blocked else found(1), now + self.latency


def refuse(controller: RateController, now: float, verdict: Verdict) -> float:
    """Have one request refused, and give when the next may go out."""
    controller.send(now)
    controller.observe(now, now, verdict)
    return controller.ready(now)[1]


@pytest.mark.parametrize("seed", range(3))
def test_pause_of_an_outage_is_no_quota(seed: int) -> None:
    """Go on at the rate of before where a 503 named waits of 5 s for 20 s."""
    upstream = VirtualUpstream(random.Random(seed), 0.02, down=(5, 25), down_retry_after=5.0)
    sent = send(upstream, 120, 1500, RateController(100, 100, upstream.chance.random))

    assert len(sent.found) == 1500
    assert sent.found[-1] <= 36
    assert between(sent.found, 27, 28) >= 95


@pytest.mark.parametrize("latency", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("seconds", [1.0, 0.0])
def test_quota_that_refuses_by_503_is_found(latency: float, seconds: float) -> None:
    """Slow down for a 503 with a Retry-After, be it 0, where others were served meanwhile or between."""
    upstream = Disguised(random.Random(1), latency, Bucket((0, 50)), seconds)
    sent: Sent = send(upstream, 60, 1000)

    assert len(sent.found) == 1000
    assert sent.found[-1] <= 22
    assert len(sent.failed) <= 60


def test_block_that_asking_prolongs_ends() -> None:
    """Get past a block of ten seconds, though each request begins it anew and names no time."""
    sent = send(Block(random.Random(1), 0.02), 300, 100)

    assert len(sent.found) == 100
    assert len(sent.rejected) <= 40


def test_pause_that_is_too_short_grows() -> None:
    """Wait longer each time where whoever waited as told is refused again, and as told once something came."""
    controller, instants = RateController(), [NOW]
    for _ in range(8):
        instants.append(refuse(controller, instants[-1], throttled("http_429", 1.0)))
    waits = [after - before for before, after in pairwise(instants)]
    controller.send(instants[-1])
    controller.observe(instants[-1], instants[-1], found(1))

    assert waits == pytest.approx([1, 1, 1, 1, 2, 4, 8, 16])
    assert refuse(controller, NOW + 90, throttled("http_429", 1.0)) == pytest.approx(NOW + 91)


def test_good_answer_may_ask_for_a_pause() -> None:
    """Send nothing for as long as a good answer asks, whatever comes back meanwhile, then as fast as before."""
    controller = RateController()
    controller.send(NOW, 2)
    before = controller._rate.per_second
    controller.observe(NOW, NOW + 0.1, Verdict(Kind.FOUND, 1, retry_after=2.0))
    controller.observe(NOW, NOW + 0.2, found(1))

    assert controller.ready(NOW + 2) == (0, NOW + 2.1)
    assert controller.ready(NOW + 2.1)[0] >= 1
    assert controller._rate.per_second >= before


def test_next_call_asks_once_in_a_long_pause() -> None:
    """Let one request out after a call gave up for a pause of hours: it ends the pause, or is told a new one."""
    controller = RateController()
    refuse(controller, NOW, throttled("http_429", 100_000.0))
    assert controller.ready(NOW + 1)[0] == 0
    reason = controller.hopeless(NOW + 1, NOW + 60)
    asks = controller.ready(NOW + 9)[0]
    controller.send(NOW + 9)

    assert reason
    assert reason.retry_after == 86_399
    assert asks == 1
    assert controller.ready(NOW + 9) == (0, NOW + 86_400)
    controller.observe(NOW + 9, NOW + 9.1, found(1))
    assert controller.ready(NOW + 10)[0] >= 1
