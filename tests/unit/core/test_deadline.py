"""Check deadlines: instants on a clock that tests set themselves."""

from __future__ import annotations

import math

import pytest

from crawler.core.deadline import Deadline


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
