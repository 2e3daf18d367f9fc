"""Growth: song sets whose end is not known, over a catalogue that grows or has holes, killed on the way.

`next:` must miss no song that is ever born and end where the catalogue does; `1-` must end at the right part edge.
"""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from servers import Pages, Upstream, missing, song

from campaigns.function import Answered, Revived, call, call_until_whole
from campaigns.places import Place, rows, verify


@dataclass
class Grown:
    """The runs that a growing catalogue came to, by name, and how many kills hit them."""

    runs: list[str] = field(default_factory=list)
    kills: int = 0
    found: int = 0


class Catalogue:
    """An upstream's songs 1 to `last`, without the numbers in `holes`; `last` may grow at any time."""

    def __init__(self, last: int, holes: frozenset[int] = frozenset()) -> None:
        """Begin with so many songs."""
        self.last = last
        self.holes = holes

    @property
    def songs(self) -> list[int]:
        """List the numbers of the songs born so far."""
        return [number for number in range(1, self.last + 1) if number not in self.holes]

    @property
    def pages(self) -> Pages:
        """Return the table that serves them."""
        return lambda number, _nth: song(number) if 1 <= number <= self.last and number not in self.holes else missing()


def follow_growth(place: Place, steps: list[int], count: int, draw: random.Random, *, kill: float = 0.5) -> Grown:
    """Call `next:count` until it finds nothing more, after each growth of the catalogue by one of `steps`.

    Every second call or so (`kill`) is killed on its way first. Raises AssertionError if a song is missed, or the runs
    do not end.
    """
    grown = Grown()
    catalogue = Catalogue(0)
    found: set[int] = set()
    settings = {"part_songs": max(1, count // 5), **place.settings}
    with Upstream(catalogue.pages) as upstream, Revived(upstream.url, place.output, **settings) as function:
        for step in steps:
            catalogue.last += step
            calls = 0
            fresh: set[int] | None = None
            while fresh is None or fresh:
                calls += 1
                assert calls <= step // count + 3, f"next:{count} goes on although nothing is left to find"
                if draw.random() < kill:
                    grown.kills += _call_and_kill(function, upstream, f"next:{count}", draw.randint(1, count))
                answered = call_until_whole(function.server, {"songs": f"next:{count}"})[-1]
                fresh = _found(place, answered) - found
                found |= fresh
                grown.runs.append(answered["run"])
            assert found == set(catalogue.songs), f"missed {sorted(set(catalogue.songs) - found)}"
    for run in set(grown.runs):
        verify(place, run)
    grown.found = len(found)
    return grown


def crawl_to_the_end(
    place: Place, last: int, end_after_missing: int, part_songs: int, draw: random.Random, *, kills: int
) -> Grown:
    """Crawl `1-` over a catalogue with holes just short of the end's length, killed so many times.

    Raises AssertionError unless the run ends at the first part edge with enough missing numbers before it.
    """
    holes = _holes(last, end_after_missing, draw)
    catalogue = Catalogue(last, holes)
    grown = Grown()
    settings = {"part_songs": part_songs, "end_after_missing": end_after_missing, **place.settings}
    with Upstream(catalogue.pages) as upstream, Revived(upstream.url, place.output, **settings) as function:
        for _ in range(kills):
            grown.kills += _call_and_kill(function, upstream, "1-", draw.randint(1, max(1, last // (kills + 1))))
        answered = call_until_whole(function.server, {"songs": "1-"})[-1]
    manifest = json.loads(place.objects(answered["run"])["manifest.json"].data)
    edge = -(-(last + end_after_missing) // part_songs) * part_songs
    assert manifest["ended_at"] == edge, f"ended at {manifest['ended_at']}, the right edge is {edge}"
    assert _found(place, answered) == set(catalogue.songs)
    verify(place, answered["run"])
    grown.runs.append(answered["run"])
    grown.found = answered["found"]
    return grown


def _holes(last: int, end_after_missing: int, draw: random.Random) -> frozenset[int]:
    """Make holes, each as long as can be without ending the range, with a few songs between them."""
    holes: set[int] = set()
    first = draw.randint(2, 10)
    while first + end_after_missing - 1 < last:
        holes.update(range(first, first + end_after_missing - 1))
        first += end_after_missing - 1 + draw.randint(1, end_after_missing)
    return frozenset(holes)


def _call_and_kill(function: Revived, upstream: Upstream, songs: str, further: int) -> bool:
    """Kill a call once it has asked for so many songs; False if it was over before."""
    before = upstream.count()
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(call, function.server, {"songs": songs})
        upstream.wait_for(before + further)
        function.server.kill()
        return answer.result().status == 0


def _found(place: Place, answered: Answered) -> set[int]:
    return {row["song_num"] for row in rows(place.objects(answered["run"])) if row["status"] == "found"}
