"""Check docs/scale.md: its tables are reckoned anew, and what they are reckoned from is measured on the code."""

from __future__ import annotations

import csv
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from support import scale
from support.fanned_out import World
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.deadline import Deadline
from crawler.core.ports import Store
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import found
from crawler.fan_out.plan import Task
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.grid import Grid
from crawler.runs.manifest import CommittedPart, encode_manifest
from crawler.runs.tally import Tally

ROOT = Path(__file__).parents[2]


class Counting:
    """Be a store that counts what is asked of it."""

    def __init__(self, store: Store) -> None:
        """Stand before a store."""
        self.counts: Counter[str] = Counter()
        self.url = store.url
        self._store = store

    def until(self, deadline: Deadline) -> Counting:
        """Give this store."""
        return self

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object."""
        self.counts["create"] += 1
        return self._store.create(name, data, metadata)

    def read(self, name: str) -> bytes | None:
        """Give an object's bytes."""
        self.counts["read"] += 1
        return self._store.read(name)

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object: an operation of the same price."""
        self.counts["read"] += 1
        return self._store.stat(name)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe objects: pages are not counted, there is but one."""
        self.counts["list"] += 1
        return self._store.list(prefix, after)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Fan out a run of ten parts, tasks of three."""
    world = World(tmp_path)
    world.fan_out()
    return world


def counted(world: World, task: Task | None) -> Counter[str]:
    """Count what a task asks of the store, or a sweep."""
    store = Counting(FolderStore(world.folder))
    world.store = store
    if task:
        world.deliver(task)
    else:
        world.sweep()
    return store.counts


def test_tables_are_as_reckoned() -> None:
    """Hold the page's tables word for word; `PYTHONPATH=. python tests/support/scale.py` prints them."""
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")

    assert scale.table_of_runs() in page
    assert scale.table_of_limits() in page


def test_operations_of_a_task_are_as_told(world: World) -> None:
    """Ask the store so often for each delivery, and so often for each part."""
    long, short = (counted(world, task) for task in (world.tasks()[0], world.tasks()[-1]))
    parts = 3 - 1

    assert long["create"] - short["create"] == parts * scale.PART_CREATES
    assert long["read"] - short["read"] <= parts * scale.PART_READS
    assert short["create"] == scale.PART_CREATES
    assert short["read"] <= scale.TASK_READS + scale.PART_READS
    assert long["list"] <= scale.TASK_LISTINGS


def test_operations_of_a_sweep_are_as_told(world: World) -> None:
    """Ask the store so often for each run that is looked at."""
    counts = counted(world, None)

    assert counts["list"] <= scale.SWEEP_LISTINGS + 1  # one page of parts is reckoned by itself
    assert counts["read"] <= scale.SWEEP_READS
    assert counts["create"] == 0


def test_objects_beside_the_parts_are_as_told(world: World) -> None:
    """Store so many objects more than parts."""
    world.deliver_all()

    # The test's own world does not announce its run: the marker in the list of all runs, and that of its request.
    assert len(list(world.store.list(""))) == 10 + scale.OTHER_OBJECTS - 2


def committed_parts(count: int, missing: int) -> Iterator[CommittedPart]:
    """Make parts of a thousand, as they come from a listing, in each of which some numbers are missing, far apart."""
    grid = Grid(SongSet.of([(1, 10_000_000)]), 1000)
    return (_committed(grid, 8000 + index, missing) for index in range(count))


def _committed(grid: Grid, index: int, missing: int) -> CommittedPart:
    key = grid[index]
    holes = SongSet.of_numbers(list(key.songs)[:: 1000 // missing] if missing else [])
    fields = {"found": 1000 - len(holes), "missing": len(holes), "missing_songs": holes, "failed_songs": SongSet()}
    latencies = Counter(dict.fromkeys(range(50), 20))
    tally = Tally(**fields, requests=1000, latencies=latencies, finished_at=20.0, call_id="a" * 32)  # type: ignore[arg-type]
    stored = StoredObject(f"runs/trial/{key.name}", 40_000, "AAAAAA==", 1e9)
    return CommittedPart(key, stored, Tally.from_metadata(tally.to_metadata()) or tally)


@pytest.mark.parametrize(
    ("missing", "told"), [(0, scale.PART_MEMORY_BYTES), (200, scale.SCATTERED_MEMORY_BYTES)], ids=["none", "scattered"]
)
def test_memory_of_a_part_is_as_told(missing: int, told: int) -> None:
    """Weigh no more a part than the page says, at the moment when the manifest is written; and no tenth of it."""
    tracemalloc.start()
    try:
        spec = run_spec("1-10000000", part_songs=1000)
        encode_manifest(spec, spec.grid, committed_parts(2000, missing))
        peak = tracemalloc.get_traced_memory()[1] / 2000
    finally:
        tracemalloc.stop()

    assert told / 2 < peak <= told


def test_place_of_a_part_in_the_manifest_is_as_told() -> None:
    """Write no more for a part in the manifest than the page says."""
    spec = run_spec("1-10000000", part_songs=1000)
    one, many = (len(encode_manifest(spec, spec.grid, committed_parts(count, 0))) for count in (1, 101))

    assert scale.PART_MANIFEST_BYTES * 0.8 < (many - one) / 100 <= scale.PART_MANIFEST_BYTES


def test_bytes_of_a_song_are_as_told() -> None:
    """Compress the sample catalogue, each song once, to no more a song than the page says."""
    with (ROOT / "examples" / "songs.csv").open(encoding="utf-8") as file:
        songs = list(csv.DictReader(file))
    compressor = Compressor()
    compressor.feed(encode_row(int(song.pop("song_num")), found(song)) for song in songs)

    assert scale.STORED_BYTES_A_SONG * 0.8 < len(compressor.finish()) / len(songs) <= scale.STORED_BYTES_A_SONG


def test_the_hours_are_those_of_the_ceiling() -> None:
    """Take as long as the songs do at the ceiling, since the shares of all instances come to it."""
    for run in scale.RUNS:
        assert run.seconds == run.songs / run.max_per_second


def test_a_plan_of_the_largest_run_is_a_moments_work() -> None:
    """Cut a billion songs into tasks without walking them, and no more tasks than one call can create."""
    tasks = [run.tasks for run in scale.RUNS]

    assert max(tasks) <= 500
    assert len(msgspec.json.encode(Task(sweep=0, first=0, last=10**6))) < 100
