"""The run index: which runs there are in a store, and which one a call means.

Empty objects serve as the index, all create-only like the rest:
    index/all/TIME-RUN                every run, newest first by name (TIME counts down)
    index/begun/SCOPE/RUN             the runs of one request, or of one Scheduler job
    index/ended/SCOPE/RUN             those of them that are finished or stopped, so that nobody looks again
    index/resumed/SCOPE/RUN~NNNNNN    those whose stop of that number was taken back: ended only if there is an
                                      index/ended/SCOPE/RUN~NNNNNN of that number too, or of a higher one
    firings/JOB/TIME.json             which run one scheduled call of a Scheduler job went to
    index/begun/fanned-out/RUN        and likewise of those that tasks in a queue work on
    next/SOURCE/NNNNNN.json           the claims of next:, one after the other

A marker is stored before what it stands for: one that leads nowhere, or to a run that another request began first, is
passed over; nothing is ever without one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from crawler.core.errors import Damaged, NewerVersion, ObjectExists
from crawler.core.ports import Store
from crawler.core.song_set import LARGEST_SONG_NUM, SongSet
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import KeysDigest, RunSpec, Source, short_digest
from crawler.runs.store import RunStore

# The scope of the runs that are handed to a queue, whatever was asked for (fan_out/fleet.py).
FANNED_OUT = "fanned-out"

_LATEST = 9_999_999_999_999  # ms of an epoch in the year 2286: what TIME counts down from


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hold one claim of next:. `run` took `songs`; `found` is the highest number found by the finished runs before.

    The songs up to `found` are asked for again: they may have been born after they were found missing. `keys` are those
    that the songs stand for.
    """

    run: str
    songs: str
    found: int
    keys: KeysDigest | None = None

    def is_of(self, spec: RunSpec, source: Source) -> bool:
        """Tell whether a run is the claim's: another request may have begun one of that name first."""
        return (spec.songs, spec.source_id, spec.keys) == (self.songs, source.id, self.keys)


