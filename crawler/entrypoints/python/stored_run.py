"""A stored run, opened from Python: its songs, any row by its number, how it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from crawler.app.composition import open_store
from crawler.app.parameters import parse_run_name
from crawler.core.errors import UnknownRun
from crawler.core.ports import Store
from crawler.core.records import Row, SongRecord, Status
from crawler.entrypoints.python.table import SHOWN_ROWS, to_dataframe, to_html
from crawler.runs.index import RunIndex
from crawler.runs.status import run_summary
from crawler.runs.summary import RunSummary
from crawler.views.run_rows import RunRows

if TYPE_CHECKING:
    import pandas


def open_run(path: str) -> StoredRun:
    """Open a stored run: OUTPUT/runs/NAME, or a NAME in the OUTPUT of the environment.

    Raises UnknownRun if there is none, BadRequest for what is no name, StoreUnavailable.
    """
    output, below, run = path.rstrip("/").replace(os.sep, "/").rpartition("/runs/")
    if not below:
        output, run = os.environ.get("OUTPUT") or "songs", path
    return StoredRun(open_store(output, os.environ.get("STORAGE_EMULATOR_HOST") or None), parse_run_name("run", run))


class StoredRun:
    """A run as it is stored: iterating yields its found songs, ascending, with one part in memory at a time.

    `run[77]` is the row of song 77, whatever its status; `len(run)` counts the found songs. Rows that are stored later
    are seen too. Reading raises StoreUnavailable, and Damaged for a part that is not as it was stored.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._run_store = RunIndex(store).run_store(run)
        spec = self._run_store.spec()
        if spec is None:
            raise UnknownRun(f"There is no run {self._run_store.url}.")
        self._spec = spec
        self._rows = RunRows(self._run_store, spec)

    @property
    def answer(self) -> RunSummary:
        """Say how the run stands now: what `GET /runs/RUN` answers."""
        return run_summary(self._run_store, self._spec, time.time())

    @property
    def missing(self) -> list[int]:
        """List the numbers that do not exist; reads the parts that have some."""
        return [row.song_num for row in self.rows("missing")]

    @property
    def failed(self) -> list[tuple[int, str]]:
        """List the numbers that could not be fetched, each with its error word; reads the parts that have some."""
        return [(row.song_num, row.error or "failed") for row in self.rows("failed")]

    def rows(self, status: Status | None = None, after: int = -1) -> Iterator[Row]:
        """Yield the rows with a number above `after`, of a status or of all, ascending."""
        return self._rows.rows(status, after)

    def __getitem__(self, song_num: int) -> Row:
        """Return the row of a song: `song_num`, `status`, `info`, `error`; raises UnknownSong if there is none."""
        return self._rows.row(song_num)

    def __iter__(self) -> Iterator[SongRecord]:
        """Yield the found songs, ascending."""
        return (SongRecord(row.song_num, row.info) for row in self.rows("found"))

    def __len__(self) -> int:
        """Count the found songs."""
        return self.answer.found

    def __repr__(self) -> str:
        """Say how the run stands."""
        return f"<{self._sentence()}>"

    def _repr_html_(self) -> str:
        """Show the first songs in a notebook."""
        return to_html(self._sentence(), list(islice(self, SHOWN_ROWS)), len(self))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the found songs as a table, all in memory; raises BadRequest without pandas."""
        return to_dataframe(self)

    def _sentence(self) -> str:
        a = self.answer
        return f"run {a.run} {a.state}: {a.found} songs found, {a.missing} missing, {a.failed} failed, in {a.output}"
