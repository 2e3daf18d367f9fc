"""Check what is said of an answer: how its headers are read, and what may be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from crawler.core.ports import SentRequest
from crawler.core.settings import Settings
from crawler.core.verdict import FORBIDDEN, Verdict, redirected, retry
from crawler.upstream.classify import UNRESOLVED, UNTRUSTED, DeclaredSong
from crawler.upstream.explanation.header_readings import quota_of, quota_sentence, read_headers
from crawler.upstream.explanation.hints import hints
from crawler.upstream.explanation.observed_song import Answer, ObservedSong
from crawler.upstream.explanation.trial_facts import TrialFacts
from crawler.upstream.explanation.verdict_words import consequence, meaning
from crawler.upstream.expression import Expression
from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.waits import parse_retry_after

NOW = 1_800_000_000.0
URL = "http://songs.example/songs/{song_num}"


def answered(status: int, body: Any, headers: Mapping[str, str] | None = None, **settings: str) -> TrialFacts:
    """Judge an answer as a crawl would, and keep what is known of it."""
    declared = Settings.from_environ({"SONG_URL": URL, **settings})
    told: list[Answer] = []
    rules = declared.response_rules if isinstance(declared.response_rules, list) else []
    song = DeclaredSong(declared.song_info, declared.song_missing, declared.song_retry, rules)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = headers or {}
    wait = parse_retry_after(headers.get("retry-after"), NOW)
    verdict = ObservedSong(song, told.append).judge(status, raw, wait, headers, NOW)
    ignored = declared.rate_headers == "ignore"
    sent = SentRequest("GET", URL.replace("{song_num}", "7"), list(declared.song_headers.items()))
    return TrialFacts(7, declared, None if ignored else RateHeaders(), told[0], verdict, sent=sent)


def unanswered(verdict: Verdict | None, refusal: str = "", broken: str = "", **settings: str) -> TrialFacts:
    """Keep what is known where no answer came."""
    declared = Settings.from_environ({"SONG_URL": URL, **settings})
    return TrialFacts(7, declared, RateHeaders(), None, verdict, refusal=refusal, broken=broken)


SONG = {"id": 7, "title": "Song 7"}
HTML = b"<!DOCTYPE html><title>Sorry</title>"
OWN_KEY = '{"authorization": "Bearer x"}'

HINTS: dict[str, tuple[TrialFacts, list[str]]] = {
    "a song": (answered(200, SONG), []),
    "a song of nulls beside": (answered(200, {**SONG, "error": None, "deleted": False}), []),
    "no key": (answered(401, {}), ["No Authorization is sent. A key goes into SONG_HEADERS"]),
    "a wrong key": (answered(401, {}, SONG_HEADERS=OWN_KEY), ["An Authorization is sent and not taken"]),
    "forbidden": (answered(403, {}), ["No Authorization is sent", 'If this 403 means "slow down"']),
    "forbidden by a rule": (answered(403, {}, RESPONSE_RULES='[{"status": 403, "action": "missing"}]'), []),
    "absent": (answered(404, {}), ["Is there a song of this number?"]),
    "wrong": (answered(400, {}), ["The API does not understand the request"]),
    "down": (answered(503, {}), ["A fault of the server's"]),
    "throttled": (answered(429, {}), ["MAX_PER_SECOND is 100: set it to what the API allows. "]),
    "throttled by a quota": (
        answered(429, {}, {"ratelimit": '"a";r=0;t=20', "ratelimit-policy": '"a";q=30;w=60'}),
        ["MAX_PER_SECOND is 100: set it to what the API allows, such as 0.5. "],
    ),
    "to https": (
        answered(301, b"", {"location": "https://songs.example/songs/7"}),
        ["It is the same address with https"],
    ),
    "to a slash": (answered(301, b"", {"location": "/songs/7/"}), ["It is the same address but for a slash"]),
    "to a login": (answered(302, b"", {"location": "https://songs.example/login"}), ["It leads to a login"]),
    "elsewhere": (answered(302, b"", {"location": "/tracks/7"}), ["No redirect is followed"]),
    "to nowhere": (answered(302, b""), ["The redirect names no address"]),
    "a page": (answered(200, HTML), ["It is a page for people, not JSON"]),
    "XML": (answered(200, b"<?xml version='1.0'?><song/>"), ["It is XML"]),
    "JSONP": (answered(200, b'cb({"id": 7})'), ["It is JavaScript that calls a function"]),
    "nothing": (answered(200, b""), ["The body is empty"]),
    "cut JSON": (answered(200, b'{"id": 7'), ["The body is no JSON: Input data was truncated."]),
    "near the largest": (
        answered(200, {**SONG, "text": "x" * 950}, MAX_SONG_BYTES="1000"),
        ["The body has 990 bytes; over 1,000 (MAX_SONG_BYTES) a song fails."],
    ),
    "an error in a 200": (
        answered(200, {"error": {"code": 800, "message": "no data"}}),
        [
            'It looks like an error in a 200: error is an object (code 800, message "no data"), and the answer '
            "would be stored as found. If it means \"no such song\", say so: SONG_MISSING='error.code == `800`'"
        ],
    ),
    "an error of other names": (
        answered(200, {"status": "error", "message": "no such song"}),
        ['It looks like an error in a 200: status is "error", and the answer would be stored as found.'],
    ),
    "an error and no info": (
        answered(200, {"errors": ["none"]}, SONG_INFO="data.title"),
        [
            "It looks like an error in a 200: errors is a list of 1, and the answer gives no info.",
            "SONG_INFO asks for data, which is not there. There are errors.",
        ],
    ),
    "a slip": (
        answered(200, SONG, SONG_INFO="titel"),
        ["SONG_INFO asks for titel, which is not there. Is title meant? There are id, title."],
    ),
    "a slip in one of two": (
        answered(200, SONG, SONG_INFO="{id: id, t: Title}"),
        ["SONG_INFO asks for Title, which is not there. Is title meant?"],
    ),
    "quotes too many": (
        answered(200, SONG, SONG_INFO="'{t: title}'"),
        ["SONG_INFO is '{t: title}', which comes to the same for every song: is there a pair of quotes too many?"],
    ),
    "quotes around what is missing": (
        answered(200, SONG, SONG_MISSING="'error'"),
        ["SONG_MISSING is 'error', which comes to the same for every song"],
    ),
    "deeper": (
        answered(200, {"data": SONG}, SONG_INFO="title"),
        ["SONG_INFO asks for title, which is not there. Is data.title meant? There are data."],
    ),
    "of a text": (
        answered(200, {**SONG, "artist": "Q"}, SONG_INFO="artist.name"),
        ['SONG_INFO asks for name of "Q", which is no object.'],
    ),
    "a list": (
        answered(200, [SONG], SONG_INFO="title"),
        ["SONG_INFO asks for title, and the body is a list of 1: [0].title is that of the first."],
    ),
    "null": (
        answered(200, {**SONG, "title": None}, SONG_INFO="title"),
        ["SONG_INFO picks only nulls. What came: id, title."],
    ),
    "deleted": (answered(200, {**SONG, "deleted": True}), ["deleted is true in what was found."]),
    "missing, empty": (answered(200, {**SONG, "missing": ""}), ['missing is "" in what was found.']),
    "an error inside": (answered(200, {**SONG, "data": {"error": "x"}}), ['data.error is "x" in what was found.']),
    "another song": (answered(200, {"id": 8, "title": "x"}), ["id says 8, not 7: another song"]),
    "another item": (
        answered(200, {"entities": {"Q7": {"id": "Q8"}}}, SONG_INFO="entities.* | [0]"),
        ["id says 8, not 7: another song"],
    ),
    "its own, with zeros": (answered(200, {"id": "https://songs.example/W0007"}), []),
    "an id of another kind": (answered(200, {"id": "f81d4fae-7dec", "n": 7}), []),
    "no song's": (answered(200, {"title": "Welcome"}), ["7 stands nowhere in the body"]),
    "its number as a key": (answered(200, {"7": {"title": "x"}}), []),
    "its number in a list": (answered(200, {"ids": [6, 7]}), []),
    "unread limit": (
        answered(200, SONG, {"x-quota-left": "3"}),
        ['Nobody reads x-quota-left. If requests are counted there: RATE_HEADERS=\'{"remaining": "x-quota-left"}\''],
    ),
    "ignored limit": (
        answered(200, SONG, {"x-ratelimit-remaining": "3"}, RATE_HEADERS="ignore"),
        ["Limits are announced (x-ratelimit-remaining), and RATE_HEADERS=ignore"],
    ),
    "read limit": (answered(200, SONG, {"x-ratelimit-remaining": "3", "x-ratelimit-used": "4"}), []),
    "robots.txt": (unanswered(FORBIDDEN), ["robots.txt is the owner's word"]),
    "all robots": (
        unanswered(None, "SONG_URL is disallowed by http://x/robots.txt"),
        ["robots.txt is the owner's word"],
    ),
    "private": (
        unanswered(None, "... only with ALLOW_PRIVATE_UPSTREAM=1."),
        ["If the API does run there, on this machine or in your own network: ALLOW_PRIVATE_UPSTREAM=1."],
    ),
    "no host": (unanswered(UNRESOLVED), ["Nobody knows a host songs.example: is it spelt right in SONG_URL?"]),
    "no host of robots.txt": (unanswered(None, UNRESOLVED.reason or ""), ["Nobody knows a host songs.example"]),
    "untrusted": (unanswered(UNTRUSTED), ["If the certificate of songs.example is one of your own"]),
    "slow": (unanswered(retry("timeout")), ["Nothing whole came within 10 s"]),
    "refused connection": (
        unanswered(retry("connection"), broken="refused"),
        ["Does anything listen at songs.example?"],
    ),
}


@pytest.mark.parametrize("name", HINTS)
def test_hints(name: str) -> None:
    """Say what may be wrong, and nothing where nothing is."""
    facts, expected = HINTS[name]
    given = hints(facts)

    assert len(given) == len(expected), given
    assert [hint for hint, start in zip(given, expected, strict=True) if not hint.startswith(start)] == []


READINGS: list[tuple[int, dict[str, str], dict[str, str]]] = [
    (429, {"retry-after": "7"}, {"retry-after": "7 s"}),
    (429, {"retry-after": "soon"}, {"retry-after": "no time that can be read"}),
    (200, {"retry-after": "7"}, {"retry-after": "7 s, which counts only where a song is asked for again"}),
    (200, {"content-type": "application/vnd.api+json"}, {"content-type": "JSON"}),
    (200, {"content-type": "text/html; charset=x"}, {"content-type": "a page for people"}),
    (200, {"content-type": "text/javascript"}, {"content-type": "read as JSON, whatever it is called"}),
    (200, {"content-encoding": "gzip"}, {"content-encoding": "unpacked"}),
    (200, {"content-encoding": "br"}, {"content-encoding": "not read: gzip was asked for"}),
    (200, {"content-encoding": "utf-8"}, {"content-encoding": "no coding: read as it came"}),
    (200, {"etag": '"1"'}, {"etag": "tells this state of the song from a later one"}),
    (301, {"location": "/x"}, {"location": "where the song is said to be"}),
    (200, {"location": "/x"}, {}),
    (200, {"age": "31"}, {"age": "from a cache, where it lay for 31 s"}),
    (200, {"age": "0"}, {"age": "fresh"}),
    (200, {"x-cache": "Hit from cloudfront"}, {"x-cache": "from a cache"}),
    (200, {"cf-cache-status": "DYNAMIC"}, {"cf-cache-status": "no answer of a cache"}),
    (401, {"www-authenticate": "Bearer"}, {"www-authenticate": "the credentials that are wanted"}),
    (200, {"link": '</s?p=2>; rel="next"'}, {"link": "a list with more pages"}),
    (200, {"date": "Fri, 15 Jan 2027 08:00:00 GMT"}, {}),
    (200, {"date": "Fri, 15 Jan 2027 08:01:00 GMT"}, {"date": "60 s ahead of our clock: resets and dates go by it"}),
    (200, {"x-ratelimit-remaining": "3"}, {"x-ratelimit-remaining": "read: part of the quota"}),
    (200, {"x-ratelimit-reset": "3"}, {"x-ratelimit-reset": "alone it tells of no quota"}),
    (200, {"x-quota-left": "3"}, {"x-quota-left": "not read: no limit header that we know"}),
    (200, {"server": "nginx", "vary": "*"}, {}),
]


@pytest.mark.parametrize(("status", "headers", "readings"), READINGS)
def test_header_is_read(status: int, headers: dict[str, str], readings: dict[str, str]) -> None:
    """Say how each header that matters is read, and nothing of the others."""
    facts = answered(status, SONG, headers)
    assert facts.answer

    assert {each.name: each.reading for each in read_headers(facts.answer, RateHeaders())} == readings


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        (
            {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": str(int(NOW) + 61)},
            "5,000 requests, 4,999 left, begins anew in 61 s",
        ),
        ({"x-ratelimit-remaining": "0"}, "0 left, when it begins anew is not said"),
        ({"x-discogs-ratelimit": "60", "x-discogs-ratelimit-remaining": "9"}, "60 requests in 60 s, 9 left"),
    ],
)
def test_quota_is_written(headers: dict[str, str], sentence: str) -> None:
    """Write what the headers announce as it is understood."""
    facts = answered(200, SONG, headers)
    quota = facts.answer and quota_of(facts.answer, RateHeaders())

    assert quota
    assert quota_sentence(quota) == sentence


def test_every_header_that_is_read_is_named() -> None:
    """Name all headers of limits that a reader looks at: those of every dialect, or those a deployment names."""
    assert {"ratelimit", "ratelimit-policy", "x-ratelimit-reset", "x-rate-limit-interval"} <= RateHeaders().names
    assert RateHeaders({"remaining": "X-Left", "reset": "X-Again"}).names == {"x-left", "x-again"}


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("@", []),
        ("id", []),
        ("artist.name", []),
        ("artist.nam", ["nam"]),
        ("{a: idd, b: artist.nam}", ["idd", "nam"]),
        ("[idd, id]", ["idd"]),
        ("idd || id", []),
        ("idd || ids", ["idd"]),
        ("items[0].b", ["b"]),
        ("items[*].b | [0]", ["b"]),
        ("items[?c == `1`].a", []),
        ("length(idd)", ["idd"]),
        ("artist.name.first", ["first"]),
        ("none.a", []),
    ],
)
def test_names_that_an_expression_misses(text: str, absent: list[str]) -> None:
    """Name what an expression asks for where there is none, the first of a path."""
    content = {"id": 7, "artist": {"name": "Q"}, "items": [{"a": 1}], "none": None}

    assert [each.name for each in Expression("SONG_INFO", text).absent(content)] == absent


def test_words_for_verdicts() -> None:
    """Say what comes of a verdict that ends no song."""
    settings = Settings.from_environ({"MAX_ATTEMPTS": "3"})

    assert consequence(retry("http_500", 2.0), settings) == (
        "A crawl tries again after 2 s, 3 times in all; this if it stays so."
    )
    assert consequence(redirected(), settings).startswith("Nothing yet: a crawl asks for the song where the redirect")
    assert consequence(UNRESOLVED, settings).startswith("Nothing: a crawl ends partial here.")
    assert meaning(UNRESOLVED) == "The upstream's host name can't be resolved."
    assert meaning(retry("connection", detail="too much")) == "no connection, or one that broke; too much"


def test_an_observed_song_judges_as_the_song_does() -> None:
    """Give the verdict of the song it stands for, and tell of every answer."""
    told: list[Answer] = []
    song = DeclaredSong("title", missing="gone", rules=[{"status": 403, "action": "throttled"}])
    observed = ObservedSong(song, told.append)

    for status, body in [(200, b'{"title": "x"}'), (200, b'{"gone": 1}'), (403, b""), (500, b""), (404, b"")]:
        assert observed.judge(status, body) == song.judge(status, body)
    assert [answer.status for answer in told] == [200, 200, 403, 500, 404]
    assert (observed.reads_headers, observed.reads_errors, observed.gives_json) == (True, True, song.gives_json)
