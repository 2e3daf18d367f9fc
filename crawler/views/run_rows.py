"""The rows of one stored run: one by its number, or those after a number, ascending, with one part in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from crawler.core.errors import UnknownSong
from crawler.core.records import Row, Status
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore

# A page ends before it weighs more, however few its rows are: one alone may weigh MAX_SONG_BYTES.
MOST_PAGE_BYTES = 8 << 20


class RunRows(msgspec.Struct, frozen=True):
    """Read the rows of a run's committed parts; what a deadline cut off is not there yet.

    Each method raises Damaged for a part that is not as it was stored, StoreUnavailable.
    """

    run_store: RunStore
    spec: RunSpec

    def row(self, song_num: int) -> Row:
        """Return a song's row, from the one part that covers it; raises UnknownSong if there is none."""
        key = self.spec.grid.covering(song_num)
        if key is None:
            asked = _shortened(self.spec.songs)
            raise UnknownSong(f"The run {self.spec.run} was not asked for {song_num}; its songs are {asked}.")
        for row in self.run_store.rows(key):
            if row.song_num == song_num:
                return row
        raise UnknownSong(f"The run {self.spec.run} has no row of {song_num} yet.")

    def rows(self, status: Status | None = None, after: int = -1) -> Iterator[Row]:
        """Yield the rows with a number above `after`, of a status or of all, ascending.

        Parts whose metadata says that they have none of the status are not read.
        """
        for part in self.parts(after):
            if status is None or getattr(part.tally, status):
                yield from (
                    row
                    for row in self.run_store.rows(part.key)
                    if row.song_num > after and status in (None, row.status)
                )

    def page(
        self, limit: int, status: Status | None = None, after: int = -1, most_bytes: int = MOST_PAGE_BYTES
    ) -> tuple[list[Row], int | None]:
        """Return up to `limit` of `rows`, and the number after which the next page begins; None: there is none.

        It is shorter where its rows weigh more than `most_bytes` together, but never empty before the end.
        """
        page: list[Row] = []
        weight = 0
        for row in islice(self.rows(status, after), limit + 1):
            weight += len(msgspec.json.encode(row))
            if len(page) == limit or (page and weight > most_bytes):
                return page, page[-1].song_num
            page.append(row)
        return page, None

    def parts(self, after: int) -> Iterator[CommittedPart]:
        """Yield the committed parts from the first that goes on past a number, up to an open range's end."""
        grid = self.spec.grid
        if self.spec.end_after_missing is not None:
            parts = self.run_store.parts(self.spec)
            grid = self.run_store.end(self.spec, parts) or grid
        start = grid.songs.position(after + 1) // grid.part_songs
        yield from self.run_store.iterate_parts(self.spec, range(start, len(grid)))


def _shortened(songs: str) -> str:
    return songs if len(songs) <= 100 else f"{songs[:100]}…"
