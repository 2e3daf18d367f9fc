"""How a run stands, computed from what is stored."""

from __future__ import annotations

from pathlib import Path

from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.ports import Fetcher
from crawler.core.verdict import MISSING, Verdict, found
from crawler.engine.part_writer import PartWriter
from crawler.runs.ending.gate import Gate
from crawler.runs.grid import PartKey
from crawler.runs.index import RunIndex
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_summary
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally


class NoFetcher(Fetcher):
    """Try nothing: these rows come from the tests."""

    def attempt(self, item: object, timeout: float) -> Verdict:
        """Be never called."""
        raise NotImplementedError


def begin(folder: Path, spec: RunSpec, attempt: str = "one") -> RunStore:
    """Begin a run in a folder."""
    run_store = RunIndex(FolderStore(folder), attempt).run_store(spec.run)
    run_store.begin(spec)
    return run_store


def store(run_store: RunStore, key: PartKey, *outcomes: Verdict) -> None:
    """Store a part with these outcomes, or keep its rows aside if there are too few."""
    tally = Tally(call_id=run_store.call_id)
    part = PartWriter(key, NoFetcher(), tally, lambda part, data: run_store.commit(part.key, data, part.tally))
    part.settle(enumerate(outcomes))
    if not part.advance() and (rows := part.cut_off()):
        run_store.keep(key, *rows, tally)


def test_rows_kept_past_the_end_of_an_open_range_are_not_counted(tmp_path: Path) -> None:
    """An open range whose end is known has nothing remaining, also while rows of a part after it are kept aside."""
    spec = run_spec("1-40", asked="1-", end_after_missing=3)
    run_store = begin(tmp_path, spec)
    store(run_store, spec.grid[0], found(1), MISSING, MISSING, MISSING)
    store(run_store, spec.grid[1], MISSING, MISSING)

    answer = run_summary(run_store, spec, epoch=0.0)

    assert (answer.songs, answer.found, answer.missing, answer.remaining) == ("1-4", 1, 3, 0)


def test_a_run_that_finishes_meanwhile_is_not_complete_with_the_counts_of_before(tmp_path: Path) -> None:
    """Whoever looks while a run finishes is told of the state before or after, never of one with the other's counts."""
    spec = run_spec("1-4", asked="1-4")
    run_store = begin(tmp_path, spec)

    class Finishing(RunStore, frozen=True):
        """Have the run finish right after the first listing."""

        def parts(self, spec: RunSpec, part_range: range | None = None) -> list[CommittedPart]:
            parts = super().parts(spec, part_range)
            store(run_store, spec.grid[0], found(1), found(2), found(3), MISSING)
            run_store.finish(spec, spec.grid, run_store.parts(spec), Gate())
            return parts

    answer = run_summary(Finishing(run_store.store, spec.run), spec, epoch=0.0)

    assert (answer.state == "complete") == (answer.remaining == 0)
