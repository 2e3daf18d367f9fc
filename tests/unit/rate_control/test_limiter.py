"""Check the door through which requests go out: ceilings hold over all calls, and each call's own on top."""

from __future__ import annotations

import math
import threading

from support.fakes import PlainController

from crawler.core.verdict import found, throttled
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import LOOK_SECONDS, Limiter

NOW = 1000.0


def let_out(limiter: Limiter, most: int, now: float = NOW) -> int:
    """Let out as many as may go."""
    with limiter:
        count = int(min(most, limiter.ready(now, 0)[0]))
        limiter.send(now, count)
    return count


def test_calls_share_what_may_be_in_flight() -> None:
    """Let no call out more than the others leave, and more once theirs have come back."""
    one = Limiter(PlainController(max_at_once=5))
    other = one.narrowed(Ceiling(max_at_once=4))

    assert [let_out(other, 10), let_out(one, 10), let_out(other, 10)] == [4, 1, 0]
    with one:
        one.observe(NOW, NOW, found(1))
    assert let_out(other, 10) == 0  # its own four are still on their way
    assert let_out(one, 10) == 1


def test_calls_share_the_rate() -> None:
    """Keep the ceiling of requests a second over all calls, and a call's lower one."""
    one = Limiter(PlainController(max_per_second=100))
    slow = one.narrowed(Ceiling(max_per_second=10))
    sent = {one: 0, slow: 0}
    for millisecond in range(1000):
        for limiter in (slow, one):
            sent[limiter] += let_out(limiter, 1, NOW + millisecond / 1000)

    assert sent[slow] == 10
    assert 98 <= sum(sent.values()) <= 104


def test_one_call_at_a_time_is_at_the_door() -> None:
    """Keep another call out while one counts what it lets out."""
    one = Limiter(PlainController(max_at_once=1))
    other = one.narrowed(Ceiling())
    passed = threading.Thread(target=lambda: let_out(other, 1))
    with one:
        passed.start()
        passed.join(0.2)
        kept_out = passed.is_alive()
        one.send(NOW, 1)
    passed.join()

    assert kept_out
    with one:
        assert one.controller.in_flight == 1


def test_who_waits_for_another_call_looks_again() -> None:
    """Name an instant where only another call's answers make room; none where the caller's own do."""
    limiter = Limiter(PlainController(max_at_once=2))
    let_out(limiter, 2)

    with limiter:
        assert limiter.ready(NOW, mine=2) == (0, math.inf)
        assert limiter.ready(NOW, mine=1) == (0, NOW + LOOK_SECONDS)


def test_a_pause_holds_for_all_calls() -> None:
    """Keep to what the upstream says of when, whichever call asked."""
    one = Limiter(PlainController())
    other = one.narrowed(Ceiling())
    let_out(other, 1)
    with other:
        other.observe(NOW, NOW, throttled("http_429", 7.0))

    with one:
        assert one.ready(NOW + 1, 0) == (0, NOW + 7)


def test_what_was_cut_off_is_released() -> None:
    """Let out as many requests again as were cut off."""
    limiter = Limiter(PlainController(max_at_once=3))
    let_out(limiter, 3)
    with limiter:
        limiter.release(2)

    assert let_out(limiter, 9) == 2


def test_songs_found_together_come_back_under_every_ceiling() -> None:
    """Let as many requests out again as came back found, where a call has a ceiling of its own too."""
    limiter = Limiter(RateController()).narrowed(Ceiling(0.0, 2))
    with limiter:
        limiter.send(100.0, 2)
        full = limiter.ready(100.1, 2)[0]
        assert limiter.observe_found([100.0, 100.0], 100.2)

        assert (full, limiter.ready(100.3, 0)[0]) == (0, 2)
