"""Snapshots of a place where runs are stored: which runs one is of, its making by any number of calls, their list."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from crawler.adapters.runtime.clock import SystemClock
from crawler.app.crawl_request import SnapshotRequest
from crawler.app.json_log import LOGGER
from crawler.app.stored.source_runs import SourceRuns
from crawler.core.deadline import CallTime
from crawler.core.errors import Damaged, RunConflict, UnknownRun
from crawler.core.key_list import KeyList
from crawler.core.ports import Store
from crawler.core.records import FormatName
from crawler.core.timestamps import day_of, utc_text
from crawler.runs.index import RunIndex
from crawler.runs.spec import RunSpec, short_digest
from crawler.views.layers import RunLayer
from crawler.views.snapshot import SnapshotStore, SnapshotWork
from crawler.views.snapshot_spec import SnapshotManifest, SnapshotSpec

# Reads of a bucket at once: each waits some 50 ms for its first byte.
_READ_THREADS = 8


class SnapshotSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Say how a snapshot stands: how many songs and parts it has so far, of how many runs."""

    snapshot: str
    state: Literal["complete", "partial"]
    source: str
    source_name: str | None
    format: FormatName
    laid_on: str | None = msgspec.field(name="from")
    runs: int
    songs: int
    parts: int
    output: str
    created_at: str


class Snapshots(msgspec.Struct, frozen=True):
    """The snapshots of the runs in one store, kept in the same or another.

    `keys` gives the keys of KEYS as they are now, where runs with other ones must be told apart; `format` is that of
    new snapshots.
    """

    runs: Store
    kept_in: Store
    format: FormatName
    keys: Callable[[], KeyList | None] = lambda: None

    def make(self, request: SnapshotRequest, time: CallTime) -> SnapshotSummary:
        """Begin a snapshot, or go on with one, until it is complete or the time is over.

        Raises BadRequest, UnknownRun, RunConflict, Damaged, NewerVersion, StoreUnavailable.
        """
        call_id, clock = uuid.uuid4().hex, SystemClock()
        run_index = RunIndex(self.runs.until(time.store_end))
        store = self.kept_in.until(time.store_end)
        with ThreadPoolExecutor(_READ_THREADS, "read") as threads:
            source_runs = SourceRuns(run_index, self.keys, threads)
            begun = SnapshotStore(store, request.name).spec() if request.name else None
            base = None if begun and _is_complete(store, begun) else _base(store, request.laid_on)
            spec = begun or self._begin(store, request, base, source_runs, call_id)
            self._refuse_other(spec, request)
            snapshot_store = SnapshotStore(store, spec.snapshot, call_id)
            if not _is_complete(store, spec):
                own = set(spec.runs) - set(base.runs if base else ())
                layers = list(threads.map(lambda run: _layer(run_index, spec, run), sorted(own)))
                work = SnapshotWork(snapshot_store, spec, layers, base)
                work.carry_on(threads.submit, lambda: time.working_end.passed(clock.now()))
        summary = _summary(snapshot_store, spec)
        LOGGER.info(f"snapshot {summary.state}", extra={"fields": msgspec.to_builtins(summary)})
        return summary

    def page(self, limit: int, after: str) -> tuple[list[SnapshotSummary], str | None]:
        """Say how a page of snapshots stand, newest first, and after which the next page comes; None: there is none."""
        begun = [stored for stored in self.kept_in.list("snapshots/") if stored.name.endswith("/snapshot.json")]
        begun.sort(key=lambda stored: (-stored.created_at, stored.name))
        names = [stored.name.split("/")[1] for stored in begun]
        names = names[names.index(after) + 1 :] if after in names else names
        return [self.state(name) for name in names[:limit]], names[limit - 1] if len(names) > limit else None

    def state(self, name: str) -> SnapshotSummary:
        """Say how a snapshot stands; raises UnknownRun."""
        snapshot_store = SnapshotStore(self.kept_in, name)
        spec = snapshot_store.spec()
        if spec is None:
            raise UnknownRun(f"There is no snapshot {name}.")
        return _summary(snapshot_store, spec)

    def _refuse_other(self, begun: SnapshotSpec, request: SnapshotRequest) -> None:
        """Raise RunConflict if the snapshot of a name is another one than a call asks for."""
        has = {"source": begun.source_id, "from": begun.laid_on, "format": begun.format}
        asked = {"source": request.source or begun.source_id, "from": request.laid_on, "format": self.format}
        for name, value in asked.items():
            if value != has[name]:
                raise RunConflict(
                    f"The snapshot {begun.snapshot} was begun with {name} {has[name] or 'unset'}, not "
                    f"{value or 'unset'}; allowed: another name."
                )

    def _begin(
        self,
        store: Store,
        request: SnapshotRequest,
        base: SnapshotManifest | None,
        source_runs: SourceRuns,
        call_id: str,
    ) -> SnapshotSpec:
        specs = source_runs.of(request.source or (base.source_id if base else None))
        newest = max(specs, key=lambda spec: (spec.created_at, spec.run))
        if base and base.source_id != newest.source_id:
            raise RunConflict(f"The snapshot {base.snapshot} is of another source: {base.source}.")
        runs = sorted({*(spec.run for spec in specs), *(base.runs if base else ())})
        spec = self._spec(request, newest, runs)
        return SnapshotStore(store, spec.snapshot, call_id).begin(spec)

    def _spec(self, request: SnapshotRequest, newest: RunSpec, runs: list[str]) -> SnapshotSpec:
        epoch = SystemClock().epoch()
        digest = short_digest([newest.source_id, self.format, request.laid_on, *runs])
        return SnapshotSpec(
            snapshot=request.name or f"{day_of(epoch)}-{digest[:8]}",
            source=newest.source,
            source_name=newest.source_name,
            source_digest=newest.source_digest,
            keyed=newest.keys is not None,
            format=self.format,
            laid_on=request.laid_on,
            runs=runs,
            created_at=utc_text(epoch),
        )


def _is_complete(store: Store, spec: SnapshotSpec) -> bool:
    return SnapshotStore(store, spec.snapshot).manifest() is not None


def _base(store: Store, name: str | None) -> SnapshotManifest | None:
    if name is None:
        return None
    manifest = SnapshotStore(store, name).manifest()
    if manifest is None:
        raise UnknownRun(f"There is no complete snapshot {name} in {store.url}; from: {name}.")
    return manifest


def _layer(run_index: RunIndex, snapshot: SnapshotSpec, run: str) -> RunLayer:
    """Open a run; raises Damaged if it is gone, or another one has its name now."""
    run_store = run_index.run_store(run)
    spec = run_store.spec()
    if spec is None:
        raise Damaged(f"The snapshot {snapshot.snapshot} is of the run {run}, which is not there any more.")
    if not snapshot.is_of(spec):
        raise Damaged(f"The snapshot {snapshot.snapshot} is of a run {run} of {snapshot.source}, not of {spec.source}.")
    return RunLayer(run_store, spec)


def _summary(snapshot_store: SnapshotStore, spec: SnapshotSpec) -> SnapshotSummary:
    manifest = snapshot_store.manifest()
    parts = manifest.parts if manifest else snapshot_store.parts(spec)
    return SnapshotSummary(
        snapshot=spec.snapshot,
        state="complete" if manifest else "partial",
        source=spec.source,
        source_name=spec.source_name,
        format=spec.format,
        laid_on=spec.laid_on,
        runs=len(spec.runs),
        songs=sum(part.songs for part in parts),
        parts=len(parts),
        output=snapshot_store.url,
        created_at=spec.created_at,
    )
