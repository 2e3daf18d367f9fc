"""One part on its way: rows come in any order, are compressed in theirs, and become one object when all are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from crawler.ground.records import Verdict, failed
from crawler.ground.song_set import SongSet
from crawler.rules.parts import Compressor, PartKey, encode_row
from crawler.rules.tally import Tally
from crawler.seams.ports import Lane

# Rows go to the compressor in pieces of this size, so that a part of large songs never lies in memory raw.
CHUNK_BYTES = 256 << 10


class RunPart:
    """Be the batch of one part (see engine/work.py); `commit` is given the part and its bytes, once."""

    def __init__(self, key: PartKey, lane: Lane, tally: Tally, commit: Callable[[RunPart, bytes], None]) -> None:
        self.key = key
        self.lane = lane
        self.tally = tally
        self.pending: Iterator[int] = iter(range(len(key.songs)))
        self._numbers = list(key.songs)
        self._rows: list[bytes | None] = [None] * len(self._numbers)
        self._prefix = 0  # rows before this place have all come
        self._taken = 0  # rows before this place are with the compressor
        self._ready_bytes = 0  # weight of the rows between the two
        self._waiting_bytes = 0  # weight of all rows not with the compressor
        self._outcomes: dict[str, list[int]] = {"found": [], "missing": [], "failed": []}
        self._rows_lock = threading.Lock()
        self._advance_lock = threading.Lock()
        self._compressor = Compressor()
        self._commit = commit
        self._finished = False

    def item(self, place: int) -> int:
        """Give the song number at a place."""
        return self._numbers[place]

    @property
    def buffered_bytes(self) -> int:
        """Weigh the rows that no compressor has yet."""
        return self._waiting_bytes

    def record(self, seconds: float, verdict: Verdict) -> None:
        """Count one attempt; called under the work's lock."""
        self.tally.record(seconds, verdict)

    def settle(self, place: int, outcome: Verdict) -> bool:
        """Keep a song's row; True if a piece is ready to be compressed, or the whole part is there."""
        number = self._numbers[place]
        try:
            row = encode_row(number, outcome)
        except (TypeError, ValueError, RecursionError):
            outcome = failed("not_json")
            row = encode_row(number, outcome)
        with self._rows_lock:
            self._outcomes[outcome.kind.value].append(number)
            self._rows[place] = row
            self._waiting_bytes += len(row)
            self._extend_prefix()
            return self._ready_bytes >= CHUNK_BYTES or self._prefix == len(self._rows)

    def advance(self) -> bool:
        """Compress what is ready and, when all of it is, commit the part; True from the one call that did."""
        with self._advance_lock:
            while chunk := self._next_chunk():
                self._compressor.feed(chunk)
            # Several songs may have asked for an advance before the first of those is made.
            if self._finished or self._taken < len(self._rows):
                return False
            self._finished = True
            self._count()
            self._commit(self, self._compressor.finish())
            return True

    def _extend_prefix(self) -> None:
        while self._prefix < len(self._rows) and (row := self._rows[self._prefix]) is not None:
            self._ready_bytes += len(row)
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
