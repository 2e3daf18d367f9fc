"""Check that docs/recipes.md works: each block is run as it stands there, a small server in the place of the API."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from support.deployed import Deployed
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.runs.index import RunIndex

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SCRIPTS = Path(sys.executable).parent


class Api(BaseHTTPRequestHandler):
    """Be the API of every recipe: songs 1 to 20, as JSON, behind a key, always 200, and as HTML."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        """Answer one request."""
        url = urlsplit(self.path)
        self.asked[url.path] += 1
        place, _, number = url.path.removeprefix("/").partition("/")
        answer = getattr(self, f"_{place}", self._nothing)
        self.limit: dict[str, str] = {}
        status, body = answer(int(number or 0), parse_qs(url.query))
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in self.limit.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def _nothing(self, _: int, __: Any) -> tuple[int, Any]:
        return 404, {}  # robots.txt too: everything may be asked for

    def _songs(self, number: int, _: Any) -> tuple[int, Any]:
        return (200, {"title": f"Song {number}"}) if number <= 20 else (404, {})

    def _keyed(self, number: int, query: Any) -> tuple[int, Any]:
        known = self.headers["Authorization"] == "Bearer s3cr3t"
        return self._songs(number, query) if known else (401, {})

    def _always200(self, number: int, _: Any) -> tuple[int, Any]:
        if number == 7 and self.asked["/always200/7"] == 1:
            return 200, {"error": {"code": 4}}
        return 200, {"error": {"code": 800}} if number % 4 == 0 else {"title": "x", "artist": {"name": "y"}}

    def _quota(self, number: int, _: Any) -> tuple[int, Any]:
        if number == 3 and self.asked["/quota/3"] == 1:
            self.limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1)}
            return 403, {"message": "API rate limit exceeded"}
        if number % 10 == 0:
            return (451, {"message": "blocked"}) if number == 10 else (403, {"message": "Resource not accessible"})
        return 200, {"title": f"Song {number}", **({"backoff": 1} if number == 5 else {})}

    def _merged(self, number: int, query: Any) -> tuple[int, Any]:
        if number % 2 == 0:
            self.limit = {"Location": f"/merged/{number + 1}"}
            return 301, {"message": "Moved Permanently"}
        return self._songs(number, query)

    def _graphql(self, _: int, __: Any) -> tuple[int, Any]:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = int(re.findall(r"id: (\d+)", body["query"])[0])
        return 200, {"data": {"song": {"title": f"Song {number}"} if number <= 20 else None}}

    def _pages(self, number: int, _: Any) -> tuple[int, Any]:
        return (200, f"<html><h1 class='t'>\nRock &amp; Roll {number}</h1></html>") if number % 10 else (404, "")

    def _artists(self, _: int, query: dict[str, list[str]]) -> tuple[int, Any]:
        return 200, {"name": query["name"][0]}

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    """Serve the API, and give its address."""
    Api.asked = Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def block(section: str, language: str) -> str:
    """Give a section's one block in a language."""
    (only,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    return str(only)


def run_shell(section: str, api: str, folder: Path) -> list[dict[str, Any]]:
    """Run a section's shell block in a folder; gives the answers that it prints."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "ALLOW_PRIVATE_UPSTREAM": "1"}
    script = block(section, "sh").replace("https://api.example.com", api)
    done = subprocess.run(["bash", "-euc", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in re.findall(r"^\{.*?^\}", done.stdout, re.MULTILINE | re.DOTALL)]


def figures(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Give how many songs were found, missing and failed."""
    return answer["found"], answer["missing"], answer["failed"]


def test_an_api_with_a_key(api: str, tmp_path: Path) -> None:
    """Send the key, and store it nowhere."""
    (answer,) = run_shell("An API with a key", api, tmp_path)

    assert (answer["state"], *figures(answer)) == ("complete", 20, 0, 0)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"s3cr3t" in file.read_bytes()]


def test_an_api_with_its_own_way_of_saying_slow_down(api: str, tmp_path: Path) -> None:
    """Tell a used-up quota, what nobody is shown and what is blocked by rules; ask for nothing in vain."""
    (answer,) = run_shell('An API with its own way of saying "slow down"', api, tmp_path)

    assert (answer["state"], *figures(answer), answer["throttled"]) == ("complete", 18, 0, 2, 1)
    assert Api.asked["/quota/20"] == 2  # once more, in case that it was throttled
    assert Api.asked["/quota/3"] == 2


