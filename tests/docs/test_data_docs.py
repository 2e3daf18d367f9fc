"""Check that docs/data.md reads what was crawled: every block of it is run, against real runs of a real API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import requests

from crawler import crawl
from crawler.app.composition import open_store
from crawler.core.records import FormatName
from crawler.entrypoints.cli import main
from crawler.runs.index import RunIndex
from crawler.runs.verify import verify_run

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
SECTIONS: dict[FormatName, str] = {"jsonl": "JSON lines", "csv": "CSV", "parquet": "Parquet"}
FIRST, LAST, FAILS = 3485, 3510, 3490
NUMBERS = range(FIRST, LAST + 1)

Songs = list[tuple[int, str, Any, str | None]]


def blocks(section: str, language: str) -> list[str]:
    """Extract a section's code blocks in a language."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (content,) = [part for part in text if part.startswith(f"{section}\n")]
    return re.findall(rf"^```{language}\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)


def test_the_page_has_a_block_for_each_reader() -> None:
    """Find one line for DuckDB, one for pandas and one for pyarrow in each format's section."""
    for section in SECTIONS.values():
        assert len(blocks(section, "sql")) == 1
        assert ["pandas" in block for block in blocks(section, "python")] == [True, False]
        assert ["pyarrow" in block for block in blocks(section, "python")] == [False, True]
    assert len(blocks("One current table", "sql")) == 1


def store(song_url: str, folder: Path, form: FormatName, run: str, numbers: range, **extra: Any) -> Songs:
    """Crawl some tracks of the catalogue into a folder; gives what every reader should find."""

    def track(session: requests.Session, song_num: int) -> Any:
        if song_num == FAILS:
            raise RuntimeError
        response = session.get(song_url.format(song_num=song_num))
        response.raise_for_status()
        return {**response.json()["rows"][0], **extra}

    settings: dict[str, Any] = {"format": form, "part_songs": 9, "max_attempts": 1}
    songs = crawl(track, numbers, output=str(folder / "songs"), run=run, progress=False, **settings)
    rows = [(song.song_num, "found", song.info, None) for song in songs]
    rows += [(number, "missing", None, None) for number in songs.missing]
    return sorted(rows + [(number, "failed", None, error) for number, error in songs.failed])


@pytest.fixture(scope="module")
def stored(song_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[FormatName, tuple[Path, Songs]]:
    """Store the same songs in each format, in a folder of its own; gives the folders and what is in them."""
    folders = {form: tmp_path_factory.mktemp(form) for form in SECTIONS}
    return {form: (folder, store(song_url, folder, form, "trial", NUMBERS)) for form, folder in folders.items()}


def query(statement: str) -> pd.DataFrame:
    """Run a statement in DuckDB; nulls are None."""
    table = duckdb.sql(statement)
    assert table is not None
    frame = table.df().astype(object)
    return frame.where(frame.notna(), None)


def rows_of(table: Any) -> Songs:
    """Give a reader's rows as plain values, ascending, whether info came as JSON text or as a value."""
    frame = table.to_pandas() if isinstance(table, pa.Table) else table
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    values = [json.loads(row["info"]) if isinstance(row["info"], str) else row["info"] for row in rows]
    return sorted((row["song_num"], row["status"], info, row["error"]) for row, info in zip(rows, values, strict=True))


def test_the_three_formats_hold_the_same_songs(stored: dict[FormatName, tuple[Path, Songs]]) -> None:
    """Give the same rows back, whichever format they were stored in, and prove each run."""
    for folder, songs in stored.values():
        assert songs == stored["jsonl"][1]
        assert [number for number, *_ in songs] == list(NUMBERS)
        assert {status for _, status, _, _ in songs} == {"found", "missing", "failed"}
        assert verify_run(RunIndex(open_store(str(folder / "songs"), None)), "trial").faults == []


@pytest.mark.parametrize("form", SECTIONS)
def test_every_reader_finds_the_songs(
    form: FormatName, stored: dict[FormatName, tuple[Path, Songs]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read a run with each block of its format's section: every row, odd titles and nulls included."""
    folder, songs = stored[form]
    monkeypatch.chdir(folder)
    (statement,) = blocks(SECTIONS[form], "sql")

    titles = [(number, status, info and info["title"]) for number, status, info, _ in songs]
    assert sorted(query(statement).itertuples(index=False, name=None)) == titles
    assert rows_of(query(re.sub(r"SELECT .*\nFROM", "SELECT * FROM", statement))) == songs
    for block in blocks(SECTIONS[form], "python"):
        names: dict[str, Any] = {}
        exec(block, names)
        assert rows_of(names["songs"]) == songs


def test_a_snapshot_has_the_newest_row_of_each_song(
    song_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read the current table with the page's query, after its commands: rows of the run that asked last."""
    older = store(song_url, tmp_path, "jsonl", "b", NUMBERS)
    newer = store(song_url, tmp_path, "jsonl", "a", range(3488, 3495), seen="again")
    monkeypatch.chdir(tmp_path)
    assert main(["snapshot", "songs", "now"]) == 0
    (statement,) = blocks("One current table", "sql")

    rows = sorted([row for row in older if not 3488 <= row[0] < 3495] + newer)
    expected = [(number, info["title"]) for number, status, info, _ in rows if status == "found"]
    assert [tuple(row)[:2] for row in query(statement).itertuples(index=False)] == expected
    assert main(["export", "songs/snapshots/now", "songs.csv"]) == main(["schema", "songs/snapshots/now"]) == 0
    capsys.readouterr()
