"""How a run stands, computed from what is stored."""

from __future__ import annotations

from pathlib import Path

from runs import run_spec

from crawler.adapters.folder import FolderStore
from crawler.engine.catalog import Catalog
from crawler.engine.ledger import Ledger
from crawler.engine.part import RunPart
from crawler.engine.state import run_answer
from crawler.ground.records import MISSING, Verdict, found
from crawler.rules.parts import PartKey
from crawler.rules.spec import RunSpec
from crawler.rules.tally import Tally
from crawler.seams.ports import Lane


class NoLane(Lane):
    """Try nothing: these rows come from the tests."""


def begin(folder: Path, spec: RunSpec, attempt: str = "one") -> Ledger:
    """Begin a run in a folder."""
    ledger = Catalog(FolderStore(folder), attempt).ledger(spec.run)
    ledger.begin(spec)
    return ledger


def store(ledger: Ledger, key: PartKey, *outcomes: Verdict) -> None:
    """Store a part with these outcomes, or keep its rows aside if there are too few."""
    tally = Tally(attempt=ledger.attempt)
    part = RunPart(key, NoLane(), tally, lambda part, data: ledger.commit(part.key, data, part.tally))
    for place, outcome in enumerate(outcomes):
        part.settle(place, outcome)
    if not part.advance() and (rows := part.cut_off()):
        ledger.keep(key, *rows, tally)


def test_rows_kept_past_the_end_of_an_open_range_are_not_counted(tmp_path: Path) -> None:
    """An open range whose end is known has nothing remaining, also while rows of a part after it are kept aside."""
    spec = run_spec("1-40", asked="1-", end_after_missing=3)
    ledger = begin(tmp_path, spec)
    store(ledger, spec.grid[0], found(1), MISSING, MISSING, MISSING)
    store(ledger, spec.grid[1], MISSING, MISSING)

    answer = run_answer(ledger, spec, epoch=0.0)

    assert (answer.songs, answer.found, answer.missing, answer.remaining) == ("1-4", 1, 3, 0)