def test_an_api_that_answers_200_to_everything(api: str, tmp_path: Path) -> None:
    """Tell missing songs, and being throttled, from songs."""
    (answer,) = run_shell("An API that answers 200 to everything", api, tmp_path)

    assert (figures(answer), answer["throttled"]) == ((15, 5, 0), 1)


def test_an_html_page(api: str, tmp_path: Path) -> None:
    """Take the songs out of pages with a function of one's own."""
    section = "An HTML page instead of JSON"
    (tmp_path / "songs.py").write_text(block(section, "python").replace("https://api.example.com", api))
    (answer,) = run_shell(section, api, tmp_path)

    assert figures(answer) == (18, 2, 0)
    gunzipped = subprocess.run(
        f"gunzip -c {tmp_path}/songs/runs/*/songs-*", shell=True, capture_output=True, check=True
    )
    assert b'"info":{"title":"Rock & Roll 1"}' in gunzipped.stdout


def test_several_functions(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crawl numbers and names in one call."""
    monkeypatch.setenv("ALLOW_PRIVATE_UPSTREAM", "1")
    names: dict[str, Any] = {}
    exec(block("Several functions at once", "python").replace("https://api.example.com", api), names)

    songs: dict[Any, Any] = {number: f"Song {number}" for number in range(1, 11)}
    artists: dict[Any, Any] = {name: {"name": name} for name in ("Nina Simone", "Fela Kuti")}
    assert names["titles"] == songs | artists


def test_every_night(api: str, tmp_path: Path) -> None:
    """Go on where the last call ended."""
    first, second = run_shell("Every night, what is new", api, tmp_path)

    assert (first["songs"], figures(first)) == ("1-15", (15, 0, 0))
    assert (second["songs"], figures(second)) == ("16-30", (5, 10, 0))


def test_songs_that_were_merged(api: str, tmp_path: Path) -> None:
    """Find each song where it is now, and say so in its row."""
    (answer,) = run_shell("Songs that were merged or renamed", api, tmp_path)

    assert (figures(answer), answer["requests"]) == ((5, 0, 0), 7)
    (part,) = tmp_path.glob("songs/runs/*/songs-*")
    rows = [json.loads(line) for line in gzip.decompress(part.read_bytes()).splitlines()]
    assert [row.get("moved_to") for row in rows] == [None, 3, None, 5, None]
    assert [row["info"]["title"] for row in rows] == ["Song 1", "Song 3", "Song 3", "Song 5", "Song 5"]


def test_songs_by_post(api: str, tmp_path: Path) -> None:
    """Ask by a body for each song."""
    (answer,) = run_shell("Songs by POST", api, tmp_path)

    assert (answer["state"], *figures(answer)) == ("complete", 20, 5, 0)


def test_a_small_site(api: str, tmp_path: Path) -> None:
    """Say how long it takes, and keep to one request a second."""
    plan, answer = run_shell("A small site, politely", api, tmp_path)

    assert (plan["state"], plan["elapsed_seconds"]) == ("planned", 5000)
    assert figures(answer) == (3, 0, 0)
    assert answer["elapsed_seconds"] > 1.5


def test_an_alert(function: Deployed) -> None:
    """Print the newest run if it is complete, and exit with a sentence if it is not."""
    script = block("An alert when a run does not finish", "python")
    script = script.replace("http://localhost:8080", function.server.url)
    function.crawl("1-5", run="whole")
    with redirect_stdout(StringIO()) as said:
        exec(script, {})
    run_index, spec = RunIndex(FolderStore(function.output), call_id="x"), run_spec("1-3", run="cut-off")
    run_index.announce(spec, [], 4_000_000_000_000)
    run_index.run_store("cut-off").begin(spec)

    assert said.getvalue() == "whole: 5 found, 0 missing, 0 failed\n"
    with pytest.raises(SystemExit, match=r"^cut-off is partial: 3 songs remain of 1-3$"):
        exec(script, {})


@pytest.mark.parametrize("script", re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_what_needs_the_cloud_is_at_least_sound(script: str) -> None:
    """Have shellcheck read what can't be run here."""
    done = subprocess.run(
        [SCRIPTS / "shellcheck", "--shell=bash", "-"], input=script, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_every_block_is_run_or_checked() -> None:
    """Know every kind of block that the page has."""
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"sh", "python", "bash"}
    assert len(re.findall(r"^```(sh|python)$", PAGE, re.MULTILINE)) == 11
