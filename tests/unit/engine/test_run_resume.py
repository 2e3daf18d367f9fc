"""A part that goes on from rows kept aside."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from crawler.adapters.runtime.clock import SystemClock
from crawler.core.limits import Limits
from crawler.core.ports import Fetcher
from crawler.core.song_set import SongSet
from crawler.core.verdict import Verdict, found
from crawler.engine import backlog
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.part_writer import PartWriter
from crawler.formats.jsonl_rows import Line, encode_row
from crawler.rate_control.controller import RateController
from crawler.rate_control.learned import LearnedRate
from crawler.rate_control.limiter import Limiter
from crawler.runs.grid import PartKey
from crawler.runs.tally import Tally


class Patient(SystemClock):
    """Never wait: in this test nobody would end it."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Fail: the dispatcher stands still."""
        pytest.fail("the dispatcher waits, and nothing is on its way")


class Instant(Fetcher):
    """Find every song."""

    def attempt(self, item: object, timeout: float) -> Verdict:
        """Find it."""
        return found(item)


def at_once(advance: Callable[[], None]) -> None:
    """Advance a chunk in the worker itself."""
    advance()


def test_a_part_whose_kept_rows_fill_the_buffer_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows kept aside that weigh more than may wait in memory don't keep the songs before them from being asked for."""
    monkeypatch.setattr(backlog, "MOST_BUFFERED_BYTES", 100)
    kept = [Line(number, "found", encode_row(number, found("x" * 50))) for number in range(3, 10)]
    committed: list[bytes] = []
    part = PartWriter(
        PartKey(0, SongSet.parse("1-9")), Instant(), Tally(), lambda _, data: committed.append(data), kept
    )
    known = RateController()
    known.start_from(LearnedRate(per_second=1e6, in_flight=100))  # or it would wait for a turn
    dispatcher = Dispatcher(iter([part]), Limits(), Patient(), submit=at_once, limiter=Limiter(known))

    while drawn := dispatcher.draw_attempts():
        dispatcher.settle([(attempt, part.fetcher.attempt(attempt.item, attempt.timeout)) for attempt in drawn])

    assert len(committed) == 1
