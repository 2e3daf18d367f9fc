"""Calls after calls and calls at once: what a warm instance must keep up for weeks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, missing, song, songs_to
from support.deployed import Deployed, deployed, linux, open_files, threads_of
from support.runs import figures
from support.stored import Rows


def counts(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    """Take the four counts from an answer."""
    return answer["found"], answer["missing"], answer["failed"], answer["remaining"]


def expected(song_nums: range, last: int = 100) -> Rows:
    """Give the rows of an API that holds the songs 1 to `last`."""
    return [
        {"song_num": n, "status": "found", "info": {"id": n, "title": f"Song {n}"}}
        if 1 <= n <= last
        else {"song_num": n, "status": "missing", "info": None}
        for n in song_nums
    ]


def test_the_same_call_again_sends_nothing(function: Deployed, upstream: Upstream) -> None:
    """Answer a call that was carried out before from the store, word for word, without a request to the API."""
    first = function.crawl("1-120")
    requests_before = upstream.count()
    again = function.crawl("1-120")
    objects = function.objects()
    reordered = function.crawl("61-120,1-60,5")

    assert requests_before in (120, 121)  # perhaps a known song, whether the missing ones are
    assert counts(first) == (100, 20, 0, 0)
    assert figures(again) == figures(first) == figures(reordered)
    assert upstream.count() == requests_before
    assert function.objects() == objects
    assert function.audited(first["run"]) == expected(range(1, 121))


def test_a_cold_instance_knows_what_another_did(upstream: Upstream, tmp_path: Path) -> None:
    """Answer from the store also where another instance crawled, with nothing of its own in memory."""
    answers = []
    for _ in range(2):
        with deployed(tmp_path, SONG_URL=upstream.url) as instance:
            answers.append(instance.crawl("1-20"))

    assert figures(answers[0]) == figures(answers[1])
    assert upstream.count() == 20


@linux
def test_fifty_calls_leave_a_warm_instance_as_it_was(tmp_path: Path) -> None:
    """Give with fifty names what the first gave, and hold no more threads or files after the last than before."""
    all_there = threading.Barrier(4)

    def pages(song_num: int, nth: int) -> Page:
        if song_num == 1000:
            all_there.wait(60)  # four calls wait for each other, so that each of the server's threads is there
        return songs_to(100)(song_num, nth)

    with (
        Upstream(pages) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, THREADS="4") as function,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda n: function.crawl("91-105,1000", run=f"warm-{n}"), range(4)))
        before = fewest(function.worker(), 0.5)
        answers = [counts(function.crawl("96-105", run=f"run-{n}")) for n in range(50)]
        after = fewest(function.worker(), 10, before)
        rows = [function.audited(f"run-{n}") for n in range(50)]

    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert answers == [(5, 5, 0, 0)] * 50
    assert rows == [expected(range(96, 106))] * 50
    assert upstream.count() == 4 * 16 + 50 * 10


def fewest(pid: int, seconds: float, enough: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Count threads and open files, the fewest seen in a while: the last of a call may outlive its answer a moment."""
    end, least = time.monotonic() + seconds, (threads_of(pid), open_files(pid))
    while time.monotonic() < end and (least[0] > enough[0] or least[1] > enough[1]):
        least = min(least[0], threads_of(pid)), min(least[1], open_files(pid))
    return least


def test_four_calls_at_once_do_not_disturb_each_other(function: Deployed, upstream: Upstream) -> None:
    """Give each of four calls at the same moment its own run, exact to the row."""
    wanted = {"a": range(1, 61), "b": range(41, 101), "c": range(91, 151), "d": range(101, 161)}
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = pool.map(lambda run: function.crawl(f"{wanted[run][0]}-{wanted[run][-1]}", run=run), wanted)
        found = {answer["run"]: counts(answer) for answer in answers}

    assert found == {"a": (60, 0, 0, 0), "b": (60, 0, 0, 0), "c": (10, 50, 0, 0), "d": (0, 60, 0, 0)}
    assert {run: function.audited(run) for run in wanted} == {run: expected(nums) for run, nums in wanted.items()}
    assert 240 <= upstream.count() <= 244  # perhaps known songs, whether the missing ones are


