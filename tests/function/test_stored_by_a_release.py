"""Check that what release 0.1.0 stored is read, verified, continued and started from by this one."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fixtures.songs
import pytest
from fixtures.store_runs import COMMON, CUT_OFF, DECLARED, FINISHED, FUNCTION, addresses_of, pages
from servers import Upstream, song
from support.deployed import deployed
from support.stored import audit, numbers, read_folder

from crawler import crawl
from crawler.app.composition import deployment_from
from crawler.entrypoints.cli import main
from crawler.entrypoints.python.songs import StoredSongs

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASE = FIXTURES / "release-0.1.0"
SETTINGS = {**COMMON, "MAX_ATTEMPTS": "1"}
YESTERDAY = 86_400

# What each finished run was asked for, and came to.
SONGS = {
    "whole": range(1, 61),
    "as-csv": range(1, 61),
    "as-parquet": range(1, 61),
    "open": range(1, 121),
    "again": [17, 34, 51],
    "next-one": range(1, 31),
}
JSON_LINES = ["whole", "open", "again", "next-one"]


def row(song_num: int) -> dict[str, Any]:
    """Return the row of a declared song."""
    if song_num % 5 == 0 or song_num > 100:
        return {"song_num": song_num, "status": "missing", "info": None}
    if song_num % 17 == 0:
        return {"song_num": song_num, "status": "failed", "info": None, "error": "http_400"}
    return {"song_num": song_num, "status": "found", "info": {"title": f"Song {song_num}"}}


def numbers_in(songs: Sequence[int], status: str) -> list[int]:
    """List the numbers of a status."""
    return [song_num for song_num in songs if row(song_num)["status"] == status]


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what the release stored into an empty working folder; it was stored a day ago."""
    shutil.copytree(RELEASE, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*"):
        written = path.stat().st_mtime - YESTERDAY
        os.utime(path, (written, written))
    monkeypatch.chdir(tmp_path)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "songs"


@pytest.fixture
def api() -> Iterator[Upstream]:
    """Serve the song API that the release crawled."""
    with Upstream(pages) as server:
        yield server


@pytest.fixture
def mended_api() -> Iterator[Upstream]:
    """Serve the song API with every number a song."""
    with Upstream(lambda song_num, _nth: song(song_num)) as server:
        yield server


def declare(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the declared song, whose host's name leads to the upstream; libcurl would look it up by itself."""
    monkeypatch.setattr("socket.getaddrinfo", addresses_of(upstream.port))
    monkeypatch.setitem(sys.modules, "crawler.adapters.curl.fetcher", None)
    for name, value in DECLARED.items():
        monkeypatch.setenv(name, value)


def use_function(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the function of the run that was cut off."""
    monkeypatch.setitem(sys.modules, "songs", fixtures.songs)
    for name, value in {**FUNCTION, "SONGS_API": upstream.url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def declared(api: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """Crawl the declared songs as the release did."""
    declare(api, monkeypatch)
    return api


@pytest.fixture
def function(api: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """Crawl through the function as the release did."""
    use_function(api, monkeypatch)
    return api


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run a command that must succeed; returns its answer."""
    capsys.readouterr()
    code = main(arguments)
    said = capsys.readouterr()
    assert code == 0, said
    answer: dict[str, Any] = json.loads(said.out)
    return answer


def asked(upstream: Upstream) -> list[int]:
    """List the songs that were asked for, ascending, each once: a refusal is asked for again."""
    return sorted({request.song_num for request in upstream.requests})


def rows_of_parts(folder: Path) -> dict[str, bytes]:
    """Read the lines of a run's parts, which are the same whatever compressed them."""
    return {path.name: gzip.decompress(path.read_bytes()) for path in folder.glob("songs-*.jsonl.gz")}


def take_manifest(run: Path) -> bytes:
    """Take a run's manifest away, as if whoever was to write it had died before; returns what it said."""
    manifest = (run / "manifest.json").read_bytes()
    for name in ("manifest.json", ".manifest.json.meta"):
        (run / name).unlink()
    return manifest


@pytest.mark.parametrize("run", FINISHED)
def test_status_tells_how_a_run_ended(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Count what the release stored, in any format, by any kind of request."""
    answer = command(capsys, "status", f"songs/runs/{run}")

    assert answer["state"] == "complete"
    assert numbers(answer["songs"]) == list(SONGS[run])
    for status in ("found", "missing", "failed"):
        assert answer[status] == len(numbers_in(SONGS[run], status))


@pytest.mark.parametrize("run", [*(f"songs/runs/{run}" for run in FINISHED), "finished/runs/cut-off"])
def test_verify_finds_nothing_wrong(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Prove each run that the release finished."""
    assert command(capsys, "verify", run)["faults"] == []


@pytest.mark.parametrize("run", JSON_LINES)
def test_rows_are_the_songs(run: str, stored: Path) -> None:
    """Hold each number to its row in the lines, and the manifest to them."""
    objects = {name: data for name, data in read_folder(stored).items() if "songs-000000000121-" not in name}

    assert audit(objects, run) == [row(song_num) for song_num in SONGS[run]]


def test_snapshot_has_the_newest_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Make one table of all runs, whatever their format, and read it as a schema."""
    assert main(["snapshot", "songs", "now"]) == 0
    assert json.loads(capsys.readouterr().out)["songs"] == len(numbers_in(range(1, 121), "found"))
    assert main(["schema", "songs/snapshots/now"]) == 0
    assert [field["path"] for field in json.loads(capsys.readouterr().out)["fields"]] == ["@", "title"]


@pytest.mark.parametrize("run", FINISHED)
def test_same_call_again_is_answered_from_the_store(
    run: str, stored: Path, declared: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """Know the request of each run for the one it was: nothing is asked for, nothing is stored."""
    before = read_folder(stored)
    answer = command(capsys, "crawl", *FINISHED[run], f"--run={run}")

    assert answer["state"] == "complete"
    assert asked(declared) == []
    assert read_folder(stored) == before


@pytest.mark.parametrize("run", FINISHED)
def test_last_step_writes_the_manifest_of_the_release(
    run: str, stored: Path, declared: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finish a run with the very bytes that the release writes: both may be at work on it."""
    manifest = take_manifest(stored / "runs" / run)
    command(capsys, "crawl", *FINISHED[run], f"--run={run}")

    assert asked(declared) == []
    assert (stored / "runs" / run / "manifest.json").read_bytes() == manifest


def test_function_lists_the_runs(stored: Path) -> None:
    """List all runs of the release at GET /runs, newest first, the one cut off among them."""
    with deployed(stored, **DECLARED) as function:
        runs = function.send("GET", "/runs").json()["runs"]

    assert [run["run"] for run in runs] == ["cut-off", *list(FINISHED)[::-1]]
    assert [run["state"] for run in runs] == ["partial", *["complete"] * len(FINISHED)]
    assert (runs[0]["parts"], runs[0]["remaining"]) == (2, 100 - 40 - kept_rows(stored))


def kept_rows(stored: Path) -> int:
    """Count the rows that the release kept aside."""
    (rest,) = (stored / "runs/cut-off/rest").glob("songs-*.jsonl.gz")
    return gzip.decompress(rest.read_bytes()).count(b"\n")


def remaining_songs(stored: Path) -> list[int]:
    """List the numbers of the run that was cut off for which no row is stored."""
    files = (stored / "runs/cut-off").rglob("songs-*.jsonl.gz")
    lines = [line for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    return sorted(set(range(1, 101)) - {json.loads(line)["song_num"] for line in lines})


def test_cut_off_run_is_continued(stored: Path, function: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Ask only for the songs without a row, and end with the rows that the release itself ended with."""
    remaining = remaining_songs(stored)
    answer = command(capsys, "crawl", *CUT_OFF)

    assert (answer["state"], answer["parts"], answer["remaining"]) == ("complete", 5, 0)
    assert asked(function) == remaining
    assert len(remaining) == 100 - 40 - kept_rows(stored)
    assert rows_of_parts(stored / "runs/cut-off") == rows_of_parts(RELEASE / "finished/runs/cut-off")
    assert command(capsys, "verify", "songs/runs/cut-off")["faults"] == []


def test_cut_off_run_is_continued_from_python(
    stored: Path, api: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Go on from a notebook with what a function of that name began, and give its songs."""
    monkeypatch.setenv("SONGS_API", api.url)
    monkeypatch.setattr(fixtures.songs.request_song_info, "__module__", "songs")
    remaining = remaining_songs(stored)
    songs = crawl(fixtures.songs.request_song_info, range(1, 101), output="songs", run="cut-off", progress=False)

    assert isinstance(songs, StoredSongs)
    assert asked(api) == remaining
    assert [song.song_num for song in songs] == numbers_in(range(1, 101), "found")
    assert songs.missing == numbers_in(range(1, 101), "missing")
    assert songs.failed == [(song_num, "http_400") for song_num in (17, 34, 51, 68)]
    assert command(capsys, "verify", "songs/runs/cut-off")["faults"] == []


@pytest.mark.parametrize("parent", ["whole", "as-csv", "as-parquet"])
@pytest.mark.parametrize("status", ["failed", "missing"])
def test_run_starts_from_what_the_release_left_open(
    status: str, parent: str, mended_api: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Take the numbers of a new run from the manifest of an old one, and prove the new one by it."""
    declare(mended_api, monkeypatch)
    wanted = numbers_in(range(1, 61), status)
    answer = command(capsys, "crawl", f"{status}:{parent}", "--run=now")

    assert asked(mended_api) == wanted
    assert answer["found"] == len(wanted)
    assert command(capsys, "verify", "songs/runs/now")["faults"] == []


def test_next_goes_on_after_the_claim_of_the_release(
    stored: Path, declared: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim the songs after the highest that the release found."""
    command(capsys, "crawl", "next:30")

    assert asked(declared) == list(range(30, 60))
    assert len(list((stored / "next").glob("*/000002.json"))) == 1


@pytest.mark.parametrize("run", ["whole", "as-csv", "as-parquet"])
def test_songs_of_a_run_are_read_from_python(run: str, stored: Path) -> None:
    """Give the songs of every format, and what became of the others."""
    deployment = deployment_from({**SETTINGS, **DECLARED, "OUTPUT": str(stored)})
    songs = StoredSongs(deployment.store, deployment.state(run))

    assert [tuple(song) for song in songs] == [
        (song_num, {"title": f"Song {song_num}"}) for song_num in numbers_in(SONGS[run], "found")
    ]
    assert songs.missing == numbers_in(SONGS[run], "missing")
    assert songs.failed == [(song_num, "http_400") for song_num in (17, 34, 51)]
