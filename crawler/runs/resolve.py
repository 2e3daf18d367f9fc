"""Which run a call means, and what its songs are: decided from the store, so that any instance decides the same."""

from __future__ import annotations

import msgspec

from crawler.core.errors import BadRequest, RunConflict, UnknownRun
from crawler.core.records import FormatName
from crawler.core.song_set import SongSet
from crawler.core.timestamps import day_of, midnight_of, utc_text
from crawler.runs.index import Claim, RunIndex, scopes_of
from crawler.runs.scheduled import ScheduledCall
from crawler.runs.selection import FromRun, NextNumbers, NumberRanges, OpenRange, Selection, open_songs
from crawler.runs.spec import STORED_VERSION, RunSpec, Source, check_version, request_digest, short_digest


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
        return request_digest(str(self.selection), self.source.id, self.format)

    @property
    def run_hash(self) -> str:
        """Return 8 hex digits that end the names of runs that may be continued by this order."""
        keys, answers = self.source.keys_digest, self.source.answers_digest
        if keys is None and answers is None:
            return self.digest[:8]
        return short_digest([self.digest, answers, keys.digest if keys else None])[:8]

    def may_continue(self, spec: RunSpec) -> bool:
        """Tell whether a run of this request may be continued."""
        return self.source.is_of(spec) and self.source.may_continue(spec)

    def is_done_by(self, spec: RunSpec) -> bool:
        """Tell whether a finished run of this request is all that it asks for: 1- asks for keys that came since too."""
        grown = isinstance(self.selection, OpenRange) and spec.keys != self.source.keys_digest
        return self.may_continue(spec) and not grown


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
    spec = run_index.newest_unfinished(scope, order.may_continue)
    spec = spec or run_index.finished_since(scope, midnight_of(epoch), order.is_done_by)
    # Today's name: a run that bears it and has finished did so since we looked, by a duplicate of this very call.
    return spec or _begin(run_index, order, run_index.name_not_stopped(_name_today(order, epoch)), epoch)


def plan_run(run_index: RunIndex, order: Order, epoch: float) -> RunSpec:
    """Say what run the call would begin if there were none to go on with; raises as resolve_run does."""
    if order.run and (spec := run_index.run_store(order.run).spec()):
        return _agreed(spec, order)
    if isinstance(order.selection, NextNumbers):
        claim = run_index.next_claim(order.source, order.selection.count, order.run)
        return _spec(run_index, order, claim.run, epoch, claim)
    return _spec(run_index, order, order.run or _name_today(order, epoch), epoch)


def _name_today(order: Order, epoch: float) -> str:
    return f"{day_of(epoch)}-{order.run_hash}"


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
    marked = job if order.run_hash == order.digest[:8] else f"{job}-{order.run_hash}"
    run = run_index.scheduled_call(marked, scheduled_call.time)
    if run is None:
        unfinished = run_index.newest_unfinished(job, order.may_continue)
        if unfinished:
            run = unfinished.run
        elif isinstance(order.selection, NextNumbers):
            run = _claimed(run_index, order, None, epoch).run
        else:
            # Jobs of two locations may have one name and fire in one second: the hash keeps their requests apart.
            run = run_index.free_name(f"{scheduled_call.run_name}-{order.run_hash}")
        run = run_index.fired(marked, scheduled_call.time, run)
    return run_index.run_store(run).spec() or _begin(run_index, order, run, epoch)


def _claimed(run_index: RunIndex, order: Order, run: str | None, epoch: float) -> RunSpec:
    """Go on with the claim that next: means, whoever made it; claim anew if another request took its run's name."""
    assert isinstance(order.selection, NextNumbers)
    while True:
        claim = run_index.claim(order.source, order.selection.count, run)
        spec = run_index.run_store(claim.run).spec() or _store(run_index, order, claim.run, epoch, claim)
        if claim.is_of(spec, order.source):
            return spec
        if claim.run == run:
            return _agreed(spec, order)


