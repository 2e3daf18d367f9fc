"""The fleet: a run that is too large for one call, spread over many instances by tasks in a queue.

The protocol is the same as for one call: a task is a call on some of a run's parts. The queue may lose tasks, deliver
them twice or late; what is done and what is not stands in the store alone, and so does which tasks there ought to be.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from crawler.core.errors import BadRequest, Damaged, RunConflict, UnknownRun
from crawler.core.ports import Queue
from crawler.fan_out.plan import (
    NAMES_LAST_SECONDS,
    Plan,
    Swept,
    Task,
    cut_tasks,
    may_follow,
    orphans,
    recut,
    task_parts,
)
from crawler.fan_out.sweeps import Sweeps
from crawler.runs.ending.gate import Gate
from crawler.runs.index import FANNED_OUT, RunIndex, scopes_of
from crawler.runs.manifest import add_up
from crawler.runs.spec import RunSpec, Source
from crawler.runs.status import run_summary
from crawler.runs.store import Ended, RunStore


class Fleet(msgspec.Struct, frozen=True):
    """The instances that a queue hands runs to.

    `executor` creates tasks at once, `epoch` is the present second, `gate` is what a run must pass to be complete.
    """

    run_index: RunIndex
    queue: Queue
    executor: Executor
    epoch: float
    gate: Gate = Gate()

    def sweeps(self, run: str) -> Sweeps:
        """Open the sweeps of a run."""
        return Sweeps(self.run_index.store, run, self.run_index.call_id)

    def fan_out(self, spec: RunSpec, most_parts: float, make_plan: Callable[[int, int], Plan]) -> bool:
        """Have the queue do the parts that a run lacks; False: one call can do them, `most_parts` at the most.

        A run once fanned out stays so, with the plan it began with (`make_plan` is given how many parts there are, and
        how many deliveries at once), and is enqueued once however often it is asked for. An open range has an order,
        and stays with its call.
        """
        run_store = self.run_index.run_store(spec.run)
        stops = run_store.stops()
        if spec.end_after_missing is not None or run_store.finished() or stops.stopped():
            return False
        sweeps = self.sweeps(spec.run)
        times = run_store.sweep_times()
        held = list(self.queue.names()) if times else []
        missing = missing_parts(run_store, spec, range(len(spec.grid)))
        if not missing or (not times and len(missing) <= most_parts):
            return False
        if not times:
            self.run_index.mark_fanned_out(spec.run)
            self._enqueue(spec, 0, sweeps.begin(0, make_plan(len(missing), self.queue.most_at_once())), missing)
        # Perhaps not all were enqueued, and the queue knows their names; a stop has used them up.
        elif self.epoch - times[-1] < NAMES_LAST_SECONDS and times[-1] > (stops.resumed_at() or 0.0):
            last = len(times) - 1
            if plan := sweeps.plan(last):
                self._enqueue(spec, last, plan, orphans(spec.run, missing, held))
        else:
            self._sweep(spec, held)
        return True

    def assignment(self, run: str, task: Task, source: Source) -> tuple[RunSpec, Plan]:
        """Return what a task of a run is to do, by the store alone; raises UnknownRun, RunConflict and BadRequest."""
        spec, plan = self.run_index.run_store(run).spec(), self.sweeps(run).plan(task.sweep)
        if spec is None or plan is None:
            raise UnknownRun(f"There is no run {run} whose sweep {task.sweep} enqueued this.")
        if conflict := source.conflict(spec):
            raise RunConflict(conflict)
        if task.last >= len(spec.grid):
            raise BadRequest(f"last is {task.last}; allowed: a whole number up to {len(spec.grid) - 1}.")
        return spec, plan

    def sweep(self) -> list[Swept]:
        """Finish the fanned-out runs that are whole, and enqueue anew what others lack and no task will do."""
        unfinished = list(self.run_index.unfinished(FANNED_OUT))
        held = list(self.queue.names()) if unfinished else []
        return [self._sweep(spec, held) for spec in unfinished]

    def create(self, run: str, task: Task, plan: Plan) -> None:
        """Enqueue one task, unless it was before."""
        self.queue.create(task.name(run), run, msgspec.json.encode(task), plan.deadline_seconds)

    def finish(self, spec: RunSpec, start: int) -> Ended | None:
        """Finish a run if it is whole, and say how it ended.

        Its parts are looked through from a place of the grid on, up to the first gap.
        Other tasks lack parts mostly just behind: so each task reads a page of the listing, and only the last all.
        """
        run_store = self.run_index.run_store(spec.run)
        if not run_store.is_whole(spec, start):
            return None
        run_summary(run_store, spec, self.epoch, gate=self.gate)
        self.run_index.conclude(spec.run, [*scopes_of(spec.request_digest, spec.job), FANNED_OUT])
        return run_store.ended()

    def _sweep(self, spec: RunSpec, held: list[str]) -> Swept:
        try:
            return self._swept(spec, held)
        except Damaged:  # one run must not keep the others from being swept
            return Swept(run=spec.run, state="damaged")

    def _swept(self, spec: RunSpec, held: list[str]) -> Swept:
        run_store, sweeps = self.run_index.run_store(spec.run), self.sweeps(spec.run)
        parts, times = add_up(run_store.iterate_parts(spec)), run_store.sweep_times()
        missing = sorted(set(range(len(spec.grid))).difference(parts.places))
        if not missing and (ended := self.finish(spec, 0)):
            return Swept(run=spec.run, state=ended)
        lost = orphans(spec.run, missing, held)
        plan = sweeps.plan(len(times) - 1) if times and lost else None
        rests = (stored.created_at for kept in run_store.rests(spec).values() for stored in kept)
        signs = [parts.created_at, *rests] if parts else list(rests)
        if plan is None or not may_follow(self.epoch, times, [*signs, *self._resumed_at(run_store)]):
            return Swept(run=spec.run, state="running", missing_parts=len(missing))
        number, plan = len(times), self._recut(spec, plan, len(lost))
        tasks = self._enqueue(spec, number, sweeps.begin(number, plan), lost)
        return Swept(run=spec.run, state="enqueued", missing_parts=len(missing), tasks=tasks)

    @staticmethod
    def _resumed_at(run_store: RunStore) -> list[float]:
        """List when somebody last had the run go on, if anybody did."""
        stops = run_store.stops()
        stops.stopped()
        instant = stops.resumed_at()
        return [] if instant is None else [instant]

    def _recut(self, spec: RunSpec, plan: Plan, parts: int) -> Plan:
        """Cut what was lost so that all instances have something to do."""
        at_once = self.queue.most_at_once()
        size = task_parts(parts, spec.part_songs, plan.max_per_second, at_once, plan.deadline_seconds)
        return msgspec.structs.replace(plan, task_parts=recut(plan.task_parts, size))

    def _enqueue(self, spec: RunSpec, sweep: int, plan: Plan, parts: list[int]) -> int:
        tasks = cut_tasks(parts, sweep, plan, len(spec.grid))
        for _ in self.executor.map(lambda task: self.create(spec.run, task, plan), tasks):
            pass  # what went wrong with one is raised here
        return len(tasks)


def missing_parts(run_store: RunStore, spec: RunSpec, part_range: range) -> list[int]:
    """List the places of a range of the grid whose parts are not committed."""
    return sorted(set(part_range).difference(run_store.places(spec, part_range)))
