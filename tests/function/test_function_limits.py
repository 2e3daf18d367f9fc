"""What the function promises to the API and to its caller's clock: rates, requests in flight, deadlines, refusals."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, error, hang, song
from support.deployed import deployed


def counts(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    """Take the four counts from an answer."""
    return answer["found"], answer["missing"], answer["failed"], answer["remaining"]


class Budget:
    """Serve so many requests, whichever come first."""

    def __init__(self, requests: int) -> None:
        self._left = iter(range(requests))
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one; False if there is none left."""
        with self._lock:
            return next(self._left, None) is not None


@pytest.mark.parametrize(
    ("setting", "parameters"),
    [("40", {}), ("0", {"max_per_second": "40"})],
    ids=["setting", "parameter"],
)
def test_max_per_second_is_kept(tmp_path: Path, setting: str, parameters: dict[str, Any]) -> None:
    """Send no more requests in any second than the ceiling, a burst of 4 % included, and use what it allows."""
    with (
        Upstream() as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, MAX_PER_SECOND=setting) as function,
    ):
        answer = function.crawl("1-50", **parameters)
        times = [request.time for request in upstream.requests]

    assert upstream.count() == 50
    # What leaves evenly may arrive bunched on a busy machine: the whole tells more than its busiest second.
    assert times[-1] - times[0] > 49 / 40 * 0.9
    assert upstream.peak_per_second() <= 40 * 1.04 + 6
    assert answer["elapsed_seconds"] < 30


@pytest.mark.parametrize(
    ("setting", "parameters"), [("3", {}), ("100", {"max_at_once": 3})], ids=["setting", "parameter"]
)
def test_max_at_once_is_kept(tmp_path: Path, setting: str, parameters: dict[str, Any]) -> None:
    """Have as many requests in flight as the ceiling allows, and never one more."""
    three = threading.Barrier(3)
    met = threading.Event()

    def pages(song_num: int, _nth: int) -> Page:
        if not met.is_set():
            three.wait(30)  # the first are answered only once three are there
            met.set()
        return song(song_num).after(0.01)

    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url, MAX_AT_ONCE=setting) as function:
        answer = function.crawl("1-30", **parameters)

    assert counts(answer) == (30, 0, 0, 0)
    assert upstream.most_at_once == 3


def test_a_deadline_leaves_exactly_the_rest(tmp_path: Path) -> None:
    """Answer 503 with exact counts when the time is over, and let the same call continue where it ended.

    What was fetched stays and is not asked for again; what was on its way is not failed.
    """
    served, open_again = Budget(35), threading.Event()

    def pages(song_num: int, _nth: int) -> Page:
        return song(song_num) if open_again.is_set() or served.take() else hang()

    settings = {"PART_SONGS": "10", "MAX_AT_ONCE": "5", "REQUEST_TIMEOUT_SECONDS": "600"}
    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url, **settings) as function:
        partial = function.call("1-60", deadline_seconds=4)
        stored, sent = function.objects(), upstream.count()
        open_again.set()
        complete = function.crawl("1-60")
        rows = function.audited(complete["run"])

    answer = partial.json()
    assert (partial.status_code, partial.headers["Retry-After"]) == (503, "1")
    assert partial.elapsed.total_seconds() < 30
    assert (answer["state"], counts(answer)) == ("partial", (35, 0, 0, 25))
    assert "same call again" in answer["detail"]
    assert f"runs/{answer['run']}/manifest.json" not in stored
    assert stored.items() <= function.objects().items()
    assert (complete["run"], counts(complete)) == (answer["run"], (60, 0, 0, 0))
    assert [(row["song_num"], row["status"]) for row in rows] == [(n, "found") for n in range(1, 61)]
    assert (sent, upstream.count()) == (40, 40 + 25)


@pytest.mark.parametrize("status", [401, 407])
def test_an_upstream_that_refuses_us_costs_no_song(tmp_path: Path, status: int) -> None:
    """Answer 503 with a sentence when the API wants other credentials, mark nothing failed, and continue later."""
    served, let_in = Budget(25), threading.Event()

    def pages(song_num: int, _nth: int) -> Page:
        return song(song_num) if let_in.is_set() or served.take() else error(status)

    settings = {"PART_SONGS": "10", "MAX_AT_ONCE": "1"}
    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url, **settings) as function:
        refused = function.call("1-60", run="careful")
        sent = upstream.count()
        let_in.set()
        complete = function.crawl("1-60", run="careful")

    answer = refused.json()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert (answer["state"], counts(answer)) == ("partial", (25, 0, 0, 35))
    assert answer["detail"].startswith(f"The upstream answers {status}: ")
    assert counts(complete) == (60, 0, 0, 0)
    assert 26 < sent <= 40  # a known song was asked for now and then
    assert upstream.count() == sent + 35
