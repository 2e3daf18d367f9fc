"""Running a coroutine to its end, whether or not an event loop already runs in this thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and give its result.

    Without a running loop (a function, a script) that is asyncio.run. In a notebook, whose loop runs already,
    nest_asyncio lets it run inside; where that can't work, a loop in a thread of its own takes its place.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    if not _nestable(loop):
        return _run_in_thread(coroutine)
    import nest_asyncio  # never at import: it patches asyncio for the whole process

    nest_asyncio.apply(loop)
    return loop.run_until_complete(coroutine)


def _nestable(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether nest_asyncio works: its last release knows neither Python 3.14 nor loops not written in Python.

    For uvloop it raises only after it has patched asyncio, so it must not be tried.
    """
    return sys.version_info < (3, 14) and isinstance(loop, asyncio.BaseEventLoop)


def _run_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="songcrawl-loop")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
