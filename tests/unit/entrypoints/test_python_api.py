"""Check crawling from Python: `crawl`, and the article's three steps under their names."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import Page, Upstream, error, missing, song, throttled
from support.fakes import join_new_threads
from support.runs import figures

import crawler
from crawler import (
    SongRecord,
    crawl,
    execute_async_event_loop,
    get_data_asynchronously,
    open_run,
    request_song_info,
)
from crawler.core.errors import (
    BadRequest,
    BadSetting,
    RunConflict,
    SongNotFetched,
    StoreUnavailable,
    UnknownRun,
    UnknownSong,
    UpstreamUnavailable,
)
from crawler.core.settings import SETTINGS
from crawler.entrypoints.python.songs import Songs, StoredSongs

ROOT = Path(crawler.__file__).parent.parent


def info(n: int) -> dict[str, Any]:
    """Give the info of a song."""
    return {"id": n, "title": f"Song {n}"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the developer's own settings away."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Serve the songs 1 to 100, but 500 for 13 and, for once, 429 for 14."""

    def pages(n: int, nth: int) -> Page:
        if n == 14 and nth == 1:
            return throttled("0")
        return error(500) if n == 13 else song(n) if 1 <= n <= 100 else missing()

    with Upstream(pages) as running:
        yield running


@pytest.fixture
def fetch(upstream: Upstream) -> Callable[[requests.Session, Any], Any]:
    """Give a single-request function that returns the info."""

    def fetch_song(session: requests.Session, song_num: Any) -> Any:
        response = session.get(upstream.url_of(song_num))
        response.raise_for_status()
        return response.json()

    return fetch_song


def test_crawl_gives_records_in_the_order_asked_for(fetch: Callable[..., Any]) -> None:
    """Give a SongRecord for every item found, in the order of the items."""
    songs = crawl(fetch, range(30, 0, -1), progress=False)

    assert isinstance(songs, Songs)
    assert [record.song_num for record in songs] == [n for n in range(30, 0, -1) if n != 13]
    assert (songs[0].song_num, songs[0].info) == (30, info(30))
    assert songs[0] == SongRecord(30, info(30)) == (30, info(30))


def test_crawl_tells_what_is_missing_and_what_failed(fetch: Callable[..., Any]) -> None:
    """List the items that do not exist, and those that could not be fetched with their word."""
    songs = crawl(fetch, [200, 13, 1, 0], progress=False, max_attempts=2)

    assert songs.missing == [200, 0]
    assert songs.failed == [(13, "http_500")]
    assert list(songs) == [(1, info(1))]
    assert repr(songs) == "<1 songs found, 2 missing, 1 failed>"


def test_article_form_works_unchanged(upstream: Upstream) -> None:
    """Take a function that appends `(song_num, info)` to song_urls; nothing appended is missing."""

    def append_song(session: requests.Session, song_num: int, song_urls: list[Any]) -> None:
        response = session.get(upstream.url_of(song_num))
        if response.ok:
            song_urls.append((song_num, response.json()["title"]))

    songs = crawl(append_song, range(99, 103), progress=False)

    assert list(songs) == [(99, "Song 99"), (100, "Song 100")]
    assert songs.missing == [101, 102]


@dataclass(frozen=True)
class Wanted:
    """Be a caller's own kind of item."""

    number: int


def test_items_may_be_song_numbers_in_a_text(fetch: Callable[..., Any]) -> None:
    """Take "1-3,7" as song numbers, as a call over HTTP does, and not as characters."""
    assert [record.song_num for record in crawl(fetch, "1-3,7", progress=False)] == [1, 2, 3, 7]


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "stored"])
def test_a_declared_song_needs_no_function(upstream: Upstream, tmp_path: Path, *, stored: bool) -> None:
    """Crawl a song that a URL and an expression declare, in the order asked for where nothing is stored."""
    output = {"output": str(tmp_path / "songs")} if stored else {}
    songs = crawl([3, 1, 101], url=upstream.url, info="title", robots="ignore", progress=False, **output)

    numbers = [1, 3] if stored else [3, 1]
    assert list(songs) == [(number, f"Song {number}") for number in numbers]
    assert songs.missing == [101]


def test_a_declared_song_obeys_robots_txt(upstream: Upstream) -> None:
    """Ask for robots.txt first, as every crawl of a declared song does."""
    crawl("1-2", url=upstream.url, progress=False)

    assert upstream.robots_asked == 1


