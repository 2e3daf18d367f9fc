"""Which run a call means, decided from what is stored."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from crawler.adapters.storage.folder import FolderStore
from crawler.core.errors import NewerVersion, RunConflict
from crawler.core.verdict import MISSING, Verdict, found
from crawler.formats.jsonl_rows import Compressor, decode_rows, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.grid import PartKey
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.resolve import Order, plan_run, resolve_run
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import parse_selection
from crawler.runs.spec import RUN_NAME, STORED_VERSION, RunSpec, Source
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally

DAY_SECONDS = 86400.0


def order(songs: str, **fields: Any) -> Order:
    """Make what a call asks for."""
    given = {"source": Source("sim://{song_num}", "0123456789abcdef"), "format": "jsonl", "part_songs": 4}
    return Order(selection=parse_selection(songs), end_after_missing=3, max_songs=100, **{**given, **fields})


def run_index(folder: Path) -> RunIndex:
    """Open a folder's run index for a call."""
    return RunIndex(FolderStore(folder), call_id="one")


def write_manifest(folder: Path, spec: RunSpec, days_ago: float = 0) -> None:
    """Store a manifest and nothing after it, as a call does that dies then."""
    path = folder / "runs" / spec.run / "manifest.json"
    path.write_bytes(b'{"missing_songs": "", "failed_songs": ""}')
    instant = time.time() - days_ago * DAY_SECONDS
    os.utime(path, (instant, instant))


def test_a_run_finished_yesterday_is_not_todays_though_its_call_died_at_the_end(tmp_path: Path) -> None:
    """A run whose call died right after the manifest, a day ago, does not stand for today's: a new one begins."""
    yesterdays = resolve_run(run_index(tmp_path), order("1-10"), time.time() - DAY_SECONDS)
    write_manifest(tmp_path, yesterdays, days_ago=1)

    todays = resolve_run(run_index(tmp_path), order("1-10"), time.time())

    assert todays.run != yesterdays.run


def test_jobs_of_one_name_that_fire_together_do_not_share_a_run(tmp_path: Path) -> None:
    """Two jobs of different locations, alike in name and second but not in songs, each get what they ask for."""
    calls = [ScheduledCall(f"projects/p/locations/{place}/jobs/nightly", "20261123t020000z") for place in ("eu", "us")]

    specs = [
        resolve_run(run_index(tmp_path), order(songs, scheduled_call=scheduled_call), time.time())
        for songs, scheduled_call in zip(("1-10", "20-30"), calls, strict=True)
    ]

    assert [spec.songs for spec in specs] == ["1-10", "20-30"]


def test_a_scheduled_runs_name_fits_whatever_the_job_is_called(tmp_path: Path) -> None:
    """A run that a job of the longest name begins bears a name that a caller may ask for."""
    scheduled_call = ScheduledCall(f"projects/p/locations/eu/jobs/{'n' * 490}", "20261123t020000z")

    spec = resolve_run(run_index(tmp_path), order("1-10", scheduled_call=scheduled_call), time.time())

    assert RUN_NAME.fullmatch(f"{spec.run}-99")


def test_next_goes_on_with_a_claim_made_for_another_count(tmp_path: Path) -> None:
    """Whoever asks for next: while a claim is unfinished works on it, also where its maker died before the run."""
    run_index(tmp_path).claim(order("next:5").source, 5, None)

    specs = [resolve_run(run_index(tmp_path), order(songs), time.time()) for songs in ("next:7", "next:5", "next:9")]

    assert [spec.songs for spec in specs] == ["1-5"] * 3


def test_a_claim_whose_name_another_request_took_is_passed_over(tmp_path: Path) -> None:
    """next: claims its numbers again if the run it named belongs to somebody else, and takes no number from there."""
    run_index(tmp_path).claim(order("next:5").source, 5, "trial")
    foreign = resolve_run(run_index(tmp_path), order("50-60", run="trial"), time.time())

    spec = resolve_run(run_index(tmp_path), order("next:5"), time.time())

    assert (foreign.run, spec.songs) == ("trial", "1-5")
    assert spec.run != "trial"


def test_a_taken_name_is_refused_to_next(tmp_path: Path) -> None:
    """A call that wants next: under a name that another request has is refused, and claims nothing."""
    resolve_run(run_index(tmp_path), order("50-60", run="trial"), time.time())

    with pytest.raises(RunConflict):
        resolve_run(run_index(tmp_path), order("next:5", run="trial"), time.time())

    assert not (tmp_path / "next").exists()


