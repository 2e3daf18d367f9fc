"""A bucket in memory, and one process's way to it, on which acknowledgements get lost.

It promises what Cloud Storage does (create-only objects, consistent reads and listings) and what the adapters make of
it: an object of one's own attempt is met without complaint. In `folder` flavour an object's metadata comes just after
the object, and a crash between the two leaves it without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.records import StoredObject
from crawler.formats.checksum import crc32c

if TYPE_CHECKING:
    from simulation.visits import Visit
    from simulation.world import World

PAGE_OBJECTS = 4


@dataclass
class Entry:
    """Hold an object, who stored it and after how many others."""

    stored: StoredObject
    data: bytes
    serial: int
    by: Visit


class Bucket:
    """Keep objects; `serial` counts them."""

    def __init__(self, *, folder: bool) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.lost_acknowledgements = 0

    @property
    def serial(self) -> int:
        """Count the objects."""
        return len(self.entries)

    def names(self, prefix: str, after: str = "") -> list[str]:
        """List names as a bucket does."""
        return sorted(name for name in self.entries if name.startswith(prefix) and name > after)


class SimStore:
    """Be the store of one visit; every operation pauses before and after its effect."""

    url = "sim://bucket"

    def __init__(self, world: World, visit: Visit, deadline: Deadline) -> None:
        self._world = world
        self._visit = visit
        self._bucket = world.bucket
        self._deadline = deadline

    def until(self, deadline: Deadline) -> SimStore:
        """Return the same store for a call that must end by a deadline."""
        return SimStore(self._world, self._visit, deadline)

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object; raises ObjectExists if another attempt did, StoreUnavailable before or after the fact."""
        self._arrive("create", name)
        entry = self._bucket.entries.get(name)
        if entry is None:
            entry = self._put(name, data, metadata)
        else:
            self._world.truth.met(self._visit, entry, data)
            self._arrive("meets", name)
        if self._chance(self._world.weather.lost_acknowledgement) or self._loses_acknowledgement():
            self._visit.failed_creates += 1
            self._fail("loses the acknowledgement of", name)
        if entry.by is self._visit or entry.stored.metadata.get("attempt") == metadata["attempt"]:
            return entry.stored
        raise ObjectExists(name)

    def read(self, name: str) -> bytes | None:
        """Give an object's bytes; None if there is none."""
        self._arrive("read", name)
        entry = self._bucket.entries.get(name)
        self._leave("read", name)
        return entry.data if entry else None

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""
        self._arrive("stat", name)
        entry = self._bucket.entries.get(name)
        self._visit.looked(name, entry is not None)
        self._leave("stat", name)
        return entry.stored if entry else None

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe objects, page by page."""
        self._arrive("list", prefix)
        names = self._bucket.names(prefix, after)
        self._visit.listed(prefix, self._bucket.serial)
        for index, name in enumerate(names):
            if index and index % PAGE_OBJECTS == 0:
                self._arrive("list on", prefix)
            yield self._bucket.entries[name].stored
        self._leave("list", prefix)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> Entry:
        at_once: Mapping[str, str] = {} if self._bucket.folder else dict(metadata)
        stored = StoredObject(name, len(data), crc32c(data), self._world.clock.epoch(), at_once)
        entry = Entry(stored, data, self._bucket.serial, self._visit)
        self._bucket.entries[name] = entry
        self._world.scheduler.note(self._visit.name, f"stored {name}")
        self._world.truth.created(entry)
        self._world.scheduler.pause(self._seconds())
        if self._bucket.folder:
            entry.stored = msgspec.structs.replace(stored, metadata=dict(metadata))
        return entry

    def _arrive(self, operation: str, name: str) -> None:
        """Get as far as the bucket, or not."""
        self._world.scheduler.living()
        self._world.scheduler.note(self._visit.name, f"{operation} {name}")
        self._world.truth.hold(not self._visit.over, f"{self._visit.name} does {operation} {name} after its answer")
        self._world.scheduler.pause(self._seconds())
        late = self._world.scheduler.now > self._deadline.at
        if late or self._chance(self._world.weather.unavailable):
            self._visit.failed_creates += operation == "create"
            self._fail(f"can't {operation}", name)

    def _leave(self, operation: str, name: str) -> None:
        """Come back from the bucket, or not."""
        self._world.scheduler.pause()
        if self._chance(self._world.weather.unavailable / 4):
            self._fail(f"gets no answer to {operation}", name)

    def _fail(self, what: str, name: str) -> None:
        self._world.scheduler.note(self._visit.name, f"{what} {name}")
        raise StoreUnavailable(f"{self.url} {what} {name}.")

    def _loses_acknowledgement(self) -> bool:
        lost = self._bucket.lost_acknowledgements > 0
        self._bucket.lost_acknowledgements -= lost
        return lost

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._world.chance.random() < probability

    def _seconds(self) -> float:
        most = self._world.weather.store_seconds
        return self._world.chance.random() * most if most else 0.0
