"""Kill: `kill -9` of the function's whole process group at random moments, each followed by the same call.

A kill may cost the songs of two parts again (two are open at a time), never more, and nothing is lost or doubled.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from servers import ServerProcess, Upstream

from campaigns.function import Answered, call, call_until_whole, start
from campaigns.places import Place, check_rows, verify

# The most a moment is drawn late, after the request that it follows: a commit and a manifest fit in it.
_LATE_SECONDS = 0.1
# So often a run is killed that has no song left to ask for: then it may finish, and another takes the next kills.
_MOST_AT_THE_END = 2


@dataclass
class Killed:
    """Count runs, kills that hit a call on its way, and songs that were asked for again because of them."""

    runs: int = 0
    kills: int = 0
    songs_again: int = 0
    most_again_per_kill: float = 0.0


def kill_runs(place: Place, times: int, songs: int, part_songs: int, draw: random.Random) -> Killed:
    """Crawl 1 to `songs`, killed again and again, in as many runs as so many kills take.

    Raises AssertionError for a run that is not whole, or whose kills cost more than two parts each.
    """
    total = Killed()
    while total.kills < times:
        run = f"kill-{total.runs}"
        with Upstream(last=songs) as upstream:
            kills = _kill_run(place, run, upstream, times - total.kills, songs, part_songs, draw)
            again = upstream.count() - songs
        _check(place, run, songs)
        assert again <= 2 * part_songs * kills, f"{run}: {kills} kills cost {again} songs again"
        total.runs += 1
        total.kills += kills
        total.songs_again += again
        total.most_again_per_kill = max(total.most_again_per_kill, again / kills if kills else 0)
    return total


def _kill_run(
    place: Place, run: str, upstream: Upstream, most: int, songs: int, part_songs: int, draw: random.Random
) -> int:
    """Crawl one run to its end, killed `most` times on the way at most; gives how often it was."""
    request = {"songs": f"1-{songs}", "run": run}
    kills = at_the_end = 0
    while kills < most and at_the_end < _MOST_AT_THE_END:
        at_the_end += len(upstream.per_song()) == songs
        with start(upstream.url, place.output, part_songs=part_songs, **place.settings) as server:
            answered = _call_and_kill(server, request, upstream, songs, draw)
        if answered.status == 200:
            break
        assert answered.status == 0, answered
        kills += 1
    with start(upstream.url, place.output, part_songs=part_songs, **place.settings) as server:
        call_until_whole(server, request)
    return kills


def _call_and_kill(
    server: ServerProcess, request: dict[str, str], upstream: Upstream, songs: int, draw: random.Random
) -> Answered:
    """Send a call and kill its server at a moment drawn from all that is left to do, the first steps and the last."""
    before = upstream.count()
    left = songs - len(upstream.per_song())
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(call, server, request)
        upstream.wait_for(before + _songs_until(left, songs // 10, draw), timeout=120)
        time.sleep(draw.uniform(0, _LATE_SECONDS))
        server.kill()
        return answer.result()


def _songs_until(left: int, step: int, draw: random.Random) -> int:
    """Draw after how many more songs to kill: none, all that are left, or mostly up to a step."""
    kind = draw.random()
    if kind < 0.1:
        return 0
    return left if kind < 0.2 else draw.randint(0, min(left, step))


def _check(place: Place, run: str, songs: int) -> None:
    proof = verify(place, run)
    assert (proof["found"], proof["missing"], proof["failed"]) == (songs, 0, 0)
    check_rows(place.objects(run), range(1, songs + 1))
