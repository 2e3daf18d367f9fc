"""The deployment's queue: what it is handed, and what one of its deliveries may do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from crawler.adapters.runtime.clock import SystemClock
from crawler.core.deadline import CallTime
from crawler.core.errors import BadSetting, UnknownRun
from crawler.core.limits import Limits
from crawler.core.ports import Queue
from crawler.core.settings import Settings
from crawler.fan_out.plan import MOST_DEADLINE_SECONDS, Plan, share, task_parts
from crawler.runs.cost import ASSUMED_PER_SECOND
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex
from crawler.runs.spec import RunSpec

if TYPE_CHECKING:
    from crawler.fan_out.fleet import Fleet


class Queueing(msgspec.Struct, frozen=True):
    """The way of runs into a queue; with None there is none, and nothing is handed over.

    `gate` is what a run must pass to be complete.
    """

    queue: Queue | None = None
    gate: Gate = Gate()

    @classmethod
    def of(cls, settings: Settings) -> Queueing:
        """Open the queue of the settings, if there is one; raises BadSetting if it could not call back."""
        if settings.queue is None:
            return cls()
        from crawler.adapters.queue.cloud_tasks import CloudTasksQueue

        for name in ("service_url", "invoker"):
            if getattr(settings, name) is None:
                allowed = "QUEUE, SERVICE_URL and INVOKER together"
                raise BadSetting(f"QUEUE is set, but {name.upper()} is not; allowed: {allowed}.")
        emulator = settings.cloud_tasks_emulator_host
        queue = CloudTasksQueue(settings.queue, settings.service_url or "", settings.invoker or "", emulator)
        return cls(queue, Gate(settings.max_failed, settings.min_found))

    @contextmanager
    def fleet(self, run_index: RunIndex, time: CallTime) -> Iterator[Fleet]:
        """Open the fleet for a call; raises UnknownRun where there is no queue."""
        if self.queue is None:
            raise UnknownRun("There is no queue here; allowed: a deployment with QUEUE.")
        from concurrent.futures import ThreadPoolExecutor

        from crawler.adapters.queue.cloud_tasks import CONNECTIONS
        from crawler.fan_out.fleet import Fleet

        with ThreadPoolExecutor(CONNECTIONS, "tasks") as executor:
            yield Fleet(run_index, self.queue.until(time.store_end), executor, SystemClock().epoch(), self.gate)

    def fan_out(self, run_index: RunIndex, spec: RunSpec, limits: Limits, time: CallTime) -> bool:
        """Hand a run to the queue, if there is one and the call has an end that comes too soon for the run."""
        if self.queue is None or not math.isfinite(time.seconds):
            return False
        seconds = min(time.seconds, MOST_DEADLINE_SECONDS)

        def make_plan(parts: int, at_once: int) -> Plan:
            return Plan(
                task_parts=task_parts(parts, spec.part_songs, limits.max_per_second, at_once, seconds),
                max_per_second=limits.max_per_second,
                max_at_once=limits.max_at_once,
                deadline_seconds=seconds,
            )

        songs = (limits.max_per_second or ASSUMED_PER_SECOND) * time.working_seconds
        with self.fleet(run_index, time) as fleet:
            return fleet.fan_out(spec, songs / spec.part_songs, make_plan)


def task_limits(own: Limits, plan: Plan, queue: Queue) -> Limits:
    """Return a task's limits: of the lower rate, the plan's or our own, the share of one delivery of the queue."""
    rates = [rate for rate in (plan.max_per_second, own.max_per_second) if rate]
    rate = share(min(rates), queue.most_at_once()) if rates else None
    return own.lowered(rate, min(plan.max_at_once, own.max_at_once))
