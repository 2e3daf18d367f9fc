"""Check that no header value and no value of an address's query leaves the crawler, whatever an upstream does to it.

A canary stands in both; then everything that comes out, answers, objects, logs, standard error, is searched for it.
"""

from __future__ import annotations

import gzip
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, error, free_port, song
from servers.hostile import pages_of, tricks
from support.command_line import CommandLine
from support.deployed import deployed
from support.stored import read_folder

from crawler import crawl, execute_async_event_loop
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.json_log import LOGGER, JsonLogFormatter
from crawler.core.errors import SongcrawlError
from crawler.core.settings import SETTINGS
from crawler.entrypoints.http.routes import HttpRequest, respond

CANARY = "canary-4711"
QUERY = f"?fields=all&key={CANARY}"
HEADERS = json.dumps({"Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY})
SECRETS = {"SONG_HEADERS": HEADERS, "SONG_INFO": "title", "MAX_ATTEMPTS": "1", "REQUEST_TIMEOUT_SECONDS": "0.5"}
NAMES = list(tricks(0, "http://canary.example/"))
# So many songs to a trick: an upstream of nothing but tricks counts as down, and is left alone.
APART = 4
LAST = APART * len(NAMES)
SONGS = f"1-{LAST}"

# A user's function whose errors hold what they should not.
TELLING = """
import requests

def song(session, song_num):
    url = {url!r}.format(song_num=song_num)
    headers = {headers}
    try:
        response = session.get(url, headers=headers)
        response.raise_for_status()
        return response.json()["title"]
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"{{url}} {{headers}} {{error}}") from error
"""


@pytest.fixture(scope="module")
def hostile() -> Iterator[Upstream]:
    """Serve every trick, an upstream that then refuses, and a canary of its own that nobody may follow."""
    with Upstream() as elsewhere:
        with Upstream(lambda song_num, nth: pages(song_num, nth)) as server:
            trick_of = pages_of(tricks(server.port, elsewhere.url_of(1) + QUERY))

            def pages(song_num: int, nth: int) -> Page:
                page = song(song_num) if song_num % APART else trick_of(song_num // APART, nth)
                # Throttled for ever, a song is waited for for ever.
                return song(song_num) if page.status == 429 and nth % 2 == 0 else page

            yield server
        assert elsewhere.count() == 0


def searched(*places: object) -> list[str]:
    """List what of all that came out holds the canary, also within what is compressed."""
    texts = []
    for place in places:
        for name, data in place.items() if isinstance(place, dict) else [("", place)]:
            raw = data if isinstance(data, bytes) else str(data).encode()
            raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
            texts.append(f"{name} {raw.decode('utf-8', 'replace')}")
    return [text[:500] for text in texts if CANARY in text]


@pytest.fixture(params=["declared", "function"])
def source(request: pytest.FixtureRequest, tmp_path: Path, hostile: Upstream) -> dict[str, str | None]:
    """Give the settings that name the songs: by a URL with a key in it, or by a function that holds it."""
    url = hostile.url + QUERY
    if request.param == "declared":
        return {**SECRETS, "SONG_URL": url}
    (tmp_path / "telling.py").write_text(TELLING.format(url=url, headers=HEADERS))
    return {**SECRETS, "SONG_FUNCTION": "telling:song", "PYTHONPATH": str(tmp_path), "SONG_INFO": "@"}


def test_function_tells_no_secret(source: dict[str, str | None], hostile: Upstream, tmp_path: Path) -> None:
    """Search the answers, the objects and the log of the function after every trick."""
    before = hostile.count()
    with deployed(tmp_path / "songs", **source) as function:
        responses = [
            function.call(SONGS, run="hostile", deadline_seconds=60),
            function.call(SONGS, run="hostile"),
            function.call("1", run="hostile"),
            *(function.send("GET", path) for path in ("/runs", "/runs/hostile", "/openapi.json", f"/{CANARY[:3]}")),
        ]
        logs = function.server.stdout_lines() + function.server.stderr_lines()
    objects = read_folder(tmp_path / "songs")

    assert [response.status_code for response in responses] == [200, 200, 409, 200, 200, 200, 404]
    assert hostile.count() - before >= len(NAMES)
    assert CANARY in hostile.requests[-1].path + str(hostile.requests[-1].headers)
    assert searched(*(response.text + str(response.headers) for response in responses), objects, *logs) == []


def test_command_line_tells_no_secret(source: dict[str, str | None], hostile: Upstream, tmp_path: Path) -> None:
    """Search what the command line prints, also on standard error, and what it stores, after every trick."""
    environ = {name: value for name, value in source.items() if value is not None}
    command = CommandLine(tmp_path, {**environ, "ALLOW_PRIVATE_UPSTREAM": "1", "MAX_PER_SECOND": "0"})
    command.environ["PYTHONPATH"] = ":".join([str(tmp_path), str(Path(__file__).parents[2])])
    done = [
        command.run("crawl", SONGS, "--run", "hostile", "--output", "songs"),
        command.run("plan", SONGS),
        command.run("verify", "songs/runs/hostile"),
        command.run("status", "songs/runs/hostile"),
        command.run("settings"),
    ]

    assert [process.returncode for process in done] == [0] * 5
    assert searched(*(process.stdout + process.stderr for process in done), read_folder(tmp_path / "songs")) == []


def test_python_tells_no_secret(
    hostile: Upstream, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Search what is left of a crawl from Python: words, errors, and a log of everything that any library says."""
    caplog.set_level(logging.DEBUG)
    url = hostile.url + QUERY

    def telling(session: Any, song_num: int) -> Any:
        response = session.get(url.format(song_num=song_num))
        response.raise_for_status()
        return response.json()["title"]

    songs = crawl(telling, range(1, LAST + 1), max_attempts=1, request_timeout_seconds=0.5, song_headers=HEADERS)
    printed = capfd.readouterr()

    assert len(songs.failed) > len(NAMES) / 2
    assert searched(repr(songs), songs.failed, songs.missing, *printed, caplog.text) == []


REFUSALS: dict[str, Callable[[], Page]] = {"401": lambda: error(401), "407": lambda: error(407)}


@pytest.mark.parametrize("page", REFUSALS.values(), ids=REFUSALS)
def test_sentence_of_a_refusal_tells_no_secret(tmp_path: Path, page: Callable[[], Page]) -> None:
    """Say why an upstream refuses without the key that it refused."""
    with Upstream(lambda _n, _nth: page()) as upstream:
        body = answer_of(tmp_path, "1-30", SONG_URL=upstream.url + QUERY)

    assert b"wants credentials" in body
    assert searched(body) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/{song_num}",
        "http://no-such-host.invalid/{song_num}",
        f"http://127.0.0.1:{free_port()}/{{song_num}}",
        "https://127.0.0.1:1/{song_num}",
    ],
    ids=["address", "name", "nothing there", "no TLS there"],
)
@pytest.mark.parametrize("robots", ["obey", "ignore"])
def test_sentence_of_a_failure_tells_no_secret(tmp_path: Path, url: str, robots: str) -> None:
    """Say what is wrong with an upstream without the key in its address."""
    body = answer_of(tmp_path, SONG_URL=url + QUERY, ROBOTS=robots, MAX_ATTEMPTS="1")

    assert searched(body, read_folder(tmp_path)) == []


@pytest.mark.parametrize("robots", ["User-agent: *\nDisallow: /", f"Disallow: /?key={CANARY}"])
def test_sentence_on_robots_tells_no_secret(tmp_path: Path, robots: str) -> None:
    """Say what robots.txt disallows without the key of the address that it disallows."""
    with Upstream(robots=lambda _n, _nth: Page(body=robots.encode())) as upstream:
        assert searched(answer_of(tmp_path, SONG_URL=upstream.url + QUERY)) == []


def answer_of(output: Path, songs: str = "1-3", **settings: str) -> bytes:
    """Give what a function of these settings answers to a call, in this process."""
    environ = {**SECRETS, "OUTPUT": str(output), "ALLOW_PRIVATE_UPSTREAM": "1", **settings}
    request = HttpRequest("POST", "/", body=f'{{"songs": "{songs}", "deadline_seconds": 5}}'.encode())
    return respond(lambda: deployment_from(environ), request).body


# What these take is any text.
WRONG = {"OUTPUT": "s3://songs", "SONG_MISSING": "a.[", "SONG_RETRY": "a.[", "USER_AGENT": "\n"}


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_sentence_on_a_setting_tells_no_other(name: str) -> None:
    """Name the setting that is wrong without a word of those that are right."""
    environ = {"SONG_URL": f"https://songs.example/{{song_num}}{QUERY}", **SECRETS, name: WRONG.get(name, "?")}
    with pytest.raises(SongcrawlError) as wrong:
        deployment_from(environ)

    assert searched(wrong.value) == []


@pytest.mark.parametrize("expression", ["[?key == 'x'", "no_such(key)", "a.b.["])
def test_sentence_on_an_expression_tells_no_other(expression: str) -> None:
    """Say what is wrong with a JMESPath expression without the key of the address beside it."""
    environ = {"SONG_URL": f"https://songs.example/{{song_num}}{QUERY}", **SECRETS, "SONG_INFO": expression}
    with pytest.raises(SongcrawlError, match="SONG_INFO") as wrong:
        deployment_from(environ)

    assert searched(wrong.value) == []


def test_traceback_tells_places_only() -> None:
    """Log where something unforeseen happened, and in which class, without the text of any error on the way."""

    def unforeseen() -> Deployment:
        try:
            raise ValueError(f"https://songs.example/1{QUERY}")
        except ValueError as error:
            raise RuntimeError(f"{HEADERS}") from error

    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JsonLogFormatter())
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    try:
        response = respond(unforeseen, HttpRequest("GET", "/runs"))
    finally:
        LOGGER.removeHandler(handler)

    assert response.status == 500
    assert "RuntimeError" in lines[0]
    assert searched(response.body, *lines) == []


def test_article_s_steps_tell_no_secret(hostile: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search what the article's steps raise where the upstream refuses."""
    with Upstream(lambda _n, _nth: error(401)) as upstream:
        for name, value in {**SECRETS, "SONG_URL": upstream.url + QUERY}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SongcrawlError) as refused:
            execute_async_event_loop(range(30), [])

    assert searched(refused.value, *sys.exc_info()) == []
