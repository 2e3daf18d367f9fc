"""Zombie: an instance frozen on its way (SIGSTOP), and woken when another has long finished the run."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from servers import Upstream

from campaigns.function import call, call_until_whole, start
from campaigns.places import Place, check_rows, verify


@dataclass
class Woken:
    """Count the rounds, the objects that had to stay as they were, and what the woken call asked for again."""

    rounds: int = 0
    objects: int = 0
    songs_again: int = 0


def wake_zombies(place: Place, rounds: int, songs: int, part_songs: int, draw: random.Random) -> Woken:
    """Freeze one instance at a random moment, finish its run with another, wake it; round after round.

    Raises AssertionError if an object of the finished run changes, or the woken call does not answer 200.
    """
    total = Woken()
    settings = {"part_songs": part_songs, **place.settings}
    for number in range(rounds):
        request = {"songs": f"1-{songs}", "run": f"zombie-{number}"}
        with (
            Upstream(last=songs) as upstream,
            start(upstream.url, place.output, **settings) as frozen,
            start(upstream.url, place.output, **settings) as other,
            ThreadPoolExecutor(1) as caller,
        ):
            answer = caller.submit(call, frozen, request)
            upstream.wait_for(draw.randint(1, songs * 3 // 4), timeout=60)
            frozen.pause()
            call_until_whole(other, request)
            before = place.objects(request["run"])
            frozen.resume()
            assert answer.result().status == 200, answer.result()
            after = place.objects(request["run"])
            total.songs_again += upstream.count() - songs
        changed = sorted(name for name in before if after.get(name) != before[name])
        assert not changed, f"the woken instance changed {changed}"
        verify(place, request["run"])
        check_rows(after, range(1, songs + 1))
        total.rounds += 1
        total.objects += len(before)
    return total
