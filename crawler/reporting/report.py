"""A run's report, from the store alone: figures from the tallies of its parts, and the first rows that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from crawler.core.intervals import covered, merged
from crawler.core.records import Counts, Row, add_counts
from crawler.runs.grid import Grid
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_status
from crawler.runs.store import RunStore
from crawler.runs.summary import RunSummary
from crawler.runs.tally import Tally, bucket_end_ms, percentile_ms

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


def make_report(
    spec: RunSpec, summary: RunSummary, grid: Grid | None, parts: Sequence[CommittedPart], failures: list[Row]
) -> Report:
    """Reckon a run's report; where `grid` is None, an open range's end not known yet, it reaches to the last part."""
    tallies = [part.tally for part in parts]
    latencies = sum((tally.latencies for tally in tallies), Counter[int]())
    reach = grid or spec.grid.head(max([part.key.index + 1 for part in parts], default=0))
    return Report(
        summary,
        spec.source,
        spec.format,
        throughput=throughput(tallies),
        latencies=latency_bars(latencies),
        percentiles={share: percentile_ms(latencies, share) for share in PERCENTILES},
        slices=slices(reach, parts),
        failures=failures,
    )


def throughput(tallies: Sequence[Tally]) -> list[tuple[float, float]]:
    """Return songs a second over the time at work: where no instance was at work, no time passes.

    A part tells when it began and ended only: its songs are spread evenly between. Those that an earlier call kept
    are left out in proportion to the time that they took.
    """
    intervals = merged((tally.started_at, tally.finished_at) for tally in tallies)
    total = covered(intervals)
    if total < LEAST_SECONDS:
        return []
    per_bar = [0.0] * min(MOST_BARS, 2 * len(tallies))
    width = total / len(per_bar)
    for tally in tallies:
        start, finish = (_at_work(intervals, instant) for instant in (tally.started_at, tally.finished_at))
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


def slices(grid: Grid, parts: Sequence[CommittedPart]) -> list[Slice]:
    """Cut the range into at most MOST_BARS stretches of whole parts."""
    tallies = {part.key.index: part.tally for part in parts}
    step = -(-len(grid) // MOST_BARS) or 1
    return [_slice(grid, range(start, min(start + step, len(grid))), tallies) for start in range(0, len(grid), step)]


def _slice(grid: Grid, part_range: range, tallies: dict[int, Tally]) -> Slice:
    counts = add_counts(tallies[index] for index in part_range if index in tallies)
    songs = grid.songs.slice(part_range.start * grid.part_songs, part_range.stop * grid.part_songs)
    left = len(songs) - counts.songs_done
    return Slice(first=songs.first, last=songs.last, open=left, **counts.by_status())


def _own_share(tally: Tally) -> float:
    own = tally.finished_at - tally.started_at
    return own / (own + tally.carried_seconds) if own + tally.carried_seconds > 0 else 1.0


def _at_work(intervals: list[tuple[float, float]], instant: float) -> float:
    """Turn an instant into seconds at work since the beginning."""
    return sum(min(finish, instant) - start for start, finish in intervals if start < instant)


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
    failures = list(islice(_failures(run_store, status.parts), MOST_FAILURES))
    return make_report(spec, summary, status.grid, status.parts, failures)


def _failures(run_store: RunStore, parts: Sequence[CommittedPart]) -> Iterator[Row]:
    """Yield the first failed rows."""
    for part in islice((part for part in parts if part.tally.failed), MOST_READ):
        yield from (row for row in run_store.rows(part.key) if row.status == "failed")
