"""What the engine takes from `threading` and concurrent.futures, made of simulated threads.

The engine runs unchanged: its modules find these locks where they look for `threading`.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

from crawler.engine import backlog, dispatcher, part_writer
from crawler.rate_control import limiter
from simulation.threads import Crash, Scheduler, SimThread, of_thread

T = TypeVar("T")


class Lock:
    """Be a reentrant lock; whoever waits for it lets others run."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._holder: SimThread | None = None
        self._times = 0
        self._waiting: deque[SimThread] = deque()

    def acquire(self) -> None:
        """Take the lock."""
        self.__enter__()

    def release(self) -> None:
        """Let the lock go."""
        self.__exit__()

    def __enter__(self) -> None:
        me = self._scheduler.current
        assert me
        self._scheduler.brush()
        while self._holder not in (None, me):
            if me.process.dead:
                raise Crash
            self._waiting.append(me)
            self._scheduler.wait()
        self._holder = me
        self._times += 1

    def __exit__(self, *_: object) -> None:
        if self._holder is not self._scheduler.current:
            return  # a killed process unwinds, and its locks with it
        self._times -= 1
        if not self._times:
            self._holder = None
            if self._waiting:
                self._scheduler.wake(self._waiting.popleft())


class Condition(Lock):
    """Be a condition with its lock."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._asleep: deque[SimThread] = deque()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until notified, `timeout` seconds at most."""
        me = self._scheduler.current
        assert me is self._holder
        assert me
        assert self._times == 1
        self._asleep.append(me)
        self.__exit__()
        self._scheduler.wait(math.inf if timeout is None else self._scheduler.now + timeout)
        if me in self._asleep:
            self._asleep.remove(me)
        self.__enter__()

    def notify(self, n: int = 1) -> None:
        """Wake one of those that wait, or n."""
        while self._asleep and n:
            self._scheduler.wake(self._asleep.popleft())
            n -= 1

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._asleep))


def _simulated(kind: Callable[[Scheduler], T], real: Callable[[], Any]) -> Callable[[], T | Any]:
    """Make a simulated lock in a simulated thread, a real one elsewhere."""

    def make() -> T | Any:
        scheduler = getattr(of_thread, "scheduler", None)
        return kind(scheduler) if scheduler else real()

    return make


_SIMULATED = SimpleNamespace(
    Lock=_simulated(Lock, threading.Lock), Condition=_simulated(Condition, threading.Condition)
)


@contextmanager
def engine_scaled(piece_bytes: int, most_buffered_bytes: int) -> Iterator[None]:
    """Have the engine lock with simulated locks meanwhile, its sizes scaled down to songs of a few bytes."""
    meanwhile: list[tuple[Any, str, Any]] = [
        (dispatcher, "threading", _SIMULATED),
        (part_writer, "threading", _SIMULATED),
        (part_writer, "PIECE_BYTES", piece_bytes),
        (limiter, "threading", _SIMULATED),
        (backlog, "MOST_BUFFERED_BYTES", most_buffered_bytes),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in meanwhile]
    try:
        for module, name, value in meanwhile:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class SimExecutor(Executor):
    """Run calls in simulated threads of the process that made it, so many at once."""

    def __init__(self, scheduler: Scheduler, at_once: int = 1000) -> None:
        self._scheduler = scheduler
        self._process = scheduler.process
        self._free = at_once
        self._waiting: deque[Callable[[], None]] = deque()
        self._idle = Condition(scheduler)
        self._running = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start a call, or have it wait for a free thread."""
        future: Future[T] = Future()
        self._running += 1
        self._waiting.append(lambda: _fulfil(future, fn, args, kwargs))
        self._start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for all calls to end."""
        with self._idle:
            while self._running and not self._process.dead:
                self._idle.wait()

    def _start(self) -> None:
        if self._free and self._waiting and not self._process.dead:
            self._free -= 1
            call = self._waiting.popleft()
            self._scheduler.spawn(self._process, lambda: self._work(call))

    def _work(self, call: Callable[[], None]) -> None:
        call()
        self._free += 1
        self._running -= 1
        self._start()
        self._idle.notify_all()


def _fulfil(future: Future[T], fn: Callable[..., T], args: Any, kwargs: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
