"""The answer to a crawl, the same at `GET /runs/RUN`: what became of every song asked for, from the store alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from itertools import chain
from typing import Literal

import msgspec

from crawler.core.intervals import covered
from crawler.core.records import STATUSES, Counts
from crawler.core.song_set import SongSet
from crawler.core.timestamps import utc_text
from crawler.runs.cost import ASSUMED_PER_SECOND, cost_usd
from crawler.runs.ending.failures import Failures, first_kinds
from crawler.runs.grid import Grid
from crawler.runs.spec import RunSpec
from crawler.runs.tally import RunParts, Tally, percentile_ms

State = Literal["complete", "held", "partial", "running", "stopped", "planned"]


class Reason(Enum):
    """Why a call ended: HTTP statuses and exit codes go by it, and never by a sentence."""

    COMPLETE = "complete"  # the run is complete, by this call or before it
    HELD = "held"  # every part is there, but the gate holds the run
    QUEUED = "queued"  # tasks in a queue go on with the run
    STOPPED = "stopped"  # somebody stopped the run
    DEADLINE = "deadline"  # the call's time is over
    UPSTREAM = "upstream"  # the upstream as a whole is down or refuses us
    BUSY = "busy"  # another task has the instance to itself


class Interruption(msgspec.Struct, frozen=True):
    """What ends a call before its run is complete: the reason, and the sentence that tells people.

    `retry_after` is the upstream's own word on when to come again, in seconds; None: it gave none.
    """

    reason: Reason
    detail: str
    retry_after: int | None = None


OUT_OF_TIME = Interruption(
    Reason.DEADLINE, "The time of this call is over: send the same call again, it continues from here."
)
UNANSWERED = Interruption(
    Reason.DEADLINE,
    "The upstream answered for no song before the time of this call was over: look at the API, and send the same call "
    "again, it continues from here.",
)
HANDED_TO_QUEUE = Interruption(Reason.QUEUED, "Tasks in the queue go on with the run: GET /runs/RUN follows it.")


class Coverage(msgspec.Struct, kw_only=True, frozen=True):
    """Tell which parts of a run are there, by their places from 1, as ranges such as 1-41,43.

    `asked` is the request as a call repeats it; `grid` how many parts the run comes to, None while an open range's end
    is not known; `kept` the parts of which an earlier call kept only some rows; `failing` the committed parts that
    hold failed songs.
    """

    asked: str
    part_songs: int
    grid: int | None
    committed: str
    kept: str
    failing: str


class RunSummary(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Tell how a run stands; found + missing + failed + remaining is the number of songs asked for.

    `remaining` is None while an open range's end is not known. `errors` counts the failed songs by error, the most
    frequent first, `error_examples` are the first few numbers of each; `warnings` are sentences on what looks wrong
    though the run may be complete. `detail` says in a
    sentence why a call did not complete the run, and what to do; `retry_after` there is the upstream's own word on when
    to come again, in seconds. `coverage` is there if it was asked for.
    """

    run: str
    state: State
    songs: str
    found: int
    missing: int
    failed: int
    remaining: int | None
    parts: int
    output: str
    requests: int
    throttled: int
    songs_per_second: float | None
    p50_ms: float | None
    p95_ms: float | None
    elapsed_seconds: float | None
    cost_usd: float | None
    started_at: str
    finished_at: str | None
    errors: dict[str, int]
    warnings: list[str]
    detail: str | None = None
    error_examples: dict[str, list[int]] = msgspec.field(default_factory=dict)
    retry_after: int | None = None
    coverage: Coverage | None = None

    @property
    def counts(self) -> Counts:
        """Return the counts of the songs that have a status."""
        return Counts(*[getattr(self, status) for status in STATUSES])


class CallResult(msgspec.Struct, frozen=True):
    """How the run stands at the end of a call, and why the call ended; only the summary is part of its answer."""

    summary: RunSummary
    reason: Reason


def make_summary(
    spec: RunSpec,
    state: State,
    output: str,
    *,
    grid: Grid | None,
    parts: RunParts,
    kept: Sequence[Tally] = (),
    detail: str | None = None,
    coverage: Coverage | None = None,
) -> RunSummary:
    """Add up a run: its committed `parts` and the rows `kept` aside of others.

    `grid` is what the run comes to, None while an open range's end is not known. Elapsed is the time in which at least
    one instance was at work; the cost counts each instance's own.
    """
    total = Tally()
    for tally in (parts.total, *kept):
        total.add_part(tally)
    failures = first_kinds(total.told_failures)
    works = _works(chain((tally for _, tally in parts.tallies), kept))
    elapsed = _elapsed(works.values())
    finished_at = max([finish for work in works.values() for _, finish in work.intervals], default=None)
    return RunSummary(
        run=spec.run,
        state=state,
        songs=spec.asked if grid is None else str(grid.songs),
        **total.by_status(),
        remaining=None if grid is None else len(grid.songs) - total.songs_done,
        parts=len(parts),
        output=output,
        requests=total.requests,
        throttled=total.throttled,
        songs_per_second=round(total.songs_done / elapsed, 1) if elapsed else None,
        p50_ms=percentile_ms(total.latencies, 0.50),
        p95_ms=percentile_ms(total.latencies, 0.95),
        elapsed_seconds=round(elapsed, 3),
        cost_usd=round(cost_usd(sum(_elapsed([work]) for work in works.values()), len(parts)), 6),
        started_at=spec.created_at,
        finished_at=utc_text(finished_at) if state in ("complete", "held") and finished_at is not None else None,
        errors={error: failure.songs for error, failure in failures.items()},
        warnings=make_warnings(spec, total, failures),
        detail=detail,
        error_examples={error: list(failure.first) for error, failure in failures.items() if failure.first},
        coverage=coverage,
    )


