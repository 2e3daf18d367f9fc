"""Check that a song that is tried is judged as a crawl would judge it, by either fetcher, and nothing is stored."""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from servers import Page, Upstream, error, free_port, html, raw, reset, song, throttled
from servers.tokens import TokenApi

from crawler.app.composition import settings_from
from crawler.app.fetchers import song_of
from crawler.app.trials.trial import Trial
from crawler.app.trials.trial_request import try_songs
from crawler.core.errors import BadRequest

CANARY = "canary-4711"

RULES = [
    {"status": 400, "when": "body.code == `17`", "action": "retry", "error": "busy"},
    {"when": "body.backoff", "wait": "body.backoff"},
]

ANSWERS: dict[str, Page] = {
    "song": song(1),
    "gzip": Page(body=gzip.compress(song(2).body), headers={"Content-Encoding": "gzip"}),
    "no such song": Page(body=b'{"error": {"code": 800}}'),
    "slow down": Page(body=b'{"error": {"code": 4}}'),
    "rule": Page(400, b'{"code": 17}'),
    "pause": Page(body=b'{"title": "x", "backoff": 0.01}'),
    "no info": Page(body=b'{"id": 7}'),
    "html": html(),
    "cut": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id"'),
    "large": Page(body=b" " * 2000),
    "large error": Page(403, b" " * 2000),
    "endless error": Page(exact=b"HTTP/1.1 403 Forbidden\r\n\r\n ", endless=b" " * 65536),
    "compressed otherwise": Page(body=b"x", headers={"Content-Encoding": "br"}),
    "absent": error(404),
    "forbidden": error(403),
    "down": error(503),
    "elsewhere": Page(302, headers={"Location": "/songs/1"}),
    "throttled": throttled("0.01"),
    "quota": Page(
        body=song(7).body, headers={"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "8", "X-RateLimit-Reset": "5"}
    ),
    "reset": reset(),
    "no key": error(401),
}
NAMES = list(ANSWERS)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Serve the answers, each under its number."""
    with Upstream(lambda song_num, _nth: ANSWERS[NAMES[song_num - 1]]) as server:
        yield server


@pytest.fixture(params=["curl", "session"])
def fetcher_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have declared songs fetched through libcurl, or through requests where that can't be had."""
    if request.param == "session":
        monkeypatch.setitem(sys.modules, "crawler.adapters.curl.fetcher", None)
    return str(request.param)


def environment(url: str, **settings: str) -> dict[str, str]:
    """Declare the songs at a URL, with expressions and rules."""
    return {
        "SONG_URL": url,
        "SONG_INFO": "title",
        "SONG_MISSING": "error.code == `800`",
        "SONG_RETRY": "error.code == `4`",
        "RESPONSE_RULES": json.dumps(RULES),
        "ALLOW_PRIVATE_UPSTREAM": "1",
        "MAX_PER_SECOND": "0",
        "MAX_SONG_BYTES": "1000",
        "ROBOTS": "ignore",
        **settings,
    }


def tried(url: str, song_num: int = 1, **settings: str) -> Trial:
    """Try one song."""
    (trial,) = try_songs(settings_from(environment(url, **settings)), [song_num])
    return trial


@pytest.mark.usefixtures("fetcher_kind")
@pytest.mark.parametrize("name", NAMES)
def test_verdict_is_the_crawls(upstream: Upstream, name: str) -> None:
    """Give the verdict on each answer that a crawl's own fetcher gives, though nobody looks at that one."""
    song_num = 1 + NAMES.index(name)
    with ExitStack() as opened:
        fetcher = song_of(settings_from(environment(upstream.url)))[1](opened)
        verdict = fetcher.attempt(song_num, 10.0)
    trial = tried(upstream.url, song_num)

    assert (trial.verdict, trial.error) == (verdict.kind.value, verdict.error)
    assert (trial.rule is None) == (name in ("cut", "reset"))
    if verdict.info is not None:
        assert json.loads(trial.row)["info"] == verdict.info


def test_both_fetchers_explain_alike(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say the same of every answer, whichever library asked for it."""
    by_curl = [tried(upstream.url, song_num) for song_num in range(1, len(NAMES) + 1)]
    monkeypatch.setitem(sys.modules, "crawler.adapters.curl.fetcher", None)
    by_session = [tried(upstream.url, song_num) for song_num in range(1, len(NAMES) + 1)]

    for name, one, other in zip(NAMES, by_curl, by_session, strict=True):
        own = {"song_num": 0, "requests": [], "seconds": None, "broken": ""}
        assert msgspec.structs.replace(one, **own) == msgspec.structs.replace(other, **own), name
        assert bool(one.broken) == bool(other.broken)


RULED: list[tuple[str, str, str]] = [
    ("song", "built-in rule for 2xx", "RFC 9110, 15.3"),
    ("no such song", "SONG_MISSING", "error.code == `800`"),
    ("slow down", "SONG_RETRY", "error.code == `4`"),
    ("rule", "RESPONSE_RULES, rule 1", '"error":"busy"'),
    ("absent", "built-in rule for 404, 410", "RFC 9110, 15.5.5"),
    ("down", "built-in rule", "RFC 9110, 15.6"),
]


@pytest.mark.parametrize(("name", "rule", "says"), RULED)
def test_the_rule_is_named(upstream: Upstream, name: str, rule: str, says: str) -> None:
    """Name the rule that gave the verdict, and its authority or its text."""
    trial = tried(upstream.url, 1 + NAMES.index(name))

    assert trial.rule
    assert trial.rule.name == rule
    assert says in trial.rule.says


def test_what_would_be_stored(upstream: Upstream) -> None:
    """Write the row that a crawl would store, or say what it would do in its place."""
    names = ("song", "absent", "down", "throttled", "pause")
    trials = {name: tried(upstream.url, 1 + NAMES.index(name)) for name in names}

    assert trials["song"].row == '{"song_num":1,"status":"found","info":"Song 1"}'
    assert trials["absent"].row.endswith('"status":"missing","info":null}')
    assert trials["down"].row.endswith('"error":"http_503"}')
    assert trials["down"].then.startswith("A crawl tries again, 4 times in all")
    assert (trials["throttled"].row, trials["throttled"].then.startswith("Nothing yet:")) == ("", True)
    assert trials["pause"].paused_by
    assert trials["pause"].then == "Then a crawl pauses for 0.01 s."


def test_nothing_is_stored_and_robots_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for robots.txt once and for each song once, whatever comes of it, and leave nothing behind."""
    monkeypatch.chdir(tmp_path)
    with Upstream(lambda n, _nth: error(500) if n == 2 else song(n)) as server:
        settings = settings_from(environment(server.url, ROBOTS="obey", OUTPUT=str(tmp_path / "songs")))
        trials = list(try_songs(settings, [3, 2, 1]))

        assert (server.robots_asked, server.count()) == (1, 3)
    assert [trial.song_num for trial in trials] == [3, 2, 1]
    assert [len(trial.requests) for trial in trials] == [1, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_robots_disallows() -> None:
    """Ask for no song whose address robots.txt disallows, and go on with the others."""
    robots = Page(body=b"User-agent: *\nDisallow: /songs/2\n")
    with Upstream(robots=lambda *_: robots) as server:
        trials = list(try_songs(settings_from(environment(server.url, ROBOTS="obey")), [1, 2, 3]))

        assert [request.song_num for request in server.requests] == [1, 3]
    assert [trial.error or trial.verdict for trial in trials] == ["found", "robots", "found"]


NOT_ASKED: dict[str, tuple[dict[str, str], str]] = {
    "robots": ({"ROBOTS": "obey"}, "SONG_URL is disallowed by"),
    "private": ({"ALLOW_PRIVATE_UPSTREAM": "0"}, "allowed only with ALLOW_PRIVATE_UPSTREAM=1"),
}


@pytest.mark.usefixtures("fetcher_kind")
@pytest.mark.parametrize("name", NOT_ASKED)
def test_what_may_not_be_asked_for(name: str) -> None:
    """Say why a song is not asked for, and try no other."""
    settings, sentence = NOT_ASKED[name]
    with Upstream(robots=lambda *_: Page(body=b"User-agent: *\nDisallow: /\n")) as server:
        trials = list(try_songs(settings_from(environment(server.url, **settings)), [1, 2]))

        assert server.count() == 0
    assert [(trial.verdict, trial.row, trial.broken) for trial in trials] == [("not_asked", "", "")]
    assert sentence in trials[0].meaning
    assert trials[0].hints


@pytest.mark.usefixtures("fetcher_kind")
def test_host_where_nothing_listens() -> None:
    """Say what the library says where nothing answers, also if it was to be asked for robots.txt only."""
    url = f"http://127.0.0.1:{free_port()}/{{song_num}}"
    for robots, verdict in (("ignore", "retry"), ("obey", "not_asked")):
        trial = tried(url, ROBOTS=robots)

        assert (trial.verdict, trial.status) == (verdict, None)
        assert "connect" in trial.broken.lower()
        assert trial.hints[-1].startswith("Does anything listen at 127.0.0.1:")


def test_refusal_ends_the_trials(upstream: Upstream) -> None:
    """Ask for no other song where the upstream refuses us, or wants more peace than anybody waits for."""
    settings = settings_from(environment(upstream.url))
    refused = list(try_songs(settings, [1 + NAMES.index("no key"), 1]))
    with Upstream(lambda *_: throttled("3600")) as server:
        waiting = list(try_songs(settings_from(environment(server.url)), [1, 2, 3]))

        assert server.count() == 1
    assert [trial.verdict for trial in refused] == ["refused"]
    assert [trial.verdict for trial in waiting] == ["throttled", "not_asked"]
    assert "The upstream asks for 3,600 s of peace" in waiting[1].meaning


FUNCTIONS = """
def good(session, song_num):
    response = session.get(URL.format(song_num=song_num), params={"token": CANARY})
    response.raise_for_status()
    return response.json()["title"]

def plain(session, song_num):
    response = session.get(URL.format(song_num=song_num))
    response.raise_for_status()
    return response.json()

def bad(session, song_num):
    raise ValueError(f"{good(session, song_num)} of {session.headers}")

def mine(session, song_num):
    response = session.get(URL.format(song_num=song_num), headers={"X-Token": f"Own own-{CANARY[::-1]}"})
    raise KeyError(f"{response.request.headers}")

def odd(session, song_num):
    return {1, 2}
"""


def test_function_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    """Show a user's function its verdict, row, requests and answer, and where it raised, secrets left out."""
    names = f"URL, CANARY = {upstream.url!r}, {CANARY!r}\n"
    (tmp_path / "tried_songs.py").write_text(names + FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    headers = json.dumps({"Authorization": f"Bearer {CANARY}"})

    def of(function: str, song_num: int) -> Trial:
        settings = {"SONG_FUNCTION": f"tried_songs:{function}", "SONG_HEADERS": headers, "ALLOW_PRIVATE_UPSTREAM": "1"}
        (trial,) = try_songs(settings_from(settings), [song_num])
        assert CANARY not in repr(trial)
        return trial

    good, absent, bad, odd = of("good", 1), of("good", 1 + NAMES.index("absent")), of("bad", 1), of("odd", 1)

    assert (good.verdict, good.row) == ("found", '{"song_num":1,"status":"found","info":"Song 1"}')
    assert good.requests[0].url == f"{upstream.url_of(1)}?token=(secret)"
    assert (good.status, good.body) == (200, '{"id": 1, "title": "Song 1"}')
    assert (absent.verdict, absent.traceback) == ("missing", "")
    assert absent.rule
    assert absent.rule.says.startswith("it raised HTTPError after a 404: not found")
    assert (bad.verdict, bad.error) == ("retry", "ValueError")
    assert bad.traceback.startswith("Traceback (most recent call last):\n")
    assert "tried_songs.py" in bad.traceback
    assert "adapters/session" not in bad.traceback
    assert "ValueError: Song 1 of {" in bad.traceback
    assert CANARY[::-1] not in repr(of("mine", 1))
    assert (odd.verdict, json.loads(odd.row)["error"]) == ("found", "not_json")


@pytest.mark.usefixtures("fetcher_kind")
def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Leave out what stands in headers and queries, also where the answer repeats it."""
    told = {"id": 1, "title": f"Bearer {CANARY}", "url": f"/songs/1?key={CANARY}"}
    page = Page(body=json.dumps(told).encode(), headers={"Location": f"/x?key={CANARY}", "ETag": f'"{CANARY}"'})
    headers = json.dumps({"Authorization": f"Bearer {CANARY}", "X-Mine": CANARY})
    with Upstream(lambda *_: page) as server:
        trial = tried(f"{server.url}?key={CANARY}&format=json", SONG_HEADERS=headers)
        sent = server.requests[0]

    assert (sent.path, sent.headers["x-mine"]) == (f"/songs/1?key={CANARY}&format=json", CANARY)
    assert CANARY not in repr(trial)
    assert trial.requests[0].url.endswith("/songs/1?key=(secret)&format=json")
    assert {value for name, value in trial.requests[0].headers if name in ("Authorization", "X-Mine")} == {"(secret)"}
    assert json.loads(trial.row)["info"] == "(secret)"


@pytest.mark.usefixtures("fetcher_kind")
def test_song_of_keys(tmp_path: Path) -> None:
    """Ask for the key of a number, show it though it looks like a secret, and write it into the row."""
    key = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    (tmp_path / "keys.txt").write_text(f"a b\n{key}\n")
    page = Page(body=json.dumps({"title": f"of {key}"}).encode())
    with Upstream(lambda *_: page) as server:
        url = server.url.replace("{song_num}", "7?id={song_key}")
        trial = tried(url, 2, KEYS=str(tmp_path / "keys.txt"))
        settings = settings_from(environment(url, KEYS=str(tmp_path / "keys.txt")))
        with pytest.raises(BadRequest, match=r"^KEYS has 2 keys, and none for 3; allowed: 1 to 2\.$"):
            list(try_songs(settings, [1, 3]))

        assert [request.path for request in server.requests] == [f"/songs/7?id={key}"]
    assert trial.requests[0].url.endswith(f"/songs/7?id={key}")
    assert (trial.key, json.loads(trial.row)["key"], list(trial.hints)) == (key, key, [])


@pytest.mark.parametrize("function", [False, True])
@pytest.mark.usefixtures("fetcher_kind")
def test_song_behind_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: bool) -> None:
    """Ask for an access token first, and once more where it has died, and show neither it nor what it is asked for."""
    form = {"grant_type": "client_credentials", "client_secret": CANARY, "scope": "title"}
    with TokenApi() as api:
        given = {"SONG_INFO": "@", "TOKEN_URL": api.token_url, "TOKEN_FORM": json.dumps(form)}
        if function:
            module = f"tokens_{fetcher_module()}"
            (tmp_path / f"{module}.py").write_text(f"URL, CANARY = {api.url!r}, ''\n{FUNCTIONS}")
            monkeypatch.syspath_prepend(str(tmp_path))
            given |= {"SONG_URL": "", "SONG_FUNCTION": f"{module}:plain"}
        settings = settings_from(environment(api.url, **given))
        first = list(try_songs(settings, [1]))
        api.revoke()
        later = list(try_songs(settings, [1]))
        api.answers, api.private = (lambda _nth: Page(400, b'{"error": "invalid_client"}')), lambda _song_num: True
        refused = list(try_songs(settings, [1, 2]))

        assert len(api.asked) == 3
    for trial in (*first, *later, *refused):
        assert not re.search(f"{CANARY}|-canary", repr(trial))
    assert [trial.verdict for trial in (*first, *later)] == ["found", "found"]
    assert ("Authorization", "(secret)") in first[0].requests[0].headers
    assert [len(trial.requests) for trial in (*first, *later)] == [1, 2]
    assert [(trial.verdict, "TOKEN_URL answers 400 invalid_client" in trial.meaning) for trial in refused] == [
        ("not_asked", True)
    ]


def fetcher_module() -> str:
    """Name a module that no other test has imported."""
    return f"{time.monotonic_ns()}"
