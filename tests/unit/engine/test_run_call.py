"""Check one call on a run: what it stores, what it does not ask for again, and how the run stands after it."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.fakes import FakeClock, FakeFetcher, PlainController, join_new_threads
from support.runs import figures

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.runtime.daemon_threads import DaemonThreads
from crawler.adapters.storage.folder import FolderStore
from crawler.core.deadline import Deadline
from crawler.core.errors import BadSetting, StoreUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import Clock, Fetcher, Store
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.engine.run_call import RunCall
from crawler.formats.jsonl_rows import decode_rows
from crawler.rate_control import circuit_breaker
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.runs.index import RunIndex
from crawler.runs.spec import RunSpec
from crawler.runs.summary import OUT_OF_TIME, UNANSWERED, CallResult, Reason, RunSummary

LIMITS = Limits(max_attempts=2, max_at_once=4)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail a test after which a thread goes on."""
    before = set(threading.enumerate())
    yield
    left = join_new_threads(before)

    assert left == set()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Open an empty folder."""
    return FolderStore(tmp_path / "songs")


def spec_of(songs: str = "1-25", *, run: str = "trial", part_songs: int = 10, source: str = "a") -> RunSpec:
    """Ask for songs."""
    return RunSpec(
        run=run,
        asked=songs,
        songs=str(SongSet.parse(songs)),
        source=f"https://songs.example/{source}/{{song_num}}",
        source_digest=source,
        format="jsonl",
        part_songs=part_songs,
        created_at="2026-01-01T00:00:00.000Z",
    )


def call(store: Store, fetcher: Fetcher, spec: RunSpec | None = None, **given: Any) -> RunSummary:
    """Make one call on a run, and say how it stands then."""
    return call_result(store, fetcher, spec, **given).summary


def call_result(
    store: Store,
    fetcher: Fetcher,
    spec: RunSpec | None = None,
    *,
    seconds: float = float("inf"),
    limits: Limits = LIMITS,
    clock: Clock | None = None,
    controller: RateController | None = None,
) -> CallResult:
    """Make one call on a run."""
    spec = spec or spec_of()
    clock = clock or SystemClock()
    with ThreadPoolExecutor(2) as commits:
        run_index = RunIndex(store, call_id=uuid.uuid4().hex)
        run_call = RunCall(
            run_index,
            run_index.run_store(spec.run).begin(spec),
            fetcher=fetcher,
            limits=limits,
            clock=clock,
            workers=DaemonThreads(),
            commits=commits,
            deadline=Deadline.after(clock.now(), seconds),
            random=random.Random(1),
            limiter=Limiter(controller or PlainController(limits.max_per_second, limits.max_at_once)),
        )
        return asyncio.run(run_call.crawl())


def judge(number: int, _nth: int) -> Verdict:
    """Give every fifth song missing, every seventh failed."""
    if number % 5 == 0:
        return MISSING
    return failed("http_400") if number % 7 == 0 else found({"id": number})


def names(store: Store) -> list[str]:
    """Name what is stored of runs."""
    return [stored.name for stored in store.list("runs/")]


def stored_numbers(store: Store, prefix: str = "songs-") -> list[int]:
    """Give the numbers that parts hold rows of; with `rest/`, what was kept aside."""
    parts = (store.read(part.name) or b"" for part in store.list(f"runs/trial/{prefix}"))
    return [row.song_num for part in parts for row in decode_rows(part)]


def counts(answer: RunSummary) -> tuple[int, int, int, int | None]:
    """Give found, missing, failed, remaining."""
    return answer.found, answer.missing, answer.failed, answer.remaining


def test_run_is_stored_as_the_contract_says(store: FolderStore) -> None:
    """Store run.json, a part for every ten numbers and the manifest, and nothing else."""
    answer = call(store, FakeFetcher(judge))

    assert names(store) == [
        "runs/trial/manifest.json",
        "runs/trial/run.json",
        "runs/trial/songs-000000000001-000000000010.jsonl.gz",
        "runs/trial/songs-000000000011-000000000020.jsonl.gz",
        "runs/trial/songs-000000000021-000000000025.jsonl.gz",
    ]
    assert (answer.run, answer.state, answer.parts) == ("trial", "complete", 3)
    assert counts(answer) == (17, 5, 3, 0)
    assert answer.requests == 25
    assert answer.output == f"{store.url}/runs/trial"
    assert answer.detail is None


def test_part_holds_rows_as_the_contract_says(store: FolderStore) -> None:
    """Write one JSON line for every number, ascending, with info null unless found, error only if failed."""
    call(store, FakeFetcher(judge), spec_of("5-7"))
    (part,) = (stored.name for stored in store.list("runs/trial/songs-"))

    assert gzip.decompress(store.read(part) or b"").decode() == (
        '{"song_num":5,"status":"missing","info":null}\n'
        '{"song_num":6,"status":"found","info":{"id":6}}\n'
        '{"song_num":7,"status":"failed","info":null,"error":"http_400"}\n'
    )


def test_manifest_accounts_for_every_number(store: FolderStore) -> None:
    """Name the counts, the missing and the failed numbers, and every part with its checksum."""
    call(store, FakeFetcher(judge))
    manifest = json.loads(store.read("runs/trial/manifest.json") or b"")
    first = store.stat("runs/trial/songs-000000000001-000000000010.jsonl.gz")

    assert first is not None
    assert (manifest["found"], manifest["missing"], manifest["failed"]) == (17, 5, 3)
    assert (manifest["missing_songs"], manifest["failed_songs"]) == ("5,10,15,20,25", "7,14,21")
    assert (manifest["run"], manifest["parent"], manifest["songs"]) == ("trial", None, "1-25")
    assert manifest["parts"][0] == {
        "name": "songs-000000000001-000000000010.jsonl.gz",
        "first": 1,
        "last": 10,
        "found": 7,
        "missing": 2,
        "failed": 1,
        "bytes": first.size,
        "crc32c": first.crc32c,
    }


def test_same_run_is_the_same_bytes_wherever_it_is_stored(tmp_path: Path) -> None:
    """Write equal parts and an equal manifest in two stores, whatever the order in which songs came."""
    one, other = FolderStore(tmp_path / "one"), FolderStore(tmp_path / "other")
    call(one, FakeFetcher(judge), limits=Limits(max_at_once=1))
    call(other, FakeFetcher(judge), limits=Limits(max_at_once=16))

    assert names(one) == names(other)
    assert {name: one.read(name) for name in names(one)} == {name: other.read(name) for name in names(other)}


def test_numbers_far_apart_are_few_parts(store: FolderStore) -> None:
    """Cut the numbers that were asked for, not the range they lie in."""
    answer = call(store, FakeFetcher(judge), spec_of("1,1000,100000,999999999999", part_songs=2))

    assert answer.parts == 2
    assert names(store)[2:] == [
        "runs/trial/songs-000000000001-000000001000.jsonl.gz",
        "runs/trial/songs-000000100000-999999999999.jsonl.gz",
    ]


def test_same_call_again_sends_nothing(store: FolderStore) -> None:
    """Answer a run that is complete from the store alone, in the same words."""
    first = call(store, FakeFetcher(judge))
    fetcher = FakeFetcher(judge)
    again = call(store, fetcher)

    assert fetcher.tried == []
    assert figures(again) == figures(first)


def test_committed_part_is_never_fetched_again(store: FolderStore) -> None:
    """Ask only for the numbers of parts that are not there, and finish the run."""
    call(store, FakeFetcher(judge))
    (Path(store.url) / "runs/trial/songs-000000000011-000000000020.jsonl.gz").unlink()
    (Path(store.url) / "runs/trial/manifest.json").unlink()
    fetcher = FakeFetcher(judge)
    answer = call(store, fetcher)

    assert sorted(fetcher.tried) == list(range(11, 21))
    assert answer.state == "complete"
    assert counts(answer) == (17, 5, 3, 0)


def test_manifest_that_a_kill_took_is_written_by_the_next_call(store: FolderStore) -> None:
    """Finish a run of which everything but the manifest is there, without a request."""
    call(store, FakeFetcher(judge))
    manifest = Path(store.url) / "runs/trial/manifest.json"
    before = manifest.read_bytes()
    manifest.unlink()
    fetcher = FakeFetcher(judge)
    call(store, fetcher)

    assert fetcher.tried == []
    assert manifest.read_bytes() == before


def closing(after: int, verdict: Callable[[int], Verdict] | None = None) -> FakeFetcher:
    """Open a fetcher of an upstream that wants credentials after so many requests."""
    asked: list[int] = []

    def answer(number: int, nth: int) -> Verdict:
        asked.append(number)
        if len(asked) > after:
            return refused("The upstream answers 401.")
        return verdict(number) if verdict else judge(number, nth)

    return FakeFetcher(answer)


def test_grid_of_the_first_call_stands(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Continue a run in the parts it was begun with, whatever PART_SONGS is now."""
    monkeypatch.setattr(circuit_breaker, "CREDENTIALS_SECONDS", 0.0)
    call(store, closing(10), limits=Limits(max_at_once=1), controller=RateController())
    answer = call(store, FakeFetcher(judge), spec_of(part_songs=3))

    assert (answer.state, answer.parts) == ("complete", 3)
    assert counts(answer) == (17, 5, 3, 0)


