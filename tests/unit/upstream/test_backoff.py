"""Check how long a song waits before it is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.upstream.backoff import backoff


@pytest.mark.parametrize(
    ("attempt", "throttles", "least", "most"),
    [
        pytest.param(1, 0, 0.0, 0.05, id="the first failure"),
        pytest.param(2, 0, 0.0, 0.1, id="the second doubles"),
        pytest.param(3, 0, 0.0, 0.2, id="the third doubles again"),
        pytest.param(9, 0, 0.0, 12.8, id="the ninth"),
        pytest.param(10, 0, 0.0, 20.0, id="20 s at most"),
        pytest.param(5000, 0, 0.0, 20.0, id="a count too large for a power of two"),
        pytest.param(1, 1, 0.5, 1.0, id="the first throttle"),
        pytest.param(1, 2, 1.0, 2.0, id="the second throttle doubles"),
        pytest.param(3, 5, 8.0, 16.0, id="throttles count, not attempts"),
        pytest.param(1, 6, 10.0, 20.0, id="20 s at most for throttles"),
        pytest.param(1, 5000, 10.0, 20.0, id="a count of throttles too large for a power of two"),
    ],
)
def test_backoff_doubles_up_to_a_limit(attempt: int, throttles: int, least: float, most: float) -> None:
    """Wait anything up to the limit after a failure, at least half of it after a throttle."""
    assert backoff(attempt, throttles, lambda: 0.0) == pytest.approx(least)
    assert backoff(attempt, throttles, lambda: 1.0) == pytest.approx(most)


@given(st.integers(1, 100), st.integers(0, 1000), st.floats(0, 1))
def test_backoff_stays_within_its_bounds(attempt: int, throttles: int, drawn: float) -> None:
    """Wait neither a negative time nor more than 20 s; after a throttle half a second at least."""
    seconds = backoff(attempt, throttles, lambda: drawn)

    assert (0.5 if throttles else 0.0) <= seconds <= 20.0