def test_a_call_that_waits_does_not_disturb_others(tmp_path: Path) -> None:
    """Serve other calls while one waits for an API that takes its time."""
    answer_now = threading.Event()

    def pages(song_num: int, _nth: int) -> Page:
        if song_num == 50:
            answer_now.wait(60)
        return songs_to(100)(song_num, 1)

    with (
        Upstream(pages) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, REQUEST_TIMEOUT_SECONDS="60") as function,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(function.crawl, 50)
        upstream.wait_for(1)
        others = [counts(function.crawl("95-104", run=f"other-{n}")) for n in range(3)]
        waited = not waiting.done()
        answer_now.set()

        assert waited
        assert others == [(6, 4, 0, 0)] * 3
        assert counts(waiting.result()) == (1, 0, 0, 0)


def test_identical_calls_at_the_same_moment_are_one_run(tmp_path: Path) -> None:
    """Store every row once when a trigger fires twice, and give both callers the same answer."""
    with (
        Upstream(lambda n, _: song(n).after(0.02) if n <= 50 else missing()) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, PART_SONGS="10", MAX_AT_ONCE="5") as function,
        ThreadPoolExecutor(3) as pool,
    ):
        answers = list(pool.map(lambda _: function.crawl("1-60"), range(3)))
        assert {counts(answer) for answer in answers} == {(50, 10, 0, 0)}
        assert len({answer["run"] for answer in answers}) == 1

        assert function.audited(answers[0]["run"]) == expected(range(1, 61), last=50)
        assert len(list(tmp_path.glob("runs/*"))) == 1


def test_a_run_name_belongs_to_one_request(function: Deployed, upstream: Upstream) -> None:
    """Let one of several different requests have a name that all claim at once, and refuse the others with a 409."""
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda n: function.call(f"1-{n}", run="mine"), range(10, 14)))
    (winner,) = [response.json() for response in responses if response.status_code == 200]
    losers = [response.json() for response in responses if response.status_code != 200]

    assert Counter(response.status_code for response in responses) == {200: 1, 409: 3}
    assert all(f"asked for songs {winner['songs']} " in loser["detail"] for loser in losers)
    assert function.audited("mine") == expected(range(1, winner["found"] + 1))
    assert upstream.count() == winner["found"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; charset=utf-16",
        "no type at all",
    ],
)
def test_a_body_is_json_whatever_its_type(standing: Deployed, content_type: str) -> None:
    """Read a body as JSON whatever Content-Type a scheduler or a curl gives it."""
    response = standing.send(data=b'{"songs": "7,9"}', headers={"Content-Type": content_type})

    assert response.status_code == 200
    assert (response.json()["songs"], response.json()["found"]) == ("7,9", 2)


@pytest.mark.parametrize(
    ("songs", "asked"),
    [(7, "7"), ("7", "7"), ("0", "0"), ("5-5", "5"), ("3,1-2,2-4", "1-4"), (999_999_999_999, "999999999999")],
    ids=["integer", "text", "zero", "one-number-range", "overlaps", "largest"],
)
def test_what_songs_may_be(standing: Deployed, songs: Any, asked: str) -> None:
    """Take a number, a range and several with commas; in the query as in a body."""
    in_body, in_query = standing.crawl(songs), standing.send("GET", "/", params={"songs": songs})

    assert in_body["songs"] == asked
    assert figures(in_query.json()) == figures(in_body)


@pytest.mark.parametrize(
    "time",
    ["", "soon", "2026-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-02-30T00:00:00Z"],
    ids=["none", "word", "no-zone", "last", "first", "no-such-day"],
)
def test_a_strange_schedule_time_is_none(standing: Deployed, time: str) -> None:
    """Carry out a call whose headers tell no credible scheduled call of a job like any other."""
    headers = {"X-CloudScheduler-JobName": "nightly", "X-CloudScheduler-ScheduleTime": time}
    response = standing.send(json={"songs": "11-12"}, headers=headers)

    assert response.status_code == 200
    assert figures(response.json()) == figures(standing.crawl("11-12"))
    assert "nightly" not in response.json()["run"]
