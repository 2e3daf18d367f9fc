"""Check the run store of one run: what comes first stands, what is kept aside comes back once, and when it finishes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.checksum import crc32c
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.grid import PartKey
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally, set_to_metadata

SPEC = run_spec("1-12")  # three parts of four


@pytest.fixture
def run_store(tmp_path: Path) -> RunStore:
    """Begin the run."""
    return begin(tmp_path)


def begin(folder: Path, spec: RunSpec = SPEC, attempt: str = "one") -> RunStore:
    """Begin a run in a folder, as one call."""
    run_store = RunStore(FolderStore(folder), spec.run, attempt)
    run_store.begin(spec)
    return run_store


def judge(number: int) -> Verdict:
    """Have every third song missing, the eighth failed."""
    if number % 3 == 0:
        return MISSING
    return failed("timeout") if number == 8 else found({"id": number})


def rows_of(numbers: SongSet) -> bytes:
    """Write the rows of some numbers."""
    compressor = Compressor()
    compressor.feed(encode_row(number, judge(number)) for number in numbers)
    return compressor.finish()


def tally_of(numbers: SongSet, **fields: Any) -> Tally:
    """Count the rows of some numbers."""
    missing = SongSet.of_numbers(n for n in numbers if judge(n) == MISSING)
    failures = SongSet.of_numbers(n for n in numbers if n == 8)
    return Tally(
        found=len(numbers) - len(missing) - len(failures),
        missing=len(missing),
        failed=len(failures),
        missing_songs=missing,
        failed_songs=failures,
        call_id="one",
        **fields,
    )


def commit(run_store: RunStore, *indexes: int) -> None:
    """Commit parts."""
    for index in indexes:
        key = SPEC.grid[index]
        run_store.commit(key, rows_of(key.songs), tally_of(key.songs))


def keep(folder: Path, attempt: str, numbers: str, **cost: float) -> None:
    """Keep rows of the first part aside, as one call."""
    covered = SongSet.parse(numbers)
    key = PartKey(0, SPEC.grid[0].songs)
    RunStore(FolderStore(folder), SPEC.run, attempt).keep(key, covered, rows_of(covered), tally_of(covered, **cost))


def sidecars(folder: Path, pattern: str) -> list[Path]:
    """Name the files that hold objects' metadata."""
    return sorted((folder / "runs" / SPEC.run).glob(pattern))


def test_whoever_begins_second_takes_the_firsts_word(tmp_path: Path, run_store: RunStore) -> None:
    """Give the run.json that was stored first, and leave it as it is."""
    second = RunStore(run_store.store, SPEC.run, "two")

    assert second.begin(run_spec("1-12", part_songs=3)) == SPEC
    assert second.spec() == SPEC
    assert second.spec_bytes() == SPEC.encode()
    assert run_store.url == f"{tmp_path}/runs/trial"


def test_no_run_is_none(tmp_path: Path) -> None:
    """Give None for everything of a run that nobody began."""
    run_store = RunStore(FolderStore(tmp_path), "never")

    assert (run_store.spec(), run_store.spec_bytes(), run_store.manifest(), run_store.finished_at()) == (None,) * 4
    assert (run_store.finished(), run_store.stopped()) == (False, False)
    assert (run_store.parts(SPEC), run_store.rests(SPEC)) == ([], {})
    assert run_store.part(SPEC.grid[0]) is None
    assert run_store.rows(SPEC.grid[0]) == []


def test_parts_come_in_the_grids_order(run_store: RunStore) -> None:
    """List the committed parts by their numbers, whatever the order they were committed in."""
    commit(run_store, 2, 0)

    parts = run_store.parts(SPEC)

    assert [part.key.index for part in parts] == [0, 2]
    assert [(part.tally.found, part.tally.missing, part.tally.failed) for part in parts] == [(3, 1, 0), (2, 2, 0)]
    looked_up = run_store.part(SPEC.grid[2])
    assert looked_up is not None
    assert (looked_up.key, looked_up.tally) == (parts[1].key, parts[1].tally)
    assert run_store.part(SPEC.grid[1]) is None


@pytest.mark.parametrize(
    "name",
    ["songs-000000000001-000000000003.jsonl.gz", "songs-000000000002-000000000004.jsonl.gz", "songs-x.jsonl.gz"],
)
def test_what_is_no_part_of_the_grid_is_passed_over(run_store: RunStore, name: str) -> None:
    """Count no object that the run's own grid has no place for."""
    run_store.store.create(f"runs/trial/{name}", rows_of(SongSet.parse("1-3")), {})

    assert run_store.parts(SPEC) == []


