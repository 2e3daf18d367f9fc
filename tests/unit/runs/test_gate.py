"""Check the gate: which runs it holds, what is stored of that, and what a held run counts as."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.app.stored.run import StoredRun
from crawler.core.errors import Damaged, RunConflict
from crawler.core.records import Counts, StoredObject
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate, Held
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.resolve import Order, resolve_run
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import parse_selection
from crawler.runs.spec import RunSpec, Source
from crawler.runs.status import run_summary
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from crawler.runs.verify import verify_run

SPEC = run_spec("1-10")
STRICT = Gate(max_failed=0.1)
DAY_SECONDS = 86400.0


@pytest.mark.parametrize(
    ("gate", "counts", "held"),
    [
        pytest.param(Gate(), Counts(failed=10), False, id="no gate"),
        pytest.param(Gate(max_failed=0.07), Counts(found=93, failed=7), False, id="as many failed as may"),
        pytest.param(Gate(max_failed=0.07), Counts(found=92, failed=8), True, id="one failed too many"),
        pytest.param(Gate(max_failed=0), Counts(found=99, failed=1), True, id="none may fail"),
        pytest.param(Gate(max_failed=0), Counts(missing=10), False, id="missing is not failed"),
        pytest.param(Gate(min_found=0.07), Counts(found=7, missing=93), False, id="as few found as may be"),
        pytest.param(Gate(min_found=0.07), Counts(found=6, missing=94), True, id="one found too few"),
        pytest.param(Gate(min_found=1), Counts(found=9, missing=1), True, id="all must be found"),
        pytest.param(Gate(min_found=1), Counts(), False, id="no song at all"),
        pytest.param(Gate(max_failed=1, min_found=0), Counts(failed=3), False, id="anything will do"),
    ],
)
def test_shares_are_held_to_exactly(gate: Gate, counts: Counts, held: bool) -> None:
    """Hold a run that is past a share, by one song, and none that is at it."""
    assert (gate.hold(SPEC, counts) is not None) == held


@pytest.mark.parametrize(
    "spec",
    [
        run_spec("3,7", asked="failed:other", parent="other"),
        run_spec("3,7", asked="missing:other", parent="other"),
        run_spec("1-100", asked="1-", end_after_missing=3),
    ],
    ids=["failed", "missing", "open"],
)
def test_runs_that_may_well_fail_are_not_held(spec: RunSpec) -> None:
    """Let songs that failed before, and ranges that end in missing songs, be what they are."""
    assert Gate(max_failed=0, min_found=1).hold(spec, Counts(failed=2)) is None


def test_what_holds_a_run_is_told(tmp_path: Path) -> None:
    """Name both counts and both settings in held.json, and in the run's detail what can be done."""
    held = Gate(max_failed=0.1, min_found=0.9).hold(SPEC, Counts(found=8, failed=2))

    assert held is not None
    assert held.why == (
        "2 of 10 songs failed, and MAX_FAILED allows a share of 0.1. "
        "8 of 10 songs were found, and MIN_FOUND asks for a share of 0.9."
    )
    assert Held.decode(held.encode()) == held
    assert "songcrawl accept trial" in held.detail
    assert "songs=failed:trial" in held.detail


def judge(number: int) -> Verdict:
    """Give 3 failed, 5 missing and 7 failed."""
    return MISSING if number == 5 else failed("http_500") if number in (3, 7) else found(number)


def store_parts(folder: Path, spec: RunSpec = SPEC) -> RunStore:
    """Store a run's parts, and nothing that ends it."""
    run_index = RunIndex(FolderStore(folder), "one")
    run_index.announce(spec, scopes_of(spec.request_digest, spec.job), 1)
    run_store = run_index.run_store(spec.run)
    run_store.begin(spec)
    for key in spec.grid:
        compressor = Compressor()
        compressor.feed(encode_row(number, judge(number)) for number in key.songs)
        tally = Tally(call_id="one", started_at=1.0, finished_at=2.0)
        tally.count_rows(key.format.decode(key.format.encode(data := compressor.finish())))
        run_store.commit(key, data, tally)
    return run_store