def test_items_may_be_anything(fetch: Callable[..., Any]) -> None:
    """Hand each item to the function as it is, and give it back in its record."""
    items: list[Any] = ["7", Wanted(8), 9, ("10",), 9]
    numbers = {"7": 7, Wanted(8): 8, 9: 9, ("10",): 10}
    songs = crawl(lambda session, item: fetch(session, numbers[item]), items, progress=False)

    assert list(songs) == [(item, info(numbers[item])) for item in items]


@pytest.mark.parametrize(
    "items",
    [range(1, 4), [1, 2, 3], {1: "a", 2: "b", 3: "c"}, iter([1, 2, 3]), (n for n in (1, 2, 3))],
    ids=["range", "list", "dict", "iterator", "generator"],
)
def test_items_may_be_any_iterable(fetch: Callable[..., Any], items: Any) -> None:
    """Draw the items of any iterable, sized or not."""
    assert [record.song_num for record in crawl(fetch, items, progress=False)] == [1, 2, 3]


def test_no_items_are_no_songs(fetch: Callable[..., Any]) -> None:
    """Give nothing for nothing."""
    songs = crawl(fetch, [], progress=False)

    assert (list(songs), songs.missing, songs.failed) == ([], [], [])


def test_several_functions_go_in_one_call(fetch: Callable[..., Any]) -> None:
    """Give the records of every function's items, in the order of the pairs, from one crawl."""

    def shout(session: requests.Session, song_num: int, song_urls: list[Any]) -> None:
        song_urls.append((song_num, fetch(session, song_num)["title"].upper()))

    songs = crawl((fetch, [1, 2]), (shout, [2, 1]), (fetch, ["404"]), progress=False)

    assert list(songs) == [(1, info(1)), (2, info(2)), (2, "SONG 2"), (1, "SONG 1")]
    assert songs.missing == ["404"]


def test_songs_are_a_sequence(fetch: Callable[..., Any]) -> None:
    """Index, slice, count and search the records."""
    songs = crawl(fetch, range(1, 6), progress=False)

    assert len(songs) == 5
    assert songs[-1] == (5, info(5))
    assert songs[1:3] == [(2, info(2)), (3, info(3))]
    assert (3, info(3)) in songs


def test_functions_share_a_session_that_fits(fetch: Callable[..., Any]) -> None:
    """Give every call of the function the same requests.Session, with a pool for max_at_once threads."""
    sessions = set()
    everyone = threading.Barrier(8)

    def remember(session: requests.Session, song_num: int) -> Any:
        sessions.add(session)
        everyone.wait(timeout=10)
        return fetch(session, song_num)

    songs = crawl(remember, range(1, 9), max_at_once=8, progress=False)
    (session,) = sessions

    assert len(songs) == 8
    assert isinstance(session, requests.Session)
    assert session.get_adapter("https://songs.example")._pool_maxsize == 8  # type: ignore[attr-defined]


def test_settings_are_arguments(fetch: Callable[..., Any], upstream: Upstream) -> None:
    """Take any setting under its name in lower case, as text or as its value."""
    crawl(fetch, [13], progress=False, max_attempts="1", song_headers={"X-Key": "k"}, user_agent="me", max_per_second=0)

    (request,) = upstream.requests
    assert (request.headers["x-key"], request.headers["user-agent"]) == ("k", "me")


