"""The function against a real web API: Datasette over a music catalogue."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from servers import TRACKS, ServerProcess, read_titles
from support.deployed import deployed
from support.stored import Objects, audit, read_bucket, read_folder

SONGS = 3600


def without_time(objects: Objects, run: str) -> Objects:
    """Keep a run's objects, but for the one thing that differs between two equal runs: when they were asked for."""
    objects = {name: data for name, data in objects.items() if name.startswith(f"runs/{run}/")}
    times = (("run.json", "created_at"), ("manifest.json", "created_at"), ("manifest.json", "run_json_crc32c"))
    for name, field in times:
        content = json.loads(objects[f"runs/{run}/{name}"])
        assert content.pop(field)
        objects[f"runs/{run}/{name}"] = json.dumps(content).encode()
    return objects


def test_one_call_crawls_a_whole_catalogue(song_url: str, catalogue: Path, tmp_path: Path) -> None:
    """Find every track of the catalogue, its title the database's, and miss every number past its end."""
    with deployed(tmp_path, SONG_URL=song_url, SONG_INFO="rows[0]", MAX_AT_ONCE="20") as function:
        answer = function.send(json={"songs": f"1-{SONGS}", "run": "all"}).json()
        rows = function.audited("all")

    assert (answer["found"], answer["missing"], answer["failed"], answer["remaining"]) == (TRACKS, 97, 0, 0)
    assert Counter(row["status"] for row in rows) == {"found": TRACKS, "missing": SONGS - TRACKS}
    assert [row["song_num"] for row in rows] == list(range(1, SONGS + 1))
    assert {row["song_num"]: row["info"]["title"] for row in rows[:TRACKS]} == read_titles(catalogue)


def test_a_bucket_and_a_folder_hold_the_same_bytes(song_url: str, gcs: ServerProcess, tmp_path: Path) -> None:
    """Store the same run in a bucket and in a folder, object for object and byte for byte."""
    song = {"SONG_URL": song_url, "SONG_INFO": "rows[0]", "PART_SONGS": "100", "MAX_AT_ONCE": "20"}
    bucket = {"OUTPUT": "gs://songs/some/music", "STORAGE_EMULATOR_HOST": gcs.url}
    with deployed(tmp_path, **song) as to_folder, deployed(tmp_path, **song, **bucket) as to_bucket:
        answers = [function.crawl("3300-3599,7", run="same") for function in (to_folder, to_bucket)]
    in_folder, in_bucket = read_folder(tmp_path), read_bucket(gcs.url, "songs", "some/music/")

    assert [answer["output"] for answer in answers] == [f"{tmp_path}/runs/same", "gs://songs/some/music/runs/same"]
    assert len(audit(in_bucket, "same")) == 301
    assert sum(name.endswith(".jsonl.gz") for name in in_bucket) == 4
    assert without_time(in_folder, "same") == without_time(in_bucket, "same")
