"""The ledger of one run: everything the store says of it, and the few objects a call may add.

Object names, below the output:
    runs/RUN/run.json                  what was asked, and the grid
    runs/RUN/songs-FIRST-LAST.jsonl.gz a part: the commit point
    runs/RUN/manifest.json             once the parts tile the request
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from crawler.ground.errors import ObjectExists, StoreUnavailable
from crawler.ground.records import Row, StoredObject
from crawler.rules.manifest import CommittedPart, encode_manifest, gaps
from crawler.rules.parts import PartKey, decode_rows
from crawler.rules.spec import RunSpec
from crawler.rules.tally import Tally
from crawler.seams.ports import Store


@dataclass(frozen=True)
class Ledger:
    """Read and extend one run's objects; `attempt` is the id of the call that does it."""

    store: Store
    run: str
    attempt: str

    @property
    def url(self) -> str:
        """Name the run's place for people."""
        return f"{self.store.url}/runs/{self.run}"

    def spec(self) -> RunSpec | None:
        """Read run.json; None: there is no such run."""
        data = self.store.read(self._name("run.json"))
        return None if data is None else RunSpec.decode(data)

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

    def parts(self, spec: RunSpec) -> list[CommittedPart]:
        """List the committed parts, in the grid's order; one listing, unless an object lacks its metadata."""
        prefix = self._name("songs-")
        found = []
        for stored in self.store.list(prefix):
            key = spec.grid.find(stored.name.rpartition("/")[2])
            if key is not None:
                tally = Tally.from_metadata(stored.metadata) or self._count(key, _bare(stored))
                found.append(CommittedPart(key, stored, tally))
        return found

    def has(self, key: PartKey) -> bool:
        """Look whether a part is committed."""
        return self.store.stat(self._name(key.name)) is not None

    def commit(self, key: PartKey, data: bytes, tally: Tally) -> None:
        """Create a part: its commit point. If another attempt was first, its rows stand and these are dropped."""
        with suppress(ObjectExists):
            self.store.create(self._name(key.name), data, tally.to_metadata())

    def finished(self) -> bool:
        """Look whether the manifest is there."""
        return self.store.stat(self._name("manifest.json")) is not None

    def finish(self, spec: RunSpec, parts: list[CommittedPart]) -> bool:
        """Write the manifest if the parts tile the request; False if they don't, or nothing was asked for."""
        if gaps(spec.grid, parts):
            return False
        for part in parts:
            if part.tally.missing_songs is None or part.tally.failed_songs is None:
                self._count(part.key, part.tally)
        with suppress(ObjectExists):  # every finisher writes the same bytes
            self._create("manifest.json", encode_manifest(spec, parts))
        return True

    def rows(self, key: PartKey) -> list[Row]:
        """Read a part's rows; none if it is not there. Raises ValueError if it is damaged."""
        data = self.store.read(self._name(key.name))
        return [] if data is None else decode_rows(data)

    def _count(self, key: PartKey, tally: Tally) -> Tally:
        """Count a part's own rows, where its metadata doesn't say enough."""
        tally.count_rows(self.rows(key))
        return tally

    def _create(self, name: str, data: bytes) -> None:
        self.store.create(self._name(name), data, {"attempt": self.attempt})

    def _name(self, name: str) -> str:
        return f"runs/{self.run}/{name}"


def _bare(stored: StoredObject) -> Tally:
    return Tally(started_at=stored.created_at, finished_at=stored.created_at)
