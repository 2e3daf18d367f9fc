"""Be a run that is fanned out: its store, its queue, and instances that do its tasks when a test delivers them."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from crawler.adapters.runtime.clock import SystemClock
from crawler.adapters.runtime.daemon_threads import DaemonThreads
from crawler.adapters.storage.folder import FolderStore
from crawler.core.deadline import Deadline
from crawler.core.limits import Limits
from crawler.core.ports import Store
from crawler.core.verdict import Verdict, found
from crawler.engine.run_call import RunCall
from crawler.fan_out.fleet import Fleet
from crawler.fan_out.plan import Plan, Task, TaskReport
from crawler.fan_out.task_call import TaskCall
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex
from crawler.runs.spec import RunSpec, Source
from crawler.runs.store import RunStore
from support.fakes import FakeFetcher, FakeQueue
from support.runs import run_spec

DEADLINE = 60.0
SPEC = run_spec("1-40")  # ten parts of four


class World:
    """Be a store, a queue and a song API that answers with what `judge` says."""

    def __init__(self, folder: Path, spec: RunSpec = SPEC) -> None:
        """Begin the run."""
        self.folder = folder
        self.spec = spec
        self.store: Store = FolderStore(folder)
        self.queue = FakeQueue()
        self.alone = threading.Lock()
        self.judge: Callable[[int, int], Verdict] = lambda number, _nth: found({"id": number})
        self.fetchers: list[FakeFetcher] = []
        self.ahead = 0.0
        self.gate = Gate()
        self.run_store.begin(spec)

    @property
    def now(self) -> float:
        """Give the present second."""
        return time.time() + self.ahead

    @property
    def run_store(self) -> RunStore:
        """Open the run."""
        return RunIndex(self.store, "test").run_store(self.spec.run)

    @property
    def tried(self) -> list[int]:
        """List the songs that were asked for."""
        return [number for fetcher in self.fetchers for number in fetcher.tried]

    def plan(self, parts: int, instances: int) -> Plan:
        """Make tasks of three parts."""
        return Plan(task_parts=3, max_per_second=100, max_at_once=4, deadline_seconds=DEADLINE)

    def fleet(self, executor: ThreadPoolExecutor) -> Fleet:
        """Be one instance."""
        return Fleet(RunIndex(self.store, uuid.uuid4().hex), self.queue, executor, self.now, self.gate)

    def fan_out(self, most_parts: float = 2) -> bool:
        """Make the call that a trigger makes."""
        with ThreadPoolExecutor(4) as executor:
            return self.fleet(executor).fan_out(self.spec, most_parts, self.plan)

    def sweep(self) -> list[dict[str, object]]:
        """Sweep."""
        with ThreadPoolExecutor(4) as executor:
            return [msgspec.to_builtins(swept) for swept in self.fleet(executor).sweep()]

    def tasks(self) -> list[Task]:
        """List what is in the queue, in the order it came."""
        return [msgspec.json.decode(content, type=Task) for _, content, _ in self.queue.tasks.values()]

    def deliver(self, task: Task, retries: int = 0, seconds: float = 60.0) -> TaskReport:
        """Deliver a task to another instance."""
        fetcher = FakeFetcher(lambda number, nth: self.judge(number, nth))
        self.fetchers.append(fetcher)
        clock = SystemClock()
        with ThreadPoolExecutor(1) as creating, ThreadPoolExecutor(2) as commits:
            fleet = self.fleet(creating)
            spec, plan = fleet.assignment(self.spec.run, task, Source(self.spec.source, self.spec.source_digest))
            chance = random.Random(1)
            call = RunCall(
                fleet.run_index,
                spec,
                fetcher=fetcher,
                limits=Limits(max_attempts=2, max_at_once=4),
                clock=clock,
                workers=DaemonThreads(),
                commits=commits,
                deadline=Deadline.after(clock.now(), seconds),
                limiter=Limiter(RateController(max_at_once=4, random=chance.random)),
                random=chance,
            )
            return asyncio.run(TaskCall(fleet, call, task, plan, self.alone, retries).carry_out())

    def deliver_all(self) -> list[str]:
        """Deliver each task once, those that come of them too; gives their states."""
        states: list[str] = []
        done: set[Task] = set()
        while waiting := [task for task in self.tasks() if task not in done]:
            states += [self.deliver(task).state for task in waiting]
            done.update(waiting)
        return states

    def pass_time(self, seconds: float) -> None:
        """Let time pass for who looks at the store from now on."""
        self.ahead += seconds

    def age(self, seconds: float) -> None:
        """Make everything that is stored older."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (path.stat().st_atime - seconds, path.stat().st_mtime - seconds))

    def names(self) -> list[str]:
        """Name what is stored of the run."""
        return [stored.name.removeprefix("runs/trial/") for stored in self.store.list("runs/trial/")]
