"""Check the pacer in virtual time: the ceiling holds in any second, and what it allows is used."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rate_control.ceiling import Pacer

RATES = [0.1, 0.5, 1, 1.5, 3, 10, 19, 20, 24, 25, 25.5, 26, 27, 30, 33.3, 40, 49, 50, 55, 99.9, 100, 250.5, 1000, 5000]


def send(pacer: Pacer, wanted: Iterable[float]) -> list[float]:
    """Send a request for every instant at which one is wanted, as early as the pacer lets it; returns the instants."""
    sent = []
    now = -math.inf
    for instant in wanted:
        now = max(now, instant, pacer.ready_at())
        pacer.send(now)
        sent.append(now)
    return sent


def most_in_a_second(sent: list[float]) -> int:
    """Count the requests of the fullest second."""
    # A millionth less than a second: sums of intervals are off by some 1e-12.
    return max(bisect_left(sent, start + 1 - 1e-6) - index for index, start in enumerate(sent))


def allowed_in_a_second(rate: float) -> float:
    """Return what the contract promises: 5 % over the ceiling at most; a request is whole, however low the ceiling."""
    return max(math.ceil(rate), 1.05 * rate)


@pytest.mark.parametrize("rate", RATES)
def test_no_second_has_more_than_the_ceiling(rate: float) -> None:
    """Keep the ceiling, plus 5 %, in any second of a crawl that always has a song to ask for."""
    sent = send(Pacer(rate), [1000.0] * int(5 * rate + 10))

    assert most_in_a_second(sent) <= allowed_in_a_second(rate)


@pytest.mark.parametrize("rate", RATES)
def test_no_second_has_more_after_idle_time(rate: float) -> None:
    """Keep the ceiling also where nothing was sent for a while: what was not used does not pile up."""
    songs = int(2 * rate + 2)
    sent = send(Pacer(rate), [1000.0] * songs + [2000.0] * songs)

    assert most_in_a_second(sent) <= allowed_in_a_second(rate)
    assert sum(instant < 2000.0 for instant in sent) == songs


@given(
    st.floats(0.2, 300),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), min_size=1, max_size=20),
    st.lists(st.floats(0, 0.3), min_size=1, max_size=7),
)
def test_no_second_has_more_however_songs_come(
    rate: float, bursts: list[tuple[float, int]], delays: list[float]
) -> None:
    """Keep the ceiling where songs come in bursts and whoever sends them wakes too late."""
    pacer = Pacer(rate)
    sent: list[float] = []
    now = 50.0
    for idle, songs in bursts:
        now += idle
        for _ in range(songs):
            now = max(now, pacer.ready_at() + delays[len(sent) % len(delays)])
            pacer.send(now)
            sent.append(now)

    assert most_in_a_second(sent) <= allowed_in_a_second(rate)


@pytest.mark.parametrize("rate", RATES)
def test_the_ceiling_is_reached(rate: float) -> None:
    """Send as many as the ceiling allows while there are songs."""
    songs = int(20 * rate + 20)
    sent = send(Pacer(rate), [0.0] * songs)

    assert (songs - 1) / (sent[-1] - sent[0]) >= 0.999 * rate


@pytest.mark.parametrize("rate", [25, 30, 100, 1000])
def test_a_late_wake_is_made_up_for(rate: int) -> None:
    """Reach the ceiling though every request goes out half an interval too late."""
    pacer = Pacer(rate)
    sent = []
    for _ in range(10 * rate):
        sent.append(pacer.ready_at() + 0.5 / rate)
        pacer.send(sent[-1])

    assert len(sent) / (sent[-1] - sent[0]) >= 0.99 * rate


def test_a_rate_of_zero_is_no_ceiling() -> None:
    """Let every request go at once."""
    assert send(Pacer(0), [5.0] * 1000) == [5.0] * 1000


@pytest.mark.parametrize("rate", RATES)
def test_as_many_go_at_once_as_would_one_by_one(rate: float) -> None:
    """Allow at one instant what a caller who asks again and again would get."""
    together, singly = Pacer(rate), Pacer(rate)
    for now in (1000.0, 1000.4, 1003.0):
        allowed = int(together.allowance(now))
        together.send(now, allowed)
        one_by_one = 0
        while singly.ready_at() <= now:
            singly.send(now)
            one_by_one += 1

        assert allowed == one_by_one


def test_any_number_goes_where_there_is_no_ceiling() -> None:
    """Allow everything at any instant."""
    assert Pacer(0).allowance(1007.0) == math.inf


@pytest.mark.parametrize("rate", [each for each in RATES if each >= 1])
def test_one_that_follows_another_adds_nothing_to_its_seconds(rate: float) -> None:
    """Keep the ceiling of any second in which one pacer ends, wherever it does, and another goes on."""
    for over in (4.0, 4.3, 4.9999):
        before = [instant for instant in send(Pacer(rate, 0.0), [0.0] * int(9 * rate)) if instant <= over]
        after = send(Pacer(rate, over), [over] * int(9 * rate))

        assert most_in_a_second(before + after) <= allowed_in_a_second(rate)


def test_one_that_follows_a_slow_one_waits_a_second_at_the_most() -> None:
    """Get further in every task, however low the ceiling: a second apart is in no second together."""
    assert Pacer(0.001, since=50.0).ready_at() == 51.0
    assert Pacer(0, since=50.0).ready_at() == 50.0
