"""How a run stands, from the store alone: the answer to its own calls and to whoever asks meanwhile."""

from __future__ import annotations

from crawler.engine.ledger import Ledger
from crawler.ground.records import StoredObject
from crawler.rules.answer import Answer, State, make_answer
from crawler.rules.spec import RunSpec
from crawler.rules.tally import Tally

# A run whose last part is younger than this counts as running.
RUNNING_SECONDS = 120.0

STOPPED_DETAIL = (
    "The run was stopped: what is committed stays, no new part is started. "
    "A call that names no run, or another, begins anew."
)


def run_answer(
    ledger: Ledger, spec: RunSpec, epoch: float, *, finish: bool = False, detail: str | None = None
) -> Answer:
    """Say how a run stands; with `finish`, write its manifest first if its parts tile it.

    Without, the caller only looks: a run with a part committed in the last two minutes is `running`.
    """
    finished = not finish and ledger.finished()  # before the listing, which then holds every part
    parts = ledger.parts(spec)
    grid = ledger.end(spec, parts)
    if grid is not None:
        parts = parts[: len(grid)]
        if finished or (finish and ledger.finish(spec, grid, parts)):
            tallies = [part.tally for part in parts]
            return make_answer(spec, "complete", ledger.url, grid=grid, parts=tallies)
    committed = {part.key.index for part in parts}
    reach = len(spec.grid if grid is None else grid)  # rows past an open range's end are not the run's
    rests = {place: kept for place, kept in ledger.rests(spec).items() if place < reach and place not in committed}
    latest = max([part.stored.created_at for part in parts], default=0.0)
    state = _state(ledger, running=not finish and epoch - latest < RUNNING_SECONDS)
    return make_answer(
        spec,
        state,
        ledger.url,
        grid=grid,
        parts=[part.tally for part in parts],
        kept=[_kept(ledger, stored) for stored in rests.values()],
        detail=STOPPED_DETAIL if state == "stopped" else detail,
    )


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
