"""The found songs of a run or a snapshot, one after the other, ascending, info unread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from crawler.core.errors import Damaged
from crawler.core.ports import Store
from crawler.core.records import FormatName
from crawler.formats.found_rows import stored_lines
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.views.found_lines import song_lines
from crawler.views.run_rows import RunRows
from crawler.views.snapshot import SnapshotStore
from crawler.views.snapshot_spec import SnapshotSpec


class StoredSongs(Protocol):
    """What is stored of songs that were found; `complete`: nothing more will come."""

    @property
    def complete(self) -> bool:
        """Tell whether the manifest is there."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Name what its rows have."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each song's number and its row, a JSON line without its end; raises Damaged, StoreUnavailable."""


class RunSongs(msgspec.Struct, frozen=True):
    """The found songs of a run's committed parts."""

    run_store: RunStore
    spec: RunSpec

    @property
    def complete(self) -> bool:
        """Tell whether the run is complete."""
        return self.run_store.ended() == "complete"

    @property
    def columns(self) -> tuple[str, ...]:
        """Name what its rows have: number, info, with KEYS key, where redirects are followed moved_to."""
        more = {"moved_to": self.spec.follows_redirects, "key": self.spec.keys}
        return ("song_num", "info", *(name for name, is_there in more.items() if is_there))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each song's number and its row."""
        names = (part.stored.name for part in RunRows(self.run_store, self.spec).parts(-1))
        return _lines(self.run_store.store, names, self.spec.format)


class SnapshotSongs(msgspec.Struct, frozen=True):
    """The songs of a snapshot's parts."""

    snapshot_store: SnapshotStore
    spec: SnapshotSpec

    @property
    def complete(self) -> bool:
        """Tell whether the snapshot is complete."""
        return self.snapshot_store.manifest() is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Name what its rows have."""
        return self.spec.table.columns

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each song's number and its row."""
        names = (self.snapshot_store.object_name(part.name) for part in self.snapshot_store.parts(self.spec))
        return _lines(self.snapshot_store.store, names, self.spec.format)


def _lines(store: Store, names: Iterable[str], format: FormatName) -> Iterator[tuple[int, bytes]]:
    for name in names:
        data = store.read(name)
        if data is None:
            raise Damaged(f"{name} is not there any more.")
        try:
            for number, line in song_lines(stored_lines(format, data)):
                if line is not None:
                    yield number, line
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{name} is damaged: {error}.") from error
