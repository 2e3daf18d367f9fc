"""The answer to a crawl, the same at `GET /runs/RUN`: what became of every song asked for, from the store alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from crawler.rules.cost import cost_usd
from crawler.rules.manifest import CommittedPart
from crawler.rules.spec import RunSpec, utc_text
from crawler.rules.tally import Tally, percentile_ms

State = Literal["complete", "partial", "running", "stopped", "planned"]


class Answer(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Tell how a run stands; found + missing + failed + remaining is the number of songs asked for.

    `detail`, where it is not complete, says in a sentence why and what to do.
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
    elapsed_seconds: float
    cost_usd: float
    started_at: str | None
    finished_at: str | None
    detail: str | None = None


def make_answer(
    spec: RunSpec, state: State, output: str, parts: Sequence[CommittedPart], detail: str | None = None
) -> Answer:
    """Add up a run's parts.

    Elapsed is the time in which at least one instance was at work, `cost_usd` counts every instance's own.
    """
    tallies = [part.tally for part in parts]
    found, missing, failed = (sum(getattr(t, name) for t in tallies) for name in ("found", "missing", "failed"))
    latencies = sum((t.latencies for t in tallies), Counter[int]())
    elapsed = _covered((t.started_at, t.finished_at) for t in tallies)
    done = found + missing + failed
    return Answer(
        run=spec.run,
        state=state,
        songs=spec.songs,
        found=found,
        missing=missing,
        failed=failed,
        remaining=len(spec.grid.songs) - done,
        parts=len(parts),
        output=output,
        requests=sum(t.requests for t in tallies),
        throttled=sum(t.throttled for t in tallies),
        songs_per_second=round(done / elapsed, 1) if elapsed else None,
        p50_ms=percentile_ms(latencies, 0.50),
        p95_ms=percentile_ms(latencies, 0.95),
        elapsed_seconds=round(elapsed, 3),
        cost_usd=round(cost_usd(_instance_seconds(tallies), len(parts)), 6),
        started_at=utc_text(min(t.started_at for t in tallies)) if tallies else None,
        finished_at=utc_text(max(t.finished_at for t in tallies)) if state == "complete" and tallies else None,
        detail=detail,
    )


def _instance_seconds(tallies: Iterable[Tally]) -> float:
    """Add up how long each instance was at work: its parts share an attempt id and overlap."""
    spans = defaultdict(list)
    for tally in tallies:
        spans[tally.attempt].append((tally.started_at, tally.finished_at))
    return sum(_covered(own) for own in spans.values())


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Measure the union of spans of time."""
    total, end = 0.0, float("-inf")
    for start, finish in sorted(spans):
        total += max(0.0, finish - max(start, end))
        end = max(end, finish)
    return total
