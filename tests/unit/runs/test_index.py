"""Check the index of a store's runs: what a marker leads to, what is passed over, and what is claimed once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, found
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.index import Claim, RunIndex, run_of, scopes_of
from crawler.runs.spec import RunSpec, Source
from crawler.runs.tally import Tally

SCOPE = scopes_of(run_spec("1-4").request_digest, None)[0]
JOB = "job-fedcba9876543210"
SOURCE = Source("sim://{song_num}", "0123456789abcdef")  # of run_spec
CREATED_MS = 1_700_000_000_000


@pytest.fixture
def run_index(tmp_path: Path) -> RunIndex:
    """Open an empty folder's run_index."""
    return RunIndex(FolderStore(tmp_path), call_id="one")


def begin(run_index: RunIndex, run: str, *scopes: str, created_ms: int = CREATED_MS, songs: str = "1-4") -> RunSpec:
    """Announce a run and begin it, as every call does."""
    spec = run_spec(songs, run=run)
    run_index.announce(spec, list(scopes or (SCOPE,)), created_ms)
    return run_index.run_store(run).begin(spec)


def finish(run_index: RunIndex, spec: RunSpec, *, found_up_to: int = 10**12) -> None:
    """Commit all parts of a run, the numbers above one missing, and its manifest."""
    run_store = run_index.run_store(spec.run)
    for key in spec.grid:
        outcomes: dict[int, Verdict] = {n: found(n) if n <= found_up_to else MISSING for n in key.songs}
        compressor = Compressor()
        compressor.feed(encode_row(*pair) for pair in outcomes.items())
        missing = SongSet.of_numbers(n for n in key.songs if n > found_up_to)
        tally = Tally(len(key.songs) - len(missing), len(missing), missing_songs=missing, failed_songs=SongSet())
        run_store.commit(key, compressor.finish(), tally)
    assert run_store.finish(spec, spec.grid, run_store.parts(spec), Gate())


def age(run_index: RunIndex, name: str, instant: float) -> None:
    """Have an object be created at an epoch second."""
    os.utime(Path(run_index.store.url) / name, (instant, instant))


def stored(run_index: RunIndex, prefix: str = "") -> list[str]:
    """Name what is stored."""
    return [stored.name for stored in run_index.store.list(prefix)]


def test_markers_stand_before_the_run(run_index: RunIndex) -> None:
    """Store an empty marker for the list of all runs and for each scope, and nothing of the run itself."""
    run_index.announce(run_spec(run="trial"), [SCOPE, JOB], CREATED_MS)
    run_index.announce(run_spec(run="trial"), [SCOPE, JOB], CREATED_MS)

    assert stored(run_index) == [
        "index/all/8299999999999-trial",
        f"index/begun/{JOB}/trial",
        f"index/begun/{SCOPE}/trial",
    ]
    assert {marker.size for marker in run_index.store.list("index/")} == {0}


def test_pages_are_newest_first(run_index: RunIndex) -> None:
    """List runs by when they began, newest first, and go on after the last of a page until there is none."""
    names = ["b-2", "z", "a", "m.1", "c_c"]
    for age_ms, run in enumerate(names):
        begin(run_index, run, created_ms=CREATED_MS - age_ms)

    pages = [run_index.newest(2)]
    for _ in range(3):
        pages.append(run_index.newest(2, pages[-1][-1]) if pages[-1] else [])

    assert [[run_of(name) for name in page] for page in pages] == [["b-2", "z"], ["a", "m.1"], ["c_c"], []]
    assert run_index.newest(0) == []


def test_a_run_begun_meanwhile_moves_no_page(run_index: RunIndex) -> None:
    """Give a later page the same runs, though new ones began since the first."""
    for age_ms, run in enumerate("abcd"):
        begin(run_index, run, created_ms=CREATED_MS - age_ms)
    first = run_index.newest(2)
    begin(run_index, "new", created_ms=CREATED_MS + 1)

    assert [run_of(name) for name in run_index.newest(2, first[-1])] == ["c", "d"]
    assert run_of(run_index.newest(1)[0]) == "new"