@pytest.mark.parametrize("lost", ["everywhere", "in one part"])
def test_objects_without_metadata_are_counted_by_their_rows(store: FolderStore, lost: str) -> None:
    """Give the same counts and the same manifest where the objects' metadata is gone."""
    call(store, FakeFetcher(judge))
    folder = Path(store.url) / "runs" / "trial"
    before = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    for sidecar in sorted(folder.glob(".songs-*.meta"))[: None if lost == "everywhere" else 1]:
        sidecar.unlink()
    fetcher = FakeFetcher(judge)
    answer = call(store, fetcher)

    assert fetcher.tried == []
    assert counts(answer) == (17, 5, 3, 0)
    assert (folder / "manifest.json").read_bytes() == before


def test_partial_run_without_metadata_is_counted_by_its_rows(store: FolderStore) -> None:
    """Count the rows also of a run that can't be finished yet."""
    out_of_time(store)
    for sidecar in (Path(store.url) / "runs" / "trial").glob(".songs-*.meta"):
        sidecar.unlink()
    answer = call(store, FakeFetcher(judge), seconds=0.0)

    assert counts(answer) == (15, 0, 0, 10)


def test_missing_numbers_too_scattered_for_metadata_are_in_the_manifest(store: FolderStore) -> None:
    """Name every missing number also where an object's metadata has no room for them."""
    songs = spec_of("1000000-1001999", part_songs=2000)
    answer = call(store, FakeFetcher(lambda n, _nth: MISSING if n % 2 else found(n)), songs)
    (part,) = store.list("runs/trial/songs-")
    manifest = json.loads(store.read("runs/trial/manifest.json") or b"")

    assert "missing_songs" not in part.metadata
    assert sum(len(f"{key}{value}") for key, value in part.metadata.items()) < 8 << 10
    assert manifest["missing_songs"] == ",".join(str(n) for n in range(1000001, 1002000, 2))
    assert counts(answer) == (1000, 1000, 0, 0)


