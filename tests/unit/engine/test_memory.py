"""Check that what is kept in memory does not grow with songs, workers or parts."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from crawler.adapters.runtime.clock import SystemClock
from crawler.core.limits import Limits
from crawler.core.song_set import SongSet
from crawler.core.verdict import Verdict, found
from crawler.engine.backlog import MOST_HELD_BYTES
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.part_writer import PartWriter
from crawler.engine.workers import Worker
from crawler.formats.jsonl_rows import decode_rows
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.runs.grid import Grid
from crawler.runs.tally import Tally


class Info(dict[str, Any]):
    """Be a song's info that can be watched."""


class WatchingFetcher:
    """Answer songs, and count before each how many of those answered so far are still somewhere in memory."""

    def __init__(self) -> None:
        """Start with none."""
        self._answered: list[weakref.ref[Info]] = []
        self.alive: list[int] = []

    def attempt(self, item: int, timeout: float) -> Verdict:
        """Answer one song."""
        self.alive.append(sum(info() is not None for info in self._answered))
        info = Info(id=item)
        self._answered.append(weakref.ref(info))
        return found(info)


def part_of(index: int, songs: int, fetcher: WatchingFetcher) -> PartWriter:
    """Open a part of so many songs whose commit is nobody's business."""
    grid = Grid(SongSet.parse(f"1-{songs * (index + 1)}"), songs)
    return PartWriter(grid[index], fetcher, Tally(), lambda _part, _data: None)


def dispatcher_of(parts: Iterator[PartWriter], submit: Callable[[Callable[[], None]], Any]) -> Dispatcher:
    """Open a dispatcher of parts, with `submit` for what is done away from the workers."""
    return Dispatcher(parts, Limits(), SystemClock(), submit, limiter=Limiter(RateController(max_at_once=100)))


def test_worker_lets_go_of_a_song_before_the_next() -> None:
    """Keep no song's info once its row is made: a hundred workers waiting for answers would hold a hundred."""
    fetcher = WatchingFetcher()
    Worker(dispatcher_of(iter([part_of(0, 10, fetcher)]), lambda advance: advance())).run()
    gc.collect()

    assert fetcher.alive == [0] * 10


def test_heavy_part_is_alone() -> None:
    """Open no second part while the first weighs more than its share, and open it once that is committed."""
    fetcher = WatchingFetcher()
    opened: list[PartWriter] = []
    waiting: list[Callable[[], None]] = []

    def parts() -> Iterator[PartWriter]:
        for index in range(2):
            opened.append(part_of(index, 1, fetcher))
            yield opened[-1]

    dispatcher = dispatcher_of(parts(), waiting.append)
    (first,) = dispatcher.draw_attempts()
    dispatcher.settle([(first, found("x" * (MOST_HELD_BYTES + 1)))])
    assert dispatcher.draw_more(1) == ([], math.inf)
    assert len(opened) == 1
    for advance in waiting:
        advance()

    assert len(dispatcher.draw_attempts()) == 1
    assert len(opened) == 2


def test_part_is_whole_however_it_was_weighed() -> None:
    """Give the same bytes when a part's weight is asked for between its rows."""
    done: list[bytes] = []
    part = PartWriter(
        Grid(SongSet.parse("1-3"), 3)[0], WatchingFetcher(), Tally(), lambda _part, data: done.append(data)
    )
    weights = []
    for index in part.pending:
        part.settle([(index, found({"text": "x" * 300_000}))])
        part.advance()
        weights.append(part.held_bytes)

    assert [row.song_num for row in decode_rows(done[0])] == [1, 2, 3]
    assert max(weights) < 10_000
    assert part.held_bytes == len(done[0])