def test_next_asks_again_for_what_may_have_been_born_between_the_calls_of_a_run(tmp_path: Path) -> None:
    """A number missing in one call of a run, below one that a later call found, is asked for again by the next run."""
    spec = resolve_run(run_index(tmp_path), order("next:12"), time.time())
    outcomes = {0: (1, MISSING, 3, 4), 1: (5, MISSING, MISSING, MISSING), 2: (9, MISSING, 11, MISSING)}
    for place, call in ((0, "early"), (1, "early"), (2, "late")):
        run_store = RunIndex(FolderStore(tmp_path), call).run_store(spec.run)
        store_part(run_store, spec.grid[place], outcomes[place])
    run_store.finish(spec, spec.grid, run_store.parts(spec), Gate())

    songs = resolve_run(run_index(tmp_path), order("next:12"), time.time()).songs

    assert songs == "6-8,12-23"


def store_part(run_store: RunStore, key: PartKey, outcomes: Iterable[Any]) -> None:
    """Commit a part, numbers standing for songs found."""
    rows = [outcome if isinstance(outcome, Verdict) else found(outcome) for outcome in outcomes]
    data = Compressor()
    data.feed(encode_row(number, row) for number, row in zip(key.songs, rows, strict=True))
    tally = Tally(call_id=run_store.call_id)
    content = data.finish()
    tally.count_rows(decode_rows(content))
    run_store.commit(key, content, tally)


def store_version(path: Path, version: int) -> None:
    """Have an object be of another version."""
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": version}))
    path.with_name(f".{path.name}.meta").unlink(missing_ok=True)


def test_a_new_run_is_of_todays_version(tmp_path: Path) -> None:
    """Write the version into run.json."""
    spec = resolve_run(run_index(tmp_path), order("1-10"), time.time())

    assert json.loads((tmp_path / "runs" / spec.run / "run.json").read_bytes())["version"] == STORED_VERSION == 3


@pytest.mark.parametrize("name", [None, "trial"], ids=["unnamed", "named"])
def test_nothing_begins_beside_a_newer_releases_run(tmp_path: Path, name: str | None) -> None:
    """Refuse the call whose run a newer release has begun: the songs would be crawled twice."""
    spec = resolve_run(run_index(tmp_path), order("1-10", run=name), time.time())
    store_version(tmp_path / "runs" / spec.run / "run.json", 4)

    with pytest.raises(NewerVersion, match=rf"runs/{spec.run}/run\.json has version 4"):
        resolve_run(run_index(tmp_path), order("1-10", run=name), time.time())

    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("of", ["run.json", "manifest.json"])
def test_a_newer_run_is_no_parent(tmp_path: Path, of: str) -> None:
    """Refuse to take numbers from a run or a manifest of a form that is not known."""
    spec = resolve_run(run_index(tmp_path), order("1-10", run="trial"), time.time())
    write_manifest(tmp_path, spec)
    store_version(tmp_path / "runs/trial" / of, 4)

    with pytest.raises(NewerVersion, match=rf"runs/trial/{of} has version 4"):
        resolve_run(run_index(tmp_path), order("failed:trial"), time.time())


@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished today"])
def test_a_marker_that_leads_to_another_requests_run_is_passed_over(tmp_path: Path, finished: bool) -> None:
    """A call that lost a name to another request at the last moment never gets that request's run for its own."""
    foreign = resolve_run(run_index(tmp_path), order("50-60", run="trial"), time.time())
    lost = scopes_of(order("1-10").digest, None)
    run_index(tmp_path).announce(foreign, lost, 0)
    if finished:
        write_manifest(tmp_path, foreign)
        run_index(tmp_path).conclude("trial", lost)

    spec = resolve_run(run_index(tmp_path), order("1-10"), time.time())

    assert spec.songs == "1-10"


# The answers digest: a run goes on under what it was begun with, and nothing else.


def under(songs: str, answers_digest: str | None, **fields: Any) -> Order:
    """Make what a call asks for under some settings."""
    return order(songs, source=Source("sim://{song_num}", "0123456789abcdef", None, answers_digest), **fields)


def test_a_run_is_continued_under_its_own_digest_alone(tmp_path: Path) -> None:
    """Begin another run for other settings, beside the unfinished one, to which its own settings come back."""
    first, other, back = (
        resolve_run(run_index(tmp_path), under("1-10", digest), time.time())
        for digest in ("a" * 16, "b" * 16, "a" * 16)
    )

    assert back.run == first.run != other.run
    assert (first.answers_digest, other.answers_digest) == ("a" * 16, "b" * 16)


def test_a_run_finished_under_other_settings_is_not_todays(tmp_path: Path) -> None:
    """Crawl anew the same day where the code was edited; answer from the store where it was not."""
    first = resolve_run(run_index(tmp_path), under("1-10", "a" * 16), time.time())
    write_manifest(tmp_path, first)
    again, edited = (
        resolve_run(run_index(tmp_path), under("1-10", digest), time.time()) for digest in ("a" * 16, "b" * 16)
    )

    assert again.run == first.run != edited.run