def test_part_of_large_songs_is_committed(store: FolderStore) -> None:
    """Complete a part that is compressed in many pieces, while its last songs come."""
    spec = spec_of("1-400", part_songs=200)
    answer = call(store, FakeFetcher(lambda n, _nth: found([n] * 3000)), spec, limits=Limits(max_at_once=32))

    assert counts(answer) == (400, 0, 0, 0)
    for part in store.list("runs/trial/songs-"):
        rows = decode_rows(store.read(part.name) or b"")
        assert all(row.info == [row.song_num] * 3000 for row in rows)


def test_info_that_json_can_not_hold_fails_its_song_alone(store: FolderStore) -> None:
    """Store the other songs of the part, and the song as failed."""
    answer = call(store, FakeFetcher(lambda n, _nth: found(object() if n == 3 else n)), spec_of("1-5"))

    assert counts(answer) == (4, 0, 1, 0)


def out_of_time(store: Store) -> RunSummary:
    """Make a call whose time is over while it waits, for an hour, to ask for the sixteenth song it comes to."""
    asked: set[int] = set()

    def slow_down(number: int, _nth: int) -> Verdict:
        asked.add(number)
        return throttled("http_429", 3600.0) if len(asked) > 15 else found(number)

    fetcher = FakeFetcher(slow_down)
    return call(store, fetcher, seconds=540.0, limits=Limits(max_at_once=1), clock=FakeClock())


def test_run_is_partial_at_the_deadline(store: FolderStore) -> None:
    """Keep whole parts and the rows of others, write no manifest, count what remains, and say what to do."""
    answer = out_of_time(store)

    assert answer.state == "partial"
    assert counts(answer) == (15, 0, 0, 10)
    assert answer.detail == OUT_OF_TIME.detail
    assert answer.finished_at is None
    assert "runs/trial/manifest.json" not in names(store)


def test_call_after_a_partial_one_continues(store: FolderStore) -> None:
    """Ask for what remains only, and finish with the rows of both calls."""
    out_of_time(store)
    fetcher = FakeFetcher(lambda _n, _nth: MISSING)
    answer = call(store, fetcher)

    assert len(fetcher.tried) == 10
    assert answer.state == "complete"
    assert counts(answer) == (15, 10, 0, 0)
    assert sorted(stored_numbers(store)) == list(range(1, 26))


def test_nothing_is_asked_for_once_the_time_is_over(store: FolderStore) -> None:
    """Answer partial at once where no time is left at all."""
    fetcher = FakeFetcher(judge)
    answer = call(store, fetcher, seconds=0.0)

    assert fetcher.tried == []
    assert (answer.state, answer.remaining) == ("partial", 25)


