"""Crawling from Python: the article's three steps under their names, and `crawl` on top of them.

Works the same in a script and in a notebook, whose event loop runs already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec
import requests

from crawler.adapters.clock import SystemClock
from crawler.adapters.loop import run_coroutine
from crawler.adapters.session import FunctionLane
from crawler.adapters.threads import DaemonThreads
from crawler.engine.collect import Collected, collect
from crawler.engine.gather import gather_songs
from crawler.engine.work import Limits, Work, ignore_outcome
from crawler.faces.deployment import Deployment, declared_lane, limits_of, open_store, session_of
from crawler.faces.progress import Bar
from crawler.faces.songs import Songs, StoredSongs
from crawler.ground.errors import BadRequest, SongNotFetched
from crawler.ground.records import Kind, Verdict
from crawler.ground.settings import SETTINGS, Settings
from crawler.ground.song_set import SongSet
from crawler.rules.asked import Numbers
from crawler.rules.request import CrawlRequest, parse_run_name
from crawler.rules.spec import Source

SongFunction = Callable[..., Any]


def request_song_info(session: requests.Session, song_num: Any, song_urls: list[Any]) -> None:
    """Request one song, declared by SONG_URL and its companions, and append `(song_num, info)` to `song_urls`.

    A missing song appends nothing. Raises SongNotFetched if the attempt told neither, BadSetting without a SONG_URL.
    """
    settings = _settings({})
    verdict = declared_lane(settings, session).attempt(song_num, settings.request_timeout_seconds)
    if verdict.kind is Kind.FOUND:
        song_urls.append((song_num, verdict.info))
    elif verdict.kind is not Kind.MISSING:
        raise SongNotFetched(song_num, verdict)


async def get_data_asynchronously(song_nums: Iterable[Any], song_urls: list[Any]) -> None:
    """Gather `request_song_info` over the numbers, in threads, and append what it found to `song_urls`, in order."""
    settings = _settings({})
    with session_of(settings) as session:
        lane = FunctionLane(session, request_song_info)
        batches = await _gather([(lane, song_nums)], limits_of(settings))
    song_urls.extend((record.song_num, record.info) for record in Songs(batches))


def execute_async_event_loop(song_nums: Iterable[Any], song_urls: list[Any]) -> None:
    """Run `get_data_asynchronously` to its end, whether or not a loop already runs in this thread."""
    run_coroutine(get_data_asynchronously(song_nums, song_urls))


def crawl(
    *tasks: Any, output: str | None = None, run: str | None = None, progress: bool = True, **settings: Any
) -> Songs | StoredSongs:
    """Crawl `function, items`, or several `(function, items)` pairs, and block until every item is accounted for.

    A function is `f(session, item) -> info` (None: missing) or the article's `f(session, item, song_urls)`. Items are
    ints, strings or any objects; with `output` (gs://bucket/prefix or a folder) they are song numbers, of one function,
    and the crawl is durable: the same call continues. `settings` are those of the environment, in lower case.
    Raises UpstreamUnavailable if the upstream as a whole refuses, BadSetting for a wrong setting.
    """
    pairs = _pairs(tasks)
    options = _settings(settings)
    if output is not None:
        return _crawl_durably(pairs, replace(options, output=output), run, progress)
    if run is not None:
        raise BadRequest("run names a stored run; allowed: together with output.")
    with session_of(options) as session, Bar(_total(pairs), shown=progress) as bar:
        lanes = [(FunctionLane(session, function), items) for function, items in pairs]
        return Songs(run_coroutine(_gather(lanes, limits_of(options), bar.tell)))


async def _gather(
    lanes: list[tuple[FunctionLane, Iterable[Any]]],
    limits: Limits,
    on_outcome: Callable[[Verdict], None] = ignore_outcome,
) -> list[Collected]:
    batches: list[Collected] = []
    songs = _total(lanes)
    strands = limits.max_at_once if songs is None else min(limits.max_at_once, songs)
    with ThreadPoolExecutor(1) as ends:
        work = Work(collect(lanes, batches), limits, SystemClock(), ends.submit, on_outcome=on_outcome)
        await gather_songs(work, strands, DaemonThreads())
    return batches


def _total(pairs: Sequence[tuple[Any, Iterable[Any]]]) -> int | None:
    """Count the items of all pairs; None if one of them can't tell before it is drawn."""
    sizes = [len(items) if isinstance(items, Sized) else None for _, items in pairs]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _crawl_durably(
    pairs: list[tuple[SongFunction, Iterable[Any]]], settings: Settings, run: str | None, progress: bool
) -> StoredSongs:
    if len(pairs) != 1:
        raise BadRequest("output takes one function a run; allowed: one call for each function.")
    function, items = pairs[0]
    deployment = Deployment(
        settings,
        open_store(settings.output, settings.storage_emulator_host),
        Source.of_function(f"{function.__module__}:{function.__qualname__}"),
        lambda session: FunctionLane(session, function),
    )
    songs = _song_set(items)
    request = CrawlRequest(Numbers(songs), parse_run_name("run", run) if run else None)
    with Bar(len(songs), shown=progress) as bar:
        answer = deployment.crawl(request, on_outcome=bar.tell)
    return StoredSongs(deployment.store, answer)


def _pairs(tasks: tuple[Any, ...]) -> list[tuple[SongFunction, Iterable[Any]]]:
    pairs = [tasks] if len(tasks) == 2 and callable(tasks[0]) else list(tasks)
    if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0]) for pair in pairs):
        raise BadRequest("crawl takes a function and its items, or (function, items) pairs.")
    return pairs


def _song_set(items: Iterable[Any]) -> SongSet:
    if isinstance(items, range) and items.step == 1 and len(items) and items.start >= 0:
        return SongSet.of([(items[0], items[-1])])
    numbers = list(items)
    if not numbers or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise BadRequest("items are no song numbers; allowed with output: whole numbers from 0.")
    return SongSet.of_numbers(numbers)


def _settings(given: Mapping[str, Any]) -> Settings:
    """Read the environment, and over it what a caller gave under the settings' names in lower case."""
    names = {setting.name.lower() for setting in SETTINGS}
    unknown = sorted(set(given) - names)
    if unknown:
        raise BadRequest(f"{unknown[0]!r} is no setting; allowed: {', '.join(sorted(names))}.")
    texts = {name.upper(): value if isinstance(value, str) else _text(value) for name, value in given.items()}
    # The code that crawls here is the caller's own, on the caller's own machine: it may reach what it likes there.
    return Settings.from_environ({"ALLOW_PRIVATE_UPSTREAM": "1", **os.environ, **texts})


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else msgspec.json.encode(value).decode()
