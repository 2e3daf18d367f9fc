"""What the function logs, and what it never tells anybody: header values and the values in an address's query."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from servers import Page, Upstream, cut, error, free_port, html, missing, raw, reset, song, throttled
from support.deployed import Deployed, deployed
from support.stored import Objects, read_folder, read_rows

CANARY = "canary-4711"
SECRETS = {"SONG_HEADERS": json.dumps({"Authorization": f"Bearer {CANARY}"})}
QUERY = f"?fields=all&key={CANARY}"

FAULTS = {
    1: song(1),
    2: missing(),
    3: error(500),
    4: reset(),
    5: cut(b"{", 100),
    6: html(),
    7: raw(b"HTTP/1.1 200 OK\r\nA: b\r\nno header at all\r\nContent-Length: 2\r\n\r\n{}"),
    8: raw(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
    9: raw(b"no HTTP\r\n\r\n"),
    10: Page(status=302, headers={"Location": f"http://127.0.0.1:1/?key={CANARY}"}),
    11: Page(body=b"x" * 2_000_000),
    12: song(12).after(5),
    13: Page(body=b"{}", headers={"Set-Cookie": "a=b; Max-Age=never; Domain=\x01"}),
}


class FaultyApi:
    """Serve every fault, then a 401 for all that follows; and for everything once it is `closed`."""

    def __init__(self) -> None:
        self.closed = False

    def page(self, song_num: int, nth: int) -> Page:
        """Choose the page of a song."""
        if self.closed:
            return error(401)
        return FAULTS.get(song_num) or (throttled("0") if nth == 1 else error(401))


class Trace(NamedTuple):
    """Hold all that a function let out: its answers, what it stored, what it logged."""

    answers: str
    stored: Objects
    stdout: list[str]
    stderr: list[str]


def refused(api: FaultyApi, function: Deployed) -> requests.Response:
    """Have a call refused, also for songs that were found before, until its time is over."""
    api.closed = True
    response = function.call("14-40", run="refused", deadline_seconds=3)
    api.closed = False
    return response


@pytest.fixture(scope="module", params=[None, "true"], ids=["plain", "execution-id"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Lead a function full of secrets through faults and refusals, with and without the platform's wrapper of logs."""
    settings = {**SECRETS, "MAX_ATTEMPTS": "2", "REQUEST_TIMEOUT_SECONDS": "1", "LOG_EXECUTION_ID": request.param}
    output = tmp_path_factory.mktemp("trace")
    damaged = output / "runs" / "damaged" / "run.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    api = FaultyApi()
    with Upstream(api.page) as upstream, deployed(output, SONG_URL=upstream.url + QUERY, **settings) as function:
        responses = [
            function.call(f"1-{len(FAULTS)}", run="faults"),
            refused(api, function),
            function.call("1", run="faults"),  # a conflict: its sentence names what the run asked for
            function.call("1", run="damaged"),
            function.call("one"),
            function.send("GET", "/nothing"),
        ]
        log = function.server.stdout_lines(), function.server.stderr_lines()
        sent = {(request.headers["authorization"], request.path.partition("?")[2]) for request in upstream.requests}
    assert sent == {(f"Bearer {CANARY}", QUERY[1:])}
    return Trace("".join(response.text for response in responses), read_folder(output), *log)


def test_no_secret_leaves_the_function(trace: Trace) -> None:
    """Tell no header value and no query value: in no answer, no object and no line of the log, whatever happens."""
    words = ["complete", "taken", "partial", "is damaged", "neither", "nothing at"]

    assert [word for word in words if word not in trace.answers] == []
    assert b"fields=" in trace.stored["runs/faults/run.json"]
    assert CANARY not in trace.answers
    assert [name for name, data in trace.stored.items() if CANARY.encode() in data] == []
    assert CANARY not in str(read_rows(trace.stored, "faults"))
    assert [line for line in trace.stdout + trace.stderr if CANARY in line] == []


def test_every_line_is_an_object_cloud_logging_understands(trace: Trace) -> None:
    """Write one JSON object a line with severity and message, and the run's name where there is a run."""
    lines = [json.loads(line) for line in trace.stdout]
    crawls = [(line["severity"], line["message"]) for line in lines if line.get("run") == "faults"]
    (trouble,) = [line for line in lines if line["severity"] == "ERROR"]

    assert all(isinstance(line["message"], str) and line["message"] for line in lines)
    assert {line["severity"] for line in lines} == {"INFO", "ERROR"}
    assert crawls == [("INFO", "crawl started"), ("INFO", "crawl complete")]
    assert trouble["message"].startswith("runs/damaged/run.json is damaged: ")


def test_lines_of_calls_at_once_stay_whole(function: Deployed) -> None:
    """Keep each line one object also when many calls write at the same moment."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: function.crawl(n, run=f"run-{n}"), range(40)))
    lines = function.log()

    assert len(lines) == 80
    assert {line["run"] for line in lines} == {f"run-{n}" for n in range(40)}


def test_a_store_that_fails_is_logged_as_an_error(tmp_path: Path) -> None:
    """Say in the log and in the answer that the store can't be used, and that the same call may be sent again."""
    (tmp_path / "file").touch()
    url = f"http://127.0.0.1:{free_port()}/{{song_num}}{QUERY}"
    with deployed(tmp_path / "file" / "songs", SONG_URL=url) as function:
        response = function.call("1-3")
        (*_, last) = function.log()

    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert "can't be " in response.json()["detail"]
    assert (last["severity"], last["message"]) == ("ERROR", response.json()["detail"])
