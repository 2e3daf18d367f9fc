"""One delivery of a task: a call on some of a run's parts, and what is to become of the rest of them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

from crawler.core.errors import SongcrawlError, UpstreamUnavailable
from crawler.core.verdict import Verdict
from crawler.engine.run_call import RunCall
from crawler.fan_out.fleet import Fleet, missing_parts
from crawler.fan_out.plan import Plan, Task, TaskReport
from crawler.runs.summary import OUT_OF_TIME, Interruption, Reason

# From so many failed deliveries on a task tries one part, alone on its instance, and notes that it does;
CAREFUL_RETRIES = 3
# a part that so many have begun alone, none of whom lived to say how it ended, is given up.
MOST_DEATHS = 3
POISON = "poison"

_ANOTHER_IS_ALONE = Interruption(
    Reason.BUSY, "Another task that failed again and again is at work here, alone: this one may come again."
)


@dataclass(eq=False, repr=False)
class TaskCall:
    """One delivery of a task.

    `call` is the call on its parts, `retries` how often the queue says that the task has failed. That is a hint, which
    anybody may send who may call at all: it makes the task careful. Only the store's own notes give a part up. `alone`
    is the instance's: of careful tasks it has one at a time, or what kills one would be laid at the others' door.
    """

    fleet: Fleet
    call: RunCall
    task: Task
    plan: Plan
    alone: Lock
    retries: int = 0

    def __post_init__(self) -> None:
        self._spec = self.call.spec
        self._run_store = self.fleet.run_index.run_store(self._spec.run)
        self._failures = self.task.failures + self.retries
        self._got_further = False

    async def carry_out(self) -> TaskReport:
        """Do what the task still lacks; where time ran out, enqueue its continuation.

        Raises UpstreamUnavailable if not one song came of it: the queue is to deliver the task again, later.
        """
        if self.call.stops.stopped() or self._run_store.finished():
            return self._report("over")
        alone = self._failures >= CAREFUL_RETRIES
        interruption = await (self._fetch_alone() if alone else self._fetch(self.task.part_range))
        if not missing_parts(self._run_store, self._spec, self.task.part_range):
            ended = self.fleet.finish(self._spec, self.task.last + 1)
            return self._report(ended or "complete")
        if self.call.stops.stopped():
            return self._report("over")
        if not self._got_further:
            raise UpstreamUnavailable(interruption.detail, interruption.retry_after)
        careful = self._failures >= CAREFUL_RETRIES  # until it is known what was wrong
        self.fleet.create(self._spec.run, self.task.next(self._failures if careful else 0), self.plan)
        return self._report("continued")

    async def _fetch(self, part_range: range) -> Interruption:
        return await self.call.fetch(part_range, self._note)

    async def _fetch_alone(self) -> Interruption:
        """Fetch the first part that is missing, and no other, so that it is known what killed us if anything does."""
        if not self.alone.acquire(blocking=False):
            return _ANOTHER_IS_ALONE
        try:
            return await self._fetch_first()
        finally:
            self.alone.release()

    async def _fetch_first(self) -> Interruption:
        sweeps = self.fleet.sweeps(self._spec.run)
        for index in missing_parts(self._run_store, self._spec, self.task.part_range):
            key = self._spec.grid[index]
            # What began less than a deadline ago may live.
            if sweeps.deaths(key, self.fleet.epoch - self.plan.deadline_seconds) >= MOST_DEATHS:
                self.call.give_up(key, POISON)
                self._got_further, self._failures = True, 0
                continue
            sweeps.begin_try(key)
            try:
                interruption = await self._fetch(range(index, index + 1))
            except SongcrawlError:  # foreseen: it is not the part's fault
                sweeps.end_try(key)
                raise
            sweeps.end_try(key)
            return interruption
        return OUT_OF_TIME

    def _note(self, song_num: int, outcome: Verdict) -> None:  # noqa: ARG002 - that one came is enough
        self._got_further = True

    def _report(self, state: str) -> TaskReport:
        task = self.task
        return TaskReport(run=self._spec.run, first=task.first, last=task.last, state=state)  # type: ignore[arg-type]
