"""One snapshot as it lies in the store, and how it is made: part by part, each of them create-only.

Object names, below the place of the snapshots:
    snapshots/NAME/snapshot.json                  the runs it is of
    snapshots/NAME/songs-FIRST-LAST.jsonl.gz      a part; .csv.gz or .parquet in those formats
    snapshots/NAME/manifest.json                  once all parts are there

The rows are cut where their number and weight say, which is the same for every call: whoever goes on finds the parts
that are there, and begins after the last one. Two calls at once make the same objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from itertools import islice

import msgspec

from crawler.core.errors import Damaged, ObjectExists, RunConflict, StoreUnavailable
from crawler.core.ports import Store
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.core.timestamps import utc_text
from crawler.formats.found_rows import GzipSink, stored_lines
from crawler.views.layers import RunLayer, SnapshotLayer
from crawler.views.merge import Found, NewestRows, Submit
from crawler.views.snapshot_spec import SnapshotManifest, SnapshotPart, SnapshotSpec, decode_object, encode_object

# A part lies in memory compressed until it is stored: rows of less than some 70 bytes reach the first limit.
MOST_PART_SONGS, MOST_PART_BYTES = 1_000_000, 64 << 20
_CHUNK_ROWS = 1000

_PART = re.compile(r"songs-([0-9]{12})-([0-9]{12})\.", re.ASCII)


class SnapshotStore(msgspec.Struct, frozen=True):
    """Read and extend one snapshot's objects; `call_id` is the id of the call that does it."""

    store: Store
    name: str
    call_id: str = ""

    @property
    def url(self) -> str:
        """Name the snapshot's place for people."""
        return f"{self.store.url}/snapshots/{self.name}"

    def spec(self) -> SnapshotSpec | None:
        """Read snapshot.json; None: there is no such snapshot. Raises Damaged, NewerVersion."""
        data = self.store.read(self.object_name("snapshot.json"))
        return None if data is None else decode_object(self.object_name("snapshot.json"), data, SnapshotSpec)

    def begin(self, spec: SnapshotSpec) -> SnapshotSpec:
        """Store snapshot.json, or give the one that another call stored first."""
        try:
            self.store.create(self.object_name("snapshot.json"), encode_object(spec), {"attempt": self.call_id})
        except ObjectExists:
            first = self.spec()
            if first is None:
                raise StoreUnavailable(f"{self.object_name('snapshot.json')} can't be read though it exists.") from None
            return first
        return spec

    def manifest(self) -> SnapshotManifest | None:
        """Read the manifest; None: the snapshot is not complete. Raises Damaged, NewerVersion."""
        data = self.store.read(self.object_name("manifest.json"))
        return None if data is None else decode_object(self.object_name("manifest.json"), data, SnapshotManifest)

    def parts(self, spec: SnapshotSpec) -> list[SnapshotPart]:
        """List the parts that are there, ascending."""
        found = ((stored, _PART.match(stored.name.rpartition("/")[2])) for stored in self._stored_parts())
        return [self._described(spec, stored, int(m[1]), int(m[2])) for stored, m in found if m]

    def commit(self, spec: SnapshotSpec, first: int, last: int, songs: int, data: bytes) -> SnapshotPart:
        """Create a part; if another call was first, it stored the same."""
        name = f"songs-{first:012d}-{last:012d}.{spec.suffix}"
        try:
            metadata = {"attempt": self.call_id, "songs": str(songs)}
            stored = self.store.create(self.object_name(name), data, metadata)
        except ObjectExists:
            there = self.store.stat(self.object_name(name))
            if there is None:
                raise StoreUnavailable(f"{self.object_name(name)} can't be read though it exists.") from None
            stored = there
        return SnapshotPart(name, first, last, songs, stored.size, stored.crc32c)

    def finish(self, manifest: SnapshotManifest) -> None:
        """Store the manifest; every finisher writes the same bytes."""
        with suppress(ObjectExists):
            self.store.create(self.object_name("manifest.json"), encode_object(manifest), {"attempt": self.call_id})

    def object_name(self, name: str) -> str:
        """Return an object's name in the store."""
        return f"snapshots/{self.name}/{name}"

    def _stored_parts(self) -> Iterator[StoredObject]:
        return self.store.list(self.object_name("songs-"))

    def _described(self, spec: SnapshotSpec, stored: StoredObject, first: int, last: int) -> SnapshotPart:
        songs = stored.metadata.get("songs", "")
        count = int(songs) if songs.isdecimal() else self._count(spec, stored.name)
        return SnapshotPart(stored.name.rpartition("/")[2], first, last, count, stored.size, stored.crc32c)

    def _count(self, spec: SnapshotSpec, name: str) -> int:
        """Count the rows of a part whose metadata does not say it: a call died before it wrote that."""
        try:
            return sum(len(lines) for lines in stored_lines(spec.format, self.store.read(name) or b""))
        except ValueError as error:
            raise Damaged(f"{name} is damaged: {error}.") from error


