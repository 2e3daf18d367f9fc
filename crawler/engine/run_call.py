"""One call's work on a run: fetch the parts that are not there, finish it if the parts tile it, say how it stands.

The store's create-only objects are the whole protocol (runs/store.py): no lease, no lock, no clock, nothing
overwritten or deleted. Two calls on one run are waste, never harm: each looks before it starts a part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import msgspec

from crawler.core.deadline import Deadline
from crawler.core.errors import UpstreamUnavailable
from crawler.core.limits import Limits
from crawler.core.ports import Clock, Fetcher, MultiFetcher
from crawler.core.records import StoredObject
from crawler.core.verdict import Verdict, failed
from crawler.engine.absent_songs import MANY
from crawler.engine.dispatcher import Dispatcher
from crawler.engine.part_writer import PartWriter
from crawler.engine.run_progress import Progress, RunProgress
from crawler.engine.workers import gather_songs
from crawler.rate_control.limiter import Limiter
from crawler.runs.ending.gate import Gate
from crawler.runs.ending.open_range import OpenRangeEnd
from crawler.runs.grid import PartKey
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.known_songs import known_songs
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_summary
from crawler.runs.summary import OUT_OF_TIME, UNANSWERED, CallResult, Interruption, Reason, asked_nothing
from crawler.runs.tally import Tally


@dataclass(eq=False, repr=False)
class RunCall:
    """One call on a run.

    `workers` runs the workers' threads, `commits` what is kept away from them; `limiter` is shared with other calls;
    `key_of` gives the key that the row of a number carries, in a run with KEYS; `gate` is what the run must pass to be
    complete.
    """

    run_index: RunIndex
    spec: RunSpec
    fetcher: Fetcher
    limits: Limits
    clock: Clock
    workers: Executor
    commits: Executor
    limiter: Limiter
    deadline: Deadline = field(default_factory=Deadline)
    random: random.Random = field(default_factory=random.Random)
    key_of: Callable[[int], str] | None = None
    gate: Gate = field(default_factory=Gate)
    abandoned: int = 0

    def __post_init__(self) -> None:
        self._part_range = range(len(self.spec.grid))
        self._run_store = self.run_index.run_store(self.spec.run)
        self.stops = self._run_store.stops()
        self._rests: dict[int, list[StoredObject]] = {}
        self._count = RunProgress()
        self._end = OpenRangeEnd(self.spec.grid, self.spec.end_after_missing) if self.spec.end_after_missing else None

    async def crawl(self) -> CallResult:
        """Do what the run still needs, and say how it stands then.

        Raises StoreUnavailable if the store fails. Where the upstream refuses, the run is stopped or the deadline
        comes, the run is not complete: the same call again continues.
        """
        if self._run_store.finished():
            summary = run_summary(self._run_store, self.spec, self.clock.epoch())
            self._count.was_there(summary.counts)
            return CallResult(asked_nothing(summary), Reason(summary.state))
        interruption = await self.fetch()
        summary = run_summary(
            self._run_store, self.spec, self.clock.epoch(), gate=self.gate, detail=interruption.detail
        )
        if summary.state in ("complete", "held", "stopped"):
            scopes = scopes_of(self.spec.request_digest, self.spec.job)
            self.run_index.conclude(self.spec.run, scopes, self.stops.taken_back)
            return CallResult(summary, Reason(summary.state))
        summary = msgspec.structs.replace(summary, retry_after=interruption.retry_after)
        return CallResult(summary, interruption.reason)

    def progress(self) -> Progress:
        """Say how far the call's share of the run is, as far as it knows; any thread may ask, at any time."""
        grid, part_range = self.spec.grid, self._part_range
        songs = min(part_range.stop * grid.part_songs, len(grid.songs)) - part_range.start * grid.part_songs
        return self._count.progress(self.clock.now(), None if self._end else songs)

    async def fetch(
        self, part_range: range | None = None, on_outcome: Callable[[int, Verdict], None] | None = None
    ) -> Interruption:
        """Fetch the parts that are not there; return what came between, in case anything did.

        `part_range` are the indexes of the parts that it may fetch, None: all. `on_outcome` is called with each song
        that has its outcome.
        """
        self._part_range = part_range or range(len(self.spec.grid))
        with self.limiter:
            self.limiter.renew(self.clock.now())
        dispatcher = Dispatcher(
            self._open_parts(self._wanted()),
            self.limits,
            self.clock,
            self.commits.submit,
            self.deadline,
            self.random.random,
            on_outcome=on_outcome,
            limiter=self.limiter,
            known_songs=partial(known_songs, self.run_index, self.spec),
            withholds=self.spec.parent is None and len(self.spec.grid.songs) >= MANY,
        )
        at_once = min(self.limits.max_at_once, len(self.spec.grid.songs))
        fetcher = self.fetcher if isinstance(self.fetcher, MultiFetcher) else None
        try:
            with suppress(UpstreamUnavailable):
                await gather_songs(dispatcher, at_once, self.workers, fetcher)
        finally:
            self.commits.shutdown()
            self.abandoned = dispatcher.abandoned
            self._keep(dispatcher)
        if isinstance(dispatcher.error, UpstreamUnavailable):
            return Interruption(Reason.UPSTREAM, str(dispatcher.error), dispatcher.error.retry_after)
        if dispatcher.error:
            raise dispatcher.error
        return self._out_of_time(dispatcher)

    def _out_of_time(self, dispatcher: Dispatcher) -> Interruption:
        """Say that the upstream took the time, where requests went out and no song came of them."""
        progress = self.progress()
        opened = [part for part in dispatcher.unfinished() if isinstance(part, PartWriter)]
        asked = dispatcher.cut_off or any(part.tally.requests for part in opened)
        return UNANSWERED if asked and progress.songs_done == progress.before else OUT_OF_TIME

    def give_up(self, key: PartKey, error: str) -> None:
        """Commit a part in which every song is failed that has no row yet."""
        self._rests = self._run_store.rests(self.spec, range(key.index, key.index + 1))
        part = self._restored(key)
        part.settle([(index, failed(error)) for index in part.pending])
        part.advance()

    def _wanted(self) -> Iterator[PartKey]:
        """Yield the parts to fetch: those not committed when the call began.

        From an index drawn at random, so that two calls on one run seldom meet, that of a part which was cut off if
        there is one; an open range in order, since its end shows only in the committed prefix.
        """
        grid, part_range = self.spec.grid, self._part_range
        committed = set()
        for part in self._run_store.iterate_parts(self.spec, part_range):
            committed.add(part.key.index)
            self._count.was_there(part.tally)
            if self._end:
                self._end.add(part.key.index, self._run_store.with_sets(part).tally)
        self._rests = self._run_store.rests(self.spec, part_range)
        cut_off = sorted(set(self._rests) - committed)
        start = 0 if self._end else self.random.choice(cut_off or part_range or [0])
        for index in chain(range(start, part_range.stop), range(part_range.start, start)):
            if index not in committed:
                yield grid[index]

    def _open_parts(self, keys: Iterator[PartKey]) -> Iterator[PartWriter]:
        """Open one part after the other, looking first whether it is still wanted."""
        for key in keys:
            if (self._end and self._end.parts is not None) or self.stops.stopped():
                return
            if committed := self._run_store.part(key):
                self._count.was_there(committed.tally)
                if self._end:
                    self._end.add(key.index, self._run_store.with_sets(committed).tally)
                continue
            part = self._restored(key)
            part.advance()  # rows kept aside are compressed at once; where nothing is missing they are the part
            if not part.whole:
                yield part

    def _restored(self, key: PartKey) -> PartWriter:
        tally = Tally(call_id=self._run_store.call_id, started_at=self.clock.epoch())
        lines, cost = self._run_store.restore(self._rests.get(key.index, []))
        tally.carry(cost)
        part = PartWriter(key, self.fetcher, tally, self._commit, lines, self.key_of)
        self._count.opened(part, len(lines))
        return part

    def _commit(self, part: PartWriter, data: bytes) -> None:
        part.tally.finished_at = self.clock.epoch()
        self._run_store.commit(part.key, data, part.tally)
        self._count.committed(part)
        if self._end:
            self._end.add(part.key.index, part.tally)

    def _keep(self, dispatcher: Dispatcher) -> None:
        """Keep aside the rows of the parts that were cut off."""
        for part in dispatcher.unfinished():
            assert isinstance(part, PartWriter)
            if rows := part.cut_off():
                part.tally.finished_at = self.clock.epoch()
                self._run_store.keep(part.key, *rows, part.tally)