def _begin(run_index: RunIndex, order: Order, run: str, epoch: float) -> RunSpec:
    return _agreed(_store(run_index, order, run, epoch), order)


def _store(run_index: RunIndex, order: Order, run: str, epoch: float, claim: Claim | None = None) -> RunSpec:
    """Store a new run, or give the one that another call stored under its name first."""
    spec = _spec(run_index, order, run, epoch, claim)
    run_index.announce(spec, scopes_of(spec.request_digest, spec.job), int(epoch * 1000))
    return run_index.run_store(run).begin(spec)


def _spec(run_index: RunIndex, order: Order, run: str, epoch: float, claim: Claim | None = None) -> RunSpec:
    opens = isinstance(order.selection, OpenRange) and order.source.keys is None
    return RunSpec(
        version=STORED_VERSION,
        run=run,
        parent=order.selection.run if isinstance(order.selection, FromRun) else None,
        asked=str(order.selection),
        songs=claim.songs if claim else _songs(run_index, order),
        source=order.source.text,
        source_name=order.source.id,
        source_digest=order.source.digest,
        answers_digest=order.source.answers_digest,
        keys=claim.keys if claim else order.source.keys_digest,
        follows_redirects=order.source.follows_redirects,
        format=order.format,
        part_songs=order.part_songs,
        end_after_missing=order.end_after_missing if opens else None,
        job=order.scheduled_call.job if order.scheduled_call else None,
        created_at=utc_text(epoch),
    )


def _agreed(spec: RunSpec, order: Order) -> RunSpec:
    if spec.request_digest != order.digest:
        raise RunConflict(
            f"The run {spec.run} is taken: it asked for songs {spec.asked[:100]} of {spec.source} as {spec.format}."
        )
    if conflict := order.source.conflict(spec):
        raise RunConflict(conflict)
    return spec


def _songs(run_index: RunIndex, order: Order) -> str:
    if isinstance(order.selection, FromRun):
        return _songs_of_run(run_index, order.selection, order.source)
    if order.source.keys is not None:
        return str(_keyed_songs(order, len(order.source.keys)))
    if isinstance(order.selection, OpenRange):
        return str(open_songs(order.selection.first, order.max_songs))
    assert isinstance(order.selection, NumberRanges)
    return str(order.selection.songs)


def _keyed_songs(order: Order, keys: int) -> SongSet:
    """Give the numbers of the keys that are asked for; raises BadRequest for one that no key has."""
    selection = order.selection
    if isinstance(selection, OpenRange):
        songs = SongSet.of([(selection.first, max(selection.first, keys))])
    else:
        assert isinstance(selection, NumberRanges)
        songs = selection.songs
    if songs.first < 1 or songs.last > keys:
        wrong = songs.last if songs.last > keys else songs.first
        raise BadRequest(f"songs names {wrong}, and KEYS has {keys} keys; allowed: numbers from 1 to {keys}.")
    if len(songs) > order.max_songs:
        raise BadRequest(f"songs names {len(songs)} numbers; allowed: {order.max_songs} (MAX_SONGS).")
    return songs


def _songs_of_run(run_index: RunIndex, selection: FromRun, source: Source) -> str:
    run_store = run_index.run_store(selection.run)
    spec = run_store.spec()
    if spec is None:
        raise UnknownRun(f"songs is {selection}, but there is no run {selection.run}.")
    manifest = run_store.due_manifest(spec)
    if manifest is None:
        raise BadRequest(f"songs is {selection}, but the run {selection.run} is not finished; allowed: a finished run.")
    if spec.source_id != source.id:
        raise BadRequest(f"songs is {selection}, but the run {selection.run} is of another source: {spec.source}.")
    if not source.has_keys(spec.keys):
        raise BadRequest(f"songs is {selection}, but the run {selection.run} is of other keys than those of KEYS.")
    check_version(f"runs/{selection.run}/manifest.json", manifest)
    songs: str = msgspec.json.decode(manifest)[f"{selection.status}_songs"]
    return songs
