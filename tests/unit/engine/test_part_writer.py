"""Check that a part becomes the same object however its rows come, once, and accounts for every number."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import FakeFetcher

from crawler.core.errors import StoreUnavailable
from crawler.core.records import Row
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, failed, found, retry
from crawler.engine import part_writer as part_module
from crawler.engine.part_writer import PartWriter
from crawler.formats.jsonl_rows import decode_rows
from crawler.runs.grid import PartKey
from crawler.runs.tally import Tally

SONGS = SongSet.parse("3,7-40,100-120")
PIECE_BYTES = 200


class Commits:
    """Keep what parts commit."""

    def __init__(self, songs: SongSet = SONGS) -> None:
        """Open one part of the songs."""
        self.data: list[bytes] = []
        self.part = PartWriter(PartKey(0, songs), FakeFetcher(), Tally(call_id="ours"), self._commit)

    def _commit(self, part: PartWriter, data: bytes) -> None:
        self.data.append(data)

    def settle(self, indexes: Iterable[int], outcome_of: Callable[[int], Verdict]) -> None:
        """Settle indexes in the order given, advancing whenever the part asks for it."""
        for index in indexes:
            if self.part.settle([(index, outcome_of(self.part.item(index)))]):
                self.part.advance()


def outcome_of(number: int) -> Verdict:
    """Give each number an outcome of its own, some larger than others."""
    if number % 5 == 0:
        return MISSING
    return failed("timeout") if number % 7 == 0 else found({"id": number, "title": "la" * (number % 50)})


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows make a piece for the compressor."""
    monkeypatch.setattr(part_module, "PIECE_BYTES", PIECE_BYTES)


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as they can, so that they meet wherever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def commits() -> Commits:
    """Open a part."""
    return Commits()


def in_order() -> bytes:
    """Give the object that rows settled in their order become."""
    commits = Commits()
    commits.settle(range(len(SONGS)), outcome_of)
    return commits.data[0]


def test_part_has_one_row_for_every_number(commits: Commits) -> None:
    """Hold a row for each number the part covers, ascending, whatever became of it."""
    commits.settle(range(len(SONGS)), outcome_of)

    (data,) = commits.data
    rows = decode_rows(data)
    assert [row.song_num for row in rows] == list(SONGS)
    assert rows[0] == Row(3, "found", {"id": 3, "title": "lalala"})
    assert rows[1] == Row(7, "failed", None, "timeout")
    assert rows[4] == Row(10, "missing", None)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(len(SONGS))))
def test_any_order_gives_the_same_bytes(indexes: list[int]) -> None:
    """Write the same object whichever song came first."""
    commits = Commits()
    commits.settle(indexes, outcome_of)

    assert commits.data == [in_order()]


def test_late_compression_gives_the_same_bytes(commits: Commits) -> None:
    """Write the same object when the compressor gets to its rows only after the last of them came."""
    for index in range(len(SONGS)):
        commits.part.settle([(index, outcome_of(commits.part.item(index)))])

    assert commits.part.advance()
    assert commits.data == [in_order()]


def test_part_is_committed_once_however_often_it_is_advanced(commits: Commits) -> None:
    """Finish at the first of several advances that were asked for before any of them was made."""
    settled = [commits.part.settle([(index, outcome_of(commits.part.item(index)))]) for index in range(len(SONGS))]
    asked_for = settled.count(True)

    assert asked_for >= 2
    assert [commits.part.advance() for _ in range(asked_for)] == [True] + [False] * (asked_for - 1)
    assert commits.data == [in_order()]


@pytest.mark.usefixtures("_frequent_switches")
def test_threads_settle_and_advance_at_once() -> None:
    """Commit one whole object when rows come from many threads and are compressed by two."""
    songs = SongSet.of([(1, 2000)])
    commits = Commits(songs)
    finished: list[bool] = []

    with ThreadPoolExecutor(2) as advancing, ThreadPoolExecutor(8) as settling:

        def settle(index: int) -> None:
            if commits.part.settle([(index, outcome_of(commits.part.item(index)))]):
                advancing.submit(lambda: finished.append(commits.part.advance()))

        list(settling.map(settle, range(len(songs))))

    assert finished.count(True) == 1
    assert commits.part.buffered_bytes == 0
    (data,) = commits.data
    assert [row.song_num for row in decode_rows(data)] == list(songs)


def test_part_asks_for_an_advance_only_when_there_is_work() -> None:
    """Leave the compressor alone until a piece of it is ready, or the part is."""
    commits = Commits(SongSet.parse("1-3"))
    large = found("x" * PIECE_BYTES)

    assert not commits.part.settle([(1, large)])
    assert commits.part.settle([(0, found("small"))])
    assert commits.part.advance() is False
    assert commits.part.buffered_bytes == 0
    assert commits.part.settle([(2, found("small"))])
    assert commits.part.advance() is True


def test_waiting_rows_weigh_until_they_are_compressed(commits: Commits) -> None:
    """Count the bytes of every row that no compressor has, in order or not."""
    before = commits.part.buffered_bytes
    commits.part.settle([(len(SONGS) - 1, found("x" * 5000))])
    waiting = commits.part.buffered_bytes
    commits.settle(range(len(SONGS) - 1), outcome_of)

    assert before == 0
    assert 5000 < waiting < 5100
    assert commits.part.buffered_bytes == 0


@pytest.mark.parametrize(
    "info",
    [object(), 1 + 2j, {(1, 2): 3}, "\ud800", {"deep": ["\ud800"]}, threading.Lock()],
    ids=["object", "complex", "tuple as a key", "lone surrogate", "lone surrogate within", "lock"],
)
def test_info_that_json_can_not_hold_is_failed(info: Any) -> None:
    """Fail the song alone, with the word not_json, and keep the part."""
    commits = Commits(SongSet.parse("1-2"))
    commits.settle([0, 1], lambda number: found(info if number == 1 else "fine"))

    assert decode_rows(commits.data[0]) == [Row(1, "failed", None, "not_json"), Row(2, "found", "fine")]
    assert commits.part.tally.failed_songs == SongSet.parse("1")


def test_info_that_holds_itself_is_failed() -> None:
    """Fail a song whose info has no end."""
    endless: list[Any] = []
    endless.append(endless)
    commits = Commits(SongSet.parse("1"))
    commits.settle([0], lambda _number: found(endless))

    assert decode_rows(commits.data[0]) == [Row(1, "failed", None, "not_json")]


def test_tally_tells_what_became_of_the_songs(commits: Commits) -> None:
    """Count rows by status, name the missing and the failed, and add up attempts."""
    commits.part.record([(0.1, retry("timeout")), (0.2, found(1))])
    commits.settle(range(len(SONGS)), outcome_of)

    tally = commits.part.tally
    assert (tally.found, tally.missing, tally.failed) == (38, 12, 6)
    assert tally.songs_done == len(SONGS)
    assert str(tally.missing_songs) == "10,15,20,25,30,35,40,100,105,110,115,120"
    assert str(tally.failed_songs) == "7,14,21,28,112,119"
    assert tally.requests == 2


def test_commit_that_fails_is_heard() -> None:
    """Raise what the store raises: the part is not finished."""

    def refuse(part: PartWriter, data: bytes) -> None:
        raise StoreUnavailable("The store is gone.")

    part = PartWriter(PartKey(0, SongSet.parse("1")), FakeFetcher(), Tally(), refuse)
    part.settle([(0, MISSING)])

    with pytest.raises(StoreUnavailable):
        part.advance()
