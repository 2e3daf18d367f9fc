"""Which run a call must mean, and what the claims of next: must cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from crawler.core.errors import BadRequest, RunConflict
from crawler.runs.selection import FromRun, NextNumbers
from simulation.store import Entry
from simulation.stored import StoredRun, expand
from simulation.upstream import Upstream

if TYPE_CHECKING:
    from simulation.truth import Truth
    from simulation.visits import CrawlCall

DAY_SECONDS = 86400


class Choices:
    """Watch which runs the calls of one world choose."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._scheduled_runs: dict[tuple[str, str, str], str] = {}
        self.claims: list[tuple[str, str]] = []

    def begun(self, name: str) -> None:
        """Hold a run that begins against the index: none is ever without its markers."""
        run = self._truth.runs[name]
        self._truth.hold(run.spec["run"] == name, f"{name} is {run.spec['run']} in its run.json")
        self._truth.hold(self._truth.indexed(name), f"{name} begins without being indexed")

    def claimed(self, entry: Entry) -> None:
        """Hold a claim of next: against those before: sequential, and from the highest number found."""
        claim = msgspec.json.decode(entry.data)
        number = int(entry.stored.name.rpartition("/")[2].partition(".")[0])
        self._truth.hold(number == len(self.claims) + 1, f"{entry.stored.name} comes after {len(self.claims)} claims")
        self._truth.hold(self._idle(), f"{entry.stored.name} is claimed before {self.claims[-1:]} is over")
        found, least, most = claim["found"], self._highest(entry.by.began), self._highest()
        self._truth.hold(least <= found <= most, f"{entry.stored.name} goes on from {found}, not {least} to {most}")
        numbers = expand(claim["songs"])
        fresh, again = [n for n in numbers if n > found], {n for n in numbers if n <= found}
        self._truth.hold(fresh[0] == found + 1, f"{entry.stored.name} goes on from {found} with {fresh}")
        missing = {n for run in self._runs() for n, row in run.rows().items() if row[0] == "missing"}
        self._truth.hold(again <= missing, f"{entry.stored.name} asks again for {again - missing}")
        self.claims.append((claim["run"], claim["songs"]))

    def chose(self, call: CrawlCall, run: StoredRun) -> None:
        """Hold the run that a call chose against what it asked for."""
        order, name = call.order, run.spec["run"]
        if isinstance(order.selection, NextNumbers):
            claimed = (name, run.spec["songs"]) in self.claims
            self._truth.hold(claimed, f"{call.name} goes on with {name}, no claim of next:")
        else:
            right = (str(order.selection), order.source.digest, order.format)
            self._truth.hold(run.request == right, f"{call.name} asks for {right} and gets {run.request} of {name}")
        if order.scheduled_call:
            scheduled_call = order.digest, order.scheduled_call.job, order.scheduled_call.time
            first = self._scheduled_runs.setdefault(scheduled_call, name)
            self._truth.hold(first == name, f"{call.name} gets {name} for a scheduled call that went to {first}")
        elif order.run:
            named = name == order.run or isinstance(order.selection, NextNumbers)
            self._truth.hold(named, f"{call.name} asks for the run {order.run} and gets {name}")
        elif not isinstance(order.selection, NextNumbers):
            self._chose_by_itself(call, run)

    def refused(self, call: CrawlCall, error: BadRequest) -> None:
        """Hold a refusal (4xx) against what there is: a name that is taken, or a run that songs refer to."""
        order = call.order
        named = self._truth.runs.get(order.run or "")
        if isinstance(error, RunConflict):
            taken = named is not None and named.request != (str(order.selection), order.source.digest, order.format)
            self._truth.hold(taken, f"{call.name} is answered: {error}")
        else:
            self._truth.hold(isinstance(order.selection, FromRun), f"{call.name} is answered: {error}")

    def at_the_end(self, upstream: Upstream) -> None:
        """Hold the finished runs of next: against the catalogue: every song up to the highest found is there."""
        rows = [run.rows() for run in self._runs()]
        found = {number for of_run in rows for number, row in of_run.items() if row[0] != "missing"}
        born = {number for number in range(1, self._highest() + 1) if upstream.exists(number)}
        self._truth.hold(not upstream.steady or born <= found, f"next: never gets {sorted(born - found)}")

    def _chose_by_itself(self, call: CrawlCall, run: StoredRun) -> None:
        """Hold a run that was not named: the newest unfinished, else one of today, else a new one."""
        name = run.spec["run"]
        others = [other for other in self._truth.runs.values() if other.request == run.request and other is not run]
        if run.begun_by == call.name:
            early = [other for other in others if max(other.began, other.resumed) < call.began]
            left = [other.spec["run"] for other in early if other.waiting()]
            self._truth.hold(not left, f"{call.name} begins {name} though there is {left}")
        elif run.finished is not None and run.finished < call.began:
            today = call.epoch // DAY_SECONDS == run.finished_at // DAY_SECONDS
            self._truth.hold(today, f"{call.name} takes {name}, which was finished on another day")
        else:
            stopped = run.stopped is not None and run.stopped < call.began and run.finished is None
            self._truth.hold(not stopped, f"{call.name} goes on with {name}, which was stopped")

    def _idle(self) -> bool:
        """Tell whether no claim of next: is unfinished."""
        if not self.claims:
            return True
        name, songs = self.claims[-1]
        run = self._truth.runs.get(name)
        return run is not None and (run.spec["songs"] != songs or not run.waiting())

    def _runs(self) -> list[StoredRun]:
        """Give the finished runs of next:, none that only bears such a run's name."""
        runs = [self._truth.runs[name] for name, songs in self.claims if self._begun_with(name, songs)]
        return [run for run in runs if run.finished is not None]

    def _begun_with(self, name: str, songs: str) -> bool:
        return name in self._truth.runs and self._truth.runs[name].spec["songs"] == songs

    def _highest(self, serial: int | None = None) -> int:
        """Give the highest number found by the finished runs of next:, or by those that were it so early."""
        rows = [run.rows() for run in self._runs() if serial is None or (run.finished or 0) < serial]
        return max((number for of_run in rows for number, row in of_run.items() if row[0] == "found"), default=0)
