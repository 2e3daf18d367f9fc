"""What the function refuses: with one clear sentence, the right status, and without a request to the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from servers import Upstream
from support.deployed import Deployed

MIB = 1 << 20


def refuse(response: requests.Response, status: int, *words: str) -> None:
    """Hold a response to the form of every refusal: problem+json, one sentence, nothing from inside."""
    problem = response.json()
    sentence = problem["detail"]

    assert response.status_code == problem["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) == {"title", "status", "detail"}
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert not [word for word in ("Traceback", "File ", "Error(") if word in sentence]
    assert not [word for word in words if word not in sentence]


@pytest.fixture
def nothing_done(standing: Deployed, standing_upstream: Upstream) -> Iterator[None]:
    """Hold a test to leave no request at the API and no object in the store."""
    before = standing_upstream.count(), standing.objects()
    yield
    assert (standing_upstream.count(), standing.objects()) == before


SONGS = [
    ("１２", ["'１２'", "1-1000"]),
    ("1_0", ["'1_0'"]),
    ("1e3", ["'1e3'"]),
    ("true", ["'true'"]),
    ("-5", ["'-5'"]),
    ("10-1", ["10-1", "reversed", "1-10"]),
    ("", ["songs", "allowed"]),
    (" 7", ["' 7'"]),
    ("7\n", [r"'7\n'"]),
    ("+7", ["'+7'"]),
    ("007", ["'007'"]),
    ("1.0", ["'1.0'"]),
    ("0x10", ["'0x10'"]),
    ("1,,2", ["''"]),
    ("1-2-3", ["'1-2-3'"]),
    ("1–3", ["'1–3'"]),
    ("1000000000000", ["999999999999"]),
    ("0-10000000", ["10000001", "10000000", "MAX_SONGS"]),
    ("🎵", ["'🎵'"]),
    ("7;drop table", ["'7;drop table'"]),
    ("9" * 100_000, ["999…"]),
]


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize(
    ("songs", "words"),
    SONGS,
    ids=[ascii(songs)[1:20] for songs, _ in SONGS],
)
def test_songs_are_read_strictly(standing: Deployed, songs: str, words: list[str]) -> None:
    """Refuse what is no plain number or range, in the query and in a body alike."""
    if len(songs) < 65_000:
        refuse(standing.call(songs), 400, "songs", *words)
    refuse(standing.send("GET", params={"songs": songs}), 400, "songs", *words)


BODIES = [
    ('{"songs": true}', ["songs is true"]),
    ('{"songs": -5}', ["songs is -5"]),
    ('{"songs": 1e3}', ['songs is "1e3"']),
    ('{"songs": 7.0}', ['songs is "7.0"']),
    ('{"songs": {"from": 1}}', ["songs is an object"]),
    ('{"songs": null}', ["songs is null"]),
    ('{"songs": [1, 2]}', ["songs is an array"]),
    ('{"songs": 1000000000000}', ["songs is 1000000000000"]),
    ('{"songs": ""}', ['songs is ""']),
    ("{}", ["songs is missing"]),
    ("", ["songs is missing"]),
    ('{"songs": "1", "song": "2"}', ["song", "no parameter", "songs, run"]),
    ('{"songs": "1", "songs": "1"}', ['"songs"', "twice"]),
    ('{"songs": "1", "Songs": "1"}', ["Songs", "no parameter"]),
    ('{"songs": "1", "run": "../x"}', ["run", '"../x"', "a-z"]),
    ('{"songs": "1", "run": "Run"}', ['"Run"']),
    ('{"songs": "1", "run": "a\\n"}', ["run"]),
    ('{"songs": "1", "run": 7}', ["run is 7"]),
    ('{"songs": "1", "run": "\\ud800"}', [r'run is "\ud800"']),
    ('{"songs": "1", "\\udfff": 1}', [r'"\udfff" is no parameter']),
    ('{"songs": "1", "max_at_once": 101}', ["max_at_once", "101", "from 1 to 100"]),
    ('{"songs": "1", "max_at_once": 0}', ["max_at_once"]),
    ('{"songs": "1", "max_at_once": 1.5}', ["max_at_once"]),
    ('{"songs": "1", "max_at_once": true}', ["max_at_once"]),
    ('{"songs": "1", "max_at_once": "٣"}', ["max_at_once"]),
    ('{"songs": "1", "max_per_second": 0}', ["max_per_second"]),
    ('{"songs": "1", "max_per_second": 1e400}', ["max_per_second"]),
    ('{"songs": "1", "deadline_seconds": 541}', ["deadline_seconds", "540"]),
    ('{"songs": "1", "deadline_seconds": "-1"}', ["deadline_seconds"]),
    ('{"songs": "1"', ["JSON object"]),
    ('{"songs": NaN}', ["JSON object"]),
    ('{"songs": 1}{"songs": 2}', ["JSON object"]),
    ('["1-10"]', ["JSON object"]),
    ("songs=1-10", ["JSON object"]),
    ("null", ["JSON object"]),
    ("[" * 60_000, ["JSON object"]),
    ('{"songs": ' + "9" * 60_000 + "}", ["JSON object"]),
]


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize(
    ("body", "words"),
    BODIES,
    ids=[body[:40] for body, _ in BODIES],
)
def test_a_body_is_read_strictly(standing: Deployed, body: str, words: list[str]) -> None:
    """Refuse a body that is no JSON object, and in one whatever is not a parameter or out of bounds."""
    refuse(standing.send(data=body.encode()), 400, *words)


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize(
    ("query", "body", "words"),
    [
        ("songs=1&songs=2", None, ['"songs"', "twice"]),
        ("songs=1", {"songs": 1}, ['"songs"', "twice"]),
        ("song=1", None, ["song", "no parameter", "songs, run"]),
        ("songs=1&x%00=2", None, ["x"]),
        ("songs=1&%F0%9F=2", None, ["no parameter"]),
        ("songs", None, ["songs"]),
        ("=1", None, ["no parameter"]),
        ("&".join(f"a{n}=1" for n in range(20_000)), None, ["a0", "no parameter"]),
    ],
    ids=["twice", "query-and-body", "unknown", "nul", "broken-utf8", "no-value", "no-name", "many"],
)
def test_a_query_is_read_strictly(standing: Deployed, query: str, body: Any, words: list[str]) -> None:
    """Refuse a name that is unknown or given twice, wherever it stands."""
    refuse(standing.send(path=f"/?{query}", json=body), 400, *words)


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_body_of_ten_megabytes_is_refused(standing: Deployed, chunked: bool) -> None:
    """Refuse a body over 64 KiB, whether or not it says its length beforehand, on a connection that stays usable."""
    body = b'{"songs": "1"' + b" " * (10 * MIB) + b"}"
    pieces = (body[place : place + MIB] for place in range(0, len(body), MIB))
    with requests.Session() as session:
        refuse(
            session.post(standing.server.url, data=pieces if chunked else body, timeout=30),
            413,
            "too long",
            "65536 bytes",
        )
        refuse(session.post(standing.server.url, headers={"Connection": "close"}, timeout=30), 400, "songs")


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_other_methods_are_refused(standing: Deployed, method: str) -> None:
    """Refuse all methods but GET and POST, and say which there are."""
    response = standing.send(method, params={"songs": "1"})

    refuse(response, 405, method, "GET", "POST")
    assert response.headers["Allow"] == "GET, POST"


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/songs", "/index.html", "/%C3%A9%FF%00", "/../etc/passwd", "/" + "a" * 5000])
def test_unknown_paths_are_refused(standing: Deployed, method: str, path: str) -> None:
    """Refuse every path that means nothing, with the way to a crawl."""
    refuse(standing.send(method, path, params={"songs": "1"}), 404, "nothing at /", "/runs/RUN")


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_another_sites_page_starts_nothing(standing: Deployed, method: str, site: str) -> None:
    """Refuse what another site's page sends with somebody's login."""
    headers = {"Sec-Fetch-Site": site, "Origin": "https://elsewhere.example"}
    refuse(standing.send(method, params={"songs": "1"}, headers=headers), 403, "Another site")


@pytest.mark.usefixtures("nothing_done")
def test_a_browsers_get_shows_a_page(standing: Deployed) -> None:
    """Show a page to a browser that opens the address of a crawl, and start nothing."""
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = standing.send("GET", params={"songs": "1"}, headers={"Accept": accept, "Sec-Fetch-Site": "none"})

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert response.text.startswith("<!doctype html>")


def test_the_functions_own_page_may_crawl(standing: Deployed) -> None:
    """Carry out what a same-origin page posts."""
    response = standing.send(json={"songs": 1}, headers={"Sec-Fetch-Site": "same-origin", "Accept": "text/html"})

    assert (response.status_code, response.json()["found"]) == (200, 1)