def test_the_first_commit_of_a_part_stands(tmp_path: Path, run_store: RunStore) -> None:
    """Drop the rows of whoever commits a part second."""
    commit(run_store, 0)
    key = SPEC.grid[0]
    compressor = Compressor()
    compressor.feed(encode_row(number, MISSING) for number in key.songs)

    RunStore(run_store.store, SPEC.run, "two").commit(key, compressor.finish(), Tally(missing=4))

    assert [row.status for row in run_store.rows(key)] == ["found", "found", "missing", "found"]
    assert run_store.parts(SPEC)[0].tally.call_id == "one"


def test_a_part_without_metadata_is_counted_by_its_rows(tmp_path: Path, run_store: RunStore) -> None:
    """Count rows where the metadata is gone, and take the object's age for the time of the work."""
    commit(run_store, 1)
    (sidecar,) = sidecars(tmp_path, ".songs-*.meta")
    sidecar.unlink()

    (part,) = run_store.parts(SPEC)

    assert (part.tally.found, part.tally.missing, part.tally.failed) == (2, 1, 1)
    assert (str(part.tally.missing_songs), str(part.tally.failed_songs)) == ("6", "8")
    assert (part.tally.requests, part.tally.seconds) == (0, 0.0)
    assert part.tally.finished_at == part.stored.created_at
    looked_up = run_store.part(SPEC.grid[1])
    assert looked_up is not None
    assert looked_up.tally == part.tally


def test_sets_without_room_in_the_metadata_come_from_the_rows(tmp_path: Path, run_store: RunStore) -> None:
    """Read the rows for the sets alone; counts and cost stay as the metadata says."""
    key = SPEC.grid[1]
    tally = tally_of(key.songs, requests=9)
    tally.missing_songs = None
    run_store.commit(key, rows_of(key.songs), tally)

    (part,) = run_store.parts(SPEC)
    before = part.tally.missing_songs
    run_store.with_sets(part)

    assert before is None
    assert (str(part.tally.missing_songs), part.tally.requests) == ("6", 9)


@pytest.mark.parametrize(
    ("rests", "numbers", "requests"),
    [
        pytest.param({"a": "1-3"}, [1, 2, 3], 1, id="one"),
        pytest.param({"a": "1", "b": "1-2", "c": "1-3"}, [1, 2, 3], 1, id="each holds the one before"),
        pytest.param({"a": "1-2", "b": "3-4"}, [1, 2, 3, 4], 2, id="disjoint"),
        pytest.param({"a": "1-3", "b": "2,4"}, [1, 2, 3, 4], 2, id="overlapping"),
        pytest.param({"a": "2,4", "b": "1-3", "c": "1,4"}, [1, 2, 3, 4], 2, id="one that the others hold together"),
        pytest.param({"a": "1,3", "b": "1,3"}, [1, 3], 1, id="equal"),
        pytest.param({}, [], 0, id="none"),
    ],
)
def test_rows_kept_aside_come_back_once(
    tmp_path: Path, run_store: RunStore, rests: dict[str, str], numbers: list[int], requests: int
) -> None:
    """Give each number kept by any attempt once, ascending, with its row, and the cost of the objects it took."""
    for attempt, covered in rests.items():
        keep(tmp_path, attempt, covered, requests=1)

    lines, cost = run_store.restore(run_store.rests(SPEC).get(0, []))

    assert [line.song_num for line in lines] == numbers
    assert [line.text for line in lines] == [encode_row(number, judge(number)) for number in numbers]
    assert cost.requests == requests
    assert cost.songs_done == 0


@given(st.lists(st.sets(st.integers(1, 4), min_size=1), max_size=5))
def test_whatever_was_kept_comes_back(kept: list[set[int]]) -> None:
    """Give every number that any of the objects holds, whichever are read."""
    objects = {f"rest/{index}": SongSet.of_numbers(numbers) for index, numbers in enumerate(kept)}
    store = {name: rows_of(numbers) for name, numbers in objects.items()}

    class InMemory(FolderStore):
        """Read from the dictionary."""

        def read(self, name: str) -> bytes | None:
            return store[name]

    stored = [
        StoredObject(name, len(store[name]), crc32c(store[name]), 0.0, set_to_metadata("covered", numbers))
        for name, numbers in objects.items()
    ]
    lines, _ = RunStore(InMemory(Path("nowhere")), "trial").restore(stored)

    assert [line.song_num for line in lines] == sorted(set().union(*kept))


