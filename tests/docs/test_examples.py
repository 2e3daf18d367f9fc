"""Check that the examples do for a newcomer what they say."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import ServerProcess, datasette_available, free_port
from servers.process import accepts

from examples.song_api import SONGS_CSV, song_api

ROOT = Path(__file__).parents[2]
TRY_FUNCTION = [sys.executable, "-m", "examples.try_function"]
# Settings that someone has exported for a deployment of their own.
EXPORTED = {"SONG_FUNCTION": "mine:song", "SONG_HEADERS": "{", "OUTPUT": "gs://mine", "FORMAT": "none", "DEBUG": "1"}

pytestmark = pytest.mark.skipif(datasette_available() is not None, reason=str(datasette_available()))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give a program the modules of this repository and a folder of its own for temporary files."""
    (tmp_path / "temporary").mkdir()
    return {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}


def catalogue() -> dict[int, Mapping[str, Any]]:
    """Read songs.csv: what should come out for each number, by number."""
    with SONGS_CSV.open(encoding="utf-8", newline="") as lines:
        return {
            int(song["song_num"]): {"title": song["title"], "artist": song["artist"], "year": int(song["year"])}
            for song in csv.DictReader(lines)
        }


def rows_under(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of every part of the folder's runs, in order."""
    for part in sorted(folder.glob("runs/*/songs-*.jsonl.gz")):
        with gzip.open(part, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def ports_in(text: str) -> list[int]:
    """Find the ports of the addresses in a text."""
    return [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)/", text)]


def try_function(command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of try_function to its end, in the folder."""
    return subprocess.run(
        [*TRY_FUNCTION, *command.split()],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )


def test_song_api_serves_the_catalogue() -> None:
    """Serve every song of songs.csv under its number, and 404 for the numbers between."""
    songs = catalogue()
    with song_api() as template, requests.Session() as session:
        answers = {number: session.get(template.format(song_num=number)) for number in range(1, 362)}

    assert {n: answer.json()["rows"][0] for n, answer in answers.items() if answer.ok} == {
        n: {"song_num": n, **song} for n, song in songs.items()
    }
    assert {answer.status_code for n, answer in answers.items() if n not in songs} == {404}


def test_run_does_the_main_job(tmp_path: Path, environment: dict[str, str]) -> None:
    """Crawl songs 1-400 into exactly the rows of songs.csv, show them, and leave no process and no temporary file."""
    done = try_function("run", tmp_path, environment | EXPORTED)
    songs = catalogue()
    rows = list(rows_under(tmp_path / "build/run/songs"))

    assert (done.returncode, done.stderr) == (0, "")
    assert [row["song_num"] for row in rows] == list(range(1, 401))
    assert {row["song_num"]: row["info"] for row in rows if row["status"] == "found"} == songs
    assert {row["song_num"] for row in rows if row["status"] == "missing"} == set(range(1, 401)) - set(songs)
    assert f'"found": {len(songs)}' in done.stdout
    assert f'"title":"{songs[1]["title"]}"' in done.stdout
    assert len(ports_in(done.stdout)) == 2
    assert not any(accepts(port) for port in ports_in(done.stdout))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_run_starts_afresh(tmp_path: Path, environment: dict[str, str]) -> None:
    """Say why it failed and end with 1 where the function can't start; what an earlier run left is gone then."""
    (tmp_path / "crawler.py").write_text("raise RuntimeError('broken on purpose')\n")
    (tmp_path / "build/run").mkdir(parents=True)
    (tmp_path / "build/run/old").touch()
    done = try_function("run", tmp_path, environment)

    assert done.returncode == 1
    assert "This did not work: the function ended before it was up" in done.stderr
    assert "RuntimeError: broken on purpose" in done.stderr
    assert [path.name for path in (tmp_path / "build/run").iterdir()] == ["function.log"]
    assert not any(accepts(port) for port in ports_in(done.stdout))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_serve_answers_until_it_is_ended(tmp_path: Path, environment: dict[str, str], end: signal.Signals) -> None:
    """Print the address and a call to try, answer it, and end both servers with exit code 0 when asked to."""
    port = free_port()
    argv = [*TRY_FUNCTION, "serve", "--port", str(port)]
    with ServerProcess(argv, port, env=environment, cwd=tmp_path, timeout=60) as server:
        server.wait_for_line("Ctrl-C")
        answer = requests.post(server.url, json={"songs": "1-10"})
        os.kill(server.pid, end)
        code = server.stop(grace=30)
        printed = "\n".join(server.stdout_lines())

    assert (answer.status_code, answer.json()["found"], code) == (200, 9, 0)
    assert f"""curl -d '{{"songs": "1-400"}}' http://127.0.0.1:{port}/""" in printed
    assert '"message":"crawl complete"' in printed
    assert not any(accepts(port) for port in ports_in(printed))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_serve_refuses_a_taken_port(tmp_path: Path, environment: dict[str, str]) -> None:
    """Say in one sentence that the port is taken and how to name another, and end with 1."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = try_function(f"serve --port {port}", tmp_path, environment)

    assert done.returncode == 1
    assert done.stderr.startswith(f"\nThis did not work: port {port} can't be used")
    assert "PORT=8081 make serve" in done.stderr
    assert "Traceback" not in done.stderr
