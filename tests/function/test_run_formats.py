"""Check that a run in any format is as durable as in JSON lines: cut off, continued, refused, tried again, proven."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from crawler import crawl
from crawler.app.composition import open_store
from crawler.core.errors import RunConflict
from crawler.core.records import FormatName
from crawler.core.settings import SETTINGS
from crawler.entrypoints.cli import main
from crawler.entrypoints.python.songs import StoredSongs
from crawler.formats.registry import FORMATS
from crawler.runs.index import RunIndex
from crawler.runs.verify import Proof, verify_run

OTHERS: list[FormatName] = ["csv", "parquet"]
NUMBERS = range(1, 26)
MODULE = """
def song(session, song_num):
    if song_num in (7, 14):
        raise RuntimeError
    return {"n": song_num}
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the developer's own settings."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def song(_session: object, song_num: int) -> Any:
    """Find every song but each fifth; 7 fails."""
    if song_num == 7:
        raise RuntimeError
    return None if song_num % 5 == 0 else {"title": f"=Song;{song_num}"}


def store(form: str, function: Any = song, **settings: Any) -> StoredSongs:
    """Crawl into the run `trial`."""
    given = {"format": form, "part_songs": 10, "max_attempts": 1, "max_per_second": 0, **settings}
    songs = crawl(function, NUMBERS, output="songs", run="trial", progress=False, **given)
    assert isinstance(songs, StoredSongs)
    return songs


def names() -> list[str]:
    """Name what is stored of the run."""
    return [stored.name.removeprefix("runs/trial/") for stored in open_store("songs", None).list("runs/trial/")]


def verify(run: str = "trial") -> Proof:
    """Prove a run."""
    return verify_run(RunIndex(open_store("songs", None)), run)


@pytest.mark.parametrize("form", FORMATS)
def test_run_is_stored_and_read_back(form: FormatName) -> None:
    """Name the parts by their format, say it in run.json and manifest, and give the songs back."""
    songs = store(form)
    suffix = FORMATS[form].suffix
    manifest = json.loads(Path("songs/runs/trial/manifest.json").read_bytes())

    assert names() == [
        "manifest.json",
        "run.json",
        f"songs-000000000001-000000000010.{suffix}",
        f"songs-000000000011-000000000020.{suffix}",
        f"songs-000000000021-000000000025.{suffix}",
    ]
    assert [song.song_num for song in songs] == [n for n in NUMBERS if n % 5 and n != 7]
    assert songs[3].info == {"title": "=Song;4"}
    assert (songs.missing, songs.failed) == ([5, 10, 15, 20, 25], [(7, "RuntimeError")])
    assert json.loads(Path("songs/runs/trial/run.json").read_bytes())["format"] == manifest["format"] == form
    assert verify() == Proof("trial", found=19, missing=5, failed=1, parts=3)


def test_manifest_says_how_formulas_are_made_harmless() -> None:
    """Tell in the manifest of a CSV run, and of no other, what differs from the plain values."""
    store("csv")
    note = json.loads(Path("songs/runs/trial/manifest.json").read_bytes())["format_note"]

    assert "no cell starts with = + - @" in note
    assert [FORMATS[form].note for form in ("jsonl", "parquet")] == [None, None]


@pytest.mark.parametrize("form", OTHERS)
def test_cut_off_run_continues(form: FormatName) -> None:
    """Keep rows aside as JSON lines whatever the format, and go on from them to the same part."""
    go_on = threading.Event()
    asked: list[int] = []

    def slow(session: object, song_num: int) -> Any:
        asked.append(song_num)
        if song_num in (3, 12):
            go_on.wait(20)
        return song(session, song_num)

    first = store(form, slow, deadline_seconds=1, max_at_once=4)
    go_on.set()
    kept = [name for name in names() if name.startswith("rest/")]
    before = len(asked)
    second = store(form, slow)

    assert first.answer.state == "partial"
    assert kept
    assert all(name.endswith(".jsonl.gz") for name in kept)
    assert all(gzip.decompress(Path(f"songs/runs/trial/{name}").read_bytes()).startswith(b"{") for name in kept)
    assert second.answer.state == "complete"
    assert len(asked) - before == first.answer.remaining
    assert verify() == Proof("trial", found=19, missing=5, failed=1, parts=3)


def test_run_keeps_its_format() -> None:
    """Refuse the name of a run to a request for another format: what it has stays as it is."""
    store("csv")
    with pytest.raises(RunConflict):
        store("parquet")

    assert not any(name.endswith("parquet") for name in names())


@pytest.mark.parametrize("form", FORMATS)
def test_failures_of_a_run_are_tried_again_in_any_format(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begin a run from the failures of one in another format."""
    (tmp_path / f"api_{form}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SONG_FUNCTION", f"api_{form}:song")
    monkeypatch.setenv("MAX_ATTEMPTS", "1")
    codes = [
        main(["crawl", "1-20", "--run=first", f"--format={form}"]),
        main(["crawl", "failed:first", "--run=again", "--format=csv"]),
        main(["verify", "songs/runs/again"]),
        main(["status", "songs/runs/again"]),
    ]
    capsys.readouterr()

    assert codes == [0, 0, 0, 0]
    assert verify("again") == Proof("again", failed=2, parts=1)
    assert json.loads(Path("songs/runs/again/manifest.json").read_bytes())["failed_songs"] == "7,14"


@pytest.mark.parametrize("form", OTHERS)
def test_damage_is_found(form: FormatName) -> None:
    """Name a part that was changed, cut short or holds other rows."""
    store(form)
    part = Path(f"songs/runs/trial/songs-000000000001-000000000010.{FORMATS[form].suffix}")
    other = part.with_name(f"songs-000000000011-000000000020.{FORMATS[form].suffix}")
    sound = part.read_bytes()
    for data, fault in ((sound[:-9], "can't be read"), (other.read_bytes(), "it has no row for 1-10")):
        part.write_bytes(data)
        part.with_name(f".{part.name}.meta").unlink(missing_ok=True)
        assert any(part.name in found and fault in found for found in verify().faults)


@pytest.mark.parametrize("form", OTHERS)
def test_part_without_its_metadata_is_counted(form: FormatName) -> None:
    """Count the rows themselves where an object was copied without its metadata."""
    answer = store(form).answer
    for hidden in Path("songs/runs/trial").glob(".songs-*.meta"):
        hidden.unlink()
    again = store(form).answer

    assert (again.found, again.missing, again.failed) == (answer.found, answer.missing, answer.failed) == (19, 5, 1)