def make_warnings(spec: RunSpec, counts: Counts, failures: Failures) -> list[str]:
    """Say what looks wrong with a run's songs, if anything does.

    Where songs are tried again, or those asked for that may not be born yet, that nothing is found is no surprise.
    """
    expects_some = spec.parent is None and not (spec.asked.startswith("next:") and spec.grid.songs.first > 1)
    if counts.songs_done and not counts.found and expects_some:
        return [
            f"Nothing was found: {counts.missing} songs are missing, {counts.failed} failed. "
            "Are the URL and what tells a missing song right? songcrawl try NUMBER explains one."
        ]
    if counts.failed * 2 <= counts.songs_done:
        return []
    error, failure = next(iter(failures.items()))
    examples = f", such as {', '.join(map(str, failure.first))}" if failure.first else ""
    return [f"Most songs failed: {counts.failed} of {counts.songs_done}, most often with {error}{examples}."]


def asked_nothing(summary: RunSummary) -> RunSummary:
    """Say to a call that found its run finished that these are the figures of the calls before it."""
    since = f" since {summary.finished_at}" if summary.finished_at else ""
    sentence = f"Nothing was asked: the run {summary.run} is {summary.state}{since}; another run name crawls anew."
    detail = summary.detail or sentence
    return msgspec.structs.replace(summary, warnings=[*summary.warnings, sentence], detail=detail)


def make_coverage(spec: RunSpec, grid: Grid | None, parts: RunParts, kept: Iterable[int]) -> Coverage:
    """Say which parts are there: the committed ones, and the places from 0 of which some rows were `kept`."""
    return Coverage(
        asked=spec.asked,
        part_songs=spec.part_songs,
        grid=None if grid is None else len(grid),
        committed=_part_numbers(parts.places),
        kept=_part_numbers(kept),
        failing=_part_numbers(parts.failing),
    )


def make_plan(spec: RunSpec, output: str, max_per_second: float) -> RunSummary:
    """Say what a run would take: time and cost at `max_per_second`, or at ASSUMED_PER_SECOND where there is no ceiling.

    Of an open range nobody knows the end: no time, no cost.
    """
    songs = None if spec.end_after_missing else len(spec.grid.songs)
    per_second = max_per_second or ASSUMED_PER_SECOND
    seconds = None if songs is None else songs / per_second
    return RunSummary(
        run=spec.run,
        state="planned",
        songs=spec.asked if songs is None else spec.songs,
        **Counts().by_status(),
        remaining=songs,
        parts=0 if songs is None else len(spec.grid),
        output=output,
        requests=0,
        throttled=0,
        songs_per_second=per_second,
        p50_ms=None,
        p95_ms=None,
        elapsed_seconds=None if seconds is None else round(seconds, 3),
        cost_usd=None if seconds is None else round(cost_usd(seconds, len(spec.grid)), 6),
        started_at=spec.created_at,
        finished_at=None,
        errors={},
        warnings=[],
        error_examples={},
        detail="Nothing was asked of the upstream and nothing was stored.",
        coverage=None,
    )


def _part_numbers(indexes: Iterable[int]) -> str:
    return str(SongSet.of_numbers(index + 1 for index in indexes))


class _Work:
    """The time that one call was at work on a run, in seconds."""

    def __init__(self) -> None:
        self.intervals: list[tuple[float, float]] = []
        self.carried_seconds = 0.0


def _works(tallies: Iterable[Tally]) -> dict[str, _Work]:
    """Tell the calls' work apart: parts of one share its id and overlap."""
    works: dict[str, _Work] = defaultdict(_Work)
    for tally in tallies:
        work = works[tally.call_id]
        work.intervals.append((tally.started_at, tally.finished_at))
        work.carried_seconds += tally.carried_seconds
    return works


def _elapsed(works: Collection[_Work]) -> float:
    """Return how long at least one of them was at work, and what calls before spent on the same parts."""
    intervals = (interval for work in works for interval in work.intervals)
    return covered(intervals) + sum(work.carried_seconds for work in works)
