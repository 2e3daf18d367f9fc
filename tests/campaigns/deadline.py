"""Deadline: a run in calls that are each too short for it: none late, each gets further, nothing runs on after one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from servers import Pages, ServerProcess, Upstream, song

from campaigns.function import Answered, call, start
from campaigns.places import Place, check_rows, verify
from campaigns.processes import count_threads

_THREADS = 4
_WARM_SECONDS = 0.5
_SETTLE_SECONDS = 10.0
# What is in flight at the deadline is cut off.
_MOST_AT_ONCE = 100


@dataclass
class Chained:
    """What a chain of calls came to."""

    calls: int
    songs: int
    longest_seconds: float
    remaining: list[int]
    songs_again: int


def chain_calls(
    place: Place, songs: int, deadline: float, *, song_seconds: float = 0.0, most: int = 1000, **settings: object
) -> Chained:
    """Crawl 1 to `songs`, each served after `song_seconds`, in calls of `deadline` seconds, `most` of them at the most.

    Raises AssertionError for a call that is late, that gets no further, or after which anything runs on; and unless a
    run that came to its end is whole.
    """
    request = {"songs": f"1-{songs}", "run": "chain", "deadline_seconds": deadline}
    remaining = [songs]
    longest = 0.0
    with (
        Upstream(_pages(songs, song_seconds)) as upstream,
        start(upstream.url, place.output, threads=_THREADS, **settings, **place.settings) as server,
    ):
        idle = warm(server, songs)
        first = upstream.count()
        while remaining[-1] and len(remaining) <= most:
            before = upstream.count()
            answered = call(server, request)
            fetched = upstream.count() - before
            check_quiet(server, upstream, before + fetched, idle)
            _check_progress(answered, songs, remaining[-1], fetched, deadline)
            remaining.append(answered["remaining"])
            longest = max(longest, answered.seconds)
        again = upstream.count() - first - (songs - remaining[-1])
    if not remaining[-1]:
        verify(place, "chain")
        check_rows(place.objects("chain"), range(1, songs + 1))
    return Chained(len(remaining) - 1, songs, longest, remaining, again)


def warm(server: ServerProcess, songs: int) -> int:
    """Have a server start all the threads it answers in; gives how many it then has while it does nothing.

    The calls ask for songs past the given number, slow enough for all of them to be answered at once.
    """
    with ThreadPoolExecutor(_THREADS) as callers:
        calls = [{"songs": str(songs + number), "run": f"warm-{number}"} for number in range(1, _THREADS + 1)]
        answers = list(callers.map(partial(call, server), calls))
    assert all(answered.status == 200 for answered in answers), answers
    return count_threads(server)


def check_quiet(server: ServerProcess, upstream: Upstream, requests: int, idle: int) -> None:
    """Raise AssertionError if the server sends a request after its answer, or keeps more threads than when idle."""
    upstream.wait_until_idle()
    until = time.monotonic() + _SETTLE_SECONDS
    while (threads := count_threads(server)) > idle:
        assert time.monotonic() < until, f"{threads - idle} threads run on after the answer"
        time.sleep(0.01)
    assert upstream.count() == requests, f"{upstream.count() - requests} songs asked for after the answer"


def _pages(last: int, song_seconds: float) -> Pages:
    return lambda song_num, _nth: song(song_num).after(song_seconds if song_num <= last else _WARM_SECONDS)


def _check_progress(answered: Answered, songs: int, before: int, fetched: int, deadline: float) -> None:
    answer = answered.answer
    assert answered.seconds < deadline, f"a call of {deadline:g} s took {answered.seconds:.2f} s"
    assert answered.status == (200 if answer["remaining"] == 0 else 503), answered
    assert answered.status == 200 or answered.retry_after, answered
    assert sum(answer[name] for name in ("found", "missing", "failed", "remaining")) == songs, answered
    assert answer["remaining"] < before, f"{fetched} songs were fetched, and {before} are left as before"
    kept = before - answer["remaining"]
    assert fetched - _MOST_AT_ONCE <= kept <= fetched, f"{fetched} songs were fetched, {kept} fewer are left"
