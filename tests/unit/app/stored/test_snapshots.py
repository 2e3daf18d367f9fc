"""Check snapshots: the newest row of each song, of which runs, made by any number of calls, and the sentences."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from servers import ServerProcess
from support.stored_runs import EPOCH, store_run

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import open_store
from crawler.app.crawl_request import SnapshotRequest
from crawler.app.stored.snapshots import Snapshots, SnapshotSummary
from crawler.core.deadline import CallTime
from crawler.core.errors import (
    BadRequest,
    Damaged,
    NewerVersion,
    RunConflict,
    SongcrawlError,
    StoreUnavailable,
    UnknownRun,
)
from crawler.core.key_list import KeyList
from crawler.core.records import FormatName, StoredObject
from crawler.core.song_set import SongSet
from crawler.core.timestamps import utc_text
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.found_rows import stored_lines
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.spec import KeysDigest
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from crawler.views import snapshot as snapshot_module

Rows = list[dict[str, Any]]


def judge_of(run: str, missing: Callable[[int], bool], failing: Callable[[int], bool]) -> Callable[[int], Verdict]:
    """Judge numbers, each found song telling its run."""

    def judge(number: int) -> Verdict:
        if missing(number):
            return MISSING
        return (
            failed("timeout") if failing(number) else found({"run": run, "n": number, "text": '},"status":"x"\u2028'})
        )

    return judge


def at(seconds: float) -> Callable[[int], float]:
    """Have every part fetched so many seconds after the first."""
    return lambda _: EPOCH + seconds


def always(run: str) -> Callable[[int], Verdict]:
    """Find every song."""
    return judge_of(run, lambda _: False, lambda _: False)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Open a folder for runs and snapshots."""
    return FolderStore(tmp_path / "songs")


def make(store: FolderStore, format: FormatName = "jsonl", *, late: bool = False, **request: Any) -> SnapshotSummary:
    """Make a snapshot."""
    time = out_of_time() if late else forever()
    return Snapshots(store, store, format).make(SnapshotRequest(**request), time)


def rows_of(store: FolderStore, summary: SnapshotSummary) -> Rows:
    """Read a snapshot's rows in the order of its manifest, each part as its format has it."""
    folder = Path(store.url) / "snapshots" / summary.snapshot
    parts = json.loads((folder / "manifest.json").read_bytes())["parts"]
    data = [(folder / part["name"]).read_bytes() for part in parts]
    return [json.loads(line) for each in data for lines in stored_lines(summary.format, each) for line in lines]


def in_short(rows: Rows) -> list[tuple[int, str]]:
    """Say of each row which song it is and which run's."""
    assert all(row["info"]["run"] == row["run"] and row["info"]["n"] == row["song_num"] for row in rows)
    return [(row["song_num"], row["run"]) for row in rows]


def objects(store: FolderStore, name: str) -> dict[str, bytes]:
    """Read a snapshot's parts and manifest."""
    folder = Path(store.url) / "snapshots" / name
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] not in ".r"}


def test_a_row_is_what_the_contract_says(store: FolderStore) -> None:
    """Write number, info, run and time of fetching; missing and failed songs are left out."""
    judge = judge_of("a", lambda n: n == 2, lambda n: n == 3)
    store_run(store, "a", "1-4", judge, at(0.25))

    summary = make(store)
    (part,) = (Path(store.url) / "snapshots" / summary.snapshot).glob("songs-*")

    first = gzip.decompress(part.read_bytes()).decode().partition("\n")[0]
    assert first.startswith('{"song_num":1,"info":{"run":"a","n":1,"text":"},\\"status\\":\\"x')
    assert first.endswith('"},"run":"a","fetched_at":"2026-01-01T00:00:00.250Z"}')
    assert part.name == "songs-000000000001-000000000004.jsonl.gz"
    assert in_short(rows_of(store, summary)) == [(1, "a"), (4, "a")]
    assert (summary.state, summary.songs, summary.parts, summary.runs) == ("complete", 2, 1, 1)


def test_a_failed_night_hides_no_good_row(store: FolderStore) -> None:
    """Take the newest row that is not failed; a song that was missing last is left out."""
    store_run(store, "a", "1-10", always("a"))
    store_run(store, "b", "1-10", judge_of("b", lambda n: n == 4, lambda n: n == 5), at(100))

    assert in_short(rows_of(store, make(store))) == [(n, "a" if n == 5 else "b") for n in range(1, 11) if n != 4]


