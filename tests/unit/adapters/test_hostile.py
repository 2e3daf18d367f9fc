"""Check what fetchers make of an upstream that lies, stalls and attacks: the same, in time, in little memory."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from servers import Page, Upstream, song
from servers.hostile import SONG, Trick, pages_of, tricks
from servers.pages import Ending
from support.fetchers import FETCHERS, Opening, every_fetcher
from support.growth import growth, linux

from crawler.core.ports import Fetcher
from crawler.core.verdict import Verdict, found
from crawler.upstream.response_limits import MOST_COOKIE_BYTES

OpenFetcher = Callable[[Opening], AbstractContextManager[Fetcher]]

# What an answer that drips or never comes may take; all others are judged long before.
SHORT = 0.3
TIMEOUT = 5.0
MOST_GROWTH = 8 << 20
MOST_CPU_SECONDS = 0.5

# A user's function judges bodies and statuses itself: its own exceptions are attempts that failed.
BY_THE_FUNCTION = {
    "wrong schema": "retry KeyError",
    "403": "retry http_403",
    "redirect to nowhere": "retry redirect",
}
NAMES = list(tricks(0, "http://canary.example/"))
BOMBS = [name for name in NAMES if "bomb" in name or "endless" in name or name in ("gzip six times", "huge length")]


@pytest.fixture(scope="module")
def canary() -> Iterator[Upstream]:
    """Serve songs that nobody may ask for."""
    with Upstream() as server:
        yield server
        assert server.count() == 0


@pytest.fixture(scope="module")
def hostile(canary: Upstream) -> Iterator[tuple[Upstream, dict[str, Trick]]]:
    """Serve every trick under its number."""
    served: list[Trick] = []
    with Upstream(lambda song_num, nth: pages_of(table)(song_num, nth)) as server:
        table = dict(tricks(server.port, canary.url_of(1)))
        served.extend(table.values())
        yield server, table


Hostile = tuple[Upstream, dict[str, Trick]]


def written(verdict: Verdict) -> str:
    """Write a verdict as the table does: "retry timeout"."""
    why = verdict.reason or verdict.error
    return f"{verdict.kind.value} {why}" if why else verdict.kind.value


def number_of(name: str) -> int:
    """Give the number under which a trick is served."""
    return NAMES.index(name) + 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fetcher_name", FETCHERS)
def test_trick_becomes_what_the_table_says(hostile: Hostile, fetcher_name: str, name: str) -> None:
    """Judge every page within the request's timeout, with a stable word, and ask nobody else for it."""
    server, table = hostile
    slow = "drip" in name or name == "hang"
    becomes = table[name].becomes
    if fetcher_name == "function":
        becomes = BY_THE_FUNCTION.get(name, becomes)
    with FETCHERS[fetcher_name](Opening(server.url)) as fetcher:
        started = time.monotonic()
        verdict = fetcher.attempt(number_of(name), SHORT if slow else TIMEOUT)
        seconds = time.monotonic() - started

    assert written(verdict) == becomes
    assert verdict.info == ("Song 1" if becomes == "found" else None)
    assert verdict.retry_after is None
    assert seconds < SHORT + 1.0


@linux
@pytest.mark.parametrize("name", BOMBS)
@every_fetcher
def test_bomb_costs_little(hostile: Hostile, open_fetcher: OpenFetcher, name: str) -> None:
    """Take no more memory and time for an attack than for a song of MAX_SONG_BYTES, server and all."""
    server, _ = hostile
    with open_fetcher(Opening(server.url)) as fetcher, growth() as grown:
        started = time.thread_time()
        fetcher.attempt(number_of(name), TIMEOUT)
        seconds = time.thread_time() - started

        assert grown() <= MOST_GROWTH
    assert seconds < MOST_CPU_SECONDS


@every_fetcher
def test_neighbours_of_an_attack_are_found(hostile: Hostile, open_fetcher: OpenFetcher) -> None:
    """Fetch songs while other threads of the same fetcher sit in each trick."""
    server, _ = hostile
    songs = range(1001, 1201)
    with open_fetcher(Opening(server.url)) as fetcher, ThreadPoolExecutor(4) as others, ThreadPoolExecutor(4) as mine:
        attacks = [others.submit(fetcher.attempt, number_of(name), SHORT) for name in NAMES]
        verdicts = list(mine.map(lambda number: fetcher.attempt(number, TIMEOUT), songs))
        for attack in attacks:
            attack.result()

    assert verdicts == [found(f"Song {number}") for number in songs]


