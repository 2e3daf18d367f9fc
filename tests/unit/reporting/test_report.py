"""Check what a report reckons from a run's parts, and that it takes no more from the store than it needs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import committed, of_tallies, run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.jsonl_rows import Compressor, decode_rows, encode_row
from crawler.reporting.report import (
    MOST_BARS,
    MOST_FAILURES,
    MOST_LATENCY_BARS,
    MOST_READ,
    latency_bars,
    run_report,
    slices,
    throughput,
)
from crawler.runs.manifest import add_up
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import RunParts, Tally, bucket_end_ms


def tally(start: float, finish: float, songs: int = 10, **fields: Any) -> Tally:
    """Make the tally of a part."""
    return Tally(found=songs, started_at=start, finished_at=finish, **fields)


def test_songs_are_spread_over_the_time_of_their_part() -> None:
    """Cut the time at work into two bars a part, and give each its share."""
    bars = throughput(of_tallies([tally(100, 102, 40), tally(102, 104, 80)]))

    assert bars == [(1.0, 20.0), (2.0, 20.0), (3.0, 40.0), (4.0, 40.0)]


def test_no_time_passes_while_nobody_works() -> None:
    """Leave out the hours between two calls."""
    bars = throughput(of_tallies([tally(0, 1), tally(3600, 3601)]))

    assert bars == [
        (0.5, 10.0),
        (1.0, 10.0),
        (1.5, 10.0),
        (2.0, 10.0),
    ]


def test_songs_of_an_earlier_call_count_by_the_time_they_took() -> None:
    """Take a quarter of a part's songs where three quarters of its time were another call's."""
    assert throughput(of_tallies([tally(0, 1, 100, carried_seconds=3.0)])) == [(0.5, 25.0), (1.0, 25.0)]


@pytest.mark.parametrize("tallies", [[], [tally(5, 5)]], ids=["no part", "no time"])
def test_without_time_there_is_no_throughput(tallies: list[Tally]) -> None:
    """Draw nothing rather than divide by nothing."""
    assert throughput(of_tallies(tallies)) == []


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e3), st.integers(1, 1000)), min_size=1, max_size=99))
def test_throughput_loses_no_song(parts: list[tuple[float, float, int]]) -> None:
    """Have the bars add up to the songs, in at most so many bars."""
    bars = throughput(of_tallies([tally(start, start + length, songs) for start, length, songs in parts]))
    widths = [end - before for (end, _), (before, _) in zip(bars, [(0.0, 0.0), *bars], strict=False)]

    assert len(bars) <= MOST_BARS
    if bars:
        songs = sum(width * speed for width, (_, speed) in zip(widths, bars, strict=True))
        assert songs == pytest.approx(sum(songs for *_, songs in parts))


def test_latencies_are_joined_until_they_fit() -> None:
    """Keep narrow bars where there are few, and fill the gaps between them; lose no request."""
    narrow = latency_bars(Counter({0: 1, 2: 3}))
    wide = latency_bars(Counter(range(-50, 150)))

    assert narrow == [(bucket_end_ms(0), 1), (bucket_end_ms(1), 0), (bucket_end_ms(2), 3)]
    assert len(wide) <= MOST_LATENCY_BARS
    assert (sum(times for _, times in wide), latency_bars(Counter())) == (200, [])
    assert wide[-1][0] >= bucket_end_ms(149) > wide[-2][0]


def test_a_range_is_cut_into_parts_with_what_became_of_them() -> None:
    """Count each stretch; what no part covers is open."""
    grid = run_spec("1-10").grid

    cut = slices(grid, add_up([committed(grid[0], missing=[2]), committed(grid[2], failed=[9])]))

    assert [(each.first, each.last) for each in cut] == [(1, 4), (5, 8), (9, 10)]
    assert [(each.found, each.missing, each.failed, each.open) for each in cut] == [
        (3, 1, 0, 0),
        (0, 0, 0, 4),
        (1, 0, 1, 0),
    ]


def test_a_long_range_is_cut_into_few_stretches() -> None:
    """Take several parts together, so that the chart stays readable; an empty range has none."""
    grid = run_spec("1-10000").grid
    cut = slices(grid, RunParts())

    assert len(cut) <= MOST_BARS
    assert (cut[0].first, cut[-1].last, sum(each.open for each in cut)) == (1, 10_000, 10_000)
    assert slices(run_spec("").grid, RunParts()) == []


class ReadCounter(FolderStore):
    """Count the objects that are read whole."""

    def __init__(self, folder: Path) -> None:
        """Count none."""
        super().__init__(folder)
        self.reads = 0

    def read(self, name: str) -> bytes | None:
        """Count one."""
        self.reads += 1
        return super().read(name)


def store_parts(run_store: RunStore, spec: RunSpec, part_range: list[int], outcome: Verdict) -> None:
    """Commit some parts in which every number came to the same."""
    for index in part_range:
        key, compressor = spec.grid[index], Compressor()
        compressor.feed(encode_row(number, outcome) for number in key.songs)
        lines = compressor.finish()
        counted = Tally(started_at=index, finished_at=index + 1.0)
        counted.count_rows(decode_rows(lines))
        run_store.commit(key, lines, counted)


def test_an_unfinished_run_is_reported_too(tmp_path: Path) -> None:
    """Report what is there, the first failed rows with their errors, and what is to come."""
    spec = run_spec("1-12")
    run_store = RunStore(FolderStore(tmp_path), spec.run, "me")
    run_store.begin(spec)
    store_parts(run_store, spec, [0], failed("timeout"))
    store_parts(run_store, spec, [2], found({"title": "x"}))

    report = run_report(run_store, spec, 1e9)

    assert (report.summary.state, report.summary.remaining) == ("running", 4)
    assert [(row.song_num, row.error) for row in report.failures] == [(n, "timeout") for n in (1, 2, 3, 4)]
    assert [each.open for each in report.slices] == [0, 4, 0]


def test_a_run_not_begun_is_reported_empty(tmp_path: Path) -> None:
    """Have no figure to draw, and no error for it."""
    spec = run_spec("1-100", asked="1-", end_after_missing=10)
    run_store = RunStore(FolderStore(tmp_path), spec.run, "me")
    run_store.begin(spec)

    report = run_report(run_store, spec, 1e9)

    assert (report.throughput, report.latencies, report.slices, report.failures) == ([], [], [], [])
    assert report.summary.remaining is None


def test_only_the_first_failures_are_read(tmp_path: Path) -> None:
    """Read at most so many parts, though thousands may hold a failed song."""
    spec = run_spec("1-1000")
    store = ReadCounter(tmp_path)
    run_store = RunStore(store, spec.run, "me")
    run_store.begin(spec)
    store_parts(run_store, spec, list(range(5)), MISSING)
    store_parts(run_store, spec, list(range(5, 60)), failed("timeout"))
    store.reads = 0

    report = run_report(run_store, spec, 1e9)

    assert store.reads <= MOST_READ
    assert (len(report.failures), report.failures[0].song_num) == (MOST_FAILURES, 21)