def test_the_newest_unfinished_run_of_a_scope_is_found(run_index: RunIndex) -> None:
    """Find the run whose marker is the youngest, and none of another scope."""
    for instant, run in enumerate(["b", "c", "a"], start=1):
        begin(run_index, run)
        age(run_index, f"index/begun/{SCOPE}/{run}", instant)

    unfinished = run_index.newest_unfinished(SCOPE)

    assert unfinished == run_spec("1-4", run="a")
    assert run_index.newest_unfinished(JOB) is None


@pytest.mark.parametrize("over", ["finished", "stopped"])
def test_a_run_that_is_over_is_noted_and_passed_over(run_index: RunIndex, over: str) -> None:
    """Find the run before one that is over, and mark that one for those who come after."""
    begin(run_index, "older")
    spec = begin(run_index, "younger")
    age(run_index, f"index/begun/{SCOPE}/older", 1)
    if over == "finished":
        finish(run_index, spec)
    else:
        run_index.run_store("younger").stop()

    unfinished = run_index.newest_unfinished(SCOPE)

    assert unfinished is not None
    assert unfinished.run == "older"
    assert stored(run_index, "index/ended/") == [f"index/ended/{SCOPE}/younger"]


def test_a_marker_that_leads_nowhere_is_passed_over(run_index: RunIndex) -> None:
    """Find the run before one that was announced and never begun, and leave that one to whoever begins it yet."""
    begin(run_index, "older")
    age(run_index, f"index/begun/{SCOPE}/older", 1)
    run_index.announce(run_spec(run="never"), [SCOPE], CREATED_MS)

    unfinished = run_index.newest_unfinished(SCOPE)

    assert unfinished is not None
    assert unfinished.run == "older"
    assert stored(run_index, "index/ended/") == []
    assert run_index.finished_since(SCOPE, 0.0) is None


class Counting(FolderStore):
    """Keep the names that were looked at."""

    def __init__(self, folder: Path) -> None:
        """Open a folder."""
        super().__init__(folder)
        self.looked: list[str] = []

    def stat(self, name: str) -> StoredObject | None:
        """Note the name."""
        self.looked.append(name)
        return super().stat(name)


def test_nobody_looks_again_at_a_run_that_is_known_to_be_over(tmp_path: Path) -> None:
    """Ask nothing about a run that the index calls ended."""
    store = Counting(tmp_path)
    run_index = RunIndex(store, "one")
    begin(run_index, "trial")
    run_index.conclude("trial", [SCOPE])

    assert run_index.newest_unfinished(SCOPE) is None
    assert not [name for name in store.looked if name.startswith("runs/")]


def test_the_newest_run_finished_since_is_found(run_index: RunIndex) -> None:
    """Find a run by when its manifest was written, the newest first."""
    for day, run in enumerate(["a", "c", "b"], start=1):
        finish(run_index, begin(run_index, run))
        run_index.conclude(run, [SCOPE])
        age(run_index, f"runs/{run}/manifest.json", day * 100.0)
        age(run_index, f"index/ended/{SCOPE}/{run}", day * 100.0)

    assert run_index.finished_since(SCOPE, 0.0) == run_spec("1-4", run="b")
    assert run_index.finished_since(SCOPE, 300.0) == run_spec("1-4", run="b")
    assert run_index.finished_since(SCOPE, 300.5) is None
    assert run_index.finished_since(JOB, 0.0) is None


def test_a_run_that_was_stopped_has_not_finished(run_index: RunIndex) -> None:
    """Find no finished run where one was only stopped."""
    begin(run_index, "trial")
    run_index.run_store("trial").stop()
    run_index.conclude("trial", [SCOPE])

    assert run_index.finished_since(SCOPE, 0.0) is None


def test_a_name_is_free_until_its_run_is_over(run_index: RunIndex) -> None:
    """Give a name that no run has or that an unfinished one has; number it where a run that is over has it."""
    assert run_index.free_name("daily") == "daily"
    spec = begin(run_index, "daily")
    assert run_index.free_name("daily") == "daily"
    finish(run_index, spec)
    assert run_index.free_name("daily") == "daily-2"
    begin(run_index, "daily-2")
    run_index.run_store("daily-2").stop()

    assert run_index.free_name("daily") == "daily-3"