@linux
@every_fetcher
def test_a_thousand_attacks_leave_nothing(hostile: Hostile, open_fetcher: OpenFetcher) -> None:
    """Hold no more sockets, files or threads after a thousand hostile answers than before the first."""
    server, _ = hostile
    fast = [number_of(name) for name in NAMES if "drip" not in name and name not in BOMBS]
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    with open_fetcher(Opening(server.url)) as fetcher, ThreadPoolExecutor(8) as threads:
        numbers = [fast[n % len(fast)] for n in range(1000)]
        kinds = Counter(threads.map(lambda number: fetcher.attempt(number, 0.05).kind.value, numbers))
    gc.collect()  # a session and its pools refer to each other
    for thread in threading.enumerate():
        if thread.name == "upstream-client":
            thread.join(1)  # until the server has seen that its client left

    assert sum(kinds.values()) == 1000
    assert len(os.listdir("/proc/self/fd")) <= before[0]
    assert threading.active_count() <= before[1]


def hanging_up(every: int) -> Callable[[int, int], Page]:
    """Serve songs, and hang up after each so many of a connection without having said so."""
    answered: Counter[threading.Thread] = Counter()

    def pages(song_num: int, _nth: int) -> Page:
        answered[threading.current_thread()] += 1
        last = answered[threading.current_thread()] == every
        return replace(song(song_num), ending=Ending.CLOSE if last else Ending.KEEP)

    return pages


@every_fetcher
def test_connection_that_was_hung_up_costs_no_song(open_fetcher: OpenFetcher) -> None:
    """Find every song of a server that closes each connection after ten answers, unannounced, in few attempts."""
    with Upstream(hanging_up(10)) as server, open_fetcher(Opening(server.url)) as fetcher:
        asked = Counter[int]()

        def fetch(number: int) -> Verdict:
            verdict = fetcher.attempt(number, TIMEOUT)
            while written(verdict) == "retry connection" and asked[number] < 3:
                asked[number] += 1
                verdict = fetcher.attempt(number, TIMEOUT)
            return verdict

        verdicts = [fetch(number) for number in range(1, 301)]

    assert verdicts == [found(f"Song {number}") for number in range(1, 301)]
    assert sum(asked.values()) <= 30


def forged(number: int) -> bytes:
    """Give a whole answer that nobody asked for."""
    body = b'{"id": %d, "title": "Forged"}' % number
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


UNASKED: dict[str, Callable[[int], Page]] = {
    "at once": lambda number: Page(exact=song(number).head() + song(number).body + forged(number)),
    "later": lambda number: replace(song(number), late=forged(number)),
    "after 204": lambda number: (
        Page(exact=b"HTTP/1.1 204 No Content\r\n\r\n" + forged(number)) if number % 2 else song(number)
    ),
    "after 404": lambda number: (
        Page(exact=b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" + forged(number))
        if number % 2
        else song(number)
    ),
}


@pytest.mark.parametrize("page_of", UNASKED.values(), ids=UNASKED)
@every_fetcher
def test_unasked_answer_is_no_other_songs(open_fetcher: OpenFetcher, page_of: Callable[[int], Page]) -> None:
    """Never take what a server sent beyond its answer for the answer to the next song."""
    with Upstream(lambda song_num, _nth: page_of(song_num)) as server, open_fetcher(Opening(server.url)) as fetcher:
        verdicts = []
        for number in range(1, 31):
            verdicts.append(fetcher.attempt(number, TIMEOUT))
            server.wait_until_idle()  # what comes late has been sent by then

    assert "Forged" not in {verdict.info for verdict in verdicts}
    assert all(verdict.info in (None, f"Song {number}") for number, verdict in enumerate(verdicts, 1))


@every_fetcher
def test_cookies_do_not_pile_up(hostile: Hostile, open_fetcher: OpenFetcher) -> None:
    """Send no more cookies back than servers take, whatever they set."""
    server, _ = hostile
    with open_fetcher(Opening(server.url)) as fetcher:
        for _ in range(3):
            fetcher.attempt(number_of("cookies"), TIMEOUT)
            fetcher.attempt(2000, TIMEOUT)
        sent = [len(request.headers.get("cookie", "")) for request in server.requests]

    assert max(sent) <= MOST_COOKIE_BYTES


@every_fetcher
def test_whole_numbers_are_exact(open_fetcher: OpenFetcher) -> None:
    """Read integers past 64 bits as they are written, not as the nearest float."""
    numbers = {1: 2**63, 2: 2**64, 3: -(2**63) - 1, 4: 10**30 + 1, 5: int("9" * 4300)}
    pages = {n: Page(body=SONG.replace(b'"Song 1"', str(value).encode())) for n, value in numbers.items()}
    with Upstream(lambda song_num, _nth: pages[song_num]) as server, open_fetcher(Opening(server.url)) as fetcher:
        infos = {n: fetcher.attempt(n, TIMEOUT).info for n in numbers}

    assert infos == numbers
