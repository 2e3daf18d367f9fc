"""Check what answers mean to a crawl: refusals in disguise, answers that are not ready, and what is no info at all."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, song
from support.deployed import MAIN, Deployed, deployed

RULES = [
    {"status": [403, 429], "when": "headers.\"x-ratelimit-remaining\" == '0'", "action": "throttled", "wait": 1},
    {"status": 403, "action": "failed", "error": "private"},
    {"when": "body.backoff", "wait": "body.backoff"},
]


def stored(running: Deployed, songs: str) -> dict[int, tuple[Any, Any]]:
    """Crawl songs to the end; give of each its info, and its error or status."""
    running.crawl(songs, run="rules")
    return {row["song_num"]: (row["info"], row.get("error") or row["status"]) for row in running.audited("rules")}


def found_all(last: int) -> dict[int, tuple[Any, Any]]:
    """Give what becomes of songs that are all there."""
    return {n: ({"id": n, "title": f"Song {n}"}, "found") for n in range(1, last + 1)}


def test_quota_told_by_a_400_throttles(tmp_path: Path) -> None:
    """Find every song of an API that says "slow down" with a 400 for two seconds, and "no such song" with another."""
    until = time.monotonic() + 2.0

    def pages(song_num: int, _nth: int) -> Page:
        if time.monotonic() < until:
            return Page(status=400, body=b'{"error": {"code": 17}}')
        return Page(status=400, body=b'{"error": {"code": 100}}') if song_num > 50 else song(song_num)

    settings = {"SONG_RETRY": "error.code == `17`", "SONG_MISSING": "error.code == `100`"}
    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url, **settings) as running:
        assert stored(running, "1-60") == found_all(50) | dict.fromkeys(range(51, 61), (None, "missing"))


def test_answer_that_is_not_ready_is_asked_for_again(tmp_path: Path) -> None:
    """Take 202 for "not yet": the song comes with its title, and holds nobody up meanwhile."""

    def pages(song_num: int, nth: int) -> Page:
        later = Page(status=202, body=b"{}", headers={"Retry-After": "1"} if song_num == 7 else {})
        return later if nth <= (1 if song_num == 7 else 2) else song(song_num)

    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url) as running:
        assert stored(running, "1-20") == found_all(20)
        assert upstream.per_song() == Counter({n: 2 if n == 7 else 3 for n in range(1, 21)})


def test_absence_told_by_204_costs_one_request(tmp_path: Path) -> None:
    """Count a song that has no content as missing, after one request each."""

    def pages(song_num: int, _nth: int) -> Page:
        return song(song_num) if song_num % 2 else Page(status=204)

    with Upstream(pages) as upstream, deployed(tmp_path, SONG_URL=upstream.url) as running:
        rows = stored(running, "1-50")
        assert upstream.count() == 50

    assert rows == found_all(50) | dict.fromkeys(range(2, 51, 2), (None, "missing"))


@pytest.mark.parametrize(
    ("body", "info"),
    [
        ({"error": {"code": 700}}, "no_info"),
        ({"title": None, "artist": {"name": None}}, "no_info"),
        ({"title": "x"}, {"title": "x", "artist": None}),
        ({"title": "", "artist": None}, {"title": "", "artist": None}),
        ({"title": {"a": None}}, {"title": {"a": None}, "artist": None}),
    ],
)
def test_object_of_nothing_but_nulls_is_no_info(tmp_path: Path, body: Any, info: Any) -> None:
    """Fail a song of which SONG_INFO picks nothing; one value is enough, and what is in it does not matter."""
    settings = {"SONG_INFO": "{title: title, artist: artist.name}"}
    page = Page(body=json.dumps(body).encode())
    with Upstream(lambda *_: page) as upstream, deployed(tmp_path, SONG_URL=upstream.url, **settings) as running:
        assert stored(running, "1") == {1: (None, "no_info") if info == "no_info" else (info, "found")}


@pytest.mark.parametrize("number", ['"nan"', '"1e999"', '"-inf"'])
def test_number_that_json_has_not_is_never_stored(tmp_path: Path, number: str) -> None:
    """Fail a song whose SONG_INFO makes a number of a text that is none."""
    page = Page(body=f'{{"bpm": {number}}}'.encode())
    with (
        Upstream(lambda *_: page) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, SONG_INFO="{bpm: to_number(bpm)}") as running,
    ):
        assert stored(running, "1") == {1: (None, "not_json")}


VALUES = """
def request_song_info(session, song_num):
    return [
        {"title": "x", "bpm": float("nan")},
        {"title": {"a", "b"}},
        {"title": {1: "x", "1": "y"}},
        {"title": [b"x"]},
        {"title": ("x", 1e300, {2: None})},
    ][song_num - 1]