def finish(run_store: RunStore, gate: Gate, spec: RunSpec = SPEC) -> str:
    """End a run by a gate; gives its state."""
    summary = run_summary(run_store, spec, time.time(), gate=gate)
    assert run_summary(run_store, spec, time.time()) == summary
    return summary.state


def names(folder: Path) -> set[str]:
    """Name what ended the run."""
    return {path.name for path in (folder / "runs" / "trial").iterdir()} & {"held.json", "manifest.json"}


@pytest.mark.parametrize(
    ("gates", "state", "there"),
    [
        pytest.param([STRICT], "held", {"held.json"}, id="held"),
        pytest.param([Gate()], "complete", {"manifest.json"}, id="complete"),
        pytest.param([STRICT, Gate()], "held", {"held.json"}, id="held first"),
        pytest.param([Gate(), STRICT], "complete", {"manifest.json"}, id="complete first"),
        pytest.param([STRICT, Gate(max_failed=0)], "held", {"held.json"}, id="held by two gates"),
    ],
)
def test_the_first_decision_stands(tmp_path: Path, gates: list[Gate], state: str, there: set[str]) -> None:
    """Leave what one finisher stored to be the answer of all others, whatever their settings."""
    run_store = store_parts(tmp_path)

    assert [finish(run_store, gate) for gate in gates] == [state] * len(gates)
    assert names(tmp_path) == there


class SlowStore(FolderStore):
    """A folder in which another finisher comes first: what is done right before a name is created."""

    def __init__(self, folder: Path, name: str, first: RunStore, gate: Gate) -> None:
        super().__init__(folder)
        self._name, self._first, self._gate = name, first, gate

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Let the other one finish, then create."""
        if name.endswith(self._name):
            run_summary(self._first, SPEC, time.time(), gate=self._gate)
        return super().create(name, data, metadata)


@pytest.mark.parametrize(("name", "slow", "quick"), [("held.json", STRICT, Gate()), ("manifest.json", Gate(), STRICT)])
def test_finishers_that_cross_agree(tmp_path: Path, name: str, slow: Gate, quick: Gate) -> None:
    """Have both say complete where each had looked before the other stored its decision: the manifest stands."""
    quick_store = store_parts(tmp_path)
    run_store = RunStore(SlowStore(tmp_path, name, quick_store, quick), "trial", "two")

    assert finish(run_store, slow) == "complete"
    assert finish(quick_store, quick) == "complete"
    assert names(tmp_path) == {"held.json", "manifest.json"}
    assert verify_run(RunIndex(FolderStore(tmp_path)), "trial").faults == []


def test_an_accepted_run_has_the_manifest_it_would_have_had(tmp_path: Path) -> None:
    """Write the same bytes as without a gate, so that nobody can tell the two apart."""
    store_parts(tmp_path / "free")
    finish(RunStore(FolderStore(tmp_path / "free"), "trial"), Gate())
    finish(store_parts(tmp_path / "held"), STRICT)

    answer = StoredRun.open(RunIndex(FolderStore(tmp_path / "held"), call_id="caller"), "trial").accept()

    paths = [tmp_path / place / "runs/trial/manifest.json" for place in ("free", "held")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (answer.state, answer.detail) == ("complete", None)
    proof = verify_run(RunIndex(FolderStore(tmp_path / "held")), "trial")
    assert (proof.faults, proof.held) == ([], None)


@pytest.mark.parametrize("state", ["partial", "stopped", "complete", "accepted"])
def test_only_a_held_run_is_accepted(tmp_path: Path, state: str) -> None:
    """Refuse it for any other, and store nothing."""
    run_store = store_parts(tmp_path)
    if state == "stopped":
        run_store.stop()
    if state in ("complete", "accepted"):
        finish(run_store, Gate() if state == "complete" else STRICT)
    stored = StoredRun.open(RunIndex(FolderStore(tmp_path), call_id="caller"), "trial")
    if state == "accepted":
        stored.accept()
    before = names(tmp_path)

    with pytest.raises(RunConflict, match="allowed: a run that is held"):
        stored.accept()

    assert names(tmp_path) == before


def test_verify_proves_a_held_run(tmp_path: Path) -> None:
    """Say that it is held and why, and find nothing wrong with it; find what was changed."""
    run_store = store_parts(tmp_path)
    finish(run_store, STRICT)
    run_index = RunIndex(FolderStore(tmp_path))
    proof = verify_run(run_index, "trial")

    assert proof.faults == []
    assert proof.held is not None
    assert "2 of 10 songs failed" in proof.held
    path = tmp_path / "runs/trial/held.json"
    for sidecar in path.parent.glob(".held.json*"):
        sidecar.unlink()
    for data, fault in [
        (path.read_bytes().replace(b'"failed": 2', b'"failed": 3'), "held.json differs from what the parts say"),
        (b"{", "held.json can't be read"),
    ]:
        path.write_bytes(data)
        assert any(fault in each for each in verify_run(run_index, "trial").faults)
    with pytest.raises(Damaged):
        run_summary(run_store, SPEC, time.time())


def order(songs: str, **fields: object) -> Order:
    """Make what a call asks for, of the source of SPEC."""
    source = Source(SPEC.source, SPEC.source_digest)
    given = {"source": source, "format": "jsonl", "part_songs": 4, "end_after_missing": 3, "max_songs": 100}
    return Order(selection=parse_selection(songs), **{**given, **fields})  # type: ignore[arg-type]


def test_the_same_call_of_the_day_means_the_held_run(tmp_path: Path) -> None:
    """Go to the run that was held today, and begin a new one tomorrow, also if it was accepted by then."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order("1-10"), time.time())
    finish(store_parts(tmp_path, spec), STRICT, spec)

    same = [resolve_run(run_index, order("1-10"), time.time()).run for _ in range(2)]
    StoredRun.open(RunIndex(FolderStore(tmp_path), call_id="caller"), spec.run).accept()
    after = [resolve_run(run_index, order("1-10"), time.time() + days * DAY_SECONDS).run for days in (0, 1)]

    assert [*same, after[0]] == [spec.run] * 3
    assert after[1] != spec.run


