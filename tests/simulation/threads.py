"""Threads of which one runs at a time, and processes that can be killed and frozen: all by chance, all by the seed.

Every simulated thread is a real one that runs only while it holds the baton. It hands the baton on where it pauses
(every operation of a store or an upstream does, before and after its effect), waits or ends; whoever is ready may get
it next. Time is a number that grows when nobody is ready.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

# More pauses than any world needs: whoever comes this far runs in circles.
MOST_STEPS = 100_000

# How often a thread that takes a free lock lets others run first.
BRUSHING = 0.05


class Crash(BaseException):
    """End a thread of a killed process where it stands; no code may go on after it."""


class Violation(AssertionError):
    """Say which promise was broken."""


class Process:
    """Be what is killed and frozen as a whole; `name` stands in the trace."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.dead = False
        self.frozen = False

    def kill(self) -> None:
        """End all its threads at once: nothing they do from now on has an effect."""
        self.scheduler.note(self.name, "is killed")
        self.dead = True
        self.frozen = False
        self.scheduler.bury(self)

    def freeze(self) -> None:
        """Stop it where it stands."""
        self.scheduler.note(self.name, "is frozen")
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on from there."""
        if self.frozen:
            self.scheduler.note(self.name, "wakes up")
            self.frozen = False


class SimThread:
    """Be one thread of a process; it may run from `ready_at` on (math.inf: once somebody wakes it)."""

    def __init__(self, process: Process, body: Callable[[], Any], ready_at: float) -> None:
        self.process = process
        self.body = body
        self.ready_at = ready_at
        self.gate = _worker().take(self)


class Scheduler:
    """A baton that is passed on; `on_pause` is called at every pause and may kill or freeze its process."""

    def __init__(self, chance: random.Random, switching: float = 0.3) -> None:
        self.chance = chance
        self.now = 0.0
        self.steps = 0
        self.current: SimThread | None = None
        self.trace: deque[tuple[float, str, str]] = deque(maxlen=60)
        self.violation: BaseException | None = None
        self.on_pause: Callable[[Process], None] = lambda _: None
        self._switching = switching
        self._threads: list[SimThread] = []
        self._dying: list[SimThread] = []
        self._last_step = MOST_STEPS
        self._outside = threading.Lock()
        self._outside.acquire()

    @property
    def process(self) -> Process:
        """Give the process whose thread runs."""
        assert self.current
        return self.current.process

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now, who, what))

    def spawn(self, process: Process, body: Callable[[], Any], after: float = 0.0) -> None:
        """Start a thread, `after` seconds from now at the earliest."""
        self._threads.append(SimThread(process, body, self.now + after))

    def run(self, steps: int | None = None) -> None:
        """Let the threads run so many pauses, or until none can go on; raises the first violation they met."""
        self._last_step = MOST_STEPS if steps is None else self.steps + steps
        following = self._next()
        if following:
            self._hand_to(following)
            self._outside.acquire()
        if self.violation:
            raise self.violation
        if self.steps >= MOST_STEPS:
            raise Violation(f"no end after {MOST_STEPS} steps")

    def living(self) -> SimThread:
        """Give the thread that runs; raises Crash if its process was killed."""
        assert self.current
        if self.current.process.dead:
            raise Crash
        return self.current

    def pause(self, seconds: float = 0.0) -> None:
        """Let others run; go on after so many seconds at the earliest."""
        me = self.living()
        self.steps += 1
        self.on_pause(me.process)
        if me.process.dead:
            raise Crash
        me.ready_at = self.now + seconds
        hurried = not seconds and self.steps < self._last_step and not me.process.frozen
        if not hurried or self.chance.random() < self._switching:
            self._switch(me)

    def brush(self) -> None:
        """Let others run, now and then: where threads meet at a lock."""
        me = self.current
        assert me
        if not me.process.dead and self.chance.random() < BRUSHING:
            me.ready_at = self.now
            self._switch(me)

    def wait(self, until: float = math.inf) -> None:
        """Wait to be woken, or for an instant."""
        me = self.living()
        me.ready_at = until
        self._switch(me)

    def wake(self, thread: SimThread) -> None:
        """End a thread's wait."""
        thread.ready_at = min(thread.ready_at, self.now)

    def bury(self, process: Process) -> None:
        """Have the other threads of a killed process unwind before anybody else runs."""
        self._dying += [t for t in self._threads if t.process is process and t is not self.current]

    def clear(self) -> None:
        """End everything that is left."""
        for process in {thread.process.name: thread.process for thread in self._threads}.values():
            process.kill()
        self.violation = None
        self.run()

    def ended(self, thread: SimThread, error: BaseException | None) -> None:
        """Note that a thread ended, with an error or without; passes the baton on."""
        self._threads.remove(thread)
        if thread in self._dying:
            self._dying.remove(thread)
        if error and not thread.process.dead:
            self.violation = self.violation or error
            self._last_step = 0
        self._hand_to(self._next())

    def _switch(self, me: SimThread) -> None:
        following = self._next()
        if following is not me:
            self._hand_to(following)
            me.gate.acquire()
        if me.process.dead:
            raise Crash

    def _hand_to(self, thread: SimThread | None) -> None:
        """Hand the baton to a thread; None: to whoever called `run`."""
        self.current = thread
        (thread.gate if thread else self._outside).release()

    def _next(self) -> SimThread | None:
        if self._dying:
            return self._dying[0]
        if self.steps >= self._last_step:
            return None
        ready = self._ready()
        if not ready:
            waiting = [t.ready_at for t in self._threads if not t.process.frozen]
            if min(waiting, default=math.inf) == math.inf:
                return None
            self.now = max(self.now, min(waiting))
            ready = self._ready()
        return ready[0] if len(ready) == 1 else ready[int(self.chance.random() * len(ready))]

    def _ready(self) -> list[SimThread]:
        now = self.now
        return [t for t in self._threads if t.ready_at <= now and not t.process.frozen]


class _Worker:
    """Be a real thread that lends itself to one simulated thread after the other: starting one takes 50 us."""

    def __init__(self) -> None:
        self._thread: SimThread | None = None
        self._gate = threading.Lock()
        self._gate.acquire()
        threading.Thread(target=self._work, daemon=True, name="simulated").start()

    def take(self, thread: SimThread) -> threading.Lock:
        """Stand ready for a simulated thread; gives the lock whose release hands it the baton."""
        self._thread = thread
        return self._gate

    def _work(self) -> None:
        while True:
            self._gate.acquire()
            thread, self._thread = self._thread, None
            assert thread
            of_thread.scheduler = thread.process.scheduler
            error = _run(thread)
            _IDLE.append(self)
            thread.process.scheduler.ended(thread, error)


_IDLE: list[_Worker] = []  # one pool for all worlds

# The scheduler of the simulated thread that runs in this real one.
of_thread = threading.local()


def _worker() -> _Worker:
    return _IDLE.pop() if _IDLE else _Worker()


def _run(thread: SimThread) -> BaseException | None:
    try:
        if not thread.process.dead:
            thread.body()
    except Crash:
        return None
    except BaseException as error:
        return error
    return None
