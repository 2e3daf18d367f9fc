"""The complete runs of one source: the only one of a store, or one that is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from crawler.core.errors import BadRequest, UnknownRun
from crawler.core.key_list import KeyList
from crawler.runs.index import RunIndex, run_of
from crawler.runs.spec import RunSpec, Source


class SourceRuns(msgspec.Struct, frozen=True):
    """Find runs by their source; `keys` gives the keys as they are now, `threads` read many run.json at once."""

    run_index: RunIndex
    keys: Callable[[], KeyList | None]
    threads: Executor

    def of(self, source: str | None) -> list[RunSpec]:
        """Return the complete runs of a source, by its name or digest; None: the only one that there is.

        Raises BadRequest if there are several, or several lists of keys that can't be told apart; UnknownRun if there
        is none; NewerVersion, Damaged for a run that can't be read.
        """
        of_sources = self._by_source()
        place = self.run_index.store.url
        if not of_sources:
            raise UnknownRun(f"There is no complete run in {place}.")
        if source is None and len(of_sources) > 1:
            raise BadRequest(f"source is missing, and {place} holds runs of several; allowed: {_named(of_sources)}.")
        if source is not None and source not in of_sources:
            raise UnknownRun(f"No complete run in {place} is of the source {source}; there are {_named(of_sources)}.")
        return self._of_the_same_keys(of_sources[source or next(iter(of_sources))])

    def _by_source(self) -> dict[str, list[RunSpec]]:
        runs = dict.fromkeys(run_of(name) for name in self.run_index.newest(sys.maxsize))
        of_sources: dict[str, list[RunSpec]] = {}
        for spec in self.threads.map(self._complete, runs):
            if spec is not None:
                of_sources.setdefault(spec.source_id, []).append(spec)
        return of_sources

    def _complete(self, run: str) -> RunSpec | None:
        run_store = self.run_index.run_store(run)
        return run_store.spec() if run_store.ended() == "complete" else None

    def _of_the_same_keys(self, specs: list[RunSpec]) -> list[RunSpec]:
        """Leave out the runs of other keys than those of today, which are of another source."""
        if len({spec.keys for spec in specs}) == 1:
            return specs
        keys = self.keys()
        if keys is None:
            raise BadRequest(
                f"The runs of {specs[0].source_id} were begun with several versions of KEYS; allowed: KEYS set to the "
                "file as it is now, which tells what it begins with."
            )
        source = Source("", "", keys=keys)
        same = [spec for spec in specs if source.has_keys(spec.keys)]
        if not same:
            raise UnknownRun(f"No complete run of {specs[0].source_id} has keys that KEYS begins with.")
        return same


def _named(of_sources: dict[str, list[RunSpec]]) -> str:
    return ", ".join(f"{source} ({specs[0].source[:80]})" for source, specs in sorted(of_sources.items()))