def test_a_named_run_of_other_settings_is_refused(tmp_path: Path) -> None:
    """Say that the name is taken, and what is allowed."""
    resolve_run(run_index(tmp_path), under("1-10", "a" * 16, run="trial"), time.time())

    with pytest.raises(RunConflict) as refusal:
        resolve_run(run_index(tmp_path), under("1-10", "b" * 16, run="trial"), time.time())

    assert str(refusal.value) == (
        "The run trial was begun with other settings or code for its answers than today's; "
        "allowed: another run name, or what it was begun with."
    )


@pytest.mark.parametrize("name", [None, "trial"])
def test_a_run_that_tells_no_digest_may_be_continued(tmp_path: Path, name: str | None) -> None:
    """Go on with a run of an earlier release, which stored none, under whatever settings."""
    first = resolve_run(run_index(tmp_path), order("1-10", run=name), time.time())

    assert resolve_run(run_index(tmp_path), under("1-10", "b" * 16, run=name), time.time()).run == first.run


def test_a_scheduled_call_continues_its_own_digest_alone(tmp_path: Path) -> None:
    """Give each delivery of a scheduled call one run, and under other settings another."""
    call = ScheduledCall("projects/p/locations/eu/jobs/nightly", "20261123t020000z")
    later = ScheduledCall("projects/p/locations/eu/jobs/nightly", "20261124t020000z")
    runs = [
        resolve_run(run_index(tmp_path), under("1-10", digest, scheduled_call=scheduled_call), time.time()).run
        for digest, scheduled_call in [("a" * 16, call), ("a" * 16, call), ("b" * 16, call), ("b" * 16, later)]
    ]

    assert runs[0] == runs[1] != runs[2] == runs[3]


def test_next_closes_a_run_of_other_settings_and_claims_its_rest(tmp_path: Path) -> None:
    """Stop the run where it stands; the new one takes what no part holds, and the next goes on after both."""
    first = resolve_run(run_index(tmp_path), under("next:12", "a" * 16), time.time())
    run_store = run_index(tmp_path).run_store(first.run)
    store_part(run_store, first.grid[1], (5, MISSING, 7, 8))
    rest = resolve_run(run_index(tmp_path), under("next:12", "b" * 16), time.time())
    again = resolve_run(run_index(tmp_path), under("next:5", "b" * 16), time.time())

    assert run_store.stopped()
    assert (rest.songs, again.run) == ("1-4,9-12", rest.run)
    rest_store = run_index(tmp_path).run_store(rest.run)
    store_part(rest_store, rest.grid[0], (1, 2, 3, 4))
    store_part(rest_store, rest.grid[1], (9, MISSING, 11, MISSING))
    rest_store.finish(rest, rest.grid, rest_store.parts(rest), Gate())
    assert resolve_run(run_index(tmp_path), under("next:5", "b" * 16), time.time()).songs == "12-16"


def test_looking_at_next_closes_nothing(tmp_path: Path) -> None:
    """Plan the rest of a run of other settings, and leave that as it is."""
    first = resolve_run(run_index(tmp_path), under("next:12", "a" * 16), time.time())

    assert plan_run(run_index(tmp_path), under("next:12", "b" * 16), time.time()).songs == "1-12"
    assert not run_index(tmp_path).run_store(first.run).stopped()


def test_next_goes_on_under_other_settings_after_a_finished_run(tmp_path: Path) -> None:
    """Count what finished runs of the source found, whatever their settings were."""
    first = resolve_run(run_index(tmp_path), under("next:4", "a" * 16), time.time())
    run_store = run_index(tmp_path).run_store(first.run)
    store_part(run_store, first.grid[0], (1, 2, 3, 4))
    run_store.finish(first, first.grid, run_store.parts(first), Gate())

    assert resolve_run(run_index(tmp_path), under("next:4", "b" * 16), time.time()).songs == "5-8"


def test_failed_songs_are_tried_again_under_other_settings(tmp_path: Path) -> None:
    """Take the numbers of a run that other settings crawled: they may be what made its songs fail."""
    first = resolve_run(run_index(tmp_path), under("1-10", "a" * 16, run="trial"), time.time())
    (tmp_path / "runs" / first.run / "manifest.json").write_bytes(b'{"missing_songs": "", "failed_songs": "3"}')

    assert resolve_run(run_index(tmp_path), under("failed:trial", "b" * 16), time.time()).songs == "3"


def test_a_name_stands_for_the_source_whatever_its_digest(tmp_path: Path) -> None:
    """Go on by SOURCE_NAME, in runs and in the claims of next:, though the address has changed."""
    sources = [Source(f"sim://{version}", version * 16, "tracks") for version in "ab"]
    runs = [resolve_run(run_index(tmp_path), order("1-10", source=source), time.time()).run for source in sources]
    claims = [resolve_run(run_index(tmp_path), order("next:5", source=source), time.time()).run for source in sources]

    assert runs[0] == runs[1]
    assert claims == ["next-tracks-000001"] * 2
    assert [path.name for path in (tmp_path / "next").iterdir()] == ["tracks"]