def test_rows_kept_aside_come_back_without_metadata(tmp_path: Path, run_store: RunStore) -> None:
    """Read every object whose metadata is gone; what it cost nobody knows."""
    keep(tmp_path, "a", "1-2", requests=5)
    keep(tmp_path, "b", "2-3", requests=7)
    for sidecar in sidecars(tmp_path, "rest/.*.meta"):
        sidecar.unlink()

    lines, cost = run_store.restore(run_store.rests(SPEC)[0])

    assert [line.song_num for line in lines] == [1, 2, 3]
    assert (cost.requests, cost.seconds) == (0, 0.0)


def test_the_cost_of_rows_kept_aside_is_carried(tmp_path: Path, run_store: RunStore) -> None:
    """Add up requests, throttles, latencies and seconds of the calls that were cut off."""
    key, covered = SPEC.grid[0], SongSet.parse("1-2")
    tally = tally_of(covered, requests=9, throttled=4, started_at=100.0, finished_at=107.5, carried_seconds=2.0)
    tally.latencies = Counter({40: 9})
    run_store.keep(key, covered, rows_of(covered), tally)

    _, cost = run_store.restore(run_store.rests(SPEC)[0])

    assert (cost.requests, cost.throttled, cost.latencies, cost.seconds) == (9, 4, Counter({40: 9}), 9.5)


def test_rows_kept_aside_are_no_parts(tmp_path: Path, run_store: RunStore) -> None:
    """List them by the part they belong to, and never as a part, though they hold all its rows."""
    keep(tmp_path, "a", "1-4")
    run_store.store.create("runs/trial/rest/songs-000000000099-000000000100.a.jsonl.gz", b"", {})

    assert {index: len(kept) for index, kept in run_store.rests(SPEC).items()} == {0: 1}
    assert run_store.parts(SPEC) == []


@pytest.mark.parametrize("there", [[], [0], [0, 1], [0, 2], [1, 2]], ids=str)
def test_a_run_finishes_only_when_its_parts_tile_it(run_store: RunStore, there: list[int]) -> None:
    """Write no manifest while a part is missing, wherever, and write it once none is."""
    commit(run_store, *there)
    early = run_store.finish(SPEC, SPEC.grid, run_store.parts(SPEC), Gate())
    before = run_store.manifest()
    commit(run_store, *({0, 1, 2} - set(there)))
    late = run_store.finish(SPEC, SPEC.grid, run_store.parts(SPEC), Gate())

    assert (early, before, late) == (None, None, "complete")
    assert json.loads(run_store.manifest() or b"")["missing_songs"] == "3,6,9,12"
    assert run_store.finished()


def test_every_finisher_is_told_that_the_run_is_finished(run_store: RunStore) -> None:
    """Leave the first manifest as it is, and say yes to whoever comes second."""
    commit(run_store, 0, 1, 2)
    second = RunStore(run_store.store, SPEC.run, "two")

    finished = [one.finish(SPEC, SPEC.grid, one.parts(SPEC), Gate()) for one in (run_store, second)]

    assert finished == ["complete", "complete"]


def test_an_open_range_ends_where_its_parts_say(tmp_path: Path) -> None:
    """Give no grid while the end is not known, then the parts up to it; any other run comes to its own."""
    spec = run_spec("1-12", asked="1-", end_after_missing=2)
    run_store = begin(tmp_path, spec)
    open_end = run_store.end(spec, run_store.parts(spec))
    for key in list(spec.grid)[:2]:
        statuses = {1: found(1), 2: found(2), 3: found(3), 5: found(5), 6: found(6)}
        compressor = Compressor()
        compressor.feed(encode_row(number, statuses.get(number, MISSING)) for number in key.songs)
        run_store.commit(key, compressor.finish(), Tally())
    for sidecar in sidecars(tmp_path, ".songs-*.meta"):
        sidecar.unlink()
    end = run_store.end(spec, run_store.parts(spec))

    assert open_end is None
    assert end is not None
    assert str(end.songs) == "1-8"
    assert run_store.end(SPEC, []) == SPEC.grid


def test_a_run_is_stopped_once_and_for_all(run_store: RunStore) -> None:
    """Store the stop marker, also when it is there already."""
    before = run_store.stopped()
    run_store.stop()
    RunStore(run_store.store, SPEC.run, "two").stop()

    assert (before, run_store.stopped()) == (False, True)
