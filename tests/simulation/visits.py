"""Calls on the function: each in a process of its own, doing what app/deployment.py does, on the simulated ports."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crawler.core.deadline import CallTime, Deadline
from crawler.core.errors import SongcrawlError, UnknownRun
from crawler.core.limits import Limits
from crawler.core.verdict import Verdict
from crawler.engine.run_call import RunCall
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.runs.index import RunIndex, run_of
from crawler.runs.resolve import Order, resolve_run
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_summary
from crawler.runs.summary import Interruption, Reason, RunSummary
from simulation.clock import run_coroutine
from simulation.locks import SimExecutor
from simulation.store import SimStore
from simulation.threads import Process, SimThread
from simulation.upstream import SimFetcher, SimMultiFetcher

if TYPE_CHECKING:
    from simulation.world import World


class Visit(Process):
    """Be one call; when it is over it has its `answers`, or an `error`, or was killed and has neither."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.over = False
        self.answers: list[RunSummary] = []
        self.error: SongcrawlError | None = None
        self.failed_creates = 0
        self.began = 0  # how many objects there were
        self.listing: dict[str, int] = {}  # how many there were at its last listing of a prefix
        self.first_listing: dict[str, int] = {}  # and at its first: by that it works, later ones are for known songs
        self._callers: list[SimThread] = []

    def start(self, after: float = 0.0) -> None:
        """Have the call made, so many seconds from now."""
        self.scheduler.spawn(self, self._run, after)

    def kill(self) -> None:
        """End the process; its callers notice."""
        if not self.over:
            super().kill()
            self._end()

    def await_end(self, seconds: float) -> None:
        """Wait for the call, so long at most."""
        if not self.over:
            assert self.scheduler.current
            self._callers.append(self.scheduler.current)
            self.scheduler.wait(self.scheduler.now + seconds)

    def looked(self, name: str, there: bool) -> None:
        """Note a look at an object."""

    def listed(self, prefix: str, serial: int) -> None:
        """Note a listing."""
        self.listing[prefix] = serial
        self.first_listing.setdefault(prefix, serial)

    def visit(self) -> None:
        """Do what the call does."""
        raise NotImplementedError

    def run_index(self, deadline: Deadline) -> RunIndex:
        """Open the run index over this process's way to the bucket."""
        return self.world.open_run_index(SimStore(self.world, self, deadline), self.name)

    def _run(self) -> None:
        self.began = self.world.bucket.serial
        try:
            self.visit()
        except SongcrawlError as error:
            self.scheduler.note(self.name, f"answers {error.http_status}: {error}")
            self.error = error
        self._end()

    def _end(self) -> None:
        self.over = True
        self.world.truth.ended(self)
        for thread in self._callers:
            self.scheduler.wake(thread)

    def _answer(self, answer: RunSummary) -> None:
        counts = (answer.found, answer.missing, answer.failed, answer.remaining)
        self.scheduler.note(self.name, f"answers: {answer.run} {answer.state} {counts}")
        self.answers.append(answer)
        self.world.truth.said(self, answer)


@dataclass(frozen=True)
class Pace:
    """Say how a call is made, beside what it asks for."""

    deadline_seconds: float = 600.0
    limits: Limits = field(default_factory=Limits)


