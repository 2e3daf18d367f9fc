"""A run's report, from the store alone: figures from the tallies of its parts, and the first rows that failed."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice

import msgspec

from crawler.core.intervals import merged
from crawler.core.records import Counts, Row
from crawler.runs.grid import Grid
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_status
from crawler.runs.store import RunStore
from crawler.runs.summary import RunSummary
from crawler.runs.tally import RunParts, Tally, bucket_end_ms, percentile_ms

# What a chart can show on the width of a page, and still be read on a phone.
MOST_BARS = 60
MOST_LATENCY_BARS = 24
# What a part's metadata can tell of time.
LEAST_SECONDS = 0.001
PERCENTILES = (0.5, 0.75, 0.9, 0.95, 0.99)


class Slice(Counts, kw_only=True):
    """What became of the songs from `first` to `last`, some parts in a row; `open`: no part covers them yet."""

    first: int
    last: int
    open: int


class Report(msgspec.Struct, frozen=True):
    """What a report shows.

    `throughput`: the end of each stretch of the time at work, in seconds, and its songs a second; `latencies`: how
    many requests took up to so many ms, `percentiles` in ms; `slices` go along the range; `failures` are the first
    failed rows.
    """

    summary: RunSummary
    source: str
    format: str
    throughput: list[tuple[float, float]]
    latencies: list[tuple[float, int]]
    percentiles: dict[float, float | None]
    slices: list[Slice]
    failures: list[Row]


def make_report(spec: RunSpec, summary: RunSummary, grid: Grid | None, parts: RunParts, failures: list[Row]) -> Report:
    """Reckon a run's report; where `grid` is None, an open range's end not known yet, it reaches to the last part."""
    latencies = parts.total.latencies
    reach = grid or spec.grid.head(max(parts.places, default=-1) + 1)
    return Report(
        summary,
        spec.source,
        spec.format,
        throughput=throughput(parts),
        latencies=latency_bars(latencies),
        percentiles={share: percentile_ms(latencies, share) for share in PERCENTILES},
        slices=slices(reach, parts),
        failures=failures,
    )


def throughput(parts: RunParts) -> list[tuple[float, float]]:
    """Return songs a second over the time at work: where no instance was at work, no time passes.

    A part tells when it began and ended only: its songs are spread evenly between. Those that an earlier call kept
    are left out in proportion to the time that they took.
    """
    work = _Work((tally.started_at, tally.finished_at) for _, tally in parts.tallies)
    if work.seconds < LEAST_SECONDS:
        return []
    per_bar = [0.0] * min(MOST_BARS, 2 * len(parts))
    width = work.seconds / len(per_bar)
    for _, tally in parts.tallies:
        start, finish = (work.until(instant) for instant in (tally.started_at, tally.finished_at))
        for bar, share in _shares(start, finish, width, len(per_bar)):
            per_bar[bar] += share * tally.songs_done * _own_share(tally)
    return [((bar + 1) * width, count / width) for bar, count in enumerate(per_bar)]


def latency_bars(latencies: Counter[int]) -> list[tuple[float, int]]:
    """Gather the histogram's buckets into at most MOST_LATENCY_BARS of equal width on a logarithmic scale."""
    if not latencies:
        return []
    joined = 1
    while max(latencies) // joined - min(latencies) // joined >= MOST_LATENCY_BARS:
        joined *= 2
    bars: Counter[int] = Counter()
    for bucket, times in latencies.items():
        bars[bucket // joined] += times
    return [(bucket_end_ms((bar + 1) * joined - 1), bars[bar]) for bar in range(min(bars), max(bars) + 1)]


def slices(grid: Grid, parts: RunParts) -> list[Slice]:
    """Cut the range into at most MOST_BARS stretches of whole parts."""
    step = -(-len(grid) // MOST_BARS) or 1
    counts = [Counts() for _ in range(0, len(grid), step)]
    for place, tally in parts.tallies:
        if place < len(grid):
            counts[place // step].add(tally)
    return [_slice(grid, number * step, step, each) for number, each in enumerate(counts)]


def _slice(grid: Grid, start: int, step: int, counts: Counts) -> Slice:
    songs = grid.songs.slice(start * grid.part_songs, (start + step) * grid.part_songs)
    left = len(songs) - counts.songs_done
    return Slice(first=songs.first, last=songs.last, open=left, **counts.by_status())


def _own_share(tally: Tally) -> float:
    own = tally.finished_at - tally.started_at
    return own / (own + tally.carried_seconds) if own + tally.carried_seconds > 0 else 1.0


class _Work:
    """The time in which at least one instance was at work, from its intervals in epoch seconds."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        self._intervals = merged(intervals)
        self._starts = [start for start, _ in self._intervals]
        self._before = [0.0, *accumulate(finish - start for start, finish in self._intervals)]

    @property
    def seconds(self) -> float:
        """Return how much it is."""
        return self._before[-1]

    def until(self, instant: float) -> float:
        """Turn an instant into seconds at work since the beginning."""
        number = bisect_left(self._starts, instant) - 1
        if number < 0:
            return 0.0
        start, finish = self._intervals[number]
        return self._before[number] + min(finish, instant) - start


def _shares(start: float, finish: float, width: float, bars: int) -> Iterator[tuple[int, float]]:
    """Yield the bars that an interval touches, and what share of it lies in each."""
    first, last = (min(int(instant / width), bars - 1) for instant in (start, finish))
    if finish <= start:
        yield first, 1.0
        return
    for bar in range(first, last + 1):
        end = finish if bar == last else (bar + 1) * width
        yield bar, max(0.0, end - max(start, bar * width)) / (finish - start)


MOST_FAILURES = 50


# Parts that are read for their failed rows: each is a whole object of the store.
MOST_READ = 20


def run_report(run_store: RunStore, spec: RunSpec, epoch: float) -> Report:
    """Report on a run, finished or not."""
    status = run_status(run_store, spec, epoch)
    summary = status.summary(spec, run_store.url, coverage=True)
    failures = list(islice(_failures(run_store, spec.grid, status.parts), MOST_FAILURES))
    return make_report(spec, summary, status.grid, status.parts, failures)


def _failures(run_store: RunStore, grid: Grid, parts: RunParts) -> Iterator[Row]:
    """Yield the first failed rows."""
    for place in islice(parts.failing, MOST_READ):
        yield from (row for row in run_store.rows(grid[place]) if row.status == "failed")