"""


def test_what_a_function_returns_is_stored_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    """Fail a song whose info holds what JSON has not, at whatever depth."""
    folder = tmp_path / "source"
    shutil.copytree(MAIN.parent / "crawler", folder / "crawler", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(MAIN, folder)
    (folder / "songs.py").write_text(VALUES)
    with deployed(tmp_path / "output", folder / "main.py", SONG_FUNCTION="songs:request_song_info") as running:
        rows = stored(running, "1-5")

    assert rows == {
        **dict.fromkeys(range(1, 5), (None, "not_json")),
        5: ({"title": ["x", 1e300, {"2": None}]}, "found"),
    }


@pytest.mark.parametrize("place", ["setting", "file"])
def test_rules_of_a_deployment_decide(tmp_path: Path, place: str) -> None:
    """Throttle, fail and pause as the rules say, wherever they stand."""
    pauses: list[float] = []
    early: list[int] = []

    def pages(song_num: int, nth: int) -> Page:
        now = time.monotonic()
        early.extend(song_num for told_at in pauses if told_at + 0.2 < now < told_at + 0.9)
        if song_num == 5 and nth == 1:
            return Page(status=403, body=b"{}", headers={"X-RateLimit-Remaining": "0"})
        if song_num == 9:
            return Page(status=403, body=b'{"message": "Resource not accessible"}')
        if song_num == 20:
            pauses.append(now)
            return Page(body=b'{"id": 20, "title": "Song 20", "backoff": 1}')
        return song(song_num)

    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    rules = json.dumps(RULES) if place == "setting" else f"@{tmp_path}/rules.json"
    settings = {"RESPONSE_RULES": rules, "SONG_INFO": "{id: id, title: title}", "MAX_AT_ONCE": "2"}
    with Upstream(pages) as upstream, deployed(tmp_path / "songs", SONG_URL=upstream.url, **settings) as running:
        assert stored(running, "1-60") == found_all(60) | {9: (None, "private")}
        assert upstream.per_song()[9] == 1
        assert running.send("GET", "/runs/rules").json()["throttled"] == 1
    assert early == []


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            lambda _: '[{"status": 403, "action": "slow"}]',
            'RESPONSE_RULES, rule 1: action is "slow"; allowed: throttled',
        ),
        (lambda folder: f"@{folder}/none.json", "which can't be read: No such file or directory; allowed: a JSON list"),
        (lambda folder: f"@{folder}/bad.json", "which can't be read: it holds no JSON list; allowed: a JSON list"),
        (lambda _: "{}", "RESPONSE_RULES is '{}'; allowed: a JSON list of rules, such as"),
    ],
)
def test_bad_rules_answer_every_call_with_a_sentence(
    tmp_path: Path, rules: Callable[[Path], str], sentence: str
) -> None:
    """Answer 500 and say which rule is wrong, or which file."""
    (tmp_path / "bad.json").write_text('{"status": 403}')
    with deployed(tmp_path, SONG_URL="http://127.0.0.1:9/{song_num}", RESPONSE_RULES=rules(tmp_path)) as running:
        answer = running.call("1-3")

    assert answer.status_code == 500
    assert sentence in answer.json()["detail"]