class CrawlCall(Visit):
    """Be a call that crawls; it notes what it saw and what it settled."""

    def __init__(self, world: World, name: str, order: Order, pace: Pace) -> None:
        super().__init__(world, name)
        self.order = order
        self.pace = pace
        self.epoch = 0.0
        self.spec: RunSpec | None = None
        self.reason: Reason | None = None
        self.settled: set[int] = set()
        self.opened: set[str] = set()
        self._may_open = False

    def visit(self) -> None:
        """Crawl."""
        world, clock = self.world, self.world.clock
        time = CallTime(clock.now(), self.pace.deadline_seconds)
        run_index = self.run_index(time.end)
        self.epoch = clock.epoch()
        self.spec = resolve_run(run_index, self.order, self.epoch)
        self.scheduler.note(self.name, f"works on {self.spec.run}")
        world.truth.chose(self, self.spec)
        self.crawl(run_index, self.spec, time)

    def crawl(self, run_index: RunIndex, spec: RunSpec, time: CallTime) -> None:
        """Crawl the run that the call means."""
        with self.opened_call(run_index, spec, time) as call:
            result = run_coroutine(self.scheduler, call.crawl())
        self.reason = result.reason
        self._answer(result.summary)

    @contextmanager
    def opened_call(self, run_index: RunIndex, spec: RunSpec, time: CallTime) -> Iterator[RunCall]:
        """Open the engine's call on a run."""
        limits, chance = self.pace.limits, random.Random(self.world.chance.random())
        with SimExecutor(self.scheduler, 2) as commits:
            yield _WatchedCall(
                run_index,
                spec,
                fetcher=(SimMultiFetcher if self.world.many else SimFetcher)(self.world, self),
                limits=limits,
                clock=self.world.clock,
                workers=SimExecutor(self.scheduler),
                commits=commits,
                deadline=time.working_end,
                random=chance,
                on_settled=self.settled.add,
                limiter=Limiter(RateController(limits.max_per_second, limits.max_at_once, chance.random)),
            )

    def looked(self, name: str, there: bool) -> None:
        """Note which parts were looked for, and not found, after a look for the stop marker."""
        if "/stop-" in name:
            self._may_open = not there
        elif "/resume-" in name:
            self._may_open = there
        elif "/songs-" in name and not there and self._may_open:
            self._may_open = False
            self.opened.add(name.rpartition("/")[2])


@dataclass(eq=False, repr=False)
class _WatchedCall(RunCall):
    """A call on a run that passes on which songs have their outcome."""

    on_settled: Callable[[int], None] = lambda _number: None

    async def fetch(
        self, part_range: range | None = None, on_outcome: Callable[[int, Verdict], None] | None = None
    ) -> Interruption:
        def note(number: int, outcome: Verdict) -> None:
            self.on_settled(number)
            if on_outcome:
                on_outcome(number, outcome)

        return await super().fetch(part_range, note)


class Look(Visit):
    """Be a call of GET /runs, or of one run's state."""

    def __init__(self, world: World, name: str, run: str | None) -> None:
        super().__init__(world, name)
        self._run_name = run

    def visit(self) -> None:
        """Look."""
        run_index = self.run_index(Deadline.after(self.world.clock.now(), 600.0))
        names = [run_of(name) for name in run_index.newest(20)] if self._run_name is None else [self._run_name]
        for name in names:
            self._look(run_index, name)

    def _look(self, run_index: RunIndex, run: str) -> RunSummary | None:
        run_store = run_index.run_store(run)
        spec = run_store.spec()
        if spec is None:
            return None
        answer = run_summary(run_store, spec, self.world.clock.epoch())
        self._answer(answer)
        return answer


class Resume(Look):
    """Be a call that takes a stop back."""

    def visit(self) -> None:
        """Resume the run, unless it goes on."""
        run_index = self.run_index(Deadline.after(self.world.clock.now(), 600.0))
        spec = run_index.run_store(self._run_name or "").spec()
        if spec is None:
            raise UnknownRun(self._run_name)
        run_index.resume(spec)
        self._look(run_index, spec.run)


class Stop(Look):
    """Be a call that stops a run."""

    def __init__(self, world: World, name: str, run: str) -> None:
        super().__init__(world, name, run)
        self._stops = run

    def visit(self) -> None:
        """Stop the run, unless it is complete."""
        run_index = self.run_index(Deadline.after(self.world.clock.now(), 600.0))
        answer = self._look(run_index, self._stops)
        if answer is None:
            raise UnknownRun(self._stops)
        if answer.state != "complete":
            run_index.run_store(self._stops).stop()
            self._look(run_index, self._stops)
