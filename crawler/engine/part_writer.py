"""One part on its way: rows come in any order, are compressed in theirs, and become one object when all are there."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from crawler.core.ports import Fetcher
from crawler.core.records import STATUSES, Status
from crawler.core.song_set import SongSet
from crawler.core.verdict import Verdict, failed
from crawler.formats.jsonl_rows import STATUS, Compressor, Line, encode_row, error_of, with_key
from crawler.runs.grid import PartKey
from crawler.runs.tally import Tally

# Rows go to the compressor in pieces of this size, so that a part of large songs never lies in memory raw.
PIECE_BYTES = 256 << 10


class PartWriter:
    """The chunk of one part (see engine/dispatcher.py); `commit` is given the part and its bytes, once.

    `kept` are rows that earlier calls were cut off with: those songs are not asked for again. `key_of` gives the key
    that the row of a number carries.
    """

    is_canary = False

    def __init__(
        self,
        key: PartKey,
        fetcher: Fetcher,
        tally: Tally,
        commit: Callable[[PartWriter, bytes], None],
        kept: Sequence[Line] = (),
        key_of: Callable[[int], str] | None = None,
    ) -> None:
        self.key = key
        self.fetcher = fetcher
        self._is_json = bool(getattr(fetcher, "gives_json", False))
        self._encode_row = partial(_encode_keyed_row, key_of) if key_of else encode_row
        self.tally = tally
        self._numbers = list(key.songs)
        self._rows: list[bytes | None] = [None] * len(self._numbers)
        self._prefix = 0  # rows before this index have all come
        self._taken = 0  # rows before this index are with the compressor
        self._ready_bytes = 0  # weight of the rows between the two
        self._waiting_bytes = 0  # weight of all rows not with the compressor
        self._outcomes: dict[Status, list[int]] = {status: [] for status in STATUSES}
        self._errors: defaultdict[str, list[int]] = defaultdict(list)  # the numbers that failed, by their errors
        self._fresh = 0  # rows of this call
        self._closed = False
        self._rows_lock = threading.Lock()
        self._advance_lock = threading.Lock()
        self._compressor = Compressor()
        self._commit = commit
        self._insert([(key.songs.position(line.song_num), line.status, line.text) for line in kept])
        self._fresh = 0
        self.pending = deque(index for index, row in enumerate(self._rows) if row is None)

    @property
    def whole(self) -> bool:
        """Tell whether every row is there."""
        return self._prefix == len(self._rows)

    @property
    def counts(self) -> Counter[str]:
        """Count the rows that are there, by status, and the throttled requests; while others add some."""
        rows: dict[str, int] = {status: len(numbers) for status, numbers in self._outcomes.items()}
        return Counter({**rows, "throttled": self.tally.throttled})

    def item(self, index: int) -> int:
        """Return the song number at an index."""
        return self._numbers[index]

    @property
    def buffered_bytes(self) -> int:
        """Weigh the rows that no compressor has yet."""
        return self._waiting_bytes

    @property
    def held_bytes(self) -> int:
        """Weigh all that is in memory: what waits, and what is compressed."""
        return self._waiting_bytes + self._compressor.size

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts; called under the dispatcher's lock."""
        self.tally.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
        """Keep the rows of songs; True if a piece is ready to be compressed, or the whole part is there."""
        rows = [self._encoded(index, outcome) for index, outcome in outcomes]
        with self._rows_lock:
            self._insert(rows)
            return self._ready_bytes >= PIECE_BYTES or self.whole

    def advance(self) -> bool:
        """Compress what is ready and, when all of it is, commit the part; True from the one call that did."""
        with self._advance_lock:
            while piece := self._next_piece():
                self._compressor.feed(piece)
            # Several songs may have asked for an advance before the first of those is made.
            if self._closed or self._taken < len(self._rows):
                return False
            self._closed = True
            self.tally.count_numbers(self._outcomes, self._errors)
            self._commit(self, self._compressor.finish())
            return True

    def cut_off(self) -> tuple[SongSet, bytes] | None:
        """Return the numbers settled so far and their rows as an object, for another call to go on with.

        None if this call added nothing to them. The part takes no more rows then.
        """
        with self._advance_lock, self._rows_lock:
            if self._closed or not self._fresh:
                return None
            self._closed = True
            self._compressor.feed(row for row in self._rows[self._taken :] if row is not None)
            self.tally.count_numbers(self._outcomes, self._errors)
            covered = SongSet.of_numbers(number for numbers in self._outcomes.values() for number in numbers)
            return covered, self._compressor.finish()

    def _encoded(self, index: int, outcome: Verdict) -> tuple[int, Status, bytes]:
        number = self._numbers[index]
        try:
            return index, STATUS[outcome.kind], self._encode_row(number, outcome, is_json=self._is_json)
        except (TypeError, ValueError, RecursionError):
            return index, "failed", self._encode_row(number, failed("not_json"))

    def _insert(self, rows: Sequence[tuple[int, Status, bytes]]) -> None:
        numbers, outcomes, kept = self._numbers, self._outcomes, self._rows
        failed_before = len(outcomes["failed"])
        for index, status, row in rows:
            outcomes[status].append(numbers[index])
            kept[index] = row
        if len(outcomes["failed"]) > failed_before:  # looked at once, so that a found song costs nothing more
            for index, status, row in rows:
                if status == "failed":
                    self._errors[error_of(row)].append(numbers[index])
        self._waiting_bytes += sum([len(row) for _, _, row in rows])
        self._fresh += len(rows)
        prefix, most, ready_bytes = self._prefix, len(kept), self._ready_bytes
        while prefix < most and (ready := kept[prefix]) is not None:
            ready_bytes += len(ready)
            prefix += 1
        self._prefix, self._ready_bytes = prefix, ready_bytes

    def _next_piece(self) -> list[bytes]:
        """Take the next rows in order: a full piece, or what is left once all are there.

        Where the cuts fall depends on the rows alone, so that equal rows become equal bytes.
        """
        piece: list[bytes] = []
        size = 0
        with self._rows_lock:
            if self._ready_bytes < PIECE_BYTES and self._prefix < len(self._rows):
                return []
            while self._taken < self._prefix and size < PIECE_BYTES:
                row = self._rows[self._taken]
                assert row is not None
                self._rows[self._taken] = b""
                piece.append(row)
                size += len(row)
                self._taken += 1
            self._ready_bytes -= size
            self._waiting_bytes -= size
        return piece


def _encode_keyed_row(key_of: Callable[[int], str], number: int, outcome: Verdict, *, is_json: bool = False) -> bytes:
    return with_key(encode_row(number, outcome, is_json=is_json), key_of(number))