class SnapshotWork(msgspec.Struct, frozen=True):
    """Make a snapshot of its layers: those of runs, newest or not, and perhaps an earlier snapshot below them."""

    snapshot_store: SnapshotStore
    spec: SnapshotSpec
    runs: list[RunLayer]
    base: SnapshotManifest | None = None

    def carry_on(self, submit: Submit, is_over: Callable[[], bool]) -> tuple[list[SnapshotPart], bool]:
        """Make part after part until all are there, or time is over before the next; tells whether all are.

        Raises Damaged, RunConflict, StoreUnavailable; what is stored stays stored.
        """
        self._refuse_older_parts()
        parts = self.snapshot_store.parts(self.spec)
        base = [] if self.base is None else [self._base_layer(self.base)]
        rows = NewestRows([*self.runs, *base], submit).after(parts[-1].last if parts else -1)
        while not is_over():
            part = self._make_part(rows)
            if part is None:
                self.snapshot_store.finish(self._manifest(parts))
                return parts, True
            parts.append(part)
        return parts, False

    def _make_part(self, rows: Iterator[Found]) -> SnapshotPart | None:
        """Store the next rows as a part; None: there are no more."""
        file = BytesIO()
        sink = file if self.spec.format == "parquet" else GzipSink(file)
        table = self.spec.table.open(sink)
        first = last = None
        songs = weight = 0
        while songs < MOST_PART_SONGS and weight < MOST_PART_BYTES and (chunk := _chunk(rows)):
            first = chunk[0][0] if first is None else first
            last = chunk[-1][0]
            lines = [line for _, line in chunk]
            songs, weight = songs + len(lines), weight + sum(map(len, lines))
            table.feed(lines)
        if first is None or last is None:
            return None
        table.finish()
        if isinstance(sink, GzipSink):
            sink.finish()
        return self.snapshot_store.commit(self.spec, first, last, songs, file.getvalue())

    def _base_layer(self, base: SnapshotManifest) -> SnapshotLayer:
        return SnapshotLayer(self.snapshot_store.store, base.snapshot, base.format, base.parts)

    def _refuse_older_parts(self) -> None:
        """Refuse runs that are older in part than what the earlier snapshot says of the same songs.

        It does not tell any more which songs were missing, and when: the older row might bring one back.
        """
        if self.base is None or not self.base.covers:
            return
        covers = SongSet.parse(self.base.covers)
        for layer in self.runs:
            for piece in layer.pieces():
                older = utc_text(piece.age[0]) <= self.base.newest_fetched_at
                if older and layer.grid[piece.place].songs & covers:
                    raise RunConflict(
                        f"The run {layer.spec.run} was fetched in part before the snapshot {self.base.snapshot}'s "
                        "newest rows; allowed: a snapshot of all runs, without from."
                    )

    def _manifest(self, parts: list[SnapshotPart]) -> SnapshotManifest:
        covers = SongSet.of(pair for layer in self.runs for pair in layer.grid.songs.ranges)
        times = [utc_text(piece.age[0]) for layer in self.runs for piece in layer.pieces()]
        if self.base is not None:
            covers |= SongSet.parse(self.base.covers) if self.base.covers else SongSet()
            times.append(self.base.newest_fetched_at)
        spec = self.spec
        return SnapshotManifest(
            snapshot=spec.snapshot,
            source=spec.source,
            source_name=spec.source_name,
            source_digest=spec.source_digest,
            keyed=spec.keyed,
            format=spec.format,
            laid_on=spec.laid_on,
            runs=spec.runs,
            created_at=spec.created_at,
            songs=sum(part.songs for part in parts),
            covers=str(covers),
            newest_fetched_at=max(times, default=""),
            parts=parts,
        )


def _chunk(rows: Iterator[Found]) -> list[Found]:
    return list(islice(rows, _CHUNK_ROWS))