class RunIndex(msgspec.Struct, frozen=True):
    """Find runs, and add to the index; `call_id` is the id of the call that does it."""

    store: Store
    call_id: str = ""

    def run_store(self, run: str) -> RunStore:
        """Open a run's store."""
        return RunStore(self.store, run, self.call_id)

    def announce(self, spec: RunSpec, scopes: list[str], created_ms: int) -> None:
        """Index a run that is about to begin."""
        self._mark(f"index/all/{_LATEST - created_ms:013d}-{spec.run}")
        for scope in scopes:
            self._mark(f"index/begun/{scope}/{spec.run}")

    def mark_fanned_out(self, run: str) -> None:
        """Index a run that is about to be handed to a queue."""
        self._mark(f"index/begun/{FANNED_OUT}/{run}")

    def conclude(self, run: str, scopes: list[str], taken_back: int = 0) -> None:
        """Note that a run is finished or stopped, of whose stops so many were taken back before that was seen."""
        for scope in scopes:
            self._mark(f"index/ended/{scope}/{_resumed(run, taken_back)}")

    def resume(self, spec: RunSpec) -> None:
        """Take back what stopped a run, if anything did: calls of its request go on with it again."""
        run_store = self.run_store(spec.run)
        stops = run_store.stops()
        if not stops.stopped():
            return
        fanned_out = [FANNED_OUT] if run_store.sweep_times() else []
        for scope in [*scopes_of(spec.request_digest, spec.job), *fanned_out]:
            self._mark(f"index/resumed/{scope}/{_resumed(spec.run, stops.taken_back + 1)}")
        stops.resume()

    def newest_unfinished(self, scope: str, fits: Callable[[RunSpec], bool] = lambda _: True) -> RunSpec | None:
        """Find the newest run of a scope that fits and is neither finished nor stopped."""
        return next(filter(fits, self.unfinished(scope)), None)

    def unfinished(self, scope: str) -> Iterator[RunSpec]:
        """Find the runs of a scope that are neither finished nor stopped, the newest first."""
        ended, resumed = (self._times(f"index/{marked}/{scope}/") for marked in ("ended", "resumed"))
        begun = [(stored.created_at, _last(stored.name)) for stored in self.store.list(f"index/begun/{scope}/")]
        waiting = [pair for pair in begun if resumed.get(pair[1], 0) > ended.get(pair[1], -1)]
        for _, run in sorted(waiting, reverse=True):
            run_store = self.run_store(run)
            stops = run_store.stops()
            if stops.stopped() or run_store.finished():
                self.conclude(run, [scope], stops.taken_back)
            elif spec := self._spec_in(scope, run):
                yield spec

    def finished_since(
        self, scope: str, instant: float, fits: Callable[[RunSpec], bool] = lambda _: True
    ) -> RunSpec | None:
        """Find the newest run of a scope that fits and finished (was not merely stopped) since an epoch second."""
        ended = [(s.created_at, _resumes(s.name)[0]) for s in self.store.list(f"index/ended/{scope}/")]
        for _, run in sorted((pair for pair in ended if pair[0] >= instant), reverse=True):
            run_store = self.run_store(run)
            # The marker may be days younger than the manifest: a call that died between them left it to the next.
            finished_at = run_store.finished_at()
            if finished_at is None or finished_at < instant:
                continue
            if (spec := self._spec_in(scope, run)) and fits(spec):
                return spec
        return None

    def free_name(self, name: str) -> str:
        """Give the name, or the first of name-2, name-3, ... that no run that has ended bears."""
        return next(each for each in _numbered(name) if not self.run_store(each).finished() and not self._stopped(each))

    def name_not_stopped(self, name: str) -> str:
        """Give the name, or the first of name-2, name-3, ... that no stopped run bears."""
        return next(each for each in _numbered(name) if not self._stopped(each))

    def newest(self, limit: int, after: str = "") -> list[str]:
        """List the index names of the newest runs, newest first, after the given one; `run_of` gives the run's."""
        stored = self.store.list("index/all/", after=f"index/all/{after}" if after else "")
        return [_last(marker.name) for marker in itertools.islice(stored, limit)]

    def fired(self, job: str, time: str, run: str) -> str:
        """Give the run that one scheduled call goes to: `run`, unless an earlier delivery of it said another."""
        name = f"firings/{job}/{time}.json"
        with suppress(ObjectExists):
            self.store.create(name, msgspec.json.encode(run), {"attempt": self.call_id})
            return run
        return msgspec.json.decode(self.store.read(name) or b'""', type=str) or run

    def scheduled_call(self, job: str, time: str) -> str | None:
        """Give the run that an earlier delivery of a scheduled call went to, if there was one."""
        data = self.store.read(f"firings/{job}/{time}.json")
        return None if data is None else msgspec.json.decode(data, type=str)

    def claim(self, source: Source, count: int, run: str | None) -> Claim:
        """Give the claim of next: that is to be worked on: the last one while it may be continued, else a new one.

        An unfinished run that may not be is stopped first, and the new claim takes what it has not committed.
        """
        while True:
            number, claim, closed = self._next_claim(source, count, run)
            if closed:  # before it is read what is left of it
                self.run_store(closed).stop()
                number, claim, _ = self._next_claim(source, count, run)
            if number is None:
                return claim
            with suppress(ObjectExists):
                data = msgspec.json.encode(claim)
                self.store.create(f"next/{source.id}/{number:06d}.json", data, {"attempt": self.call_id})
                return claim

    def next_claim(self, source: Source, count: int, run: str | None) -> Claim:
        """Give the claim that next: means now; one that has yet to be made is not."""
        return self._next_claim(source, count, run)[1]

    def _next_claim(self, source: Source, count: int, run: str | None) -> tuple[int | None, Claim, str | None]:
        """Give the claim that next: means now, its number if it has yet to be made, and the run to stop before."""
        number, last = self._last_claim(source)
        spec = self.run_store(last.run).spec() if last else None
        if last and not self._over(last, spec, source):
            return None, last, None
        found, songs = self._outcome(last, spec, source, count) if last else (0, _after_found(0, count, source))
        if last and not songs:  # all keys are done
            return None, last, None
        name = run or f"{_stem(source)}-{number + 1:06d}"
        claim = Claim(run=name, songs=str(songs), found=found, keys=source.keys_digest)
        return number + 1, claim, last.run if last and self._to_close(last, spec, source) else None

    def _spec_in(self, scope: str, run: str) -> RunSpec | None:
        """Read a run that a scope's marker names; None: it never began, is damaged, or is another request's.

        Raises NewerVersion rather than have the same songs crawled beside a newer release; sweeps it leaves to that.
        """
        try:
            spec = self.run_store(run).spec()
        except Damaged:
            return None
        except NewerVersion:
            if scope == FANNED_OUT:
                return None
            raise
        return spec if spec and scope in (FANNED_OUT, *scopes_of(spec.request_digest, spec.job)) else None

    def _last_claim(self, source: Source) -> tuple[int, Claim | None]:
        """Give the highest number of a claim, 0 if there is none, and the last claim of the source's keys."""
        names = [stored.name for stored in self.store.list(f"next/{source.id}/")]
        for name in reversed(names):
            claim = msgspec.json.decode(self.store.read(name) or b"", type=Claim)
            if source.has_keys(claim.keys):
                return int(_last(names[-1]).partition(".")[0]), claim
        return int(_last(names[-1]).partition(".")[0]) if names else 0, None

    def _over(self, claim: Claim, spec: RunSpec | None, source: Source) -> bool:
        """Tell whether a claim is no longer to be worked on; `spec` is that of the run of its name."""
        if spec is None:
            return False
        run_store = self.run_store(claim.run)
        continued = claim.is_of(spec, source) and source.may_continue(spec)
        return not continued or run_store.finished() or run_store.stopped()

    def _to_close(self, claim: Claim, spec: RunSpec | None, source: Source) -> bool:
        """Tell whether a claim's run is still to be worked on by nobody who asks for next: now."""
        if spec is None or not claim.is_of(spec, source) or source.may_continue(spec):
            return False
        run_store = self.run_store(claim.run)
        return not run_store.finished() and not run_store.stopped()

    def _outcome(self, claim: Claim, spec: RunSpec | None, source: Source, count: int) -> tuple[int, SongSet]:
        """Give the highest number found by the runs of next: up to this claim's, and the songs to claim after it.

        These are those to ask for again and `count` more, or what a run left that may not be continued.
        """
        claimed, run_store = SongSet.parse(claim.songs), self.run_store(claim.run)
        finished = run_store.finished()
        if spec is None or not claim.is_of(spec, source) or (not finished and source.may_continue(spec)):
            again = claimed - _span(claim.found + 1, LARGEST_SONG_NUM)
            return claim.found, again | _after_found(claim.found, count, source)
        parts = [run_store.with_sets(part) for part in run_store.parts(spec)]
        found, again = _after(parts, set(run_store.rests(spec)), claim.found)
        rest = SongSet() if finished else claimed - SongSet.of(pair for part in parts for pair in part.key.songs.ranges)
        return found, again | (rest or _after_found(found, count, source))

    def _stopped(self, run: str) -> bool:
        """Tell whether a run was stopped before it was finished."""
        run_store = self.run_store(run)
        return run_store.stopped() and not run_store.finished()

    def _times(self, prefix: str) -> dict[str, int]:
        """Give the runs that have a marker, each with the highest number of stops taken back that it tells of."""
        times: dict[str, int] = {}
        for stored in self.store.list(prefix):
            run, taken_back = _resumes(stored.name)
            times[run] = max(taken_back, times.get(run, 0))
        return times

    def _mark(self, name: str) -> None:
        with suppress(ObjectExists):
            self.store.create(name, b"", {"attempt": self.call_id})


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))


