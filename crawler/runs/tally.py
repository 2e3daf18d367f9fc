"""What became of a part's songs, and at what cost: kept as the part's object metadata, added up to a run's answer."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from crawler.core.records import STATUSES, Counts, Row, Status
from crawler.core.song_set import SongSet
from crawler.core.verdict import FORBIDDEN, UNSENT, Kind, Verdict
from crawler.formats.jsonl_rows import Line, error_of
from crawler.runs.ending.failures import (
    MOST_EXAMPLES,
    UNKNOWN,
    Failure,
    Failures,
    add_failures,
    failures_from_metadata,
    failures_of,
    failures_to_metadata,
)

# Cloud Storage allows 8 KiB of metadata for an object (https://cloud.google.com/storage/quotas#objects): two sets of
# numbers of at most this many characters and a latency histogram fit.
MOST_SET_CHARACTERS = 2500

# Buckets of the latency histogram grow by 2**(1/8), 9 %: fine enough for percentiles, few enough for the metadata.
_BUCKETS_PER_DOUBLING = 8
# Where they begin, in seconds: the first at 10 us, or less, the last past a day.
_FIRST_BUCKET, _LAST_BUCKET = -54, 213
_BEGINNINGS = [2 ** (bucket / _BUCKETS_PER_DOUBLING) / 1000 for bucket in range(_FIRST_BUCKET + 1, _LAST_BUCKET + 1)]

# What is kept of the times of each of a run's parts.
_TIMES = ("started_at", "finished_at", "carried_seconds")

# The whole numbers among the metadata.
_COUNTED = (*STATUSES, "requests", "throttled")

# Bound once, as in core/verdict.py.
_THROTTLED = Kind.THROTTLED


class Tally(Counts):
    """Count one part, or several added up.

    `known_songs` are a few numbers found, for a later call to ask whether the upstream is there. `failures` tell why
    songs failed; None where an earlier release stored the part.
    The sets hold the missing and failed numbers; None where they are too scattered for the metadata, so that only the
    rows tell. Times are epoch seconds, `carried_seconds` is what earlier calls spent on the
    same part; `latencies` maps a bucket to how many requests fell in it.
    """

    missing_songs: SongSet | None = None
    failed_songs: SongSet | None = None
    requests: int = 0
    throttled: int = 0
    latencies: Counter[int] = msgspec.field(default_factory=Counter)
    started_at: float = 0.0
    finished_at: float = 0.0
    carried_seconds: float = 0.0
    call_id: str = ""
    known_songs: tuple[int, ...] = ()
    failures: Failures | None = None

    def record(self, attempts: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts, each with its latency in seconds, but for those that sent nothing."""
        made = [pair for pair in attempts if pair[1] is not FORBIDDEN and pair[1] is not UNSENT]
        self.requests += sum([verdict.requests for _, verdict in made])
        self.throttled += sum([verdict.kind is _THROTTLED for _, verdict in made])
        self.latencies.update([_FIRST_BUCKET + bisect(_BEGINNINGS, seconds) for seconds, _ in made])

    @property
    def seconds(self) -> float:
        """Give how long the part took, over all calls."""
        return self.carried_seconds + self.finished_at - self.started_at

    def add_part(self, other: Tally) -> None:
        """Add another part's counts, requests, latencies and failures; times, sets and call stay as they are."""
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies.update(other.latencies)
        if other.failed:
            self.failures = add_failures([self.failures or {}, other.told_failures])

    def carry(self, earlier: Tally) -> None:
        """Add what an earlier call's rows of the same part cost."""
        self.requests += earlier.requests
        self.throttled += earlier.throttled
        self.latencies += earlier.latencies
        self.carried_seconds += earlier.seconds

    def count_rows(self, rows: Iterable[Row]) -> None:
        """Set counts and sets from a part's rows; what they cost stays as it is."""
        numbers: dict[Status, list[int]] = {status: [] for status in STATUSES}
        errors: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            numbers[row.status].append(row.song_num)
            if row.status == "failed":
                errors[row.error or ""].append(row.song_num)
        self.count_numbers(numbers, errors)

    def count_numbers(self, numbers: Mapping[Status, Sequence[int]], errors: Mapping[str, Iterable[int]]) -> None:
        """Set counts and sets from the numbers that have each status, and from those that failed by each error."""
        for status in STATUSES:
            setattr(self, status, len(numbers[status]))
        found = numbers["found"]
        self.known_songs = tuple(sorted({found[0], found[len(found) // 2], found[-1]})) if found else ()
        self.missing_songs = SongSet.of_numbers(numbers["missing"])
        self.failed_songs = SongSet.of_numbers(numbers["failed"])
        self.failures = failures_of(errors)

    def count_lines(self, lines: Sequence[Line]) -> None:
        """Set the counts alone, from rows that were kept aside."""
        counts = Counter(line.status for line in lines)
        for status in STATUSES:
            setattr(self, status, counts[status])
        errors: defaultdict[str, list[int]] = defaultdict(list)
        for line in lines:
            if line.status == "failed":
                errors[error_of(line.text)].append(line.song_num)
        self.failures = failures_of(errors)

    @property
    def told_failures(self) -> Failures:
        """Return the failures, those that nothing tells the error of as unknown."""
        if self.failures is not None:
            return self.failures
        first = itertools.islice(self.failed_songs or (), MOST_EXAMPLES)
        return {UNKNOWN: Failure(self.failed, tuple(first))} if self.failed else {}

    def to_metadata(self) -> dict[str, str]:
        """Write the tally as object metadata."""
        return {
            "attempt": self.call_id,
            **{name: str(getattr(self, name)) for name in _COUNTED},
            "known": ",".join(map(str, self.known_songs)),
            **set_to_metadata("missing_songs", self.missing_songs),
            **set_to_metadata("failed_songs", self.failed_songs),
            **failures_to_metadata(self.failures or {}),
            "latencies": ",".join(f"{bucket}:{times}" for bucket, times in sorted(self.latencies.items())),
            "started_at": f"{self.started_at:.3f}",
            "finished_at": f"{self.finished_at:.3f}",
            "carried_seconds": f"{self.carried_seconds:.3f}",
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Tally | None:
        """Read a tally from object metadata; None if it is not all there, so that the rows must be counted."""
        try:
            return cls(
                **{name: int(metadata[name]) for name in _COUNTED},
                missing_songs=set_from_metadata(metadata, "missing_songs"),
                failed_songs=set_from_metadata(metadata, "failed_songs"),
                latencies=_latencies(metadata["latencies"]),
                started_at=float(metadata["started_at"]),
                finished_at=float(metadata["finished_at"]),
                carried_seconds=float(metadata["carried_seconds"]),
                call_id=metadata["attempt"],
                failures=failures_from_metadata(metadata, int(metadata["failed"])),
                known_songs=tuple(int(number) for number in metadata.get("known", "").split(",") if number),
            )
        except (KeyError, ValueError):
            return None


class RunParts:
    """Add up the committed parts of a run, in the grid's order, and keep a few numbers of each, in columns.

    A tally weighs some 4 KB, and a run may have 100,000 of them: of each, what an answer or a report needs is kept, 64
    bytes. `total` holds counts, requests and latencies of all; `created_at` is when the latest part was stored, in
    epoch seconds, 0: there is none.
    """

    def __init__(self) -> None:
        self.total = Tally()
        self.created_at = 0.0
        self._places = array("q")
        self._counts: dict[str, array[int]] = {name: array("q") for name in STATUSES}
        self._times: dict[str, array[float]] = {name: array("d") for name in _TIMES}
        self._columns: list[tuple[str, array[Any]]] = [*self._counts.items(), *self._times.items()]
        self._calls = array("q")
        self._call_ids: dict[str, int] = {}

    def add(self, place: int, tally: Tally, created_at: float = 0.0) -> None:
        """Add the part at a place of the grid; its tally is not needed any more then."""
        self.created_at = max(self.created_at, created_at)
        self._places.append(place)
        for name, column in self._columns:
            column.append(getattr(tally, name))
        self._calls.append(self._call_ids.setdefault(tally.call_id, len(self._call_ids)))
        self.total.add_part(tally)

    def __len__(self) -> int:
        """Count the parts."""
        return len(self._places)

    @property
    def places(self) -> Iterable[int]:
        """Return their places in the grid, ascending."""
        return self._places

    @property
    def failing(self) -> Iterator[int]:
        """Yield the places of those that hold failed songs."""
        return (place for place, failed in zip(self._places, self._counts["failed"], strict=True) if failed)

    @property
    def tallies(self) -> Iterator[tuple[int, Tally]]:
        """Yield each place with what is kept of its tally: counts, times and call."""
        call_ids = list(self._call_ids)
        columns = zip(*self._counts.values(), *self._times.values(), strict=True)
        names = (*STATUSES, *_TIMES)
        latencies = Counter[int]()  # one for all: it stays empty
        for place, call, values in zip(self._places, self._calls, columns, strict=True):
            numbers = dict(zip(names, values, strict=True))
            yield place, Tally(**numbers, call_id=call_ids[call], latencies=latencies)


def percentile_ms(latencies: Counter[int], share: float) -> float | None:
    """Give the latency in milliseconds that `share` (0 to 1) of the requests stay under, to some 5 %; None: no request.

    Nearest rank, the geometric middle of its bucket.
    """
    rank = share * sum(latencies.values())
    passed = 0
    for bucket, times in sorted(latencies.items()):
        passed += times
        if passed >= rank:
            return round(2 ** ((bucket + 0.5) / _BUCKETS_PER_DOUBLING), 2)
    return None


def bucket_end_ms(bucket: int) -> float:
    """Give the latency in milliseconds that a bucket of the histogram reaches up to."""
    return float(2 ** ((bucket + 1) / _BUCKETS_PER_DOUBLING))


def _latencies(text: str) -> Counter[int]:
    """Read a histogram as metadata hold it; raises ValueError if it is none."""
    numbers = list(map(int, text.replace(":", ",").split(","))) if text else []
    if len(numbers) != 2 * text.count(":"):
        raise ValueError(f"{text[:40]} is no histogram")
    # All at once: a run may have 100,000 parts, and looking at it is mostly this.
    return Counter(dict(zip(numbers[::2], numbers[1::2], strict=True)))


def set_to_metadata(name: str, songs: SongSet | None) -> dict[str, str]:
    """Write a set of numbers as an entry of object metadata; nothing if it is too scattered to fit.

    A scattered one is written as its first number and how far the others are from it: of a thousand numbers in a row,
    every second of which is missing, that is 2,000 characters, where the numbers themselves would be 7,000.
    """
    if songs is None:
        return {}
    text = str(songs)
    if len(text) > MOST_SET_CHARACTERS:
        text = f"{songs.first}+{songs.shifted(-songs.first)}"
    return {name: text} if len(text) <= MOST_SET_CHARACTERS else {}


def set_from_metadata(metadata: Mapping[str, str], name: str) -> SongSet | None:
    """Read a set of numbers from object metadata; None if it is not there. Raises ValueError if it is none."""
    text = metadata.get(name)
    if text is None:
        return None
    first, plus, offsets = text.partition("+")
    if plus:
        return SongSet.parse(offsets).shifted(int(first))
    return SongSet.parse(text) if text else SongSet()
