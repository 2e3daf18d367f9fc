"""Check deadlines and the time of a call: instants on a clock that tests set themselves."""

from __future__ import annotations

import math

import pytest

from crawler.core.deadline import CallTime, Deadline


@pytest.mark.parametrize(
    ("now", "remaining", "passed"),
    [
        pytest.param(100.0, 10.0, False, id="when it is set"),
        pytest.param(109.5, 0.5, False, id="just before"),
        pytest.param(110.0, 0.0, True, id="at the instant"),
        pytest.param(500.0, 0.0, True, id="long after"),
    ],
)
def test_counts_down_to_its_instant(now: float, remaining: float, passed: bool) -> None:
    """Give the seconds left, never below zero, and be passed from the instant on."""
    deadline = Deadline.after(100.0, 10.0)

    assert deadline.remaining(now) == remaining
    assert deadline.passed(now) is passed


def test_a_reserve_makes_it_earlier() -> None:
    """Keep a reserve by an earlier deadline; the first one stays as it was."""
    deadline = Deadline.after(100.0, 10.0)

    assert deadline.less(3.0) == Deadline(107.0)
    assert deadline == Deadline(110.0)


def test_no_deadline_never_passes() -> None:
    """Leave for ever unless an instant is given, reserve or not."""
    deadline = Deadline().less(15.0)

    assert not deadline.passed(1e18)
    assert deadline.remaining(1e18) == math.inf


@pytest.mark.parametrize(
    ("seconds", "working", "store"),
    [
        pytest.param(1.0, 0.4, 0.95, id="two fifths of a call too short for more"),
        pytest.param(3.0, 1.2, 2.85, id="two fifths of a short call"),
        pytest.param(10.0, 8.0, 9.5, id="a reserve of 2 s at least"),
        pytest.param(60.0, 54.0, 59.5, id="a reserve of a tenth"),
        pytest.param(1800.0, 1785.0, 1799.5, id="a reserve of 15 s at most"),
        pytest.param(math.inf, math.inf, math.inf, id="no end"),
    ],
)
def test_the_time_of_a_call_keeps_reserves(seconds: float, working: float, store: float) -> None:
    """Fetch songs until a reserve is left for the last commits, and leave a moment where the store does not answer."""
    time = CallTime(100.0, seconds)

    assert time.end.at == 100.0 + seconds
    assert time.working_seconds == pytest.approx(working)
    assert time.working_end.at == pytest.approx(100.0 + working)
    assert time.store_end.at == pytest.approx(100.0 + store)
