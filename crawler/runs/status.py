"""How a run stands, from the store alone: the answer to its own calls and to whoever asks meanwhile."""

from __future__ import annotations

import msgspec

from crawler.core.records import StoredObject
from crawler.runs.ending.gate import Gate, Held
from crawler.runs.ending.open_range import OpenRangeEnd
from crawler.runs.grid import Grid
from crawler.runs.manifest import ManifestParts
from crawler.runs.spec import RunSpec
from crawler.runs.store import Ended, RunStore
from crawler.runs.summary import RunSummary, State, make_coverage, make_summary
from crawler.runs.tally import RunParts, Tally

# A run whose last part is younger than this counts as running.
RUNNING_SECONDS = 120.0

STOPPED_DETAIL = (
    "The run was stopped: what is committed stays, no new part is started. POST /runs/RUN/resume, or songcrawl resume, "
    "takes the stop back: then the same call goes on. Until then a call that names no run, or another, begins anew."
)


class RunStatus(msgspec.Struct, frozen=True):
    """Hold how a run stands.

    `grid` is what it comes to, None while an open range's end is not known; `parts` are the committed ones, `kept` the
    rows of others, by their place; `held` is there if the gate holds it.
    """

    state: State
    grid: Grid | None
    parts: RunParts
    kept: dict[int, Tally]
    held: Held | None = None

    def summary(self, spec: RunSpec, url: str, *, detail: str | None = None, coverage: bool = False) -> RunSummary:
        """Add it up, with the parts' places if `coverage` is wanted."""
        return make_summary(
            spec,
            self.state,
            url,
            grid=self.grid,
            parts=self.parts,
            kept=list(self.kept.values()),
            detail=self._detail(detail),
            coverage=make_coverage(spec, self.grid, self.parts, self.kept) if coverage else None,
        )

    def _detail(self, detail: str | None) -> str | None:
        """Say what the state means, where there is more to it than what ended the call."""
        if self.held:
            return self.held.detail
        return {"complete": None, "stopped": STOPPED_DETAIL}.get(self.state, detail)


def run_summary(
    run_store: RunStore,
    spec: RunSpec,
    epoch: float,
    *,
    gate: Gate | None = None,
    detail: str | None = None,
    coverage: bool = False,
) -> RunSummary:
    """Say how a run stands; with a `gate`, finish it first if its parts tile it: complete, or held by that gate.

    Without, the caller only looks: a run is `running` that had a part committed, or tasks enqueued, in the last two
    minutes.
    """
    status = run_status(run_store, spec, epoch, gate=gate)
    return status.summary(spec, run_store.url, detail=detail, coverage=coverage)


def run_status(run_store: RunStore, spec: RunSpec, epoch: float, *, gate: Gate | None = None) -> RunStatus:
    """Look how a run stands; the rest as in run_summary."""
    ended = None if gate else run_store.ended()  # before the listing, which then holds every part
    gathered = ManifestParts()
    parts, grid = _committed(run_store, spec, gathered if gate else None)
    if grid is not None:
        if gate and run_store.is_tiled(grid, parts):
            ended = _finish(run_store, spec, grid, gathered, gate)
        if ended:
            return RunStatus(ended, grid, parts, {}, run_store.held() if ended == "held" else None)
    committed = set(parts.places)
    reach = len(spec.grid if grid is None else grid)  # rows past an open range's end are not the run's
    rests = {index: kept for index, kept in run_store.rests(spec).items() if index < reach and index not in committed}
    state = _state(run_store, running=gate is None and _is_running(run_store, parts, epoch))
    return RunStatus(state, grid, parts, {index: _kept(run_store, stored) for index, stored in rests.items()})


def _committed(run_store: RunStore, spec: RunSpec, gathered: ManifestParts | None) -> tuple[RunParts, Grid | None]:
    """Add the committed parts up, those past an open range's end left out; None: that is not known yet.

    What `gathered` can take of them goes there as well.
    """
    parts = RunParts()
    end = OpenRangeEnd(spec.grid, spec.end_after_missing) if spec.end_after_missing is not None else None
    for part in run_store.iterate_parts(spec):
        if end:
            end.add(part.key.index, run_store.with_sets(part).tally)
        if gathered is not None:
            gathered.follow(part)
        parts.add(part.key.index, part.tally, part.stored.created_at)
        if end and end.parts is not None:
            return parts, spec.grid.head(end.parts)
    return parts, None if end else spec.grid


def _finish(run_store: RunStore, spec: RunSpec, grid: Grid, gathered: ManifestParts, gate: Gate) -> Ended | None:
    """End a run whose parts are all there; where some sets of numbers are in the rows only, they are listed again."""
    if len(gathered) == len(grid):
        return run_store.end_with(spec, grid, gathered, gate)
    return run_store.finish(spec, grid, run_store.iterate_parts(spec, range(len(grid))), gate)


def _is_running(run_store: RunStore, parts: RunParts, epoch: float) -> bool:
    """Tell whether a part was committed lately, or tasks were enqueued."""
    if epoch - parts.created_at < RUNNING_SECONDS:
        return True
    return any(epoch - at < RUNNING_SECONDS for at in run_store.sweep_times())


def _state(run_store: RunStore, *, running: bool) -> State:
    if run_store.stopped():
        return "stopped"
    return "running" if running else "partial"


def _kept(run_store: RunStore, stored: list[StoredObject]) -> Tally:
    """Count the rows kept aside for one part: by their metadata if there is one object, else by the rows."""
    only = Tally.from_metadata(stored[0].metadata) if len(stored) == 1 else None
    if only:
        return only
    lines, cost = run_store.restore(stored)
    tally = Tally()
    tally.carry(cost)
    tally.count_lines(lines)
    return tally
