"""Check stops that are taken back: which calls go on with the run, and that anybody may do either at any time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.app.stored.run import StoredRun
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import found
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.ending.stops import Stops
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.resolve import Order, resolve_run
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import parse_selection
from crawler.runs.spec import RunSpec, Source
from crawler.runs.status import run_summary
from crawler.runs.tally import Tally
from crawler.runs.verify import verify_run

SPEC = run_spec("1-10")


def order(songs: str = "1-10", **fields: object) -> Order:
    """Make what a call asks for, of the source of SPEC."""
    source = Source(SPEC.source, SPEC.source_digest)
    given = {"source": source, "format": "jsonl", "part_songs": 4, "end_after_missing": 3, "max_songs": 100}
    return Order(selection=parse_selection(songs), **{**given, **fields})  # type: ignore[arg-type]


def opened(folder: Path, run: str = "trial") -> StoredRun:
    """Open a stored run, as each request does anew."""
    return StoredRun.open(RunIndex(FolderStore(folder), call_id="caller"), run)


def conclude(run_index: RunIndex, spec: RunSpec) -> None:
    """Note that a run is over, as a call does that found it stopped."""
    run_index.conclude(spec.run, scopes_of(spec.request_digest, spec.job))


def finish(run_index: RunIndex, spec: RunSpec) -> None:
    """Store the only part of a run, and finish it."""
    compressor = Compressor()
    compressor.feed([encode_row(1, found("a"))])
    tally = Tally(found=1, missing_songs=SongSet(), failed_songs=SongSet(), started_at=1.0, finished_at=2.0)
    run_store = run_index.run_store(spec.run)
    run_store.commit(spec.grid[0], compressor.finish(), tally)
    assert run_summary(run_store, spec, time.time(), gate=Gate()).state == "complete"


def markers(folder: Path, run: str = "trial") -> list[str]:
    """Name the stops of a run and what took them back."""
    return sorted(path.name for kind in ("stop", "resume") for path in (folder / "runs" / run).glob(f"{kind}*"))


def test_a_stop_is_taken_back_and_comes_again(tmp_path: Path) -> None:
    """Count stops and what takes them back from 1; doing either twice stores nothing more."""
    RunIndex(FolderStore(tmp_path)).run_store("trial").begin(SPEC)
    seen = []
    for deed in ("stop", "stop", "resume", "resume", "stop", "resume", "stop"):
        getattr(opened(tmp_path), deed)()
        seen.append(opened(tmp_path).summary().state)

    assert seen == ["stopped", "stopped", "partial", "partial", "stopped", "partial", "stopped"]
    assert markers(tmp_path) == [
        *("resume-000001.json", "resume-000002.json"),
        *("stop-000001.json", "stop-000002.json", "stop-000003.json"),
    ]


def test_the_stop_of_an_earlier_release_is_the_first(tmp_path: Path) -> None:
    """Take back a stop.json like any other, and number the next stop after it."""
    RunIndex(FolderStore(tmp_path)).run_store("trial").begin(SPEC)
    (tmp_path / "runs/trial/stop.json").write_bytes(b"{}\n")
    before = opened(tmp_path).summary().state
    opened(tmp_path).resume()
    between = opened(tmp_path).summary().state
    opened(tmp_path).stop()

    assert (before, between, opened(tmp_path).summary().state) == ("stopped", "partial", "stopped")
    assert markers(tmp_path) == ["resume-000001.json", "stop-000002.json", "stop.json"]


def test_whoever_looks_again_sees_what_came_since(tmp_path: Path) -> None:
    """Follow stops and what takes them back, also several between two looks."""
    store = FolderStore(tmp_path)
    stops, others = Stops(store, "trial", "one"), Stops(store, "trial", "two")
    seen = []
    for deeds in ((), ("stop",), ("resume",), ("stop", "resume"), ("stop", "resume", "stop"), ("resume",)):
        for deed in deeds:
            others.stopped()
            getattr(others, deed)()
        seen.append((stops.stopped(), stops.taken_back))

    assert seen == [(False, 0), (True, 0), (False, 1), (False, 2), (True, 3), (False, 4)]


@pytest.mark.parametrize("deeds", [("stop", "stop"), ("resume", "resume"), ("stop", "resume", "stop", "resume")])
@pytest.mark.parametrize("times", [0, 1, 2], ids="after {} deeds".format)
def test_many_at_once_agree(tmp_path: Path, deeds: tuple[str, ...], times: int) -> None:
    """End in one of the two states, without a number left out and without an error, whoever is first."""
    RunIndex(FolderStore(tmp_path)).run_store("trial").begin(SPEC)
    for deed in ("stop", "resume")[:times]:
        getattr(opened(tmp_path), deed)()
    together = Barrier(len(deeds))

    def act(deed: str) -> str:
        stored = opened(tmp_path)
        together.wait()
        return str(getattr(stored, deed)().state)

    with ThreadPoolExecutor(len(deeds)) as executor:
        states = list(executor.map(act, deeds))
    end = opened(tmp_path).summary().state
    stops, resumes = (sum(name.startswith(kind) for name in markers(tmp_path)) for kind in ("stop", "resume"))

    assert set(states) <= {"partial", "stopped"}
    assert end == ("stopped" if stops > resumes else "partial")
    assert stops - resumes in (0, 1)
    if len(set(deeds)) == 1:
        assert end == ("stopped" if deeds[0] == "stop" else "partial")


@pytest.mark.parametrize("named", [None, "mine"])
def test_the_same_call_goes_on_after_a_resume(tmp_path: Path, named: str | None) -> None:
    """Begin another run while it is stopped, and go on with it once it is resumed, also after a second stop."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order(run=named), time.time())
    seen = []
    for _ in range(2):
        opened(tmp_path, spec.run).stop()
        conclude(run_index, spec)
        seen.append(resolve_run(run_index, order(run="other"), time.time()).run if named else "other")
        opened(tmp_path, spec.run).resume()
        seen.append(resolve_run(run_index, order(run=named), time.time()).run)
        assert next(run_index.unfinished(scopes_of(spec.request_digest, None)[0]), None) is not None

    assert seen == ["other", spec.run] * 2