def test_a_scheduled_call_goes_to_one_run(run_index: RunIndex) -> None:
    """Remember the run of the first delivery, whatever a later one would choose; other scheduled calls are others."""
    assert run_index.scheduled_call(JOB, "20261123t020000z") is None
    assert run_index.fired(JOB, "20261123t020000z", "first") == "first"
    again = RunIndex(run_index.store, call_id="two")

    assert again.fired(JOB, "20261123t020000z", "second") == "first"
    assert again.scheduled_call(JOB, "20261123t020000z") == "first"
    assert again.fired(JOB, "20261124t020000z", "second") == "second"
    assert again.scheduled_call("job-of-another", "20261123t020000z") is None


def test_claims_follow_one_another(run_index: RunIndex) -> None:
    """Claim the numbers after the highest found by the finished claims, 1 to begin with."""
    first = run_index.claim(SOURCE, 8, None)
    finish(run_index, begin(run_index, first.run, songs=first.songs), found_up_to=6)
    second = run_index.claim(SOURCE, 3, "by-name")

    assert first == Claim(run="next-01234567-000001", songs="1-8", found=0)
    assert second == Claim(run="by-name", songs="7-9", found=6)
    assert stored(run_index, "next/") == [f"next/{SOURCE.id}/{number:06d}.json" for number in (1, 2)]


def test_a_claim_that_found_nothing_leaves_the_highest_as_it_was(run_index: RunIndex) -> None:
    """Claim the same numbers again where none of them was born yet."""
    first = run_index.claim(SOURCE, 8, None)
    finish(run_index, begin(run_index, first.run, songs=first.songs), found_up_to=5)
    second = run_index.claim(SOURCE, 8, None)
    finish(run_index, begin(run_index, second.run, songs=second.songs), found_up_to=5)

    third = run_index.claim(SOURCE, 8, None)

    assert (second.songs, third.songs, third.found) == ("6-13", "6-13", 5)
    assert third.run == "next-01234567-000003"


def test_an_unfinished_claim_is_gone_on_with(run_index: RunIndex) -> None:
    """Give the last claim while its run is unfinished, not begun included, whatever is asked for now."""
    first = run_index.claim(SOURCE, 8, None)
    again = [run_index.claim(SOURCE, 3, None)]
    begin(run_index, first.run, songs=first.songs)
    again.append(run_index.claim(SOURCE, 3, "other"))

    assert again == [first, first]
    assert stored(run_index, "next/") == [f"next/{SOURCE.id}/000001.json"]


def test_a_stopped_claim_counts_for_nothing(run_index: RunIndex) -> None:
    """Claim the same numbers anew, under another name, where a claim's run was stopped."""
    first = run_index.claim(SOURCE, 8, None)
    begin(run_index, first.run, songs=first.songs)
    run_index.run_store(first.run).stop()

    second = run_index.claim(SOURCE, 8, None)

    assert second == Claim(run="next-01234567-000002", songs="1-8", found=0)


def test_looking_for_a_claim_makes_none(run_index: RunIndex) -> None:
    """Say which claim would be made, and store nothing."""
    claim = run_index.next_claim(SOURCE, 8, None)

    assert claim == Claim(run="next-01234567-000001", songs="1-8", found=0)
    assert stored(run_index) == []


class Late(FolderStore):
    """Have another call store a claim just before ours."""

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Let the other one be first."""
        if name.startswith("next/") and metadata["attempt"] == "one":
            RunIndex(FolderStore(Path(self.url)), call_id="two").claim(SOURCE, 5, "theirs")
        return super().create(name, data, metadata)


def test_whoever_claims_second_takes_the_firsts_claim(tmp_path: Path) -> None:
    """Give the claim that another call made in the same moment, and make none beside it."""
    claim = RunIndex(Late(tmp_path), call_id="one").claim(SOURCE, 8, "ours")

    assert claim == Claim(run="theirs", songs="1-5", found=0)


def test_claims_of_another_source_are_its_own(run_index: RunIndex) -> None:
    """Begin at 1 for every source."""
    run_index.claim(SOURCE, 8, None)

    other = run_index.claim(Source("sim://other", "f" * 16), 3, None)

    assert other == Claim(run="next-ffffffff-000001", songs="1-3", found=0)