def _after(parts: list[CommittedPart], cut_off: set[int], found: int) -> tuple[int, SongSet]:
    """Give the highest number found by a run's parts, `found` at least, and the numbers to ask for again.

    A number is missing for good if the call that asked for it, or a run before, found a higher one. Else it may have
    been born before a later call of the run found that. Rows of a part that was `cut_off` are of several calls.
    """
    highest: dict[str, int] = defaultdict(lambda: found)  # by the call that found it
    for part in parts:
        highest[part.tally.call_id] = max(highest[part.tally.call_id], _last_found(part))
    top = max([found, *highest.values()])
    again = SongSet()
    for part in parts:
        mixed = part.key.index in cut_off or not part.tally.call_id
        known = found if mixed else highest[part.tally.call_id]
        again |= (part.tally.missing_songs or SongSet()) & _span(known + 1, top)
    return top, again


def _last_found(part: CommittedPart) -> int:
    others = (part.tally.missing_songs or SongSet()) | (part.tally.failed_songs or SongSet())
    songs = part.key.songs - others
    return songs.last if songs else 0


def _after_found(found: int, count: int, source: Source) -> SongSet:
    """Give the `count` numbers after the highest found, as far as there are keys."""
    last = found + count if source.keys is None else min(found + count, len(source.keys))
    return _span(found + 1, last)


def _stem(source: Source) -> str:
    """Give what the names of a source's runs of next: begin with, short enough for more to follow."""
    return f"next-{source.name[:45] if source.name else source.digest[:8]}"


def _span(first: int, last: int) -> SongSet:
    return SongSet.of([(first, last)] if first <= last else [])


def scopes_of(request_digest: str, job: str | None) -> list[str]:
    """Name where a run is looked for: among those of its request and, if a Scheduler job began it, of that job."""
    return [f"request-{request_digest}", *([f"job-{short_digest([job, request_digest])}"] if job else [])]


def run_of(index_name: str) -> str:
    """Give the run that a name of index/all/ stands for."""
    return index_name.partition("-")[2]


def _resumed(run: str, taken_back: int) -> str:
    """Name a run of whose stops so many were taken back, as its markers do."""
    return f"{run}~{taken_back:06d}" if taken_back else run


def _resumes(name: str) -> tuple[str, int]:
    """Read the run, and how many of its stops were taken back, from a marker's name."""
    run, _, taken_back = _last(name).partition("~")
    return run, int(taken_back or 0)


def _last(name: str) -> str:
    return name.rpartition("/")[2]
