"""Whose fault a failure is: a song's own only if a song known to be there still comes; in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from support.limiters import (
    Answer,
    ConnectionLimit,
    Evasive,
    FixedWindow,
    LeakyBucket,
    SlidingWindow,
    crawl_virtually,
)

from crawler.core.errors import UpstreamUnavailable
from crawler.core.verdict import Kind, Verdict, found, refused, retry, throttled
from crawler.upstream.builtin_rules import judge_status

FORBIDDEN, UNAUTHORIZED, ABSENT = (judge_status(status) for status in (403, 401, 404))
UNAVAILABLE, BROKEN = retry("http_503"), retry("http_500")
NO_NAME = refused("The upstream's host name can't be resolved.", "dns")
# How a declared song and a function of one's own meet the same status.
BOTH = pytest.mark.parametrize("forbidden", [FORBIDDEN, retry("http_403")], ids=["declared", "function"])


class Passing(Protocol):
    """A limiter."""

    def passes(self, now: float) -> bool:
        """Take a request."""


def limited(limiter: Passing, refusal: Verdict, latency: float = 0.005) -> Answer:
    """Answer with a song what a limiter lets pass, and refuse the rest."""
    return lambda now, _song: (found(1), latency) if limiter.passes(now) else (refusal, 0.003)


@BOTH
def test_firewall_in_mid_run_fails_nothing(forbidden: Verdict) -> None:
    """End the call as partial where everything is refused from some song on, known ones too."""
    crawled = crawl_virtually(range(100), lambda now, _: found(1) if now < 0.1 else forbidden)

    assert crawled.counts.keys() == {"found"}
    assert isinstance(crawled.error, UpstreamUnavailable)
    assert "http_403" in str(crawled.error)
    assert len(crawled.asked) < 60


@BOTH
@pytest.mark.parametrize("ends", [2, 20, 60])
def test_call_goes_on_when_the_refusal_ends(forbidden: Verdict, ends: float) -> None:
    """Find all songs of an upstream that refuses all of them for a while."""
    crawled = crawl_virtually(range(100), lambda now, _: forbidden if 0.1 < now < ends else found(1))

    assert crawled.counts == {"found": 100}
    assert crawled.seconds < ends + 30


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNAUTHORIZED, BROKEN, retry("invalid_json"), NO_NAME])
def test_refusal_of_everything_from_the_first_is_not_done(refusal: Verdict) -> None:
    """Leave a run of many songs undone that met one refusal and nothing else."""
    crawled = crawl_virtually(range(500), lambda _now, _song: refusal)

    assert crawled.outcomes == {}
    assert isinstance(crawled.error, UpstreamUnavailable)
    assert crawled.seconds < 30


@pytest.mark.parametrize(("refusal", "word"), [(FORBIDDEN, "http_403"), (UNAUTHORIZED, "http_401")])
def test_few_songs_are_not_held_back_for_want_of_a_known_one(refusal: Verdict, word: str) -> None:
    """Fail a handful of songs that are refused where no song is known."""
    crawled = crawl_virtually(range(5), lambda _now, _song: refusal, withholds=False)

    assert crawled.counts == {word: 5}
    assert crawled.error is None


@pytest.mark.parametrize("withholds", [True, False])
def test_known_song_of_the_store_tells(withholds: bool) -> None:
    """Fail refused songs where one that an earlier run found still comes, and none where that is refused too."""
    private = crawl_virtually(
        range(30), lambda _now, song: found(1) if song == 77 else FORBIDDEN, known=[77], withholds=withholds
    )
    closed = crawl_virtually(range(30), lambda _now, _song: FORBIDDEN, known=[77], withholds=withholds)

    assert private.counts == {"http_403": 30}
    assert closed.outcomes == {}
    assert isinstance(closed.error, UpstreamUnavailable)


def test_known_songs_that_are_gone_are_replaced() -> None:
    """Ask the next known song where one is missing now."""
    answers = {77: ABSENT, 78: ABSENT, 79: found(1)}
    crawled = crawl_virtually(range(30), lambda _now, song: answers.get(song, FORBIDDEN), known=[77, 78, 79])

    assert crawled.counts == {"http_403": 30}


def test_private_songs_fail_and_the_others_come() -> None:
    """Fail drafts that are answered 401 among public posts, and complete."""

    def post(_now: float, number: int) -> Verdict:
        if number in (1, 4, 10):
            return found(1)
        return UNAUTHORIZED if 5 <= number <= 9 else ABSENT

    crawled = crawl_virtually(range(1, 21), post)

    assert crawled.counts == {"found": 3, "missing": 12, "http_401": 5}
    assert crawled.seconds < 5


@pytest.mark.parametrize("private", [lambda song: song % 2, lambda song: 100 <= song < 600], ids=["half", "a row"])
def test_many_private_songs_cost_little(private: Callable[[int], bool]) -> None:
    """Fail hundreds of songs that are always refused, at a seventh more requests, in little more time."""
    crawled = crawl_virtually(range(1000), lambda _now, song: FORBIDDEN if private(song) else found(1))

    assert crawled.counts == {"found": 500, "http_403": 500}
    assert len(crawled.asked) < 1150
    assert crawled.seconds < 13


LIMITERS: dict[str, tuple[Passing, Verdict, float, int, float]] = {
    "limit_req": (LeakyBucket(10), UNAVAILABLE, 0.005, 400, 57.0),
    "limit_req, burst": (LeakyBucket(2, 5), UNAVAILABLE, 0.005, 40, 28.6),
    "limit_conn": (ConnectionLimit(2, 0.15), UNAVAILABLE, 0.15, 1000, 200.0),
    "ratelimit": (FixedWindow(10, 5), FORBIDDEN, 0.005, 200, 143.0),
    "ratelimit, function": (FixedWindow(10, 5), retry("http_403"), 0.005, 200, 143.0),
    "evasive": (Evasive(), FORBIDDEN, 0.005, 300, 60.0),
    "deny": (SlidingWindow(20, 5), FORBIDDEN, 0.005, 200, 90.0),
}


@pytest.mark.parametrize(("limiter", "refusal", "latency", "songs", "most"), LIMITERS.values(), ids=LIMITERS)
def test_limit_in_disguise_is_found(
    limiter: Passing, refusal: Verdict, latency: float, songs: int, most: float
) -> None:
    """Find every song behind limits that do not call themselves so, at few refused requests, soon enough."""
    crawled = crawl_virtually(range(songs), limited(limiter, refusal, latency))

    assert crawled.counts == {"found": songs}
    assert crawled.seconds < most
    assert songs < 100 or crawled.refused_share(refusal.error or "") <= 0.15


def test_tarpit_fails_nothing() -> None:
    """Find every song where 500 comes after two seconds to who asks too often."""
    limiter = SlidingWindow(20, 5)
    crawled = crawl_virtually(range(40), lambda now, _: (found(1), 0.005) if limiter.passes(now) else (BROKEN, 2.0))

    assert crawled.counts == {"found": 40}


def test_failures_by_chance_are_no_limit() -> None:
    """Go on at full speed where three in ten requests fail whatever the rate."""
    chance = random.Random(3)
    crawled = crawl_virtually(range(3000), lambda _now, _song: UNAVAILABLE if chance.random() < 0.3 else found(1))

    assert crawled.counts["found"] > 2900
    assert crawled.seconds < 60


@pytest.mark.parametrize("song", [1, 500, 1000])
@pytest.mark.parametrize("refusal", [throttled("http_429"), throttled("http_429", 3600.0), retry("http_503", 3600.0)])
def test_one_song_that_is_always_throttled_delays_nobody(song: int, refusal: Verdict) -> None:
    """Find all the others, in the time it takes without it, and fail that one with the word it is refused with."""
    crawled = crawl_virtually(range(1, 1001), lambda _now, number: refusal if number == song else found(1))

    assert crawled.counts == {"found": 999, refusal.error: 1}
    assert crawled.outcomes[song].kind is Kind.FAILED
    assert crawled.seconds < (14 if song < 1000 else 30)  # the last one has nobody beside it
    assert sum(number == song for _, number, _ in crawled.asked) <= 8


def test_pause_that_is_told_to_all_is_kept() -> None:
    """Ask a known song once in a pause of a minute, and nothing else before it is over."""
    crawled = crawl_virtually(
        range(500), lambda now, _: throttled("http_429", 62.0 - now) if 2 <= now < 62 else found(1)
    )
    inside = [now for now, _, _ in crawled.asked if 2.05 < now < 62]

    assert crawled.counts == {"found": 500}
    assert len(inside) <= 1


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_short_failure_of_the_name_server_fails_nothing(seconds: float) -> None:
    """Look up the name again where it can't be resolved for a moment at the beginning."""
    crawled = crawl_virtually(range(50), lambda now, _: NO_NAME if now < seconds else found(1))

    assert crawled.counts == {"found": 50}


def test_long_row_of_missing_songs_is_confirmed() -> None:
    """Ask a known song now and then in a long row of 404s, and believe them while it comes."""
    crawled = crawl_virtually(range(3000), lambda _now, song: ABSENT if song >= 1000 else found(1))

    assert crawled.counts == {"found": 1000, "missing": 2000}
    assert len(crawled.asked) <= 3020


def test_missing_songs_are_not_believed_where_known_ones_are_missing_too() -> None:
    """End the call as partial, nothing missing, where three songs that were found are missing now."""
    crawled = crawl_virtually(range(3000), lambda now, _: ABSENT if now > 5 else found(1))

    assert crawled.counts.keys() == {"found"}
    assert "missing" in str(crawled.error)


def test_missing_songs_are_believed_where_none_is_known() -> None:
    """Complete a run of 404s alone."""
    crawled = crawl_virtually(range(300), lambda _now, _song: ABSENT)

    assert crawled.counts == {"missing": 300}
    assert len(crawled.asked) == 300


def test_all_found_costs_no_request_more() -> None:
    """Send one request a song where all are found."""
    asked: list[Any] = [song for _, song, _ in crawl_virtually(range(1000), lambda _now, _song: found(1)).asked]

    assert asked == list(range(1000))
