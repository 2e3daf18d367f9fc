"""One part on its way: rows come in any order, are compressed in theirs, and become one object when all are there."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from crawler.core.ports import Lane
from crawler.core.song_set import SongSet
from crawler.core.verdict import Verdict, failed
from crawler.formats.jsonl_rows import STATUS, Compressor, Line, encode_row
from crawler.runs.grid import PartKey
from crawler.runs.tally import Tally

# Rows go to the compressor in pieces of this size, so that a part of large songs never lies in memory raw.
CHUNK_BYTES = 256 << 10


class RunPart:
    """Be the batch of one part (see engine/dispatcher.py); `commit` is given the part and its bytes, once.

    `kept` are rows that earlier calls were cut off with: those songs are not asked for again.
    """

    def __init__(
        self,
        key: PartKey,
        lane: Lane,
        tally: Tally,
        commit: Callable[[RunPart, bytes], None],
        kept: Sequence[Line] = (),
    ) -> None:
        self.key = key
        self.lane = lane
        self.tally = tally
        self._numbers = list(key.songs)
        self._rows: list[bytes | None] = [None] * len(self._numbers)
        self._prefix = 0  # rows before this place have all come
        self._taken = 0  # rows before this place are with the compressor
        self._ready_bytes = 0  # weight of the rows between the two
        self._waiting_bytes = 0  # weight of all rows not with the compressor
        self._outcomes: dict[str, list[int]] = {"found": [], "missing": [], "failed": []}
        self._fresh = 0  # rows of this call
        self._closed = False
        self._rows_lock = threading.Lock()
        self._advance_lock = threading.Lock()
        self._compressor = Compressor()
        self._commit = commit
        self._place([(key.songs.position(line.song_num), line.status, line.text) for line in kept])
        self._fresh = 0
        self.pending = deque(place for place, row in enumerate(self._rows) if row is None)

    @property
    def whole(self) -> bool:
        """Tell whether every row is there."""
        return self._prefix == len(self._rows)

    @property
    def counts(self) -> Counter[str]:
        """Count the rows that are there, by status, and the throttled requests; while others add some."""
        rows = {status: len(numbers) for status, numbers in self._outcomes.items()}
        return Counter({**rows, "throttled": self.tally.throttled})

    def item(self, place: int) -> int:
        """Give the song number at a place."""
        return self._numbers[place]

    @property
    def buffered_bytes(self) -> int:
        """Weigh the rows that no compressor has yet."""
        return self._waiting_bytes

    @property
    def held_bytes(self) -> int:
        """Weigh all that is in memory: what waits, and what is compressed."""
        return self._waiting_bytes + self._compressor.size

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts; called under the work's lock."""
        self.tally.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:
        """Keep the rows of songs; True if a piece is ready to be compressed, or the whole part is there."""
        rows = [self._encoded(place, outcome) for place, outcome in outcomes]
        with self._rows_lock:
            self._place(rows)
            return self._ready_bytes >= CHUNK_BYTES or self.whole

    def advance(self) -> bool:
        """Compress what is ready and, when all of it is, commit the part; True from the one call that did."""
        with self._advance_lock:
            while chunk := self._next_chunk():
                self._compressor.feed(chunk)
            # Several songs may have asked for an advance before the first of those is made.
            if self._closed or self._taken < len(self._rows):
                return False
            self._closed = True
            self._count()
            self._commit(self, self._compressor.finish())
            return True

    def cut_off(self) -> tuple[SongSet, bytes] | None:
        """Give the numbers settled so far and their rows as an object, for another call to go on with.

        None if this call added nothing to them. The part takes no more rows then.
        """
        with self._advance_lock, self._rows_lock:
            if self._closed or not self._fresh:
                return None
            self._closed = True
            self._compressor.feed(row for row in self._rows[self._taken :] if row is not None)
            self._count()
            covered = SongSet.of_numbers(number for numbers in self._outcomes.values() for number in numbers)
            return covered, self._compressor.finish()

    def _encoded(self, place: int, outcome: Verdict) -> tuple[int, str, bytes]:
        number = self._numbers[place]
        try:
            return place, STATUS[outcome.kind], encode_row(number, outcome)
        except (TypeError, ValueError, RecursionError):
            return place, "failed", encode_row(number, failed("not_json"))

    def _place(self, rows: Sequence[tuple[int, str, bytes]]) -> None:
        for place, status, row in rows:
            self._outcomes[status].append(self._numbers[place])
            self._rows[place] = row
            self._waiting_bytes += len(row)
        self._fresh += len(rows)
        while self._prefix < len(self._rows) and (ready := self._rows[self._prefix]) is not None:
            self._ready_bytes += len(ready)
            self._prefix += 1

    def _next_chunk(self) -> list[bytes]:
        """Take the next rows in order: a full chunk, or what is left once all are there.

        Where the cuts fall depends on the rows alone, so that equal rows become equal bytes.
        """
        chunk: list[bytes] = []
        size = 0
        with self._rows_lock:
            if self._ready_bytes < CHUNK_BYTES and self._prefix < len(self._rows):
                return []
            while self._taken < self._prefix and size < CHUNK_BYTES:
                row = self._rows[self._taken]
                assert row is not None
                self._rows[self._taken] = b""
                chunk.append(row)
                size += len(row)
                self._taken += 1
            self._ready_bytes -= size
            self._waiting_bytes -= size
        return chunk

    def _count(self) -> None:
        missing, failed_songs = (SongSet.of_numbers(self._outcomes[status]) for status in ("missing", "failed"))
        self.tally.found = len(self._outcomes["found"])
        self.tally.missing, self.tally.failed = len(missing), len(failed_songs)
        self.tally.missing_songs, self.tally.failed_songs = missing, failed_songs