def test_settings_come_from_the_environment_too(
    fetch: Callable[..., Any], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read the environment at each call; an argument counts for more."""
    monkeypatch.setenv("MAX_ATTEMPTS", "3")
    monkeypatch.setenv("USER_AGENT", "from the environment")
    crawl(fetch, [13], progress=False, user_agent="from the call")

    assert [request.headers["user-agent"] for request in upstream.requests] == ["from the call"] * 3


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda _f: crawl(), "crawl takes a function and its items, (function, items) pairs, or items and a url."),
        (lambda f: crawl(f), "crawl takes a function and its items, (function, items) pairs, or items and a url."),
        (lambda f: crawl([1], f), "crawl takes a function and its items, (function, items) pairs, or items and a url."),
        (lambda f: crawl(f, [1], run="trial"), "run names a stored run; allowed: together with output."),
        (lambda f: crawl(f, [1], max_at_one=1), "'max_at_one' is no setting; allowed: allow_private_upstream, "),
        (lambda f: crawl((f, [1]), (f, [2]), output="x"), "output takes one function a run; allowed: one call for "),
        (lambda f: crawl(f, ["a"], output="x"), "items are no song numbers; allowed: whole numbers "),
        (lambda f: crawl(f, [-1], output="x"), "items are no song numbers; allowed: whole numbers "),
        (lambda f: crawl(f, [], output="x"), "items are none; allowed with output: whole numbers "),
        (
            lambda f: crawl(f, "1-5,x"),
            "items: 'x' is neither a number from 0 to 999999999999 nor a ",
        ),
        (lambda f: crawl(f, [1], url="https://api.example.com/{song_num}"), "song_url declares a song; allowed: a "),
        (lambda _f: crawl(["a"], url="https://api.example.com/{song_num}"), "items are no song numbers; allowed: "),
        (
            lambda _f: crawl("1", song_function="songs:f"),
            "song_function names a function; allowed: the ",
        ),
        (lambda f: crawl(f, [1], output="x", run="Bad Name"), 'run is "Bad Name"; allowed: 1 to 63 of a-z'),
    ],
    ids=[
        "nothing",
        "no items",
        "the wrong way round",
        "run without output",
        "unknown setting",
        "two functions stored",
        "texts stored",
        "negative numbers stored",
        "nothing stored",
        "a text that names no songs",
        "a function and a url",
        "texts of a declared song",
        "a function by its name",
        "bad run name",
    ],
)
def test_wrong_call_is_refused(
    call: Callable[[Any], Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say in a sentence what is allowed, call no function and write nothing."""
    monkeypatch.chdir(tmp_path)
    called: list[Any] = []
    with pytest.raises(BadRequest) as caught:
        call(lambda _session, song_num: called.append(song_num))

    assert str(caught.value).startswith(sentence)
    assert called == []
    assert list(tmp_path.iterdir()) == []


def test_wrong_setting_is_refused(fetch: Callable[..., Any]) -> None:
    """Name the setting, its value and what is allowed."""
    with pytest.raises(BadSetting, match=r"MAX_AT_ONCE is '0'; allowed: a whole number from 1 to 1000\."):
        crawl(fetch, [1], max_at_once=0, progress=False)


def test_upstream_that_refuses_is_raised() -> None:
    """Raise UpstreamUnavailable where the upstream lets nobody in."""
    with Upstream(lambda _n, _nth: error(401)) as upstream, pytest.raises(UpstreamUnavailable, match="401"):
        crawl(lambda session, n: session.get(upstream.url_of(n)).raise_for_status(), range(50), progress=False)


def test_private_upstream_is_refused_where_the_caller_says_so(fetch: Callable[..., Any]) -> None:
    """Let a caller's own code reach loopback, unless the caller wants it otherwise."""
    with pytest.raises(BadSetting, match="ALLOW_PRIVATE_UPSTREAM"):
        crawl(fetch, [1], allow_private_upstream=False, progress=False)


def test_interrupt_ends_a_crawl(fetch: Callable[..., Any]) -> None:
    """Raise what is no exception of a song, such as KeyboardInterrupt, out of the crawl."""

    def leave(_session: requests.Session, _song_num: int) -> None:
        raise KeyboardInterrupt(3)

    with pytest.raises(KeyboardInterrupt):
        crawl(leave, range(100), progress=False)


# A crawl with an output: durable, like the function's.


def test_durable_crawl_is_stored_and_read_back(fetch: Callable[..., Any], tmp_path: Path) -> None:
    """Store a run, and read its songs part by part as a sequence."""
    songs = crawl(
        fetch, range(1, 106), output=str(tmp_path), run="trial", part_songs=10, max_attempts=1, progress=False
    )

    assert isinstance(songs, StoredSongs)
    assert (tmp_path / "runs" / "trial" / "manifest.json").is_file()
    assert (songs.answer.state, songs.answer.parts) == ("complete", 11)
    numbers = [n for n in range(1, 101) if n != 13]
    assert len(songs) == 99
    assert list(songs) == [(n, info(n)) for n in numbers]
    assert [songs[place] for place in (0, 11, 12, 98, -1)] == [(n, info(n)) for n in (1, 12, 14, 100, 100)]
    assert songs[8:12] == [(n, info(n)) for n in (9, 10, 11, 12)]
    assert songs.missing == [101, 102, 103, 104, 105]
    assert songs.failed == [(13, "http_500")]
    assert "trial complete: 99 songs found, 5 missing, 1 failed" in repr(songs)
    with pytest.raises(IndexError):
        songs[99]


def test_durable_crawl_again_asks_for_nothing(fetch: Callable[..., Any], upstream: Upstream, tmp_path: Path) -> None:
    """Give the same songs from the store alone, under the name that the first call gave the run."""
    first = crawl(fetch, [3, 1, 2], output=str(tmp_path), progress=False)
    sent = upstream.count()
    again = crawl(fetch, [1, 2, 3], output=str(tmp_path), progress=False)

    assert isinstance(first, StoredSongs)
    assert isinstance(again, StoredSongs)
    assert upstream.count() == sent
    assert list(again) == list(first) == [(n, info(n)) for n in (1, 2, 3)]
    assert figures(again.answer) == figures(first.answer)


def test_durable_crawl_continues(fetch: Callable[..., Any], upstream: Upstream, tmp_path: Path) -> None:
    """Keep the parts of a crawl that an error ended, and ask for the others only."""

    def crawl_songs(stop_at: int) -> Songs | StoredSongs:
        def fetch_until(session: requests.Session, song_num: int) -> Any:
            if song_num == stop_at:
                raise KeyboardInterrupt(1)
            return fetch(session, song_num)

        return crawl(
            fetch_until, range(20, 60), output=str(tmp_path), part_songs=10, max_at_once=1, progress=False, run="r"
        )

    with pytest.raises(KeyboardInterrupt):
        crawl_songs(stop_at=45)
    songs = crawl_songs(stop_at=0)

    assert [record.song_num for record in songs] == list(range(20, 60))
    assert all(upstream.per_song()[n] == 1 for n in range(20, 40))


def test_durable_crawl_of_other_songs_needs_another_name(fetch: Callable[..., Any], tmp_path: Path) -> None:
    """Refuse a run name that stands for other songs."""
    crawl(fetch, [1], output=str(tmp_path), run="trial", progress=False)

    with pytest.raises(RunConflict, match="The run trial is taken"):
        crawl(fetch, [2], output=str(tmp_path), run="trial", progress=False)


def test_durable_crawl_says_where_it_can_not_be_stored(fetch: Callable[..., Any], tmp_path: Path) -> None:
    """Raise StoreUnavailable before anything is asked for."""
    file = tmp_path / "file"
    file.write_bytes(b"")

    with pytest.raises(StoreUnavailable, match="can't be read: Not a directory"):
        crawl(fetch, [1], output=str(file), progress=False)


# The article's three steps.


def test_a_stored_run_is_opened(fetch: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a run by its path or its name: its found songs, any row by its number, how it stands."""
    output = tmp_path / "songs"
    crawl(fetch, "98-102", output=str(output), run="trial", progress=False)

    run = open_run(f"{output}/runs/trial")
    monkeypatch.setenv("OUTPUT", str(output))

    assert list(run) == [(number, info(number)) for number in (98, 99, 100)]
    assert (len(run), run.missing, run.failed, run.answer.state) == (3, [101, 102], [], "complete")
    assert (run[99].info, run[101].status) == (info(99), "missing")
    assert [row.song_num for row in run.rows(after=100)] == [101, 102]
    assert list(open_run("trial")) == list(run)
    assert repr(run).startswith("<run trial complete: 3 songs found, 2 missing, 0 failed, in ")
    assert "Song 98" in run._repr_html_()
    with pytest.raises(UnknownSong, match=r"not asked for 103; its songs are 98-102\."):
        run[103]
    with pytest.raises(UnknownRun, match="There is no run "):
        open_run("other")


def test_article_steps_find_songs(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill song_urls, in order, with what SONG_URL and SONG_INFO declare; a missing song is left out."""
    monkeypatch.setenv("SONG_URL", upstream.url)
    monkeypatch.setenv("SONG_INFO", "title")
    stepwise: list[Any] = []
    awaited: list[Any] = []
    executed: list[Any] = []
    with requests.Session() as session:
        for song_num in range(98, 103):
            request_song_info(session, song_num, stepwise)
    asyncio.run(get_data_asynchronously(range(98, 103), awaited))
    execute_async_event_loop(range(98, 103), executed)

    assert stepwise == awaited == executed == [(98, "Song 98"), (99, "Song 99"), (100, "Song 100")]


def test_article_steps_as_the_article_calls_them(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the article's own few lines, its gather over an executor included."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("SONG_URL", upstream.url)

    async def gather(song_nums: list[int], song_urls: list[Any]) -> None:
        with ThreadPoolExecutor(max_workers=10) as executor, requests.Session() as session:
            loop = asyncio.get_running_loop()
            tasks = [
                loop.run_in_executor(executor, request_song_info, *(session, song_num, song_urls))
                for song_num in song_nums
            ]
            for _ in await asyncio.gather(*tasks):
                pass

    song_urls: list[Any] = []
    asyncio.run(gather([1, 2, 3, 4, 5], song_urls))

    assert sorted(song_urls) == [(n, info(n)) for n in range(1, 6)]


def test_single_request_that_tells_nothing_raises(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise SongNotFetched, with a verdict, where an attempt told neither a song nor its absence."""
    monkeypatch.setenv("SONG_URL", upstream.url)
    song_urls: list[Any] = []
    with requests.Session() as session, pytest.raises(SongNotFetched, match="Song 13 was not fetched: http_500"):
        request_song_info(session, 13, song_urls)

    assert song_urls == []


def test_article_steps_take_a_source(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill song_urls with what the file that SOURCE names declares."""
    (tmp_path / "api.toml").write_text(f'song_url = "{upstream.url}"\nsong_info = "title"\n')
    monkeypatch.setenv("SOURCE", str(tmp_path / "api.toml"))
    song_urls: list[Any] = []
    with requests.Session() as session:
        request_song_info(session, 98, song_urls)

    assert song_urls == [(98, info(98)["title"])]


def test_article_steps_retry(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again what was throttled, and try a failing song MAX_ATTEMPTS times."""
    monkeypatch.setenv("SONG_URL", upstream.url)
    monkeypatch.setenv("MAX_ATTEMPTS", "2")
    song_urls: list[Any] = []
    execute_async_event_loop([12, 13, 14], song_urls)

    assert song_urls == [(12, info(12)), (14, info(14))]
    assert upstream.per_song() == {12: 1, 13: 2, 14: 2}


@pytest.mark.parametrize(
    "step",
    [
        lambda: request_song_info(requests.Session(), 1, []),
        lambda: asyncio.run(get_data_asynchronously([1], [])),
        lambda: execute_async_event_loop([1], []),
    ],
    ids=["request_song_info", "get_data_asynchronously", "execute_async_event_loop"],
)
def test_article_steps_need_a_song_url(step: Callable[[], None]) -> None:
    """Say that SONG_URL is not set, and what it may be."""
    with pytest.raises(BadSetting, match=r"SONG_URL is not set; allowed: a URL template such as "):
        step()


def test_crawl_takes_the_article_step(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crawl the declared song with the built-in function, its verdicts kept."""
    monkeypatch.setenv("SONG_URL", upstream.url)
    songs = crawl(request_song_info, [1, 13, 14, 101], progress=False, max_attempts=1)

    assert list(songs) == [(1, info(1)), (14, info(14))]
    assert (songs.missing, songs.failed) == ([101], [(13, "http_500")])


# Event loops. Each case has a process of its own: nest_asyncio patches asyncio for the whole of one.

IN_A_LOOP = """
import asyncio, json, sys
import {loop_module}
from crawler import crawl, execute_async_event_loop, get_data_asynchronously

original = asyncio.run, asyncio.Task, asyncio.gather

def fetch(session, song_num):
    response = session.get({url!r}.format(song_num=song_num))
    response.raise_for_status()
    return response.json()["title"]

async def main():
    cells = [list(crawl(fetch, range(1, 21), progress=False)) for _ in range(3)]
    executed, awaited = [], []
    execute_async_event_loop([1, 2], executed)
    await get_data_asynchronously([1, 2], awaited)
    return {{
        "found": [len(cell) for cell in cells],
        "first": cells[0][0],
        "equal": executed == awaited and len(awaited) == 2,
    }}

answer = {loop_module}.run(main())
answer["nest_asyncio"] = "nest_asyncio" in sys.modules
answer["patched"] = original != (asyncio.run, asyncio.Task, asyncio.gather)
print(json.dumps(answer))
"""

NO_LOOP = """
import asyncio, json, sys
original = asyncio.run, asyncio.Task, asyncio.gather
import crawler
for name in crawler.__all__:
    getattr(crawler, name)
imported = sorted({{"nest_asyncio", "uvloop", "google.cloud.storage", "flask", "pyarrow"}} & set(sys.modules))
found = len(crawler.crawl(lambda session, n: session.get({url!r}.format(song_num=n)).json(), [1, 2], progress=False))
patched = original != (asyncio.run, asyncio.Task, asyncio.gather) or "nest_asyncio" in sys.modules
print(json.dumps({{"imported": imported, "found": found, "patched": patched}}))
"""


def run_script(script: str, upstream: Upstream) -> Any:
    """Run a script in a process of its own, warnings being errors, and give the JSON that it prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SONG_URL": upstream.url}
    argv = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="nest_asyncio does not know Python 3.14")
def test_crawl_in_a_running_loop(upstream: Upstream) -> None:
    """Block in a notebook's running loop, cell after cell, by nest_asyncio."""
    answer = run_script(IN_A_LOOP.format(loop_module="asyncio", url=upstream.url), upstream)

    assert answer["found"] == [19, 19, 19]
    assert answer["first"] == [1, "Song 1"]
    assert answer["equal"] is True
    assert answer["nest_asyncio"] is True


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_crawl_in_a_running_uvloop(upstream: Upstream) -> None:
    """Block in a loop that nest_asyncio can't patch, with nothing imported or patched."""
    answer = run_script(IN_A_LOOP.format(loop_module="uvloop", url=upstream.url), upstream)

    assert answer["found"] == [19, 19, 19]
    assert answer["equal"] is True
    assert (answer["nest_asyncio"], answer["patched"]) == (False, False)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_error_in_a_running_uvloop_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise an error of the loop in a thread where the caller waits for it."""
    import uvloop

    async def main() -> None:
        crawl(request_song_info, range(30), progress=False)

    with Upstream(lambda _n, _nth: error(401)) as upstream:
        monkeypatch.setenv("SONG_URL", upstream.url)
        with pytest.raises(UpstreamUnavailable, match="401"):
            uvloop.run(main())


def test_nothing_is_patched_by_an_import(upstream: Upstream) -> None:
    """Leave asyncio alone, and import nothing heavy, where no loop runs."""
    answer = run_script(NO_LOOP.format(url=upstream.url), upstream)

    assert answer == {"imported": [], "found": 2, "patched": False}


# The bar, and what is left behind.


def test_bar_counts_the_songs(fetch: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Show how many songs are accounted for, of how many."""
    crawl(fetch, [1, 2, 200])
    bar = capsys.readouterr().err

    assert "3/3" in bar
    assert "songs/s" in bar


def test_bar_without_a_total(fetch: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Count songs whose number nobody knows beforehand."""
    crawl(fetch, iter([1, 2, 200]))

    assert "3 songs" in capsys.readouterr().err


def test_bar_counts_a_durable_crawl(
    fetch: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Show the bar for a stored run as well."""
    crawl(fetch, range(1, 4), output=str(tmp_path))

    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("output", [None, "folder"])
def test_no_bar_is_no_output(
    fetch: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str | None
) -> None:
    """Print nothing at all with progress=False."""
    crawl(fetch, [1, 2], output=output and str(tmp_path), progress=False)
    out, err = capsys.readouterr()

    assert (out, err) == ("", "")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="open files are counted in /dev/fd")
@pytest.mark.parametrize("output", [None, "folder"], ids=["in memory", "durable"])
def test_fifty_crawls_leave_nothing(fetch: Callable[..., Any], tmp_path: Path, output: str | None) -> None:
    """Hold as many threads and open files after fifty crawls as after the first."""

    def crawl_once(number: int) -> None:
        where = {"output": str(tmp_path), "run": f"run-{number}"} if output else {}
        crawl(fetch, range(1, 6), progress=False, max_per_second=0, **where)

    crawl_once(0)
    before, files = set(threading.enumerate()), len(os.listdir("/dev/fd"))
    for number in range(1, 51):
        crawl_once(number)
    left = join_new_threads(before)

    assert left == set()
    assert len(os.listdir("/dev/fd")) <= files


def test_public_names_are_those_of_the_readme() -> None:
    """Offer the promised names, and no others."""
    assert sorted(crawler.__all__) == [
        "SongRecord",
        "crawl",
        "execute_async_event_loop",
        "get_data_asynchronously",
        "open_run",
        "request_song_info",
    ]
    with pytest.raises(AttributeError, match="has no attribute 'crawler_of_songs'"):
        crawler.crawler_of_songs  # noqa: B018 - the look-up is what is tested
