"""Crawling from Python: the article's three steps under their names, and `crawl` on top of them.

Works the same in a script and in a notebook, whose event loop runs already.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec
import requests

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.runtime.daemon_threads import DaemonThreads
from crawler.adapters.runtime.event_loop import run_coroutine
from crawler.adapters.session.fetchers import FunctionFetcher
from crawler.app.composition import key_file_of, limiter_of, open_store
from crawler.app.crawl_request import CrawlRequest
from crawler.app.deployment import Deployment
from crawler.app.fetchers import (
    bearing,
    declared_fetcher,
    function_fetchers,
    obey_robots,
    robots_file_of,
    session_of,
    song_of,
)
from crawler.app.parameters import parse_run_name
from crawler.app.progress_bar import bar
from crawler.app.source_file import with_source
from crawler.app.source_identity import function_source
from crawler.core.errors import BadRequest, SongNotFetched
from crawler.core.limits import Limits
from crawler.core.ports import Fetcher, MultiFetcher, PageFetcher
from crawler.core.settings import SETTINGS, Settings
from crawler.core.song_set import LARGEST_SONG_NUM, SongSet
from crawler.core.verdict import Kind
from crawler.engine.absent_songs import MANY
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.in_memory import Collected, collect
from crawler.engine.run_progress import Progress
from crawler.engine.workers import gather_songs
from crawler.entrypoints.python.songs import Songs, StoredSongs
from crawler.rate_control.limiter import Limiter
from crawler.runs.selection import NumberRanges

SongFunction = Callable[..., Any]
_Pair = tuple[SongFunction | None, Iterable[Any]]

_DECLARING = frozenset(
    {"song_url", "song_method", "song_body", "song_info", "song_missing", "song_retry", "redirects"},
)
_SHORT_NAMES = {name: f"song_{name}" for name in ("url", "method", "body", "info", "missing", "retry", "headers")}


def request_song_info(session: requests.Session, song_num: Any, song_urls: list[Any]) -> None:
    """Request one song, declared by SONG_URL and its companions, and append `(song_num, info)` to `song_urls`.

    A missing song appends nothing. Raises SongNotFetched if the attempt told neither, BadSetting without a SONG_URL.
    """
    settings = _settings({})
    fetcher, until = declared_fetcher(settings, session), time.monotonic() + settings.request_timeout_seconds
    verdict = fetcher.attempt(song_num, settings.request_timeout_seconds)
    while verdict.kind is Kind.REDIRECTED:
        verdict = fetcher.attempt(verdict.info, max(0.0, until - time.monotonic()))
    if verdict.kind is Kind.FOUND:
        song_urls.append((song_num, verdict.info))
    elif verdict.kind is not Kind.MISSING:
        raise SongNotFetched(song_num, verdict)


async def get_data_asynchronously(song_nums: Iterable[Any], song_urls: list[Any]) -> None:
    """Do what `request_song_info` does for each number, in threads, and append what was found, in order."""
    settings = _settings({})
    with session_of(settings) as session:
        declared = declared_fetcher(settings, session)
        fetcher = bearing(settings, session, declared)
        limiter = limiter_of(settings.limits)
        if file := robots_file_of(settings):
            patience = settings.request_timeout_seconds
            fetcher, limiter = await asyncio.to_thread(obey_robots, file, declared.fetch, patience, fetcher, limiter)
        chunks: list[Collected] = []
        await _gather([(fetcher, song_nums)], settings.limits, limiter, chunks)
    song_urls.extend((record.song_num, record.info) for record in Songs(chunks))


def execute_async_event_loop(song_nums: Iterable[Any], song_urls: list[Any]) -> None:
    """Run `get_data_asynchronously` to its end, whether or not a loop already runs in this thread."""
    run_coroutine(get_data_asynchronously(song_nums, song_urls))


def crawl(
    *tasks: Any, output: str | None = None, run: str | None = None, progress: bool = True, **settings: Any
) -> Songs | StoredSongs:
    """Crawl `function, items`, or several `(function, items)` pairs, and block until every item is accounted for.

    A function is `f(session, item) -> info` (None: missing) or the article's `f(session, item, song_urls)`. Items are
    ints, strings or any objects, or a text such as "1-100,205": song numbers. Without a function the song is declared:
    `crawl("1-100", url="https://api.example.com/songs/{song_num}", info="title")`, where url, info, missing, retry and
    headers stand for song_url and so on. With `output` (gs://bucket/prefix or a folder) items are song numbers, of one
    function; the crawl is durable (the same call continues), and its songs come ascending; with `keys`, a file of
    them, the function is given a number's key in its place. `settings` are those of the environment, in lower case.
    Raises UpstreamUnavailable if the upstream as a whole refuses, BadSetting or BadRequest for what can't be done.
    """
    settings = {_SHORT_NAMES.get(name, name): value for name, value in settings.items()}
    if "song_function" in settings:
        raise BadRequest("song_function names a function; allowed: the function itself, before its items.")
    pairs = _pairs(tasks)
    declared = sorted(_DECLARING & set(settings))
    if declared and pairs[0][0] is not None:
        raise BadRequest(f"{declared[0]} declares a song; allowed: a function, or items alone.")
    if output is not None:
        options = _settings({**settings, "output": output})
        return _crawl_durably(
            pairs, options, run, progress, options.deadline_seconds if "deadline_seconds" in settings else None
        )
    _refuse_for_memory(run, settings)
    options = _settings(settings)
    chunks: list[Collected] = []
    with ExitStack() as opened:
        fetchers, limiter = _open_fetchers(pairs, options, opened)
        opened.enter_context(bar(partial(_progress, chunks, _total(pairs)), shown=progress))
        run_coroutine(_gather(fetchers, options.limits, limiter, chunks))
    return Songs(chunks)


def _refuse_for_memory(run: str | None, settings: Mapping[str, Any]) -> None:
    """Raise BadRequest for what only a stored run has."""
    if run is not None:
        raise BadRequest("run names a stored run; allowed: together with output.")
    if "deadline_seconds" in settings:
        raise BadRequest("deadline_seconds is for a stored run; allowed: together with output.")
    if "keys" in settings:
        raise BadRequest("keys is for a stored run; allowed: together with output, or the keys themselves as items.")


def _open_fetchers(
    pairs: list[_Pair], settings: Settings, opened: ExitStack
) -> tuple[list[tuple[Fetcher, Iterable[Any]]], Limiter]:
    """Open the functions' fetchers, which share a session, or the declared song's."""
    limiter = limiter_of(settings.limits)
    function, items = pairs[0]
    if function is None:
        numbers = _song_numbers(items)
        _, make_fetcher = song_of(settings)
        fetcher = make_fetcher(opened)
        if file := robots_file_of(settings):
            assert isinstance(fetcher, PageFetcher)  # it is SONG_URL's
            patience = settings.request_timeout_seconds
            fetcher, limiter = obey_robots(file, fetcher.fetch, patience, fetcher, limiter)
        return [(fetcher, numbers)], limiter
    session = opened.enter_context(session_of(settings))
    return [
        (bearing(settings, session, FunctionFetcher(session, each)), items) for each, items in pairs if each
    ], limiter


def _progress(chunks: list[Collected], songs: int | None) -> Progress:
    return Progress(at=time.monotonic(), songs=songs, found=sum(len(chunk.outcomes) for chunk in chunks))


async def _gather(
    fetchers: list[tuple[Fetcher, Iterable[Any]]],
    limits: Limits,
    limiter: Limiter,
    chunks: list[Collected],
) -> None:
    """Gather the fetchers' items into `chunks`."""
    songs = _total(fetchers)
    workers = limits.max_at_once if songs is None else min(limits.max_at_once, songs)
    with ThreadPoolExecutor(1) as ends:
        withholds = songs is None or songs >= MANY
        dispatcher = Dispatcher(
            collect(fetchers, chunks), limits, SystemClock(), ends.submit, limiter=limiter, withholds=withholds
        )
        fetcher = fetchers[0][0] if len(fetchers) == 1 and isinstance(fetchers[0][0], MultiFetcher) else None
        await gather_songs(dispatcher, workers, DaemonThreads(), fetcher)


def _total(pairs: Sequence[tuple[Any, Iterable[Any]]]) -> int | None:
    """Count the items of all pairs; None if one of them can't tell before it is drawn."""
    sizes = [len(items) if isinstance(items, Sized) else None for _, items in pairs]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _crawl_durably(
    pairs: list[_Pair], settings: Settings, run: str | None, progress: bool, seconds: float | None
) -> StoredSongs:
    if len(pairs) != 1:
        raise BadRequest("output takes one function a run; allowed: one call for each function.")
    function, items = pairs[0]
    songs = _song_set(items)
    if len(songs) > settings.max_songs:
        raise BadRequest(f"items are {len(songs)} numbers; allowed: {settings.max_songs} (max_songs).")
    if function is None:
        source, make_fetcher = song_of(settings)
    else:
        source = function_source(settings, _name(function, run), function)
        make_fetcher = function_fetchers(settings, function)
    deployment = Deployment(
        settings,
        open_store(settings.output, settings.storage_emulator_host),
        source,
        make_fetcher,
        limiter_of(settings.limits),
        robots_file_of(settings) if function is None else None,
        key_file=key_file_of(settings),
    )
    request = CrawlRequest(NumberRanges(songs), parse_run_name("run", run) if run else None)
    result = deployment.crawl(request, seconds or math.inf, shown=progress)
    return StoredSongs(deployment.store, result.summary)


def _name(function: SongFunction, run: str | None) -> str:
    """Name a function as the source of a run: the same call later must mean the same function."""
    named = getattr(function, "func", function)
    name = getattr(named, "__qualname__", type(named).__qualname__)
    if "<lambda>" in name and run is None:
        raise BadRequest("Every lambda has the same name; allowed: a function with a name of its own, or run=.")
    return f"{getattr(named, '__module__', type(named).__module__)}:{name}"


def _pairs(tasks: tuple[Any, ...]) -> list[_Pair]:
    """Read the functions and their items; items alone are of a declared song, which has no function."""
    if len(tasks) == 1 and not callable(tasks[0]) and not _is_pair(tasks[0]):
        return [(None, _items(tasks[0]))]
    pairs = [tasks] if len(tasks) == 2 and callable(tasks[0]) else list(tasks)
    if not pairs or not all(map(_is_pair, pairs)):
        raise BadRequest("crawl takes a function and its items, (function, items) pairs, or items and a url.")
    return [(function, _items(items)) for function, items in pairs]


def _is_pair(task: Any) -> bool:
    return isinstance(task, tuple) and len(task) == 2 and callable(task[0])


def _items(items: Any) -> Iterable[Any]:
    """Read items that are a text: song numbers, as a call over HTTP names them."""
    if not isinstance(items, str):
        return items  # type: ignore[no-any-return]
    try:
        return SongSet.parse(items)
    except ValueError as error:
        raise BadRequest(f"items: {error}; allowed: a text such as 1-100,205, or a list of any items.") from None


def _song_numbers(items: Iterable[Any]) -> Sequence[int] | SongSet:
    """Return items that are song numbers, in their order; raises BadRequest."""
    if isinstance(items, SongSet):
        return items
    numbers = items if isinstance(items, (range, list)) else list(items)
    if not all(isinstance(number, int) and 0 <= number <= LARGEST_SONG_NUM for number in numbers):
        raise BadRequest(f"items are no song numbers; allowed: whole numbers from 0 to {LARGEST_SONG_NUM}.")
    return numbers


def _song_set(items: Iterable[Any]) -> SongSet:
    if isinstance(items, range) and items.step == 1 and len(items) and 0 <= items[0] <= items[-1] <= LARGEST_SONG_NUM:
        return SongSet.of([(items[0], items[-1])])
    numbers = _song_numbers(items)
    if not numbers:
        raise BadRequest(f"items are none; allowed with output: whole numbers from 0 to {LARGEST_SONG_NUM}.")
    return numbers if isinstance(numbers, SongSet) else SongSet.of_numbers(numbers)


def _settings(given: Mapping[str, Any]) -> Settings:
    """Read the environment, and over it what a caller gave under the settings' names in lower case."""
    names = {setting.name.lower() for setting in SETTINGS}
    unknown = sorted(set(given) - names)
    if unknown:
        raise BadRequest(f"{unknown[0]!r} is no setting; allowed: {', '.join(sorted(names))}.")
    texts = {name.upper(): value if isinstance(value, str) else _text(value) for name, value in given.items()}
    # The code that crawls here is the caller's own, on the caller's own machine: it may reach what it likes there.
    return Settings.from_environ(with_source({"ALLOW_PRIVATE_UPSTREAM": "1", **os.environ, **texts}))


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else msgspec.json.encode(value).decode()
