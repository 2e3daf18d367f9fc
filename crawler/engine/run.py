"""One call's work on a run: begin or join it, fetch the parts that are not there, finish it if the parts tile it.

The store's create-only objects are the whole protocol (engine/ledger.py): no lease, no lock, no clock, nothing
overwritten or deleted. Two calls on one run are waste, never harm: each looks before it starts a part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

from crawler.engine.gather import gather_songs
from crawler.engine.ledger import Ledger
from crawler.engine.part import RunPart
from crawler.engine.work import Limits, Work, ignore_outcome
from crawler.ground.deadline import Deadline
from crawler.ground.errors import RunConflict, UpstreamUnavailable
from crawler.ground.records import Verdict
from crawler.rules.answer import Answer, make_answer
from crawler.rules.parts import PartKey
from crawler.rules.spec import RunSpec
from crawler.rules.tally import Tally
from crawler.seams.ports import Clock, Lane

DEADLINE_DETAIL = "The time of this call is over: send the same call again, it continues from here."


@dataclass
class RunCall:
    """Be one call on a run; `strands` runs the strands' threads, `commits` what is kept away from them."""

    ledger: Ledger
    lane: Lane
    limits: Limits
    clock: Clock
    strands: Executor
    commits: Executor
    deadline: Deadline = field(default_factory=Deadline)
    on_outcome: Callable[[Verdict], None] = ignore_outcome
    random: random.Random = field(default_factory=random.Random)

    async def crawl(self, spec: RunSpec) -> Answer:
        """Do what the run still needs, and say how it stands then.

        Raises RunConflict if the run's name belongs to another request, StoreUnavailable if the store fails. Where the
        upstream refuses or the deadline comes the answer is partial: the same call again continues.
        """
        first = self.ledger.begin(spec)
        if first.request_digest != spec.request_digest:
            raise RunConflict(
                f"run {spec.run!r} is taken: it asked for songs {first.songs} of {first.source} as {first.format}."
            )
        committed = {part.key.index for part in self.ledger.parts(first)}
        keys = [key for key in first.grid if key.index not in committed]
        detail = await self._fetch(keys, joined=first is not spec) if keys else None
        return self._answer(first, detail)

    async def _fetch(self, keys: list[PartKey], joined: bool) -> str | None:
        """Fetch the parts; gives a sentence on what came between, if anything did."""
        if joined:
            start = self.random.randrange(len(keys))
            keys = keys[start:] + keys[:start]
        work = Work(
            self._open_parts(keys),
            self.limits,
            self.clock,
            self.commits.submit,
            self.deadline,
            on_outcome=self.on_outcome,
        )
        songs = sum(len(key.songs) for key in keys)
        try:
            await gather_songs(work, min(self.limits.max_at_once, songs), self.strands)
        except UpstreamUnavailable as error:
            return str(error)
        finally:
            self.commits.shutdown()
        if work.error:
            raise work.error
        return DEADLINE_DETAIL

    def _open_parts(self, keys: list[PartKey]) -> Iterator[RunPart]:
        for key in keys:
            if not self.ledger.has(key):
                tally = Tally(attempt=self.ledger.attempt, started_at=self.clock.epoch())
                yield RunPart(key, self.lane, tally, self._commit)

    def _commit(self, part: RunPart, data: bytes) -> None:
        part.tally.finished_at = self.clock.epoch()
        self.ledger.commit(part.key, data, part.tally)

    def _answer(self, spec: RunSpec, detail: str | None) -> Answer:
        parts = self.ledger.parts(spec)
        if self.ledger.finish(spec, parts):
            return make_answer(spec, "complete", self.ledger.url, parts)
        return make_answer(spec, "partial", self.ledger.url, parts, detail)
