"""What became of a part's songs, and at what cost: kept as the part's object metadata, added up to a run's answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crawler.ground.records import Kind, Row, Verdict
from crawler.ground.song_set import SongSet

# Cloud Storage allows 8 KiB of metadata for an object (https://cloud.google.com/storage/quotas#objects): two sets of
# numbers of at most this many characters and a latency histogram fit.
MOST_SET_CHARACTERS = 2500

# Buckets of the latency histogram grow by 2**(1/8), 9 %: fine enough for percentiles, few enough for the metadata.
_BUCKETS_PER_DOUBLING = 8


@dataclass
class Tally:
    """Count one part, or several added up.

    The sets hold the missing and failed numbers; None where they are too scattered for the metadata, so that only the
    rows tell. Times are epoch seconds; `latencies` maps a bucket to how many requests fell in it.
    """

    found: int = 0
    missing: int = 0
    failed: int = 0
    missing_songs: SongSet | None = None
    failed_songs: SongSet | None = None
    requests: int = 0
    throttled: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    started_at: float = 0.0
    finished_at: float = 0.0
    attempt: str = ""

    @property
    def songs(self) -> int:
        """Count the songs accounted for."""
        return self.found + self.missing + self.failed

    def record(self, seconds: float, verdict: Verdict) -> None:
        """Count one attempt and its latency in seconds."""
        self.requests += 1
        self.throttled += verdict.kind is Kind.THROTTLED
        self.latencies[_bucket(seconds)] += 1

    def count_rows(self, rows: Iterable[Row]) -> None:
        """Set counts and sets from a part's rows; what they cost stays as it is."""
        numbers: dict[str, list[int]] = {"found": [], "missing": [], "failed": []}
        for row in rows:
            numbers[row.status].append(row.song_num)
        self.found, self.missing, self.failed = (len(numbers[status]) for status in ("found", "missing", "failed"))
        self.missing_songs = SongSet.of_numbers(numbers["missing"])
        self.failed_songs = SongSet.of_numbers(numbers["failed"])

    def to_metadata(self) -> dict[str, str]:
        """Write the tally as object metadata."""
        counts = ("found", "missing", "failed", "requests", "throttled")
        return {
            "attempt": self.attempt,
            **{name: str(getattr(self, name)) for name in counts},
            **_set_to_metadata("missing_songs", self.missing_songs),
            **_set_to_metadata("failed_songs", self.failed_songs),
            "latencies": ",".join(f"{bucket}:{times}" for bucket, times in sorted(self.latencies.items())),
            "started_at": f"{self.started_at:.3f}",
            "finished_at": f"{self.finished_at:.3f}",
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Tally | None:
        """Read a tally from object metadata; None if it is not all there, so that the rows must be counted."""
        try:
            return cls(
                **{name: int(metadata[name]) for name in ("found", "missing", "failed", "requests", "throttled")},
                missing_songs=_set_from_metadata(metadata, "missing_songs"),
                failed_songs=_set_from_metadata(metadata, "failed_songs"),
                latencies=Counter(dict(_latency(pair) for pair in metadata["latencies"].split(",") if pair)),
                started_at=float(metadata["started_at"]),
                finished_at=float(metadata["finished_at"]),
                attempt=metadata["attempt"],
            )
        except (KeyError, ValueError):
            return None


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


def _bucket(seconds: float) -> int:
    return math.floor(math.log2(max(seconds * 1000, 0.01)) * _BUCKETS_PER_DOUBLING)


def _latency(pair: str) -> tuple[int, int]:
    bucket, _, times = pair.partition(":")
    return int(bucket), int(times)


def _set_to_metadata(name: str, songs: SongSet | None) -> dict[str, str]:
    text = str(songs)
    return {} if songs is None or len(text) > MOST_SET_CHARACTERS else {name: text}


def _set_from_metadata(metadata: Mapping[str, str], name: str) -> SongSet | None:
    text = metadata.get(name)
    if text is None:
        return None
    return SongSet.parse(text) if text else SongSet()