def test_the_next_scheduled_call_begins_a_run(tmp_path: Path) -> None:
    """Leave the held run of the scheduled call before alone, and go to it for a second delivery of that one."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    calls = [order("1-10", scheduled_call=ScheduledCall("nightly", f"2026112{day}t020000z")) for day in (3, 4)]
    spec = resolve_run(run_index, calls[0], time.time())
    finish(store_parts(tmp_path, spec), STRICT, spec)

    again, following = (resolve_run(run_index, call, time.time()) for call in calls)

    assert again.run == spec.run
    assert following.run != spec.run


def test_next_goes_on_after_a_held_run(tmp_path: Path) -> None:
    """Claim the numbers after the highest that it found."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order("next:10"), time.time())
    finish(store_parts(tmp_path, spec), STRICT, spec)

    following = resolve_run(run_index, order("next:10"), time.time())

    assert (spec.songs, following.songs) == ("1-10", "11-20")


@pytest.mark.parametrize(("songs", "numbers"), [("failed:trial", "3,7"), ("missing:trial", "5")])
def test_the_failed_songs_of_a_held_run_are_tried_again(tmp_path: Path, songs: str, numbers: str) -> None:
    """Take the numbers from its parts, and prove the run of them against what its manifest will be."""
    finish(store_parts(tmp_path), STRICT)
    run_index = RunIndex(FolderStore(tmp_path), "one")

    spec = resolve_run(run_index, order(songs, run="again"), time.time())

    assert (spec.songs, spec.parent) == (numbers, "trial")
    finish(store_parts(tmp_path, spec), Gate(max_failed=0), spec)
    assert verify_run(run_index, "again").faults == []
