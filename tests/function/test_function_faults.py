"""The function against an API that fails in every way: nothing is lost, nothing is counted twice, no error is data."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import Page, Upstream, cut, drip, error, hang, html, missing, raw, reset, song, throttled
from support.deployed import deployed, linux, peak_bytes
from support.runs import figures
from support.stored import Rows

SONGS = 120
MAX_ATTEMPTS = 2


def body(text: str, status: int = 200) -> Page:
    """Answer with this body."""
    return Page(status=status, body=text.encode())


# What stays as it is however often it is asked, and the error word that says so.
FAILING = {
    31: (hang(), "timeout"),
    32: (drip(b'{"id": 32, "title": "Song 32"}', 0.2), "timeout"),
    41: (html(), "invalid_json"),
    42: (body(""), "invalid_json"),
    44: (body('{"id": 44, "title": "Song 44"'), "invalid_json"),
    45: (body('{"id": NaN}'), "invalid_json"),
    46: (body("null"), "no_info"),
    47: (body('{"error": {"code": 200, "message": "permission denied"}}'), "no_info"),
    48: (body(f'{{"id": 48, "title": "{"x" * 70_000}"}}'), "too_large"),
    51: (error(403), "http_403"),
    52: (error(418), "http_418"),
    53: (error(503), "http_503"),
    54: (Page(status=302, headers={"Location": "/songs/1"}), "redirect"),
    61: (reset(), "connection"),
    62: (cut(b'{"id": 62, "title": "Song 62"}', 1000), "connection"),
    63: (raw(b""), "connection"),
    64: (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "connection"),
    65: (Page(body=b"no gzip", headers={"Content-Encoding": "gzip"}), "invalid_encoding"),
    **{n: (error(500), "http_500") for n in range(10, SONGS + 1, 10)},
}

MISSING = {
    71: missing(),
    72: error(410),
    43: body("", status=204),
    73: body('{"error": {"code": 800, "message": "no data"}}'),
}

# What mends itself: this page the first time, then the song.
PASSING = {
    81: error(500),
    82: reset(),
    83: cut(b'{"id": 83', 100),
    84: html(),
    85: throttled("1"),
    86: body('{"error": {"code": 4, "message": "Quota limit exceeded"}}'),
    87: throttled(),
    88: Page(status=503, body=b"{}", headers={"Retry-After": "1"}),
}


def faulty(song_num: int, nth: int) -> Page:
    """Choose the page of the faulty API."""
    if song_num in FAILING:
        return FAILING[song_num][0]
    if song_num in PASSING and nth == 1:
        return PASSING[song_num]
    return MISSING.get(song_num) or song(song_num)


class Crawl(NamedTuple):
    """Hold what one crawl of the faulty API left."""

    answer: dict[str, Any]
    rows: Rows
    requests: Counter[int]
    again: dict[str, Any]
    requests_again: Counter[int]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawl]:
    """Crawl the whole faulty API once, and ask for the same again."""
    settings = {
        "SONG_INFO": "id && @",
        "SONG_MISSING": "error.code == `800`",
        "SONG_RETRY": "error.code == `4`",
        "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        "REQUEST_TIMEOUT_SECONDS": "2",
        "MAX_AT_ONCE": "10",
        "MAX_SONG_BYTES": "65536",
        "PART_SONGS": "50",
    }
    output = tmp_path_factory.mktemp("faults")
    with Upstream(faulty) as upstream, deployed(output, SONG_URL=upstream.url, **settings) as function:
        answer = function.crawl(f"1-{SONGS}", run="faulty")
        rows, requests = function.audited("faulty"), upstream.per_song()
        again = function.crawl(f"1-{SONGS}", run="faulty")
        yield Crawl(answer, rows, requests, again, upstream.per_song())


def test_every_song_has_one_row_that_tells_the_truth(crawl: Crawl) -> None:
    """Give each number one row: the song as the API has it, or missing, or failed with the word for why."""
    wanted = []
    for n in range(1, SONGS + 1):
        if n in FAILING:
            wanted.append({"song_num": n, "status": "failed", "info": None, "error": FAILING[n][1]})
        elif n in MISSING:
            wanted.append({"song_num": n, "status": "missing", "info": None})
        else:
            wanted.append({"song_num": n, "status": "found", "info": {"id": n, "title": f"Song {n}"}})

    assert crawl.rows == wanted


def test_the_answer_counts_what_is_stored(crawl: Crawl) -> None:
    """Count found, missing and failed exactly, and every request that was sent."""
    failed, missed = len(FAILING), len(MISSING)

    assert crawl.answer["found"] == SONGS - failed - missed
    assert (crawl.answer["missing"], crawl.answer["failed"], crawl.answer["remaining"]) == (missed, failed, 0)
    assert crawl.answer["requests"] == crawl.requests.total()
    assert crawl.answer["throttled"] == 3


def test_only_what_may_pass_is_tried_again(crawl: Crawl) -> None:
    """Try what may pass MAX_ATTEMPTS times, a status that may be a limit's twice, and ask once where it can't help."""
    final = {n for n, (_, word) in FAILING.items() if word in ("no_info", "too_large")}
    again = set(FAILING) - final

    lost = {n for n, (_, word) in FAILING.items() if word == "connection"}  # sent again at once, at no attempt
    assert {n: crawl.requests[n] for n in again - lost} == dict.fromkeys(again - lost, MAX_ATTEMPTS)
    assert {n for n in lost if not MAX_ATTEMPTS <= crawl.requests[n] <= 4 * MAX_ATTEMPTS} == set()
    assert {n: crawl.requests[n] for n in final | set(MISSING)} == dict.fromkeys(final | set(MISSING), 1)
    once_more = {n: 1 + (n in PASSING) for n in range(1, SONGS + 1) if n not in again}
    probes = {n: crawl.requests[n] - times for n, times in once_more.items() if crawl.requests[n] != times}
    assert all(times > 0 and n not in final | set(MISSING) for n, times in probes.items())  # of songs that were found
    assert sum(probes.values()) <= len(FAILING)


def test_a_finished_run_leaves_failed_songs_alone(crawl: Crawl) -> None:
    """Answer a run whose songs are all accounted for, failed ones too, without asking for any of them again."""
    assert figures(crawl.again) == figures(crawl.answer)
    assert crawl.requests_again == crawl.requests


def test_throttling_never_costs_a_song(tmp_path: Path) -> None:
    """Ask again however often an API says to slow down: being throttled is no failed attempt."""
    with (
        Upstream(lambda n, nth: throttled("0") if nth == 1 else song(n)) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url, MAX_ATTEMPTS="1") as function,
    ):
        answer = function.crawl("1-3", run="throttled")

    assert (answer["found"], answer["failed"], answer["throttled"], answer["requests"]) == (3, 0, 3, 6)


@linux
def test_a_gzip_bomb_costs_one_song(tmp_path: Path) -> None:
    """Stop inflating a body at MAX_SONG_BYTES, so that memory stays, and go on with the next song."""
    bomb = Page(body=gzip_of_zeros(256 << 20), headers={"Content-Encoding": "gzip"})
    with (
        Upstream(lambda n, _: bomb if n == 2 else song(n)) as upstream,
        deployed(tmp_path, SONG_URL=upstream.url) as function,
    ):
        function.crawl("1-3", run="bomb")
        rows, peak = function.audited("bomb"), peak_bytes(function.worker())

    assert [row["status"] for row in rows] == ["found", "failed", "found"]
    assert rows[1]["error"] == "too_large"
    assert peak < 256 << 20


def gzip_of_zeros(size: int) -> bytes:
    """Compress as many zero bytes, a piece at a time."""
    deflate, piece = zlib.compressobj(wbits=31), bytes(1 << 20)
    return b"".join(deflate.compress(piece) for _ in range(size >> 20)) + deflate.flush()
