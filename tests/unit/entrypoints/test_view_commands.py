"""Check the commands on what is stored: snapshot, schema, export; what they write, print and exit with."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from support.stored_runs import store_run

from crawler.adapters.storage.folder import FolderStore
from crawler.core.deadline import CallTime
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.entrypoints import view_commands
from crawler.entrypoints.cli import main

INFOS: dict[int, Any] = {
    1: {"title": "a;b", "n": 12345678901234567890},
    2: -5,
    3: {"title": "line\nbreak \u2028", "f": 0.1},
    4: "=1+1",
    6: [None, {}],
}


def judge(number: int) -> Verdict:
    """Find the songs of the table; the fifth fails, all others are missing."""
    if number == 5:
        return failed("timeout")
    return found(INFOS[number]) if number in INFOS else MISSING


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store a run in songs/runs/a, and go to the folder."""
    monkeypatch.chdir(tmp_path)
    store_run(FolderStore(Path("songs")), "a", "1-10", judge)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """Read what a command printed."""
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Read the sentence with which a command refused."""
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_snapshot_prints_how_it_stands(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Keep a snapshot beside the runs, or elsewhere, in the format that is asked for."""
    assert main(["snapshot", "songs", "now", "--format", "csv", "--to", "tables"]) == 0
    summary = answer(capsys)

    assert {name: summary[name] for name in ("snapshot", "state", "songs", "format", "runs", "output")} == {
        "snapshot": "now",
        "state": "complete",
        "songs": 5,
        "format": "csv",
        "runs": 1,
        "output": "tables/snapshots/now",
    }
    assert (folder / "tables" / "snapshots" / "now" / "songs-000000000001-000000000006.csv.gz").is_file()


def test_a_snapshot_without_time_exits_3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that it is not complete; a name that can't be one is refused."""
    monkeypatch.setattr(view_commands, "CallTime", lambda now, _: CallTime(now - 993, 1000))
    assert main(["snapshot", "songs"]) == 3
    assert answer(capsys)["state"] == "partial"
    assert main(["snapshot", "songs", "../x"]) == 2
    assert "NAME is" in refusal(capsys)


@pytest.mark.parametrize("stored", ["songs/runs/a", "songs/snapshots/now"])
def test_every_file_holds_the_found_songs(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Write the same songs to each kind of file, exactly."""
    main(["snapshot", "songs", "now"])
    for ending in ("jsonl", "csv", "parquet", "duckdb"):
        capsys.readouterr()
        assert main(["export", stored, f"out.{ending}"]) == 0
        assert answer(capsys) == {"file": f"out.{ending}", "songs": 5, "complete": True}

    lines = [json.loads(line) for line in Path("out.jsonl").read_text("utf-8").split("\n")[:-1]]
    with open("out.csv", newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    table = pq.read_table("out.parquet").to_pylist()
    with duckdb.connect("out.duckdb", read_only=True) as connection:
        loaded = connection.execute("SELECT song_num, info FROM songs").fetchall()

    assert {row["song_num"]: row["info"] for row in lines} == INFOS
    assert {int(row["song_num"]): json.loads(row["info"]) for row in records} == INFOS
    assert {row["song_num"]: json.loads(row["info"]) for row in table} == INFOS
    assert {number: json.loads(info) for number, info in loaded} == INFOS
    assert [row["song_num"] for row in lines] == [number for number, _ in loaded] == list(INFOS)
    assert ({"run", "fetched_at"} <= set(records[0])) == ("snapshots" in stored)
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_an_export_replaces_nothing_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """Refuse a file that is there, unless told to replace it."""
    Path("out.csv").write_text("mine", "utf-8")
    assert main(["export", "songs/runs/a", "out.csv"]) == 1
    assert "which is there already; allowed: another name, or --force" in refusal(capsys)
    assert Path("out.csv").read_text("utf-8") == "mine"
    assert main(["export", "songs/runs/a", "out.csv", "--force"]) == 0
    assert Path("out.csv").read_text("utf-8") != "mine"


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (["snapshot", "songs", "--format", "xlsx"], 2, "FORMAT is 'xlsx'; allowed: jsonl, csv or parquet."),
        (["export", "songs/runs/a", "out.xlsx"], 2, "allowed: a name that ends with .csv, .jsonl, .parquet, .duckdb"),
        (["export", "songs/runs/a", "nowhere/out.csv"], 2, "in a folder that is not there"),
        (["export", "songs/runs/b", "out.csv"], 1, "There is no run b in songs."),
        (["schema", "songs/snapshots/b"], 1, "There is no snapshot b in songs."),
        (["schema", "b"], 1, "There is no run and no snapshot b in songs."),
        (["schema", "B/c"], 2, 'RUN is "B/c"; allowed: 1 to 63 of a-z'),
        (["snapshot", "nowhere"], 1, "There is no complete run in nowhere."),
        (["snapshot", "songs", "--from", "x"], 1, "There is no complete snapshot x"),
    ],
)
def test_what_can_not_be_is_refused(
    command: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Say in a sentence what is wrong, exit 2 if that is the command itself, and leave no file."""
    assert main(command) == code
    assert sentence in refusal(capsys)
    assert not list(Path().glob("out*"))


def test_duckdb_is_needed_for_its_files_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say that it must be installed."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["export", "songs/runs/a", "out.duckdb"]) == 1
    assert "A .duckdb file needs duckdb" in refusal(capsys)
    assert main(["export", "songs/runs/a", "out.csv"]) == 0


def test_an_incomplete_run_is_exported_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Write what is stored so far, say so and exit 3."""
    store_run(FolderStore(Path("songs")), "b", "1-10", judge, whole=False)

    assert main(["export", "songs/runs/b", "out.jsonl"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"file": "out.jsonl", "songs": 5, "complete": False}
    assert "songs/runs/b is not complete" in err


def test_a_name_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """Find a run, or else a snapshot, of a name in OUTPUT, or where an option says."""
    main(["snapshot", "songs", "now", "--to", "tables"])
    for command in (["a"], ["now", "--output", "tables"]):
        capsys.readouterr()
        assert main(["schema", *command]) == 0
        assert answer(capsys)["songs"] == 5


def test_damage_leaves_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Leave nothing behind where a part is damaged."""
    part = next(Path("songs/runs/a").glob("songs-*"))
    part.with_name(f".{part.name}.meta").unlink()
    part.write_bytes(b"nonsense")

    assert main(["export", "songs/runs/a", "out.csv"]) == 1
    assert "is damaged" in refusal(capsys)
    assert {path.name for path in Path().iterdir()} == {"songs"}


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Tell of the fields of found songs, or as JSON Schema."""
    assert main(["schema", "songs/runs/a"]) == 0
    report = answer(capsys)
    assert (report["songs"], report["fields"][0]["types"]["integer"]) == (5, {"count": 1, "first_song": 2})
    assert main(["schema", "songs/runs/a", "--json-schema"]) == 0
    assert answer(capsys)["type"] == ["array", "integer", "object", "string"]