def test_a_call_says_why_it_ended(store: FolderStore) -> None:
    """Give the reason as a value of its own: out of time, refused, stopped, and complete also where it was before."""
    refusing = FakeFetcher(lambda _n, _nth: refused("The upstream answers 401."))
    reasons = [call_result(store, FakeFetcher(judge), seconds=0.0).reason, call_result(store, refusing).reason]
    reasons += [call_result(store, FakeFetcher(judge)).reason for _ in range(2)]
    stopped = spec_of("1-5", run="stopped")
    RunIndex(store, call_id="stop").run_store("stopped").stop()
    reasons.append(call_result(store, FakeFetcher(judge), stopped).reason)

    assert reasons == [Reason.DEADLINE, Reason.UPSTREAM, Reason.COMPLETE, Reason.COMPLETE, Reason.STOPPED]


def test_refusal_leaves_the_run_partial(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say why the upstream refuses, mark no song failed, and keep what was fetched."""
    monkeypatch.setattr(circuit_breaker, "CREDENTIALS_SECONDS", 0.0)
    answer = call(store, closing(11, found), limits=Limits(max_at_once=1), controller=RateController())

    assert (answer.state, answer.detail) == ("partial", "The upstream answers 401.")
    assert counts(answer) == (11, 0, 0, 14)


def test_error_that_is_no_songs_is_raised(store: FolderStore) -> None:
    """Raise what says that the deployment can't work."""

    def forbidden(_number: int, _nth: int) -> Verdict:
        raise BadSetting("The upstream is a private address.")

    with pytest.raises(BadSetting):
        call(store, FakeFetcher(forbidden))


class Lossy(FolderStore):
    """Fail to store the objects whose names hold a text."""

    def __init__(self, folder: Path, text: str) -> None:
        """Open a folder."""
        super().__init__(folder)
        self._text = text

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, or fail."""
        if self._text in name:
            time.sleep(0.02)  # as a store that fails does: the workers may have ended before it is known
            raise StoreUnavailable("The disk is full.")
        return super().create(name, data, metadata)


@pytest.mark.parametrize(
    "text",
    ["run.json", "songs-000000000001", "songs-000000000011", "songs-000000000021", "manifest.json"],
    ids=["run.json", "first part", "second part", "last part", "manifest"],
)
def test_store_that_fails_is_heard_and_the_next_call_continues(tmp_path: Path, text: str) -> None:
    """Raise when an object can't be stored, whichever, and complete the run once it can."""
    with pytest.raises(StoreUnavailable, match="The disk is full"):
        call(Lossy(tmp_path, text), FakeFetcher(judge))
    store, fetcher = FolderStore(tmp_path), FakeFetcher(judge)
    kept = stored_numbers(store) + stored_numbers(store, "rest/")
    answer = call(store, fetcher)

    assert answer.state == "complete"
    assert sorted(fetcher.tried + kept) == stored_numbers(store) == list(range(1, 26))


def test_calls_on_one_run_at_the_same_time_agree(store: FolderStore) -> None:
    """Let four calls work on one run, and give all of them the same run, whole."""
    spec = spec_of("1-300", part_songs=10)
    start = threading.Barrier(4)

    def one(_: int) -> RunSummary:
        start.wait()
        return call(store, FakeFetcher(judge), spec)

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(one, range(4)))

    assert {answer.state for answer in answers} == {"complete"}
    assert {counts(answer) for answer in answers} == {(206, 60, 34, 0)}
    assert stored_numbers(store) == list(range(1, 301))


def test_call_starts_at_a_part_drawn_at_random(store: FolderStore) -> None:
    """Begin at a random missing part, so that two calls seldom meet, and go round to the others."""
    fetcher = FakeFetcher(judge)
    call(store, fetcher, spec_of("1-300", part_songs=10), limits=Limits(max_at_once=1))

    first = fetcher.tried[0]
    assert first != 1
    assert first % 10 == 1
    assert fetcher.tried == [*range(first, 301), *range(1, first)]


def test_latencies_and_attempts_are_added_up(store: FolderStore) -> None:
    """Count every attempt, throttled ones apart, and give percentiles of their time."""
    verdicts = {1: throttled("http_429", 0.0), 2: retry("timeout")}
    answer = call(
        store, FakeFetcher(lambda n, nth: verdicts.get(n, found(n)) if nth == 1 else found(n)), spec_of("1-5")
    )

    assert (answer.requests, answer.throttled) == (7, 1)
    assert answer.p50_ms is not None
    assert answer.p95_ms is not None
    assert answer.p50_ms <= answer.p95_ms


def test_an_upstream_that_says_nothing_is_named(store: FolderStore) -> None:
    """Say that no song was answered, rather than that the call's time is over, where requests went out in vain."""
    clock = FakeClock()

    def wait_in_vain(_number: int, _nth: int) -> Verdict:
        clock.advance(2.0)
        return retry("timeout")

    result = call_result(store, FakeFetcher(wait_in_vain), seconds=1.0, clock=clock)

    assert (result.reason, result.summary.detail) == (Reason.DEADLINE, UNANSWERED.detail)
