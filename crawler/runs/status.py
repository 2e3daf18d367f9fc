"""How a run stands, from the store alone: the answer to its own calls and to whoever asks meanwhile."""

from __future__ import annotations

import msgspec

from crawler.core.records import StoredObject
from crawler.runs.grid import Grid
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.store import Ledger
from crawler.runs.summary import Answer, State, make_answer, make_coverage
from crawler.runs.tally import Tally

# A run whose last part is younger than this counts as running.
RUNNING_SECONDS = 120.0

STOPPED_DETAIL = (
    "The run was stopped: what is committed stays, no new part is started. "
    "A call that names no run, or another, begins anew."
)


class Standing(msgspec.Struct, frozen=True):
    """Hold how a run stands.

    `grid` is what it comes to, None while an open range's end is not known; `parts` are the committed ones, `kept` the
    rows of others, by their place.
    """

    state: State
    grid: Grid | None
    parts: list[CommittedPart]
    kept: dict[int, Tally]

    def answer(self, spec: RunSpec, url: str, *, detail: str | None = None, coverage: bool = False) -> Answer:
        """Add it up, with the parts' places if `coverage` is wanted."""
        failed = {part.key.index: part.tally.failed for part in self.parts}
        return make_answer(
            spec,
            self.state,
            url,
            grid=self.grid,
            parts=[part.tally for part in self.parts],
            kept=list(self.kept.values()),
            detail=STOPPED_DETAIL if self.state == "stopped" else detail,
            coverage=make_coverage(spec, self.grid, failed, self.kept) if coverage else None,
        )


def run_answer(
    ledger: Ledger,
    spec: RunSpec,
    epoch: float,
    *,
    finish: bool = False,
    detail: str | None = None,
    coverage: bool = False,
) -> Answer:
    """Say how a run stands; with `finish`, write its manifest first if its parts tile it.

    Without, the caller only looks: a run is `running` that had a part committed, or tasks enqueued, in the last two
    minutes.
    """
    standing = run_standing(ledger, spec, epoch, finish=finish)
    return standing.answer(spec, ledger.url, detail=None if standing.state == "complete" else detail, coverage=coverage)


def run_standing(ledger: Ledger, spec: RunSpec, epoch: float, *, finish: bool = False) -> Standing:
    """Look how a run stands; the rest as in run_answer."""
    finished = not finish and ledger.finished()  # before the listing, which then holds every part
    parts = ledger.parts(spec)
    grid = ledger.end(spec, parts)
    if grid is not None:
        parts = parts[: len(grid)]
        if finished or (finish and ledger.finish(spec, grid, parts)):
            return Standing("complete", grid, parts, {})
    committed = {part.key.index for part in parts}
    reach = len(spec.grid if grid is None else grid)  # rows past an open range's end are not the run's
    rests = {place: kept for place, kept in ledger.rests(spec).items() if place < reach and place not in committed}
    state = _state(ledger, running=not finish and _is_running(ledger, parts, epoch))
    return Standing(state, grid, parts, {place: _kept(ledger, stored) for place, stored in rests.items()})


def _is_running(ledger: Ledger, parts: list[CommittedPart], epoch: float) -> bool:
    """Tell whether a part was committed lately, or tasks were enqueued."""
    latest = max([part.stored.created_at for part in parts], default=0.0)
    if epoch - latest < RUNNING_SECONDS:
        return True
    return any(epoch - at < RUNNING_SECONDS for at in ledger.sweep_times())


def _state(ledger: Ledger, *, running: bool) -> State:
    if ledger.stopped():
        return "stopped"
    return "running" if running else "partial"


def _kept(ledger: Ledger, stored: list[StoredObject]) -> Tally:
    """Count the rows kept aside for one part: by their metadata if there is one object, else by the rows."""
    only = Tally.from_metadata(stored[0].metadata) if len(stored) == 1 else None
    if only:
        return only
    lines, cost = ledger.restore(stored)
    tally = Tally()
    tally.carry(cost)
    tally.count_statuses(line.status for line in lines)
    return tally
