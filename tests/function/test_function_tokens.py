"""Check crawls of an API that wants access tokens: when one is asked for, by whom, and what is said without one."""

from __future__ import annotations

import json
import math
import socket
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from servers import Page
from servers.tokens import GOOD, TokenApi
from support.command_line import CommandLine
from support.deployed import deployed
from support.stored import audit, read_folder

from crawler import crawl, execute_async_event_loop
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.fetchers import bearing, declared_fetcher, session_of
from crawler.core.errors import UpstreamUnavailable
from crawler.entrypoints.http.routes import HttpRequest, respond

CANARY = "secret-4711"
FORM = {"grant_type": "client_credentials", "client_id": "me", "client_secret": CANARY}
HEADERS = {"Authorization": f"Basic {CANARY}"}
SONG_FUNCTION = """
def song(session, song_num):
    response = session.get({url!r}.format(song_num=song_num))
    response.raise_for_status()
    return response.json()
"""


@dataclass
class Crawler:
    """Be a deployment in this process, crawling one of the ways that songs are fetched."""

    folder: Path
    way: str
    settings: dict[str, str] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def call(self, api: TokenApi, songs: str, run: str = "r", **settings: str) -> tuple[int, dict[str, Any]]:
        """Ask for a crawl; give status and answer."""
        given = {"OUTPUT": str(self.folder / "songs"), "MAX_PER_SECOND": "0", "TOKEN_FORM": json.dumps(FORM)}
        given |= {"TOKEN_HEADERS": json.dumps(HEADERS)} | api.settings | self.settings | settings
        if self.way == "function":
            name = f"mine_{zlib.crc32(str(self.folder).encode())}"
            (self.folder / f"{name}.py").write_text(SONG_FUNCTION.format(url=given.pop("SONG_URL")))
            given["SONG_FUNCTION"] = f"{name}:song"
        response = respond(partial(self._deployment, given), HttpRequest("POST", "/", body=_body(songs, run)))
        return response.status, json.loads(response.body)

    def rows(self, run: str = "r") -> dict[int, str]:
        """Give the status of each song of a run, once it was held to its manifest."""
        return {row["song_num"]: row["status"] for row in audit(read_folder(self.folder / "songs"), run)}

    def _deployment(self, given: dict[str, str]) -> Deployment:
        key = json.dumps({name: value for name, value in given.items() if name != "SONG_FUNCTION"})
        if key not in self.deployments:
            deployment = deployment_from(given)
            if self.way == "requests":
                settings = deployment.settings

                def make_fetcher(opened: Any) -> Any:
                    session = opened.enter_context(session_of(settings))
                    return bearing(settings, session, declared_fetcher(settings, session))

                deployment = msgspec.structs.replace(deployment, make_fetcher=make_fetcher)
            self.deployments[key] = deployment
        return self.deployments[key]


def _body(songs: str, run: str) -> bytes:
    return json.dumps({"songs": songs, "run": run}).encode()