def test_a_stopped_run_stays_concluded(tmp_path: Path) -> None:
    """Begin anew, and go on with the new run however often is asked, where nobody resumes the old one."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order(), time.time())
    opened(tmp_path, spec.run).stop()

    others = [resolve_run(run_index, order(), time.time()).run for _ in range(3)]

    assert others == [f"{spec.run}-2"] * 3


def test_a_call_that_saw_the_stop_late_hides_no_run(tmp_path: Path) -> None:
    """Find a run that was resumed between a call's look at its stop and the note that it is over."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order(), time.time())
    opened(tmp_path, spec.run).stop()
    stops = run_index.run_store(spec.run).stops()
    assert stops.stopped()
    opened(tmp_path, spec.run).resume()
    run_index.conclude(spec.run, scopes_of(spec.request_digest, None), stops.taken_back)

    assert resolve_run(run_index, order(), time.time()).run == spec.run


def test_a_resumed_run_ends_like_any_other(tmp_path: Path) -> None:
    """Let nobody look for it again once it is finished, and prove it with its stops beside it."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order("1"), time.time())
    for deed in ("stop", "resume"):
        getattr(opened(tmp_path, spec.run), deed)()
    (scope,) = scopes_of(spec.request_digest, None)
    assert [each.run for each in run_index.unfinished(scope)] == [spec.run]
    finish(run_index, spec)
    conclude(run_index, spec)  # by a call that never saw the stop

    assert [list(run_index.unfinished(scope)) for _ in range(2)] == [[], []]
    assert sorted(path.name for path in (tmp_path / "index/ended" / scope).iterdir() if path.name[0] != ".") == [
        spec.run,
        f"{spec.run}~000001",
    ]
    assert run_index.finished_since(scope, 0.0) == spec
    assert verify_run(run_index, spec.run).faults == []


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    """Store nothing where a run was finished in spite of its stop."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    spec = resolve_run(run_index, order("1"), time.time())
    opened(tmp_path, spec.run).stop()
    finish(run_index, spec)

    assert opened(tmp_path, spec.run).resume().state == "complete"
    assert markers(tmp_path, spec.run) == ["stop-000001.json"]


def test_the_scheduled_job_goes_on_with_a_resumed_run(tmp_path: Path) -> None:
    """Begin a new run while it is stopped, and go back to it, the older one, once that is done."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    calls = [order(scheduled_call=ScheduledCall("nightly", f"2026112{day}t020000z")) for day in (3, 4, 5)]
    first = resolve_run(run_index, calls[0], time.time())
    opened(tmp_path, first.run).stop()
    second = resolve_run(run_index, calls[1], time.time())
    opened(tmp_path, second.run).stop()
    opened(tmp_path, first.run).resume()

    third = resolve_run(run_index, calls[2], time.time())

    assert first.run != second.run
    assert third.run == first.run


def test_next_goes_on_with_a_resumed_run(tmp_path: Path) -> None:
    """Work on the last claim again instead of making another."""
    run_index = RunIndex(FolderStore(tmp_path), "one")
    first = resolve_run(run_index, order("next:5"), time.time())
    for deed in ("stop", "resume"):
        getattr(opened(tmp_path, first.run), deed)()

    assert resolve_run(run_index, order("next:5"), time.time()).run == first.run


@pytest.mark.parametrize("times", [0, 1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("open_stop", [False, True])
def test_the_last_of_many_stops_is_found(tmp_path: Path, times: int, open_stop: bool) -> None:
    """Search for the last stop of a run that is stopped and resumed every day, in few looks."""
    store = CountingStore(tmp_path)
    for number in range(1, times + open_stop + 1):
        store.create(f"runs/trial/stop-{number:06d}.json", b"", {})
        if number <= times:
            store.create(f"runs/trial/resume-{number:06d}.json", b"", {})
    stops = Stops(store, "trial", "one")
    store.looks = 0

    assert (stops.stopped(), stops.taken_back) == (open_stop, times)
    assert store.looks <= 3 + 2 * times.bit_length() + 3 * open_stop
    before = store.looks
    assert stops.stopped() == open_stop
    assert store.looks - before == 1 + open_stop


class CountingStore(FolderStore):
    """A folder that counts how often it is asked for an object."""

    looks = 0

    def stat(self, name: str) -> StoredObject | None:
        """Count."""
        self.looks += 1
        return super().stat(name)
