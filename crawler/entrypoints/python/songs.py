"""What a crawl from Python returns: records in the order asked for, and what became of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

from crawler.core.errors import SongcrawlError
from crawler.core.ports import Store
from crawler.core.records import Row, SongRecord, Status
from crawler.core.verdict import Kind
from crawler.engine.in_memory import Collected
from crawler.entrypoints.python.table import SHOWN_ROWS, to_dataframe, to_html
from crawler.runs.store import RunStore
from crawler.runs.summary import RunSummary

if TYPE_CHECKING:
    import pandas


class Songs(Sequence[SongRecord]):
    """The found songs as SongRecord tuples, in the order asked for.

    `missing` lists the items that do not exist; `failed` those that could not be fetched, each with its error word.
    """

    def __init__(self, chunks: list[Collected]) -> None:
        self.missing: list[Any] = []
        self.failed: list[tuple[Any, str]] = []
        self._found: list[SongRecord] = []
        for chunk in chunks:
            for index, item in enumerate(chunk.items):
                outcome = chunk.outcomes[index]
                if outcome.kind is Kind.FOUND:
                    self._found.append(SongRecord.of(item, outcome.info, outcome.moved_to))
                elif outcome.kind is Kind.MISSING:
                    self.missing.append(item)
                else:
                    self.failed.append((item, outcome.error or "failed"))

    @overload
    def __getitem__(self, index: int) -> SongRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[SongRecord]: ...
    def __getitem__(self, index: int | slice) -> SongRecord | list[SongRecord]:
        """Return a record, or some, by place."""
        return self._found[index]

    def __len__(self) -> int:
        """Count the found songs."""
        return len(self._found)

    def __repr__(self) -> str:
        """Say how many there are of each."""
        return f"<{self._sentence()}>"

    def _repr_html_(self) -> str:
        """Show the first songs in a notebook."""
        return to_html(self._sentence(), self._found[:SHOWN_ROWS], len(self))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the found songs as a table: `song_num` and the fields of info; raises BadRequest without pandas."""
        return to_dataframe(self)

    def _sentence(self) -> str:
        return f"{len(self)} songs found, {len(self.missing)} missing, {len(self.failed)} failed"


class StoredSongs(Sequence[SongRecord]):
    """The songs of a stored run, read part by part as they are asked for; `answer` says how the run stands."""

    def __init__(self, store: Store, answer: RunSummary) -> None:
        self.answer = answer
        self._run_store = RunStore(store, answer.run, call_id="")
        spec = self._run_store.spec()
        self._parts = self._run_store.parts(spec) if spec else []
        self._last: tuple[int, list[Row]] = (-1, [])

    @property
    def missing(self) -> list[int]:
        """List the numbers that do not exist; reads the parts that have some."""
        return [row.song_num for row in self._rows("missing")]

    @property
    def failed(self) -> list[tuple[int, str]]:
        """List the numbers that could not be fetched, each with its error word; reads the parts that have some."""
        return [(row.song_num, row.error or "failed") for row in self._rows("failed")]

    def __iter__(self) -> Iterator[SongRecord]:
        """Yield the found songs, ascending, with one part in memory at a time."""
        return (SongRecord.of(row.song_num, row.info, row.moved_to) for row in self._rows("found"))

    @overload
    def __getitem__(self, index: int) -> SongRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[SongRecord]: ...
    def __getitem__(self, index: int | slice) -> SongRecord | list[SongRecord]:
        """Return a record, or some, by place."""
        if isinstance(index, slice):
            return [self[index] for index in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        for number, part in enumerate(self._parts):
            if index < part.tally.found:
                row = [row for row in self._read(number) if row.status == "found"][index]
                return SongRecord.of(row.song_num, row.info, row.moved_to)
            index -= part.tally.found
        raise IndexError(index)

    def __len__(self) -> int:
        """Count the found songs."""
        return sum(part.tally.found for part in self._parts)

    def __repr__(self) -> str:
        """Say how the run stands."""
        return f"<{self._sentence()}>"

    def _repr_html_(self) -> str:
        """Show the first songs in a notebook, as far as they can be read."""
        first: list[SongRecord] = []
        with suppress(SongcrawlError):
            first += islice(self, SHOWN_ROWS)
        return to_html(self._sentence(), first, len(self))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the found songs as a table, all in memory: see Songs.to_dataframe."""
        return to_dataframe(self)

    def _sentence(self) -> str:
        a = self.answer
        return f"run {a.run} {a.state}: {a.found} songs found, {a.missing} missing, {a.failed} failed, in {a.output}"

    def _rows(self, status: Status) -> Iterator[Row]:
        for number, part in enumerate(self._parts):
            if getattr(part.tally, status):
                yield from (row for row in self._read(number) if row.status == status)

    def _read(self, number: int) -> list[Row]:
        """Read a part's rows; the last one read is kept, for whoever asks place by place."""
        if self._last[0] != number:
            self._last = (number, self._run_store.rows(self._parts[number].key))
        return self._last[1]
