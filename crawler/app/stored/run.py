"""A stored run, by its name: how it stands, and what people may do to it from outside."""

from __future__ import annotations

import msgspec

from crawler.adapters.runtime.clock import SystemClock
from crawler.core.errors import RunConflict, UnknownRun
from crawler.runs.index import RunIndex
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_summary
from crawler.runs.store import RunStore
from crawler.runs.summary import RunSummary


class StoredRun(msgspec.Struct, frozen=True):
    """One run, opened for one request: what it was asked for stands in its `spec`."""

    run_index: RunIndex
    spec: RunSpec

    @classmethod
    def open(cls, run_index: RunIndex, run: str) -> StoredRun:
        """Open a run; raises UnknownRun."""
        spec = run_index.run_store(run).spec()
        if spec is None:
            raise UnknownRun(f"There is no run {run}.")
        return cls(run_index, spec)

    @property
    def run_store(self) -> RunStore:
        """Return where it is stored."""
        return self.run_index.run_store(self.spec.run)

    def summary(self, *, coverage: bool = False) -> RunSummary:
        """Say how it stands, if wanted with the places of its parts."""
        return run_summary(self.run_store, self.spec, SystemClock().epoch(), coverage=coverage)

    def stop(self) -> RunSummary:
        """Have no instance start a part of it any more; a finished run stays as it is."""
        if not self.run_store.finished():
            self.run_store.stop()
        return self.summary()

    def resume(self) -> RunSummary:
        """Take back that it was stopped: the same call goes on with it; any other run stays as it is."""
        if not self.run_store.finished():
            self.run_index.resume(self.spec)
        return self.summary()

    def accept(self) -> RunSummary:
        """Complete it as it is, though the gate holds it; raises RunConflict if that is not so."""
        state = self.summary().state
        if state != "held":
            raise RunConflict(f"The run {self.spec.run} is {state}; allowed: a run that is held.")
        self.run_store.accept(self.spec)
        return self.summary()
