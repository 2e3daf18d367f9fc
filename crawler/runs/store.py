"""One run as it lies in the store: everything the store says of it, and the few objects a call may add.

Object names, below the output:
    runs/RUN/run.json                     what was asked, and the grid
    runs/RUN/songs-FIRST-LAST.jsonl.gz    a part: the commit point; .csv.gz or .parquet in a run of that format
    runs/RUN/rest/songs-FIRST-LAST.CALL.jsonl.gz   rows of a part that a call was cut off with, in any format
    runs/RUN/manifest.json                once the parts tile the request
    runs/RUN/held.json                    they do, but the gate holds the run until somebody accepts it
    runs/RUN/stop-NNNNNN.json             start no new part, until resume-NNNNNN.json is there (runs/ending/stops.py)

Everything is create-only; whoever comes second finds what the first stored, and goes on from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Literal

import msgspec

from crawler.core.errors import Damaged, ObjectExists, StoreUnavailable
from crawler.core.ports import Store
from crawler.core.records import Row, StoredObject
from crawler.core.song_set import SongSet
from crawler.formats.jsonl_rows import Line, split_rows
from crawler.runs.ending.gate import Gate, Held
from crawler.runs.ending.open_range import OpenRangeEnd
from crawler.runs.ending.stops import Stops
from crawler.runs.grid import Grid, PartKey
from crawler.runs.manifest import CommittedPart, ManifestParts
from crawler.runs.spec import RunSpec, check_version
from crawler.runs.tally import RunParts, Tally, set_from_metadata, set_to_metadata

# How a run finishes, as in its summary's state.
Ended = Literal["complete", "held"]


class RunStore(msgspec.Struct, frozen=True):
    """Read and extend one run's objects; `call_id` is the id of the call that does it."""

    store: Store
    run: str
    call_id: str = ""

    @property
    def url(self) -> str:
        """Name the run's place for people."""
        return f"{self.store.url}/runs/{self.run}"

    def spec(self) -> RunSpec | None:
        """Read run.json; None: there is no such run. Raises Damaged, or NewerVersion."""
        data = self.spec_bytes()
        if data is None:
            return None
        try:
            check_version(self._name("run.json"), data)
            return RunSpec.decode(data)
        except ValueError as error:
            raise Damaged(f"{self._name('run.json')} is damaged: {error}.") from error

    def spec_bytes(self) -> bytes | None:
        """Read run.json as it stands; None: there is no such run."""
        return self.store.read(self._name("run.json"))

    def begin(self, spec: RunSpec) -> RunSpec:
        """Store run.json, or give the one another call stored first."""
        try:
            self._create("run.json", spec.encode())
        except ObjectExists:
            first = self.spec()
            if first is None:
                raise StoreUnavailable(f"{self._name('run.json')} can't be read though it exists.") from None
            return first
        return spec

    def parts(self, spec: RunSpec, part_range: range | None = None) -> list[CommittedPart]:
        """List the committed parts, in the grid's order: all, or those at some places in a row.

        One listing, unless an object lacks its metadata; of some places it reads no more than it must.
        """
        return list(self.iterate_parts(spec, part_range))

    def iterate_parts(self, spec: RunSpec, part_range: range | None = None) -> Iterator[CommittedPart]:
        """Yield what `parts` lists, a page of the listing at a time."""
        # The metadata is in the tally; kept twice it would weigh half as much again in a run of 10,000 parts.
        return (
            CommittedPart(key, msgspec.structs.replace(stored, metadata={}), self._tally(key, stored))
            for key, stored in self._listed("songs-", spec.grid.find, spec, part_range)
        )

    def places(self, spec: RunSpec, part_range: range) -> Iterator[int]:
        """Yield the places of those committed parts that are among some places in a row, ascending."""
        return (key.index for key, _ in self._listed("songs-", spec.grid.find, spec, part_range))

    def is_whole(self, spec: RunSpec, start: int) -> bool:
        """Tell whether the parts tile the grid, from a place on and round; the listing ends at the first gap."""
        for part_range in (range(start, len(spec.grid)), range(start)):
            wanted = iter(part_range)
            if any(key.index != next(wanted) for key, _ in self._listed("songs-", spec.grid.find, spec, part_range)):
                return False
            if next(wanted, None) is not None:
                return False
        return True

    def part(self, key: PartKey) -> CommittedPart | None:
        """Look whether a part is committed."""
        stored = self.store.stat(self._name(key.name))
        return CommittedPart(key, stored, self._tally(key, stored)) if stored else None

    def commit(self, key: PartKey, lines: bytes, tally: Tally) -> None:
        """Create a part from its JSON lines: its commit point. If another call was first, its rows stand."""
        with suppress(ObjectExists):
            self.store.create(self._name(key.name), key.format.encode(lines), tally.to_metadata())

    def rows(self, key: PartKey) -> list[Row]:
        """Read a part's rows; none if it is not there. Raises Damaged."""
        data = self.store.read(self._name(key.name))
        try:
            return [] if data is None else key.format.decode(data)
        except ValueError as error:
            raise Damaged(f"{self._name(key.name)} is damaged: {error}.") from error

    def keep(self, key: PartKey, covered: SongSet, data: bytes, tally: Tally) -> None:
        """Keep aside the rows of a part that was cut off; whoever tries it next starts from them."""
        counts = {name: text for name, text in tally.to_metadata().items() if not name.endswith("_songs")}
        metadata = {**counts, **set_to_metadata("covered", covered)}
        with suppress(ObjectExists):
            self.store.create(self._name(f"rest/{key.rest_name(self.call_id)}"), data, metadata)

    def rests(self, spec: RunSpec, part_range: range | None = None) -> dict[int, list[StoredObject]]:
        """List what was kept aside, by the place of the part it belongs to: all, or for some places in a row."""
        kept = defaultdict(list)
        for key, stored in self._listed("rest/songs-", spec.grid.find_rest, spec, part_range):
            kept[key.index].append(stored)
        return kept

    def restore(self, kept: list[StoredObject]) -> tuple[list[Line], Tally]:
        """Give the rows kept aside for one part, each number once, ascending, and what they cost.

        Every call keeps all rows it had, those it restored too: mostly the longest object holds them all.
        """
        lines: dict[int, Line] = {}
        cost = Tally()
        for stored in sorted(kept, key=lambda stored: -stored.size):
            covered = set_from_metadata(stored.metadata, "covered")
            if covered is None or any(number not in lines for number in covered):
                fresh = {line.song_num: line for line in self._lines(stored.name) if line.song_num not in lines}
                if fresh:
                    lines |= fresh
                    cost.carry(Tally.from_metadata(stored.metadata) or Tally())
        return [lines[number] for number in sorted(lines)], cost

    def end(self, spec: RunSpec, parts: Iterable[CommittedPart]) -> Grid | None:
        """Give the grid that the run comes to: its own, or for an open range up to its end; None: not known yet."""
        if spec.end_after_missing is None:
            return spec.grid
        end = OpenRangeEnd(spec.grid, spec.end_after_missing)
        for part in parts:
            end.add(part.key.index, self.with_sets(part).tally)
        return None if end.parts is None else spec.grid.head(end.parts)

    def is_tiled(self, grid: Grid, parts: RunParts) -> bool:
        """Tell whether the committed parts tile a grid."""
        return len(parts) == len(grid)

    def finish(self, spec: RunSpec, grid: Grid, parts: Iterable[CommittedPart], gate: Gate) -> Ended | None:
        """End the run if the parts, ascending, tile the grid; None: they don't. None of them is held in memory."""
        gathered = self._gathered(grid, parts)
        return None if gathered is None else self.end_with(spec, grid, gathered, gate)

    def end_with(self, spec: RunSpec, grid: Grid, parts: ManifestParts, gate: Gate) -> Ended | None:
        """Write the manifest of parts that tile the grid, or held.json if the gate holds the run.

        What another finisher with another gate wrote before stands.
        """
        held = gate.hold(spec, parts.counts)
        if self._is_there("held.json") or (held and self._is_there("manifest.json")):
            return self.ended()
        with suppress(ObjectExists):  # every finisher with this gate writes the same bytes
            if held:
                self._create("held.json", held.encode())
            else:
                self._create("manifest.json", parts.encode(spec, grid))
        return self.ended()

    def accept(self, spec: RunSpec) -> None:
        """Write the manifest of a held run, as it would have been."""
        with suppress(ObjectExists):
            self._create("manifest.json", self.due_manifest(spec) or b"")

    def due_manifest(self, spec: RunSpec) -> bytes | None:
        """Read the manifest, or make the one that a held run would have; None: the run is not finished."""
        data = self.manifest()
        if data is not None or self.ended() is None:
            return data
        grid = self.end(spec, self.iterate_parts(spec))
        gathered = None if grid is None else self._gathered(grid, self.iterate_parts(spec, range(len(grid))))
        if grid is None or gathered is None:
            raise Damaged(f"The run {spec.run} is held, but not all of its parts are there.")
        return gathered.encode(spec, grid)

    def _gathered(self, grid: Grid, parts: Iterable[CommittedPart]) -> ManifestParts | None:
        """Gather what a manifest says of parts that tile the grid; None: they don't."""
        gathered = ManifestParts()
        for part in islice(parts, len(grid)):
            if part.key.index != len(gathered):
                return None
            gathered.add(self.with_sets(part))
        return gathered if len(gathered) == len(grid) else None

    def sweep_times(self) -> list[float]:
        """List when each sweep of a fanned-out run began, in epoch seconds, from sweep 0 on; none: not fanned out."""
        return [stored.created_at for stored in self.store.list(self._name("sweeps/"))]

    def with_sets(self, part: CommittedPart) -> CommittedPart:
        """Have a part's tally hold its sets of numbers and failures, from its rows if the metadata does not tell."""
        if None in (part.tally.missing_songs, part.tally.failed_songs, part.tally.failures):
            self._count(part.key, part.tally)
        return part

    def ended(self) -> Ended | None:
        """Look how the run finished; None: it did not. A run that is held and has its manifest too was accepted."""
        if self._is_there("manifest.json"):
            return "complete"
        return "held" if self._is_there("held.json") else None

    def finished(self) -> bool:
        """Look whether the run is complete or held: nothing is asked for it any more."""
        return self.ended() is not None

    def finished_at(self) -> float | None:
        """Give when the run was complete or held, in epoch seconds; None: it is neither."""
        marks = [self.store.stat(self._name(name)) for name in ("manifest.json", "held.json")]
        return min((mark.created_at for mark in marks if mark), default=None)

    def held(self) -> Held | None:
        """Read why the gate held the run; None: it did not. Raises Damaged."""
        data = self.store.read(self._name("held.json"))
        try:
            return None if data is None else Held.decode(data)
        except ValueError as error:
            raise Damaged(f"{self._name('held.json')} is damaged: {error}.") from error

    def manifest(self) -> bytes | None:
        """Read the manifest; None: the run is not complete."""
        return self.store.read(self._name("manifest.json"))

    def stops(self) -> Stops:
        """Open the run's stops, for whoever looks at them more than once."""
        return Stops(self.store, self.run, self.call_id)

    def stop(self) -> None:
        """Stop the run: no call starts a new part of it from now on."""
        self.stops().stop()

    def stopped(self) -> bool:
        """Look whether the run is stopped."""
        return self.stops().stopped()

    def _is_there(self, name: str) -> bool:
        return self.store.stat(self._name(name)) is not None

    def _listed(
        self, prefix: str, find: Callable[[str], PartKey | None], spec: RunSpec, part_range: range | None
    ) -> Iterator[tuple[PartKey, StoredObject]]:
        """List the objects that stand for the parts at some places, in order."""
        part_range = range(len(spec.grid)) if part_range is None else part_range
        if not part_range:
            return
        # Names begin with the first number of their part, so that no other comes between this and the first wanted.
        after = f"{prefix}{spec.grid[part_range.start].songs.first:012d}" if part_range.start else ""
        for stored in self.store.list(self._name(prefix), after=self._name(after) if after else ""):
            key = find(stored.name.rpartition("/")[2])
            if key is not None and key.index >= part_range.stop:
                return
            if key is not None and key.index >= part_range.start:
                yield key, stored

    def _lines(self, name: str) -> list[Line]:
        """Read rows kept aside; damaged ones count as none, and are fetched again."""
        try:
            return split_rows(self.store.read(name) or b"")
        except ValueError:
            return []

    def _tally(self, key: PartKey, stored: StoredObject) -> Tally:
        tally = Tally.from_metadata(stored.metadata)
        return tally or self._count(key, Tally(started_at=stored.created_at, finished_at=stored.created_at))

    def _count(self, key: PartKey, tally: Tally) -> Tally:
        """Count a part's own rows, where its metadata doesn't say enough."""
        tally.count_rows(self.rows(key))
        return tally

    def _create(self, name: str, data: bytes) -> None:
        self.store.create(self._name(name), data, {"attempt": self.call_id})

    def _name(self, name: str) -> str:
        return f"runs/{self.run}/{name}"
