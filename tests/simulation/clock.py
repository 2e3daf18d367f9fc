"""Virtual time: the engine's clock, and an event loop whose selector waits in it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from simulation.threads import Crash, Process, Scheduler

T = TypeVar("T")


class SimClock:
    """Tell the scheduler's time; its zero is `epoch_zero` on the wall clock."""

    def __init__(self, scheduler: Scheduler, epoch_zero: float) -> None:
        self._scheduler = scheduler
        self._epoch_zero = epoch_zero

    def now(self) -> float:
        """Give the instant, in seconds."""
        return self._scheduler.now

    def epoch(self) -> float:
        """Give the wall clock, in seconds since 1970 UTC."""
        return self._epoch_zero + self._scheduler.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held, simulated condition."""
        condition.wait(seconds)


class _Loop(asyncio.BaseEventLoop):
    """Be an event loop in a simulated thread: it waits for calls from other threads, and in virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._thread = scheduler.current
        self._selector = self
        self._called = False
        self.set_debug(False)
        # A killed process leaves tasks behind: nothing to complain of.
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        """Give virtual time."""
        return self._scheduler.now

    def select(self, timeout: float | None) -> list[Any]:
        """Wait for a call from another thread, or for a timer."""
        process: Process = self._scheduler.process
        if not self._called and timeout != 0 and not process.dead:
            self._scheduler.wait(math.inf if timeout is None else self._scheduler.now + timeout)
        self._called = False
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Have none."""

    def _write_to_self(self) -> None:
        self._called = True
        if self._thread and self._thread.ready_at > self._scheduler.now:
            self._scheduler.wake(self._thread)


def run_coroutine(scheduler: Scheduler, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a simulated thread; a killed process unwinds it."""
    loop = _Loop(scheduler)
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except Crash:
        if not task.done():
            task.cancel()
            loop.run_until_complete(task)
        raise
    finally:
        loop.close()
