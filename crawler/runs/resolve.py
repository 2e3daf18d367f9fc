"""Which run a call means, and what its songs are: decided from the store, so that any instance decides the same."""

from __future__ import annotations

import msgspec

from crawler.core.errors import BadRequest, RunConflict, UnknownRun
from crawler.core.records import FormatName
from crawler.core.timestamps import day_of, midnight_of, utc_text
from crawler.runs.index import Catalog
from crawler.runs.scheduled import Firing
from crawler.runs.selection import Asked, Next, Numbers, OfRun, OpenRange, open_songs
from crawler.runs.spec import RunSpec, Source, request_digest, scopes


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what one call asks for: its own words, and what the deployment adds to a run that it begins."""

    asked: Asked
    run: str | None = None
    firing: Firing | None = None
    source: Source
    format: FormatName
    part_songs: int
    end_after_missing: int
    max_songs: int

    @property
    def digest(self) -> str:
        """Tell requests apart."""
        return request_digest(str(self.asked), self.source.digest, self.format)


def choose_run(catalog: Catalog, order: Order, epoch: float) -> RunSpec:
    """Find the run that a call means, or begin it.

    Raises RunConflict for a name that another request has, UnknownRun and BadRequest for a run that songs refer to.
    """
    if order.run:
        return _named(catalog, order, order.run, epoch)
    if order.firing:
        return _fired(catalog, order, order.firing, epoch)
    if isinstance(order.asked, Next):
        return _claimed(catalog, order, None, epoch)
    scope = scopes(order.digest, None)[0]
    spec = catalog.newest_unfinished(scope) or catalog.finished_since(scope, midnight_of(epoch))
    # Today's name: a run that bears it and has finished did so since we looked, by a duplicate of this very call.
    return spec or _begin(catalog, order, catalog.name_not_stopped(f"{day_of(epoch)}-{order.digest[:8]}"), epoch)


def plan_run(catalog: Catalog, order: Order, epoch: float) -> RunSpec:
    """Say what run the call would begin if there were none to go on with; writes nothing. Raises as choose_run does."""
    if order.run and (spec := catalog.ledger(order.run).spec()):
        return _agreed(spec, order)
    run, songs = order.run or f"{day_of(epoch)}-{order.digest[:8]}", None
    if isinstance(order.asked, Next):
        claim = catalog.next_claim(order.source.digest, order.asked.count, order.run)[1]
        run, songs = claim.run, claim.songs
    return _spec(catalog, order, run, epoch, songs)


def _named(catalog: Catalog, order: Order, run: str, epoch: float) -> RunSpec:
    spec = catalog.ledger(run).spec()
    if spec:
        return _agreed(spec, order)
    if isinstance(order.asked, Next):
        return _claimed(catalog, order, run, epoch)
    return _begin(catalog, order, run, epoch)


def _fired(catalog: Catalog, order: Order, firing: Firing, epoch: float) -> RunSpec:
    """Go on with the job's unfinished run; every delivery of one firing goes to one run, whatever became of it."""
    job = scopes(order.digest, firing.job)[1]
    run = catalog.firing(job, firing.time)
    if run is None:
        unfinished = catalog.newest_unfinished(job)
        if unfinished:
            run = unfinished.run
        elif isinstance(order.asked, Next):
            run = _claimed(catalog, order, None, epoch).run
        else:
            # Jobs of two locations may have one name and fire in one second: the hash keeps their requests apart.
            run = catalog.free_name(f"{firing.run_name}-{order.digest[:8]}")
        run = catalog.fired(job, firing.time, run)
    return catalog.ledger(run).spec() or _begin(catalog, order, run, epoch)


def _claimed(catalog: Catalog, order: Order, run: str | None, epoch: float) -> RunSpec:
    """Go on with the claim that next: means, whoever made it; claim anew if another request took its run's name."""
    assert isinstance(order.asked, Next)
    while True:
        claim = catalog.claim(order.source.digest, order.asked.count, run)
        spec = catalog.ledger(claim.run).spec() or _store(catalog, order, claim.run, epoch, claim.songs)
        if claim.is_of(spec, order.source.digest):
            return spec
        if claim.run == run:
            return _agreed(spec, order)


def _begin(catalog: Catalog, order: Order, run: str, epoch: float) -> RunSpec:
    return _agreed(_store(catalog, order, run, epoch), order)


def _store(catalog: Catalog, order: Order, run: str, epoch: float, songs: str | None = None) -> RunSpec:
    """Store a new run, or give the one that another call stored under its name first."""
    spec = _spec(catalog, order, run, epoch, songs)
    catalog.announce(spec, scopes(spec.request_digest, spec.job), int(epoch * 1000))
    return catalog.ledger(run).begin(spec)


def _spec(catalog: Catalog, order: Order, run: str, epoch: float, songs: str | None) -> RunSpec:
    return RunSpec(
        run=run,
        parent=order.asked.run if isinstance(order.asked, OfRun) else None,
        asked=str(order.asked),
        songs=_songs(catalog, order) if songs is None else songs,
        source=order.source.text,
        source_digest=order.source.digest,
        format=order.format,
        part_songs=order.part_songs,
        end_after_missing=order.end_after_missing if isinstance(order.asked, OpenRange) else None,
        job=order.firing.job if order.firing else None,
        created_at=utc_text(epoch),
    )


def _agreed(spec: RunSpec, order: Order) -> RunSpec:
    if spec.request_digest != order.digest:
        raise RunConflict(
            f"The run {spec.run} is taken: it asked for songs {spec.asked[:100]} of {spec.source} as {spec.format}."
        )
    return spec


def _songs(catalog: Catalog, order: Order) -> str:
    if isinstance(order.asked, Numbers):
        return str(order.asked.songs)
    if isinstance(order.asked, OpenRange):
        return str(open_songs(order.asked.first, order.max_songs))
    assert isinstance(order.asked, OfRun)
    return _songs_of_run(catalog, order.asked, order.source)


def _songs_of_run(catalog: Catalog, asked: OfRun, source: Source) -> str:
    ledger = catalog.ledger(asked.run)
    spec, manifest = ledger.spec(), ledger.manifest()
    if spec is None:
        raise UnknownRun(f"songs is {asked}, but there is no run {asked.run}.")
    if manifest is None:
        raise BadRequest(f"songs is {asked}, but the run {asked.run} is not finished; allowed: a finished run.")
    if spec.source_digest != source.digest:
        raise BadRequest(f"songs is {asked}, but the run {asked.run} is of another source: {spec.source}.")
    songs: str = msgspec.json.decode(manifest)[f"{asked.status}_songs"]
    return songs
