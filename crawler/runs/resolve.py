"""Which run a call means, and what its songs are: decided from the store, so that any instance decides the same."""

from __future__ import annotations

import msgspec

from crawler.core.errors import BadRequest, RunConflict, UnknownRun
from crawler.core.records import FormatName
from crawler.core.timestamps import day_of, midnight_of, utc_text
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import FromRun, NextNumbers, NumberRanges, OpenRange, Selection, open_songs
from crawler.runs.spec import STORED_VERSION, RunSpec, Source, check_version, request_digest


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what one call asks for: its own words, and what the deployment adds to a run that it begins."""

    selection: Selection
    run: str | None = None
    scheduled_call: ScheduledCall | None = None
    source: Source
    format: FormatName
    part_songs: int
    end_after_missing: int
    max_songs: int

    @property
    def digest(self) -> str:
        """Tell requests apart."""
        return request_digest(str(self.selection), self.source.digest, self.format)


def resolve_run(run_index: RunIndex, order: Order, epoch: float) -> RunSpec:
    """Find the run that a call means, or begin it.

    Raises RunConflict for a name that another request has, UnknownRun and BadRequest for a run that songs refer to.
    """
    if order.run:
        return _named(run_index, order, order.run, epoch)
    if order.scheduled_call:
        return _fired(run_index, order, order.scheduled_call, epoch)
    if isinstance(order.selection, NextNumbers):
        return _claimed(run_index, order, None, epoch)
    scope = scopes_of(order.digest, None)[0]
    spec = run_index.newest_unfinished(scope) or run_index.finished_since(scope, midnight_of(epoch))
    # Today's name: a run that bears it and has finished did so since we looked, by a duplicate of this very call.
    return spec or _begin(run_index, order, run_index.name_not_stopped(f"{day_of(epoch)}-{order.digest[:8]}"), epoch)


def plan_run(run_index: RunIndex, order: Order, epoch: float) -> RunSpec:
    """Say what run the call would begin if there were none to go on with; raises as resolve_run does."""
    if order.run and (spec := run_index.run_store(order.run).spec()):
        return _agreed(spec, order)
    run, songs = order.run or f"{day_of(epoch)}-{order.digest[:8]}", None
    if isinstance(order.selection, NextNumbers):
        claim = run_index.next_claim(order.source.digest, order.selection.count, order.run)[1]
        run, songs = claim.run, claim.songs
    return _spec(run_index, order, run, epoch, songs)


def _named(run_index: RunIndex, order: Order, run: str, epoch: float) -> RunSpec:
    spec = run_index.run_store(run).spec()
    if spec:
        return _agreed(spec, order)
    if isinstance(order.selection, NextNumbers):
        return _claimed(run_index, order, run, epoch)
    return _begin(run_index, order, run, epoch)


def _fired(run_index: RunIndex, order: Order, scheduled_call: ScheduledCall, epoch: float) -> RunSpec:
    """Go on with the job's unfinished run; every delivery of one scheduled call goes to one, whatever became of it."""
    job = scopes_of(order.digest, scheduled_call.job)[1]
    run = run_index.scheduled_call(job, scheduled_call.time)
    if run is None:
        unfinished = run_index.newest_unfinished(job)
        if unfinished:
            run = unfinished.run
        elif isinstance(order.selection, NextNumbers):
            run = _claimed(run_index, order, None, epoch).run
        else:
            # Jobs of two locations may have one name and fire in one second: the hash keeps their requests apart.
            run = run_index.free_name(f"{scheduled_call.run_name}-{order.digest[:8]}")
        run = run_index.fired(job, scheduled_call.time, run)
    return run_index.run_store(run).spec() or _begin(run_index, order, run, epoch)


def _claimed(run_index: RunIndex, order: Order, run: str | None, epoch: float) -> RunSpec:
    """Go on with the claim that next: means, whoever made it; claim anew if another request took its run's name."""
    assert isinstance(order.selection, NextNumbers)
    while True:
        claim = run_index.claim(order.source.digest, order.selection.count, run)
        spec = run_index.run_store(claim.run).spec() or _store(run_index, order, claim.run, epoch, claim.songs)
        if claim.is_of(spec, order.source.digest):
            return spec
        if claim.run == run:
            return _agreed(spec, order)


def _begin(run_index: RunIndex, order: Order, run: str, epoch: float) -> RunSpec:
    return _agreed(_store(run_index, order, run, epoch), order)


def _store(run_index: RunIndex, order: Order, run: str, epoch: float, songs: str | None = None) -> RunSpec:
    """Store a new run, or give the one that another call stored under its name first."""
    spec = _spec(run_index, order, run, epoch, songs)
    run_index.announce(spec, scopes_of(spec.request_digest, spec.job), int(epoch * 1000))
    return run_index.run_store(run).begin(spec)


def _spec(run_index: RunIndex, order: Order, run: str, epoch: float, songs: str | None) -> RunSpec:
    return RunSpec(
        version=STORED_VERSION,
        run=run,
        parent=order.selection.run if isinstance(order.selection, FromRun) else None,
        asked=str(order.selection),
        songs=_songs(run_index, order) if songs is None else songs,
        source=order.source.text,
        source_digest=order.source.digest,
        format=order.format,
        part_songs=order.part_songs,
        end_after_missing=order.end_after_missing if isinstance(order.selection, OpenRange) else None,
        job=order.scheduled_call.job if order.scheduled_call else None,
        created_at=utc_text(epoch),
    )


def _agreed(spec: RunSpec, order: Order) -> RunSpec:
    if spec.request_digest != order.digest:
        raise RunConflict(
            f"The run {spec.run} is taken: it asked for songs {spec.asked[:100]} of {spec.source} as {spec.format}."
        )
    return spec


def _songs(run_index: RunIndex, order: Order) -> str:
    if isinstance(order.selection, NumberRanges):
        return str(order.selection.songs)
    if isinstance(order.selection, OpenRange):
        return str(open_songs(order.selection.first, order.max_songs))
    assert isinstance(order.selection, FromRun)
    return _songs_of_run(run_index, order.selection, order.source)


def _songs_of_run(run_index: RunIndex, selection: FromRun, source: Source) -> str:
    run_store = run_index.run_store(selection.run)
    spec, manifest = run_store.spec(), run_store.manifest()
    if spec is None:
        raise UnknownRun(f"songs is {selection}, but there is no run {selection.run}.")
    if manifest is None:
        raise BadRequest(f"songs is {selection}, but the run {selection.run} is not finished; allowed: a finished run.")
    if spec.source_digest != source.digest:
        raise BadRequest(f"songs is {selection}, but the run {selection.run} is of another source: {spec.source}.")
    check_version(f"runs/{selection.run}/manifest.json", manifest)
    songs: str = msgspec.json.decode(manifest)[f"{selection.status}_songs"]
    return songs
