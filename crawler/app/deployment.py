"""One deployment: what can be done with a store and a song, by any number of calls at once."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from crawler.adapters.robots_fetcher import RobotsFile
from crawler.adapters.runtime.clock import SystemClock
from crawler.app.crawl_request import CrawlRequest, RequestBounds, SnapshotRequest
from crawler.app.fetchers import obey_robots
from crawler.app.json_log import LOGGER
from crawler.app.key_file import KeyFile
from crawler.app.live_runs import LiveRuns
from crawler.app.progress_bar import bar, progress_log
from crawler.app.queueing import Queueing, task_limits
from crawler.app.stored.run import StoredRun
from crawler.core.deadline import CallTime, Deadline
from crawler.core.errors import Damaged, NewerVersion, UnknownRun
from crawler.core.limits import Limits
from crawler.core.ports import Fetcher, PageFetcher, Store
from crawler.core.records import STATUSES
from crawler.core.settings import DEFAULT_DEADLINE_SECONDS, Settings
from crawler.fan_out.plan import MOST_DEADLINE_SECONDS, SweepReport, Task, TaskReport
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.learned_store import LearnedRates
from crawler.rate_control.limiter import Limiter
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex, run_of
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.spec import RunSpec, Source
from crawler.runs.status import run_summary
from crawler.runs.store import RunStore
from crawler.runs.summary import HANDED_TO_QUEUE, CallResult, Reason, RunSummary, make_plan

# What only some calls need is imported where they need it: a cold start that is asked how a run stands waits for none.
if TYPE_CHECKING:
    from crawler.app.stored.snapshots import Snapshots, SnapshotSummary
    from crawler.engine.run_call import RunCall
    from crawler.reporting.report import Report
    from crawler.runs.resolve import Order
    from crawler.views.run_rows import RunRows

# Commits at once: compressing takes a core for milliseconds, a bucket's answer some 50 ms.
_COMMIT_THREADS = 2


class Deployment(msgspec.Struct, frozen=True):
    """What calls can be answered with.

    `make_fetcher` opens a fetcher on a stack that closes it (given what tells a number's key, where there is a
    `key_file`), `source` names what it crawls, `limiter` keeps MAX_PER_SECOND and MAX_AT_ONCE over all calls,
    `robots_file` is there where one is to be obeyed, by `queueing` a queue gets what is too much for one; `alone` is
    held by the task that must have no other of its kind beside it.
    """

    settings: Settings
    store: Store
    source: Source
    make_fetcher: Callable[..., Fetcher]
    limiter: Limiter
    robots_file: RobotsFile | None = None
    queueing: Queueing = msgspec.field(default_factory=Queueing)
    alone: Lock = msgspec.field(default_factory=Lock)
    live: LiveRuns = msgspec.field(default_factory=LiveRuns)
    key_file: KeyFile | None = None

    @property
    def bounds(self) -> RequestBounds:
        """Return what a call may lower."""
        own = self.settings
        deadline_seconds = own.deadline_seconds or DEFAULT_DEADLINE_SECONDS
        return RequestBounds(own.max_songs, own.max_per_second, own.max_at_once, deadline_seconds)

    def crawl(
        self,
        request: CrawlRequest,
        seconds: float = math.inf,
        scheduled_call: ScheduledCall | None = None,
        *,
        shown: bool = False,
    ) -> CallResult:
        """Carry out one call, blocking until it is complete, refused or `seconds` are over; `shown`: with a bar."""
        from crawler.adapters.runtime.event_loop import run_coroutine
        from crawler.runs.resolve import resolve_run

        clock = SystemClock()
        time = CallTime(clock.now(), seconds)
        run_index, source = self._run_index(time), self._source(time.store_end)
        spec = resolve_run(run_index, self._order(request, scheduled_call, source), clock.epoch())
        limits = self._limits(request)
        if self.queueing.fan_out(run_index, spec, limits, time):
            summary = run_summary(run_index.run_store(spec.run), spec, clock.epoch(), detail=HANDED_TO_QUEUE.detail)
            result = CallResult(msgspec.structs.replace(summary, state="running"), HANDED_TO_QUEUE.reason)
        else:
            limiter = self.limiter if limits == self.settings.limits else self._narrowed(limits)
            opened = self._open_call(run_index, spec, source, limits, limiter, time.working_end)
            with opened as call, bar(call.progress, shown=shown):
                result = run_coroutine(call.crawl())
        level = logging.ERROR if result.reason is Reason.HELD else logging.INFO
        LOGGER.log(level, f"crawl {result.summary.state}", extra={"fields": _fields(spec) | _facts(result.summary)})
        return result

    def carry_out(self, run: str, task: Task, retries: int = 0) -> TaskReport:
        """Carry out a task that has failed `retries` times before; raises UpstreamUnavailable if nothing came of it."""
        from crawler.adapters.runtime.event_loop import run_coroutine
        from crawler.fan_out.task_call import TaskCall

        clock = SystemClock()
        time = CallTime(clock.now(), min(self.bounds.deadline_seconds, MOST_DEADLINE_SECONDS))
        run_index, source = self._run_index(time), self._source(time.store_end)
        with self.queueing.fleet(run_index, time) as fleet:
            spec, plan = fleet.assignment(run, task, source)
            limits = task_limits(self.settings.limits, plan, fleet.queue)
            limiter = self._narrowed(limits, since=clock.now())
            # Counted from here: a slow start must not keep a short task from getting further, however often it comes.
            own = CallTime(clock.now(), min(time.seconds, plan.deadline_seconds))
            with self._open_call(run_index, spec, source, limits, limiter, own.working_end) as call:
                report = run_coroutine(TaskCall(fleet, call, task, plan, self.alone, retries).carry_out())
        LOGGER.info(f"task {report.state}", extra={"fields": _fields(spec) | msgspec.structs.asdict(report)})
        if report.state == "held":
            self._log_held(run)
        return report

    def sweep(self) -> SweepReport:
        """Finish fanned-out runs that are whole, and enqueue again what the queue has lost of others."""
        time = CallTime(SystemClock().now(), self.bounds.deadline_seconds)
        with self.queueing.fleet(self._run_index(time), time) as fleet:
            report = SweepReport(runs=fleet.sweep())
        LOGGER.info(f"swept {len(report.runs)} runs", extra={"fields": msgspec.to_builtins(report)})
        for swept in report.runs:
            if swept.state == "held":
                self._log_held(swept.run)
        return report

    def plan(self, request: CrawlRequest, scheduled_call: ScheduledCall | None = None) -> RunSummary:
        """Say what a call would take, from the store and the settings alone; writes nothing."""
        from crawler.runs.resolve import plan_run

        run_index = self._looking()
        spec = plan_run(run_index, self._order(request, scheduled_call, self._source()), SystemClock().epoch())
        return make_plan(spec, run_index.run_store(spec.run).url, self._limits(request).max_per_second)

    def state(self, run: str, *, coverage: bool = False) -> RunSummary:
        """Say how a run stands, if wanted with the places of its parts; raises UnknownRun.

        From the store alone, but for the figures of a run that this instance is at work on: those are newer.
        """
        return self._state(self._looking(), run, coverage=coverage)

    def report(self, run: str) -> Report:
        """Report on a run, from the store alone; raises UnknownRun."""
        from crawler.reporting.report import run_report

        return run_report(*_known(self._looking(), run), SystemClock().epoch())

    def rows(self, run: str) -> RunRows:
        """Return the rows of a run, to be read from the store; raises UnknownRun."""
        from crawler.views.run_rows import RunRows

        return RunRows(*_known(self._looking(), run))

    def snapshots(self) -> Snapshots:
        """Return the snapshots of this store's runs, kept beside them."""
        from crawler.app.stored.snapshots import Snapshots

        keys = self.key_file.load if self.key_file else lambda: None
        return Snapshots(self.store, self.store, self.settings.format, keys)

    def snapshot(self, request: SnapshotRequest) -> SnapshotSummary:
        """Begin a snapshot, or go on with one, as long as the call may take."""
        seconds = request.deadline_seconds or self.bounds.deadline_seconds
        return self.snapshots().make(request, CallTime(SystemClock().now(), seconds))

    def runs(self, limit: int, after: str) -> tuple[list[RunSummary], str | None]:
        """Say how a page of runs stand, newest first, and after which the next page comes; None: there is none."""
        run_index = self._looking()
        names = run_index.newest(limit + 1, after)
        shown = names[:limit]
        summaries = []
        for name in shown:
            with suppress(UnknownRun, Damaged, NewerVersion):  # announced and never begun, or not to be read here
                summaries.append(self._state(run_index, run_of(name)))
        return summaries, shown[-1] if len(names) > limit else None

    def stop(self, run: str) -> RunSummary:
        """Stop a run: no instance starts a part of it any more; raises UnknownRun."""
        return self.live.update(StoredRun.open(self._looking(), run).stop())

    def resume(self, run: str) -> RunSummary:
        """Take a stop back, so that the same call goes on with the run; raises UnknownRun."""
        return self.live.update(StoredRun.open(self._looking(), run).resume())

    def accept(self, run: str) -> RunSummary:
        """Complete a run that the gate holds, as it is; raises UnknownRun, and RunConflict for any other run."""
        return StoredRun.open(self._looking(), run).accept()

    def _log_held(self, run: str) -> None:
        """Tell whoever reads the log that the gate held a run, which no caller waits for."""
        summary = self.state(run)
        LOGGER.error(f"run {summary.state}", extra={"fields": {"run": run} | _facts(summary)})

    def _state(self, run_index: RunIndex, run: str, *, coverage: bool = False) -> RunSummary:
        return self.live.update(StoredRun.open(run_index, run).summary(coverage=coverage))

    def _looking(self) -> RunIndex:
        """Open the run index for whoever only looks, or stops a run: that has an end too, whatever the store does."""
        return self._run_index(CallTime(SystemClock().now(), self.bounds.deadline_seconds))

    def _run_index(self, time: CallTime) -> RunIndex:
        return RunIndex(self.store.until(time.store_end), call_id=uuid.uuid4().hex)

    def _source(self, deadline: Deadline | None = None) -> Source:
        """Return what is crawled, with the keys as they are now."""
        if self.key_file is None:
            return self.source
        return msgspec.structs.replace(self.source, keys=self.key_file.load(deadline))

    @contextmanager
    def _open_call(
        self, run_index: RunIndex, spec: RunSpec, source: Source, limits: Limits, limiter: Limiter, deadline: Deadline
    ) -> Iterator[RunCall]:
        from concurrent.futures import ThreadPoolExecutor

        from crawler.adapters.runtime.daemon_threads import DaemonThreads
        from crawler.engine.run_call import RunCall

        LOGGER.info("crawl started", extra={"fields": _fields(spec)})
        clock = SystemClock()
        with ExitStack() as opened, ThreadPoolExecutor(_COMMIT_THREADS, "commit") as commits:
            key_of = source.keys.key if source.keys else None
            fetcher = self.make_fetcher(opened, key_of) if key_of else self.make_fetcher(opened)
            if self.robots_file and not run_index.run_store(spec.run).finished():
                patience = min(self.settings.request_timeout_seconds, deadline.remaining(clock.now()))
                assert isinstance(fetcher, PageFetcher)  # it is SONG_URL's
                fetcher, limiter = obey_robots(self.robots_file, fetcher.fetch, patience, fetcher, limiter, key_of)
            call = RunCall(
                run_index,
                spec,
                fetcher=fetcher,
                limits=limits,
                clock=clock,
                workers=DaemonThreads(),
                commits=commits,
                deadline=deadline,
                limiter=limiter,
                gate=Gate(self.settings.max_failed, self.settings.min_found),
                key_of=key_of,
            )
            with (
                self.live.shown(spec.run, call.progress),
                self._learning(run_index, spec, clock),
                progress_log(call.progress, _fields(spec)),
            ):
                yield call
        if call.abandoned:
            message = f"{call.abandoned} requests were abandoned: they did not end within their timeout"
            LOGGER.warning(message, extra={"fields": _fields(spec)})

    @contextmanager
    def _learning(self, run_index: RunIndex, spec: RunSpec, clock: SystemClock) -> Iterator[None]:
        """Start at the rate that an earlier run learned, and keep what this call learns."""
        name, limiter = self.source.name or self.source.text, self.limiter
        rates = LearnedRates(run_index.store, name, run_index.call_id)
        if limiter.controller.fresh and (learned := rates.latest(clock.epoch())):
            with limiter:
                limiter.controller.start_from(learned)
        yield
        with limiter:
            learned = limiter.controller.learned()
        if learned:
            rates.keep(spec.run, learned)

    def _order(self, request: CrawlRequest, scheduled_call: ScheduledCall | None, source: Source) -> Order:
        from crawler.runs.resolve import Order

        return Order(
            selection=request.selection,
            run=request.run,
            scheduled_call=scheduled_call,
            source=source,
            format=self.settings.format,
            part_songs=self.settings.songs_per_part(),
            end_after_missing=self.settings.end_after_missing,
            max_songs=self.settings.max_songs,
        )

    def _limits(self, request: CrawlRequest) -> Limits:
        return self.settings.limits.lowered(request.max_per_second, request.max_at_once)

    def _narrowed(self, limits: Limits, since: float | None = None) -> Limiter:
        return self.limiter.narrowed(Ceiling(limits.max_per_second, limits.max_at_once, since))


def _known(run_index: RunIndex, run: str) -> tuple[RunStore, RunSpec]:
    stored = StoredRun.open(run_index, run)
    return stored.run_store, stored.spec


def _fields(spec: RunSpec) -> dict[str, Any]:
    return {"run": spec.run, "songs": spec.asked[:200]}


def _facts(summary: RunSummary) -> dict[str, Any]:
    names = ("state", *STATUSES, "remaining", "requests", "throttled", "elapsed_seconds", "errors", "warnings")
    return {name: getattr(summary, name) for name in (*names, "detail")}
