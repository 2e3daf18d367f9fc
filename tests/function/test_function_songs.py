"""A user's own single-request function, in a module beside main.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Page, Upstream, error, missing, song, throttled
from support.deployed import MAIN, Deployed, deployed

SONGS = '''
import os
import threading

URL = os.environ["MY_API"]


def returns(session, song_num):
    """Return the title; None: there is no such song."""
    answer = session.get(URL.replace("{song_num}", str(song_num)))
    if answer.status_code == 410:
        return None
    answer.raise_for_status()
    return answer.json()["title"]


def appends(session, song_num, song_urls):
    """Append the song as the article does."""
    answer = session.get(URL.replace("{song_num}", str(song_num)))
    if answer.status_code != 410:
        answer.raise_for_status()
        song_urls.append((song_num, answer.json()["title"]))


def odd(session, song_num):
    """Do what a function may do that nobody has tried out."""
    if song_num == 1:
        raise KeyError("title")
    if song_num == 2:
        return {1, 2}
    if song_num == 3:
        return 0
    if song_num == 4:
        return "\\ud800"
    if song_num == 5:
        return session
    if song_num == 6:
        song_num.no_such_attribute
    return {"title": None}


def stuck(session, song_num):
    """Wait for ever for one song."""
    if song_num == 3:
        threading.Event().wait()
    return song_num
'''

PAGES = {4: missing(), 5: error(410), 6: error(500), 7: Page(body=b"no JSON"), 8: error(403)}


def pages(song_num: int, nth: int) -> Page:
    """Serve songs but for a few, and throttle one at first."""
    return throttled("0") if (song_num, nth) == (9, 1) else PAGES.get(song_num) or song(song_num)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Serve what the user's functions ask for."""
    with Upstream(pages) as server:
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Lay out what is deployed, main.py and the package, and the user's module beside them."""
    folder = tmp_path / "source"
    shutil.copytree(MAIN.parent / "crawler", folder / "crawler", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(MAIN, folder)
    (folder / "songs.py").write_text(SONGS)
    return folder / "main.py"


@pytest.fixture(params=["returns", "appends"])
def function(request: pytest.FixtureRequest, source: Path, upstream: Upstream, tmp_path: Path) -> Iterator[Deployed]:
    """Run the function with one of the user's two."""
    settings = {"SONG_FUNCTION": f"songs:{request.param}", "MY_API": upstream.url, "MAX_ATTEMPTS": "2"}
    with deployed(tmp_path / "output", source, **settings) as running:
        yield running


def test_both_forms_of_a_function_give_the_same_rows(function: Deployed, upstream: Upstream) -> None:
    """Store what a function returns or appends; None, nothing appended and 404 are missing, errors are tried again."""
    answer = function.crawl("1-10", run="mine")
    rows = {row["song_num"]: (row["info"], row.get("error", row["status"])) for row in function.audited("mine")}

    assert rows == {
        **{n: (f"Song {n}", "found") for n in (1, 2, 3, 9, 10)},
        4: (None, "missing"),
        5: (None, "missing"),
        6: (None, "http_500"),
        7: (None, "invalid_json"),
        8: (None, "http_403"),
    }
    assert answer["throttled"] == 1
    requests = upstream.per_song()
    assert [requests[n] for n in range(4, 9)] == [1, 1, 2, 2, 2]
    # Where it is unclear whose fault those failures are, a song that was found is asked for again.
    assert 6 <= requests.total() - 8 == answer["requests"] - 8 <= 9


def test_whatever_a_function_does_is_one_row(source: Path, tmp_path: Path) -> None:
    """Give a song whose function raises, or returns what JSON can't hold, its row like any other."""
    with deployed(tmp_path / "output", source, SONG_FUNCTION="songs:odd", MY_API="x", MAX_ATTEMPTS="1") as function:
        function.crawl("1-7", run="odd")
        rows = [(row["info"], row.get("error", row["status"])) for row in function.audited("odd")]

    assert rows == [
        (None, "KeyError"),
        (None, "not_json"),
        (0, "found"),
        (None, "not_json"),
        (None, "not_json"),
        (None, "AttributeError"),
        ({"title": None}, "found"),
    ]


def test_a_function_that_never_returns_costs_one_song(source: Path, tmp_path: Path) -> None:
    """Give up a function that ignores its time limit, say so in the log, and go on with the other songs."""
    settings = {"SONG_FUNCTION": "songs:stuck", "MY_API": "x", "REQUEST_TIMEOUT_SECONDS": "0.5", "MAX_ATTEMPTS": "1"}
    with deployed(tmp_path / "output", source, **settings, MAX_AT_ONCE="2") as function:
        function.crawl("1-9", run="stuck")
        rows = [(row["info"], row.get("error", row["status"])) for row in function.audited("stuck")]
        warnings = [line["message"] for line in function.log() if line["severity"] == "WARNING"]

    assert rows == [(n, "found") if n != 3 else (None, "timeout") for n in range(1, 10)]
    assert len(warnings) == 1
    assert warnings[0].startswith("1 requests were abandoned")