def test_parts_count_by_their_own_time(store: FolderStore) -> None:
    """Tell new from old part by part, where two runs were crawled through each other; ties go to the younger run."""
    store_run(store, "a", "1-8", always("a"), lambda place: EPOCH + 10 * place)
    store_run(store, "b", "1-8", always("b"), at(5), part_songs=4)
    store_run(store, "c", "8", always("c"), at(10), created_at="2026-03-01T00:00:00.000Z")

    numbers = [(n, "b") for n in range(1, 5)] + [(n, "a") for n in range(5, 8)] + [(8, "c")]
    assert in_short(rows_of(store, make(store))) == numbers


@pytest.mark.parametrize("seed", range(6))
def test_any_runs_give_the_newest_rows(store: FolderStore, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agree with a plain reckoning over all rows: any selections, cuts, formats and times, in small parts."""
    draw = random.Random(seed)
    monkeypatch.setattr(snapshot_module, "MOST_PART_SONGS", 7)
    monkeypatch.setattr(snapshot_module, "_CHUNK_ROWS", 7)
    newest: dict[int, tuple[Any, str | None]] = {}
    for run in "abcdef"[: draw.randint(1, 6)]:
        numbers = sorted(draw.sample(range(60), draw.randint(1, 50)))
        missing, failing = set(draw.sample(numbers, len(numbers) // 4)), set(draw.sample(numbers, len(numbers) // 4))
        judge = judge_of(run, missing.__contains__, failing.__contains__)
        times = {place: EPOCH + draw.randint(0, 9) for place in range(60)}
        form = draw.choice(["jsonl", "csv", "parquet"])
        asked = ",".join(map(str, numbers))
        fields: dict[str, Any] = {
            "format": form,
            "part_songs": draw.randint(1, 20),
            "created_at": f"2026-01-0{draw.randint(1, 3)}",
        }
        spec = store_run(store, run, asked, judge, times.__getitem__, **fields)
        for number in numbers:
            if number in missing or number not in failing:
                key = spec.grid.covering(number)
                assert key
                age = (times[key.index], spec.created_at, run)
                if number not in newest or age > newest[number][0]:
                    newest[number] = (age, None if number in missing else run)

    summary = make(store, draw.choice(["jsonl", "csv", "parquet"]))
    rows = rows_of(store, summary)

    assert in_short(rows) == [(number, run) for number, (_, run) in sorted(newest.items()) if run]
    assert [row["fetched_at"] for row in rows] == [utc_text(newest[row["song_num"]][0][0]) for row in rows]
    assert summary.parts == -(-len(rows) // 7)


class Killed(FolderStore):
    """A folder on which a call dies when it would create its nth object."""

    def __init__(self, folder: Path, nth: int) -> None:
        """Take the folder, and how many objects are created before."""
        super().__init__(folder)
        self.left = nth

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, while the call lives."""
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("killed")
        return super().create(name, data, metadata)


def test_whoever_goes_on_makes_the_same_bytes(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go on after a kill at any object, and after calls without time; no part is made again."""
    monkeypatch.setattr(snapshot_module, "MOST_PART_SONGS", 4)
    monkeypatch.setattr(snapshot_module, "_CHUNK_ROWS", 4)
    store_run(store, "a", "1-10", always("a"))
    store_run(store, "b", "3-20", always("b"), at(100))
    whole = make(store, name="now")
    expected = objects(store, "now")

    for nth in range(whole.parts + 2):
        place = tmp_path / f"killed-{nth}"
        with pytest.raises(StoreUnavailable):
            Snapshots(store, Killed(place, nth), "jsonl").make(SnapshotRequest(name="now"), forever())
        snapshots = Snapshots(store, Killed(place, whole.parts + 2 - nth), "jsonl")
        halfway = snapshots.make(SnapshotRequest(name="now"), out_of_time())
        assert (halfway.state, halfway.parts) == ("partial", max(0, nth - 1))
        assert snapshots.make(SnapshotRequest(name="now"), forever()).state == "complete"
        made = objects(FolderStore(place), "now")
        assert {**made, "snapshot.json": b""} == {**expected, "snapshot.json": b""} | with_created_at(made, expected)
    assert make(store, name="now") == whole


def out_of_time() -> CallTime:
    """Give a call no time to work, and a few seconds to answer."""
    return CallTime(SystemClock().now() - 993, 1000)


def forever() -> CallTime:
    """Give a call all the time."""
    return CallTime(SystemClock().now())


def with_created_at(made: dict[str, bytes], expected: dict[str, bytes]) -> dict[str, bytes]:
    """Give the manifest that is expected of a snapshot that began at another time."""
    time = json.loads(made["snapshot.json"])["created_at"]
    other = json.loads(expected["snapshot.json"])["created_at"]
    return {"manifest.json": expected["manifest.json"].replace(other.encode(), time.encode())}


def test_parts_that_nothing_is_taken_of_are_not_read(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read of an older run what a newer one does not cover, and no more."""
    store_run(store, "a", "1-12", always("a"))
    store_run(store, "b", "1-8", always("b"), at(100))
    names: list[str] = []
    read = FolderStore.read

    def noting(self: FolderStore, name: str) -> bytes | None:
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(FolderStore, "read", noting)
    make(store)

    assert [name for name in names if "runs/a/songs-" in name] == ["runs/a/songs-000000000009-000000000012.jsonl.gz"]


def test_an_earlier_snapshot_stands_for_its_runs(store: FolderStore) -> None:
    """Lay newer runs on it once its own runs are thrown away; a song missing since is gone from the next."""
    store_run(store, "a", "1-10", always("a"))
    make(store, "parquet", name="sunday")
    shutil.rmtree(Path(store.url) / "runs" / "a")
    store_run(store, "b", "3-12", judge_of("b", lambda n: n == 4, lambda n: n == 5), at(100))

    monday = make(store, name="monday", laid_on="sunday")

    runs = {1: "a", 2: "a", 5: "a"}
    assert in_short(rows_of(store, monday)) == [(n, runs.get(n, "b")) for n in range(1, 13) if n != 4]
    assert json.loads(objects(store, "monday")["manifest.json"])["runs"] == ["a", "b"]


def test_a_complete_snapshot_needs_nothing_it_was_made_of(store: FolderStore) -> None:
    """Answer for one that is complete though what it was laid on, and its runs, are gone."""
    store_run(store, "a", "1-10", always("a"))
    make(store, name="sunday")
    monday = make(store, name="monday", laid_on="sunday")
    shutil.rmtree(Path(store.url) / "runs")
    shutil.rmtree(Path(store.url) / "snapshots" / "sunday")

    assert make(store, name="monday", laid_on="sunday") == monday


def test_a_bucket_keeps_snapshots_too(gcs: ServerProcess) -> None:
    """Make, go on with and list snapshots in Cloud Storage."""
    store = open_store("gs://songs/snapshots-test", gcs.url)
    store_run(store, "a", "1-40", always("a"), part_songs=3)
    store_run(store, "b", "30-50", always("b"), at(100), part_songs=4)
    snapshots = Snapshots(store, store, "jsonl")

    assert snapshots.make(SnapshotRequest(name="now"), CallTime(SystemClock().now(), 30)).songs == 50
    part = store.read("snapshots/now/songs-000000000001-000000000050.jsonl.gz") or b""
    rows = [json.loads(line) for line in gzip.decompress(part).split(b"\n")[:-1]]
    assert in_short(rows) == [(n, "a" if n < 30 else "b") for n in range(1, 51)]
    assert [each.state for each in snapshots.page(10, "")[0]] == ["complete"]


def test_runs_older_than_the_earlier_snapshot_are_refused(store: FolderStore) -> None:
    """Say that a run can't be laid on a snapshot that tells of the same songs from later; other songs may be."""
    store_run(store, "b", "1-10", judge_of("b", lambda n: n == 4, lambda _: False), at(100))
    make(store, name="sunday")
    store_run(store, "a", "20-30", always("a"))
    assert make(store, name="monday", laid_on="sunday").songs == 20
    store_run(store, "c", "4", always("c"), at(50))

    with pytest.raises(RunConflict, match=r"run c was fetched in part before .* sunday"):
        make(store, name="tuesday", laid_on="sunday")
    assert in_short(rows_of(store, make(store)))[3] == (5, "b")


def test_runs_that_are_not_complete_are_left_out(store: FolderStore) -> None:
    """Take complete runs alone, and say so if there is none."""
    store_run(store, "b", "1-10", always("b"), whole=False)
    with pytest.raises(UnknownRun, match="no complete run in"):
        make(store)
    store_run(store, "a", "1-10", always("a"))

    assert in_short(rows_of(store, make(store))) == [(n, "a") for n in range(1, 11)]


def test_held_runs_are_left_out_until_they_are_accepted(store: FolderStore) -> None:
    """Take nothing of a run that the gate holds; once somebody accepted it, it is a run like others."""
    store_run(store, "a", "1-10", always("a"))
    held = store_run(store, "b", "1-10", judge_of("b", lambda n: n > 2, lambda _: False), at(100), gate=Gate(None, 0.9))
    assert in_short(rows_of(store, make(store))) == [(n, "a") for n in range(1, 11)]

    RunStore(store, "b", "later").accept(held)
    assert in_short(rows_of(store, make(store))) == [(1, "b"), (2, "b")]


def test_several_sources_are_told_apart(store: FolderStore) -> None:
    """Ask for the source's name, or digest, where a store holds runs of several."""
    store_run(store, "a", "1-5", always("a"))
    store_run(store, "b", "1-5", always("b"), source_name="tracks", source_digest="f" * 16)

    with pytest.raises(BadRequest, match=r"source is missing.*0123456789abcdef \(https:.*, tracks \(https:"):
        make(store)
    with pytest.raises(UnknownRun, match="source albums; there are 0123456789abcdef"):
        make(store, source="albums")
    assert {run for _, run in in_short(rows_of(store, make(store, source="tracks")))} == {"b"}
    assert {run for _, run in in_short(rows_of(store, make(store, source="0123456789abcdef")))} == {"a"}


def test_a_name_is_one_snapshot(store: FolderStore) -> None:
    """Give the same snapshot again for the same runs, another for others, and refuse a name that another has."""
    store_run(store, "a", "1-5", always("a"))
    first = make(store)
    assert make(store) == first
    store_run(store, "b", "1-5", always("b"), at(100))
    assert make(store).snapshot != first.snapshot

    make(store, name="now")
    with pytest.raises(RunConflict, match="was begun with format jsonl, not csv"):
        make(store, "csv", name="now")
    with pytest.raises(RunConflict, match="was begun with source 0123456789abcdef, not tracks"):
        make(store, name="now", source="tracks")


@pytest.mark.parametrize("gone", ["run.json", "manifest.json", "songs-000000000001-000000000004.jsonl.gz"])
def test_a_run_that_vanished_is_named(store: FolderStore, gone: str) -> None:
    """Fail with a sentence that names the run if something of it is gone once the snapshot has begun."""
    store_run(store, "a", "1-8", always("a"))
    make(store, name="now", late=True)
    (Path(store.url) / "runs" / "a" / gone).unlink()

    with pytest.raises(Damaged, match=r"run a[ ,].*not there"):
        make(store, name="now")


def test_damage_is_named(store: FolderStore) -> None:
    """Fail with the name of a part that is no part, and of a run that only a newer release can read."""
    store_run(store, "a", "1-8", always("a"))
    part = Path(store.url) / "runs" / "a" / "songs-000000000005-000000000008.jsonl.gz"
    part.with_name(f".{part.name}.meta").unlink()
    part.write_bytes(gzip.compress(b'{"song_num":5,"status":"found","info":1}\nnonsense\n'))
    with pytest.raises(Damaged, match="runs/a/songs-000000000005"):
        make(store)
    store_run(store, "b", "1-8", always("b"))
    spec = Path(store.url) / "runs" / "b" / "run.json"
    spec.with_name(".run.json.meta").unlink()
    spec.write_bytes(spec.read_bytes().replace(b'"version": 3', b'"version": 99'))
    with pytest.raises(NewerVersion):
        make(store)


def test_rows_with_keys_keep_them(store: FolderStore) -> None:
    """Carry each song's key into every format; tell lists of keys that differ by the list of today, or ask for it."""
    first, grown = KeyList.parse(b"k1\nk2\n"), KeyList.parse(b"k1\nk2\nk3\n")
    digests = [KeysDigest(len(keys), keys.digest(len(keys))) for keys in (first, grown)]
    for run, songs, keys in (("a", "1-2", digests[0]), ("b", "2-3", digests[1])):
        store_run(store, run, songs, always(run), at(0), key_of=grown.key, keys=keys, source_name="t")

    with pytest.raises(BadRequest, match="several versions of KEYS"):
        make(store)
    for form in ("jsonl", "csv", "parquet"):
        summary = Snapshots(store, store, form, lambda: grown).make(SnapshotRequest(), forever())
        rows = rows_of(store, summary)
        assert [(row["song_num"], row["key"], row["run"]) for row in rows] == [
            (1, "k1", "a"),
            (2, "k2", "b"),
            (3, "k3", "b"),
        ]
    summary = Snapshots(store, store, "jsonl", lambda: first).make(SnapshotRequest(), forever())
    assert {row["run"] for row in rows_of(store, summary)} == {"a"}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_where_a_song_moved_is_kept(store: FolderStore, form: FormatName) -> None:
    """Carry `moved_to`, a number or a path, from each format into each."""

    def judge(number: int) -> Verdict:
        moved_to = {1: 3, 2: "/songs/x"}.get(number)
        return msgspec.structs.replace(always("a")(number), moved_to=moved_to)

    store_run(store, "a", "1-3", judge, follows_redirects=True, format=form)

    for other in ("jsonl", "csv", "parquet"):
        rows = rows_of(store, make(store, other))
        assert [row.get("moved_to") for row in rows] == [3, "/songs/x", None]


def test_rests_make_a_part_as_old_as_its_first_row(store: FolderStore) -> None:
    """Count a part whose first rows an earlier call kept aside by that call's time."""
    spec = store_run(store, "a", "1-4", always("a"), whole=False)
    run_store = RunStore(store, "a", "later")
    run_store.keep(spec.grid[0], SongSet.parse("1"), b"", Tally(started_at=EPOCH, finished_at=EPOCH + 1))
    tally = Tally(started_at=EPOCH + 100, finished_at=EPOCH + 101, carried_seconds=1.0, found=4, call_id="later")
    tally.count_numbers({"found": [1, 2, 3, 4], "missing": [], "failed": []}, {})
    compressor = Compressor()
    compressor.feed(encode_row(number, always("a")(number)) for number in range(1, 5))
    run_store.commit(spec.grid[0], compressor.finish(), tally)
    run_store.finish(spec, spec.grid, run_store.parts(spec), Gate())
    store_run(store, "b", "1-4", always("b"), at(50))

    assert {run for _, run in in_short(rows_of(store, make(store)))} == {"b"}


def test_rows_in_another_hand_are_read(store: FolderStore) -> None:
    """Read rows that are valid JSON but not written as this project writes them."""
    store_run(store, "a", "1-3", always("a"))
    part = Path(store.url) / "runs" / "a" / "songs-000000000001-000000000003.jsonl.gz"
    part.with_name(f".{part.name}.meta").unlink()
    rows = [
        {"status": "found", "info": {"run": "a", "n": 1}, "song_num": 1},
        {"song_num": 2, "status": "missing", "info": None},
    ]
    rows.append({"song_num": 3, "status": "found", "info": {"run": "a", "n": 3}})
    part.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    assert in_short(rows_of(store, make(store))) == [(1, "a"), (3, "a")]


def test_snapshots_are_listed_newest_first(store: FolderStore) -> None:
    """List them in pages, partial ones too."""
    store_run(store, "a", "1-5", always("a"))
    for place, name in enumerate(("x", "y", "z")):
        make(store, name=name, late=name == "y")
        os.utime(Path(store.url) / "snapshots" / name / "snapshot.json", (EPOCH + place, EPOCH + place))
    snapshots = Snapshots(store, store, "jsonl")

    first, after = snapshots.page(2, "")
    second, end = snapshots.page(2, after or "")

    assert [(each.snapshot, each.state, each.songs) for each in first + second] == [
        ("z", "complete", 5),
        ("y", "partial", 0),
        ("x", "complete", 5),
    ]
    assert (after, end) == ("y", None)
    with pytest.raises(SongcrawlError, match="no snapshot q"):
        snapshots.state("q")
