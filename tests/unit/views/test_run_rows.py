"""Check the rows of a stored run: one by its number, pages of them, and which parts are read for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.errors import UnknownSong
from crawler.core.records import Row, Status, StoredObject
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.grid import PartKey
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from crawler.views.run_rows import RunRows

SPEC = run_spec("1-10,20-29", part_songs=5)


class ReadingStore(FolderStore):
    """A folder that notes which objects were read."""

    def __init__(self, folder: Path) -> None:
        """Open it."""
        super().__init__(folder)
        self.read_names: list[str] = []

    def read(self, name: str) -> bytes | None:
        """Read an object, and note it."""
        self.read_names.append(name.rpartition("/")[2])
        return super().read(name)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """List as a folder does."""
        return super().list(prefix, after)


@pytest.fixture
def store(tmp_path: Path) -> ReadingStore:
    """Begin a run in a folder, of which the third part (20-24) is not stored yet."""
    store = ReadingStore(tmp_path)
    run_store = RunStore(store, SPEC.run, "one")
    run_store.begin(SPEC)
    for index in (0, 1, 3):
        commit(run_store, SPEC.grid[index])
    store.read_names.clear()
    return store


def judge(number: int) -> Verdict:
    """Have every third song missing, the eighth failed."""
    if number % 3 == 0:
        return MISSING
    return failed("timeout") if number == 8 else found({"id": number})


def commit(run_store: RunStore, key: PartKey) -> None:
    """Store a part."""
    compressor = Compressor()
    compressor.feed(encode_row(number, judge(number)) for number in key.songs)
    data = compressor.finish()
    run_store.commit(key, key.format.encode(data), tally_of(key.songs))


def tally_of(numbers: SongSet) -> Tally:
    """Count the rows of some numbers."""
    missing = SongSet.of_numbers(number for number in numbers if judge(number) == MISSING)
    failures = SongSet.of_numbers(number for number in numbers if number == 8)
    return Tally(
        found=len(numbers) - len(missing) - len(failures),
        missing=len(missing),
        failed=len(failures),
        missing_songs=missing,
        failed_songs=failures,
    )


def rows_of(store: FolderStore, spec: RunSpec = SPEC) -> RunRows:
    """Open the run's rows."""
    return RunRows(RunStore(store, spec.run), spec)


def test_one_song_takes_one_read(store: ReadingStore) -> None:
    """Read the one part that covers a song, and return its row as it is stored."""
    assert rows_of(store).row(8) == Row(8, "failed", None, "timeout")
    assert store.read_names == [SPEC.grid[1].name]


@pytest.mark.parametrize(
    ("song_num", "sentence"), [(15, "not asked for 15; its songs are 1-10,20-29"), (21, "no row of 21 yet")]
)
def test_a_song_without_a_row_is_unknown(store: ReadingStore, song_num: int, sentence: str) -> None:
    """Say whether a song was never asked for, or is not stored yet."""
    with pytest.raises(UnknownSong, match=sentence):
        rows_of(store).row(song_num)


def test_rows_come_ascending_over_gaps_and_parts_that_are_not_there(store: ReadingStore) -> None:
    """Yield every stored row after a number, whether or not that was asked for."""
    rows = rows_of(store)

    assert [row.song_num for row in rows.rows()] == [*range(1, 11), *range(25, 30)]
    assert [row.song_num for row in rows.rows(after=9)] == [10, *range(25, 30)]
    assert [row.song_num for row in rows.rows(after=15)] == [*range(25, 30)]
    assert list(rows.rows(after=29)) == []


@pytest.mark.parametrize(
    ("status", "numbers"), [("found", [1, 2, 4, 5, 7, 10, 25, 26, 28, 29]), ("missing", [3, 6, 9, 27]), ("failed", [8])]
)
def test_rows_of_a_status(store: ReadingStore, status: Status, numbers: list[int]) -> None:
    """Yield the rows of one status alone."""
    assert [row.song_num for row in rows_of(store).rows(status)] == numbers


def test_parts_without_the_status_are_not_read(store: ReadingStore) -> None:
    """Take from a part's metadata whether it has any row of the status."""
    list(rows_of(store).rows("failed"))

    assert store.read_names == [SPEC.grid[1].name]


def test_pages_follow_each_other_to_the_end(store: ReadingStore) -> None:
    """Give each row once over all pages, and no number to go on from after the last."""
    rows, after, pages = rows_of(store), -1, []
    while True:
        page, following = rows.page(4, after=after)
        pages.append([row.song_num for row in page])
        if following is None:
            break
        after = following

    assert pages == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 25, 26], [27, 28, 29]]
    assert rows.page(15) == (list(rows.rows()), None)


def test_a_page_ends_before_it_weighs_too_much(store: ReadingStore) -> None:
    """Cut a page short by its bytes, with one row at least."""
    rows = rows_of(store)

    assert [row.song_num for row in rows.page(50, most_bytes=100)[0]] == [1, 2]
    assert [row.song_num for row in rows.page(50, after=2, most_bytes=1)[0]] == [3]


def test_an_open_range_ends_where_the_run_ends(tmp_path: Path) -> None:
    """Leave out parts that another call stored past the end of an open range."""
    spec = run_spec("1-100", part_songs=3, end_after_missing=3)
    run_store = RunStore(FolderStore(tmp_path), spec.run, "one")
    run_store.begin(spec)
    for index in range(4):
        key = spec.grid[index]
        outcome = MISSING if index in (1, 3) else found(index)
        compressor = Compressor()
        compressor.feed(encode_row(number, outcome) for number in key.songs)
        missing = key.songs if outcome is MISSING else SongSet()
        tally = Tally(found=3 - len(missing), missing=len(missing), missing_songs=missing, failed_songs=SongSet())
        run_store.commit(key, compressor.finish(), tally)

    assert [row.song_num for row in rows_of(FolderStore(tmp_path), spec).rows()] == [1, 2, 3, 4, 5, 6]
