"""Progress: a bar for people and lines for a log, both from counters that a thread looks at every so often.

The workers that count are never asked to show anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from crawler.app.json_log import LOGGER
from crawler.core.records import STATUSES
from crawler.engine.run_progress import Progress

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_SECONDS = 0.1
LOG_SECONDS = 5.0


@contextmanager
def bar(look: Callable[[], Progress], *, shown: bool) -> Iterator[None]:
    """Show a bar in a terminal or a notebook, with rate and time left, while the block runs."""
    if not shown:
        yield
        return
    with catch_warnings():
        simplefilter("ignore")  # without ipywidgets tqdm warns at import, and draws its bar as text
        from tqdm.auto import tqdm

    with tqdm(total=look().songs, unit=" songs", dynamic_ncols=True) as line:
        update = partial(_update, line, look)
        try:
            with _every(BAR_SECONDS, update):
                yield
        finally:
            update()


@contextmanager
def progress_log(look: Callable[[], Progress], fields: dict[str, Any]) -> Iterator[None]:
    """Log a line every few seconds while the block runs: counts, rate, time left, and the `fields` given."""
    seen = [look()]

    def tell() -> None:
        now = look()
        LOGGER.info("crawl running", extra={"fields": fields | now.fields(seen[-1], seen[0])})
        seen[1:] = [now]

    with _every(LOG_SECONDS, tell):
        yield


def _update(line: tqdm[Any], look: Callable[[], Progress]) -> None:
    """Bring the bar to where the crawl is; what was there before the call is no part of its rate."""
    now = look()
    before = now.before - line.initial
    line.initial += before
    line.n += before
    line.last_print_n += before
    counts = {name: getattr(now, name) for name in (*STATUSES, "throttled") if name != "found"}
    line.set_postfix({name: times for name, times in counts.items() if times}, refresh=False)
    line.update(now.songs_done - line.n)


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Act every so many seconds, in a thread of its own and the caller's context, while the block runs.

    By the context the framework knows which call a line of the log is of (LOG_EXECUTION_ID); without, it ends it twice.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=copy_context().run, args=(run,), name="songcrawl-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