@pytest.fixture(params=["curl", "requests", "function"])
def crawler(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crawler:
    """Give a deployment for each way that songs are fetched."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return Crawler(tmp_path, request.param)


def failing(*pages: Page, then: Callable[[int], Page] | None = None) -> Callable[[int], Page]:
    """Give these answers of a token server, one after the other, the last for ever unless something comes then."""
    return lambda nth: pages[nth - 1] if nth <= len(pages) else then(nth) if then else pages[-1]


def token_json(**content: Any) -> Page:
    """Give a 200 of a token server."""
    return Page(body=json.dumps(content).encode())


def test_one_token_serves_all(crawler: Crawler) -> None:
    """Ask once, with the form and headers of TOKEN_URL alone, and send the token with every song, call after call."""
    song_headers = json.dumps({"X-Song": "1"})
    with TokenApi(told=3600) as api:
        first = crawler.call(api, "1-60", SONG_HEADERS=song_headers)
        second = crawler.call(api, "61-99", "r2", SONG_HEADERS=song_headers)

        assert (first[0], second[0]) == (200, 200), (first, second)
        assert [form for _, _, form in api.asked] == [FORM]
        assert (api.asked[0][1]["authorization"], "x-song" in api.asked[0][1]) == (f"Basic {CANARY}", False)
        assert (first[1]["requests"], second[1]["requests"]) == (60, 39) == (60, sum(api.songs.values()) - 60)
        assert not api.refused
        assert not api.robots_authorized
    assert set(crawler.rows().values()) == {"found"}


def test_short_lived_tokens_fail_no_song(crawler: Crawler) -> None:
    """Renew tokens that live 0.6 s, told as such, before they die, one at a time, while the songs go on."""
    with TokenApi(0.6, told=0.6, slow=0.03) as api:
        began = time.monotonic()
        status, answer = crawler.call(api, "1-900", MAX_PER_SECOND="500", MAX_AT_ONCE="40")
        seconds = time.monotonic() - began

        assert (status, answer["found"], answer["failed"]) == (200, 900, 0), answer
        assert api.most_at_once == 1
        assert 2 <= len(api.asked) <= math.ceil(seconds / 0.48) + 1
        assert not api.refused
        times = [at for at, _, _ in api.asked]
        assert all(later - earlier > 0.4 for earlier, later in pairwise(times))


def test_tokens_that_die_unannounced_fail_no_song(crawler: Crawler) -> None:
    """Learn from a 401 that a token is dead: one asks for another, and the songs come again at no attempt."""
    with TokenApi(0.5, slow=0.03) as api:
        status, answer = crawler.call(api, "1-600", MAX_PER_SECOND="500", MAX_AT_ONCE="40", MAX_ATTEMPTS="1")

        assert (status, answer["found"], answer["failed"]) == (200, 600, 0), answer
        assert api.most_at_once == 1
        assert 2 <= len(api.asked) <= 8
        assert answer["requests"] == sum(api.songs.values()) == 600 + sum(api.refused.values())
        assert max(api.songs.values()) <= 3


def test_private_record_costs_few_tokens(crawler: Crawler) -> None:
    """Ask for one more token where a song is refused with it, not for one at each of its attempts."""
    rules = json.dumps([{"status": 401, "action": "failed", "error": "private"}])
    settings = {} if crawler.way == "function" else {"RESPONSE_RULES": rules}
    with TokenApi(private=lambda n: n == 7) as api:
        status, answer = crawler.call(api, "1-40", MAX_AT_ONCE="4", **settings)

        assert len(api.asked) == 2
        assert 2 <= api.songs[7] <= 8
        if settings:
            assert (status, answer["found"], answer["failed"]) == (200, 39, 1), answer


LASTING = {
    "wrong secret": (Page(401, b'{"error": "invalid_client"}'), "TOKEN_URL answers 401 invalid_client; set TOKEN_FORM"),
    "bad request": (Page(400, b'{"error": "secret-4711"}'), "TOKEN_URL answers 400 with an error; set TOKEN_FORM"),
    "not there": (Page(404, b"<html>"), "TOKEN_URL answers 404 with an error; set TOKEN_FORM"),
    "error in a 200": (token_json(error="invalid_scope"), "TOKEN_URL answers 200 invalid_scope; set TOKEN_FORM"),
    "no token": (token_json(token="x"), "its answer has no access_token"),
    "null": (token_json(access_token=None), "its answer has no access_token"),
    "mac": (token_json(access_token="x", token_type="mac"), "token_type is not bearer"),
    "line break": (token_json(access_token=f"{CANARY}\r\nX: y"), "characters that no header may hold"),
    "beyond ASCII": (token_json(access_token=f"{CANARY}ä"), "characters that no header may hold"),
}


@pytest.mark.parametrize(("page", "words"), LASTING.values(), ids=LASTING)
def test_refusal_of_a_token_is_a_sentence(crawler: Crawler, page: Page, words: str) -> None:
    """Answer 503 with a sentence that names TOKEN_URL, at once; nothing is failed, no song asked for without one."""
    with TokenApi(answers=failing(page)) as api:
        status, answer = crawler.call(api, "1-20")

        assert (status, answer["state"], answer["failed"], answer["remaining"]) == (503, "partial", 0, 20)
        assert words in answer["detail"]
        assert CANARY not in str(answer) + str(read_folder(crawler.folder / "songs"))
        assert (len(api.asked), sum(api.songs.values())) == (1, 0)


def test_redirect_of_the_token_server_is_not_followed(crawler: Crawler) -> None:
    """Take the form nowhere else."""
    with TokenApi() as elsewhere:
        moved = Page(307, b"", {"Location": elsewhere.token_url})
        with TokenApi(answers=failing(moved)) as api:
            status, answer = crawler.call(api, "1-3")

        assert (status, elsewhere.asked) == (503, [])
        assert "TOKEN_URL answers 307, a redirect, which is not followed" in answer["detail"]


@pytest.mark.parametrize(
    "page",
    [
        Page(503, b"", {"Retry-After": "1"}),
        Page(429, b"{}"),
        Page(200, b"<html>"),
        Page(200, b'["a"]'),
        Page(200, b" " * 70_000),
        Page(403, b"", {"Retry-After": "0"}),
    ],
    ids=["503", "429", "html", "list", "too large", "403 for a while"],
)
def test_failure_that_passes_is_waited_for(tmp_path: Path, page: Page) -> None:
    """Ask again, later each time and no sooner than told, then crawl as if nothing had been."""
    api = TokenApi()
    api.answers = failing(page, then=api.token)
    with api:
        status, answer = Crawler(tmp_path, "curl").call(api, "1-20", DEADLINE_SECONDS="30")

        assert (status, answer["found"], len(api.asked)) == (200, 20, 2), answer
        assert api.asked[1][0] - api.asked[0][0] >= (1.0 if page.status == 503 else 0.45)
        assert answer["requests"] == 20


@pytest.mark.parametrize(
    ("page", "slow", "words"),
    [
        (Page(503), 0.0, "TOKEN_URL gives no token: it answers 503."),
        (Page(429, b"", {"Retry-After": "3600"}), 0.0, "TOKEN_URL gives no token: it answers 429."),
        (Page(200, b"<html>"), 0.0, "TOKEN_URL gives no token: its answer is no JSON object."),
        (Page(200), 20.0, "TOKEN_URL gives no token: it does not answer in time."),
    ],
    ids=["down", "an hour", "garbage", "silent"],
)
def test_failure_that_lasts_ends_the_call_in_time(crawler: Crawler, page: Page, slow: float, words: str) -> None:
    """Say before the deadline why there is no token, and when to come again; nothing is failed."""
    with TokenApi(answers=lambda _nth: page, slow=min(slow, 2.0)) as api:
        began = time.monotonic()
        status, answer = crawler.call(api, "1-20", DEADLINE_SECONDS="2", SONG_INFO="@")

        assert time.monotonic() - began < 2.0
        assert (status, answer["state"], answer["failed"], answer["remaining"]) == (503, "partial", 0, 20)
        assert answer["detail"] == words
        assert answer.get("retry_after") == (3600 if page.status == 429 else None)
        assert not api.songs


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/token", "https://[fd20:ce::254]/token", "http://metadata.test/token"]
)
def test_address_that_is_not_allowed_is_not_asked(
    crawler: Crawler, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse a metadata server's address, also as a name's, with a sentence that says whose it is."""
    monkeypatch.setattr("socket.getaddrinfo", _resolving(sys.modules["socket"].getaddrinfo))
    with TokenApi() as api:
        status, answer = crawler.call(api, "1-3", TOKEN_URL=address)

        assert status == 500, answer
        assert answer["detail"].startswith("TOKEN_URL is not asked. The upstream ")
        assert "never allowed" in answer["detail"]
        assert not api.songs


def _resolving(look_up: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        return look_up("169.254.169.254" if host == "metadata.test" else host, *args, **kwargs)

    return resolve


EXPIRES: dict[str, Any] = {
    "text": "3600",
    "zero": 0,
    "negative": -1,
    "endless": 1e99,
    "null": None,
    "true": True,
    "word": "soon",
    "tiny": 1e-9,
}


@pytest.mark.parametrize("told", EXPIRES.values(), ids=EXPIRES)
def test_odd_lives_are_no_reason_to_ask_again(tmp_path: Path, told: Any) -> None:
    """Use a token whose life is not told in any sense until it is refused."""
    api = TokenApi()
    api.answers = lambda nth: token_json(access_token=f"t-{nth}-canary", token_type="BEARER", expires_in=told)
    with api:
        status, answer = Crawler(tmp_path, "curl").call(api, "1-50")

        assert (status, answer["found"], len(api.asked)) == (200, 50, 1), answer


def test_songs_go_on_while_the_token_server_fails(crawler: Crawler) -> None:
    """Use the old token for as long as it lives where the early renewal fails, and try that again."""
    api = TokenApi(1.0, told=1.0)
    api.answers = lambda nth: Page(500) if nth == 2 else api.token(nth)
    with api:
        status, answer = crawler.call(api, "1-100", MAX_PER_SECOND="80", MAX_AT_ONCE="10")

        assert (status, answer["found"], answer["failed"]) == (200, 100, 0), answer
        assert len(api.asked) >= 3


def test_revoked_token_is_replaced_between_calls(crawler: Crawler) -> None:
    """Notice at the next call that the token died meanwhile."""
    with TokenApi() as api:
        assert crawler.call(api, "1-5")[0] == 200
        api.revoke()
        status, answer = crawler.call(api, "6-30", "r2")

        assert (status, answer["found"], len(api.asked)) == (200, 25, 2), answer


def test_no_token_is_asked_for_in_vain(crawler: Crawler) -> None:
    """Ask for none where a run is complete, or is only planned."""
    with TokenApi() as api:
        assert crawler.call(api, "1-5")[0] == 200
        fresh = Crawler(crawler.folder, crawler.way)

        assert (fresh.call(api, "1-5", TOKEN_HEADERS="{}")[0], len(api.asked)) == (200, 1)


CONTRADICTIONS = {
    "in the clear": (
        {"TOKEN_URL": "http://a.example/token?key=secret-4711", "ALLOW_PRIVATE_UPSTREAM": "0"},
        "TOKEN_URL is 'http://a.example/token?…', which would send TOKEN_FORM in the clear; allowed: an https URL",
    ),
    "two authorizations": (
        {"SONG_HEADERS": '{"authorization": "Bearer secret-4711"}'},
        "SONG_HEADERS has Authorization, and TOKEN_URL gives another; allowed: one of them",
    ),
    "form alone": ({"TOKEN_URL": ""}, "TOKEN_FORM is set, and TOKEN_URL is not; allowed: both, or neither."),
    "headers alone": (
        {"TOKEN_URL": "", "TOKEN_FORM": ""},
        "TOKEN_HEADERS is set, and TOKEN_URL is not; allowed: both, or neither.",
    ),
}


@pytest.mark.parametrize(("settings", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    """Say at every call what is wrong with the deployment, without a secret."""
    with TokenApi() as api:
        status, answer = Crawler(tmp_path, "curl").call(api, "1", **settings)

    assert (status, answer["detail"][: len(words)]) == (500, words)
    assert CANARY not in str(answer)


def test_headers_alone_ask_for_client_credentials(tmp_path: Path) -> None:
    """Send the one field that every server wants where TOKEN_FORM is not set."""
    with TokenApi() as api:
        assert Crawler(tmp_path, "curl").call(api, "1", TOKEN_FORM="")[0] == 200
        assert api.asked[0][2] == {"grant_type": "client_credentials"}


def test_crawl_from_python_sends_the_token() -> None:
    """Give a function's session the token, in memory; where none can be had an error says why."""

    def title(session: Any, song_num: int) -> Any:
        response = session.get(api.url.format(song_num=song_num))
        return response.json()["title"] if response.ok else None  # a 401 that it takes for missing

    with TokenApi(0.4, slow=0.05) as api:
        options: dict[str, Any] = {
            "token_url": api.token_url,
            "token_form": FORM,
            "max_per_second": 100,
            "progress": False,
        }
        songs = crawl(title, range(1, 101), **options)

        assert (len(songs), songs.missing, songs.failed) == (100, [], [])
        assert len(api.asked) >= 2
        api.answers = failing(Page(401, b'{"error": "invalid_client"}'))
        with pytest.raises(UpstreamUnavailable, match="TOKEN_URL answers 401 invalid_client") as refused:
            crawl(title, [1], **options | {"token_form": {**FORM, "scope": "x"}})
        assert CANARY not in repr(refused.value)


def test_articles_steps_send_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crawl what SONG_URL declares by the article's steps, with one token for all of them."""
    with TokenApi() as api:
        for name, value in {**api.settings, "TOKEN_FORM": json.dumps(FORM)}.items():
            monkeypatch.setenv(name, value)
        found: list[Any] = []
        execute_async_event_loop(range(1, 11), found)
        execute_async_event_loop(range(11, 21), found)

        assert ([song_num for song_num, _ in found], len(api.asked)) == (list(range(1, 21)), 1)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "function"])
def test_function_tells_neither_token_nor_credentials(tmp_path: Path, declared: bool) -> None:
    """Search answers, objects and log of a function that gets tokens, loses them, and gets none any more."""
    secrets = {"TOKEN_FORM": json.dumps(FORM), "TOKEN_HEADERS": json.dumps(HEADERS)}
    api = TokenApi()
    echo = json.dumps({"error": CANARY}).encode()
    api.answers = failing(api.token(1), Page(500, echo), api.token(3), Page(401, echo))
    with api:
        settings = {**api.settings, **secrets, "TOKEN_URL": f"{api.token_url}?key={CANARY}"}
        if not declared:
            (tmp_path / "mine.py").write_text(SONG_FUNCTION.format(url=settings.pop("SONG_URL")))
            settings |= {"SONG_FUNCTION": "mine:song", "PYTHONPATH": str(tmp_path)}
        with deployed(tmp_path / "songs", **settings) as function:
            responses = []
            for songs in ("1-20", "21-40", "41-60"):
                responses.append(function.call(songs, run=f"r{songs}"))
                api.revoke()
            responses += [function.send("GET", path) for path in ("/runs", "/runs/r41-60", "/openapi.json")]
            logs = function.server.stdout_lines() + function.server.stderr_lines()

    assert [response.status_code for response in responses] == [200, 200, 503, 200, 200, 200]
    assert "TOKEN_URL answers 401 with an error; set TOKEN_FORM" in responses[2].text
    assert [len(api.asked), sum(api.songs.values())] == [4, 40 + sum(api.refused.values())]
    told = [response.text + str(response.headers) for response in responses] + logs
    told += [name + str(data) for name, data in read_folder(tmp_path / "songs").items()]
    tokens = [GOOD.format(nth=nth) for nth in range(1, 5)]
    assert [text for text in told if any(secret in text for secret in (CANARY, *tokens))] == []


def test_command_line_tells_neither_token_nor_credentials(tmp_path: Path) -> None:
    """Search what the command line prints where there is no token, and of its settings."""
    with TokenApi(answers=failing(Page(403, b""))) as api:
        settings = {**api.settings, "TOKEN_FORM": json.dumps(FORM), "TOKEN_HEADERS": json.dumps(HEADERS)}
        command = CommandLine(tmp_path, settings)
        done = [command.run("crawl", "1-5", "--output", "songs"), command.run("settings")]

    assert [process.returncode for process in done] == [3, 0]
    assert "TOKEN_URL answers 403 with an error; set TOKEN_FORM" in done[0].stdout
    assert CANARY not in "".join(process.stdout + process.stderr for process in done)


def test_tokens_of_a_second_serve_thousands(tmp_path: Path) -> None:
    """Crawl for several lives at full speed, one renewal at a time, no song failed and none refused."""
    with TokenApi(1.0, told=1.0, slow=0.05) as api:
        status, answer = Crawler(tmp_path, "curl").call(api, "1-2500", MAX_PER_SECOND="1500")

        assert (status, answer["found"], answer["failed"], answer["requests"]) == (200, 2500, 0, 2500), answer
        assert (api.most_at_once, sum(api.refused.values())) == (1, 0)
        assert len(api.asked) <= 5


def test_token_goes_nowhere_else(crawler: Crawler) -> None:
    """Follow no redirect of a song out of its origin, as without a token."""
    with TokenApi() as elsewhere, TokenApi() as api:
        api.moved = elsewhere.url.format(song_num=7)
        status, answer = crawler.call(api, "1-3")

        assert (status, answer["failed"], sum(elsewhere.songs.values())) == (200, 3, 0), answer
        assert len(api.asked) == 1


def test_private_token_server_is_not_connected_to(crawler: Crawler) -> None:
    """Knock at no private address without ALLOW_PRIVATE_UPSTREAM, whatever the songs' own address is."""
    with socket.create_server(("127.0.0.1", 0)) as listener, TokenApi() as api:
        listener.settimeout(0.05)
        token_url = f"https://127.0.0.1:{listener.getsockname()[1]}/token"
        status, answer = crawler.call(api, "1", TOKEN_URL=token_url, ALLOW_PRIVATE_UPSTREAM="0", ROBOTS="ignore")

        with pytest.raises(TimeoutError):
            listener.accept()
        assert (status, answer["detail"][:24]) == (500, "TOKEN_URL is not asked. ")
        assert "allowed only with ALLOW_PRIVATE_UPSTREAM=1" in answer["detail"]
