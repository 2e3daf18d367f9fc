"""Running a coroutine to its end, whether or not an event loop already runs in this thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and give its result; an interrupt cancels it, lets it clean up, and is raised.

    Without a running loop (a function, a script) that is asyncio.run. In a notebook, whose loop runs already,
    nest_asyncio lets it run inside; where that can't work, a loop in a thread of its own does.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _run_nested(loop, coroutine) if _nestable(loop) else _run_in_thread(coroutine)


def _nestable(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether nest_asyncio works: its last release knows neither Python 3.14 nor loops not written in Python.

    For uvloop it raises only after it has patched asyncio, so it must not be tried.
    """
    return sys.version_info < (3, 14) and isinstance(loop, asyncio.BaseEventLoop)


def _run_nested(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    import nest_asyncio  # never at import: it patches asyncio for the whole process

    nest_asyncio.apply(loop)
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            # An interrupt leaves the loop, not the task: it would go on with the notebook's next cell.
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        raise


def _run_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    began = threading.Event()

    async def main() -> T:
        if task := asyncio.current_task():
            tasks.append((asyncio.get_running_loop(), task))
        began.set()
        return await coroutine

    def run() -> None:
        try:
            results.append(asyncio.run(main()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="songcrawl-loop")
    thread.start()
    try:
        thread.join()
    except BaseException:
        began.wait()
        for loop, task in tasks:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
