"""Check tallies: what is counted, that it survives as object metadata, and how close percentiles are."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.records import Row
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, found, refused, retry, throttled
from crawler.runs.tally import MOST_SET_CHARACTERS, RunParts, Tally, percentile_ms

# https://cloud.google.com/storage/quotas#objects
MOST_METADATA_BYTES = 8192

SETS = st.sets(st.integers(0, 999), max_size=50).map(SongSet.of_numbers)
COUNTS = st.integers(0, 10**9)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    """Draw any tally."""
    return Tally(
        found=draw(COUNTS),
        missing=draw(COUNTS),
        failed=draw(COUNTS),
        missing_songs=draw(SETS | st.none()),
        failed_songs=draw(SETS | st.none()),
        requests=draw(COUNTS),
        throttled=draw(COUNTS),
        latencies=Counter(draw(st.dictionaries(st.integers(-60, 160), st.integers(1, 10**6)))),
        started_at=draw(st.integers(0, 10**13)) / 1000,
        finished_at=draw(st.integers(0, 10**13)) / 1000,
        call_id=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
    )


def recorded(latencies: list[float]) -> Tally:
    """Tally one found song for every latency in seconds."""
    tally = Tally()
    for seconds in latencies:
        tally.record([(seconds, found({}))])
    return tally


def test_every_attempt_is_a_request() -> None:
    """Count each attempt and its latency, and the throttled ones apart."""
    tally = Tally()
    for verdict in (
        found({}),
        MISSING,
        retry("timeout"),
        throttled("http_429"),
        throttled("song_retry"),
        refused("No."),
    ):
        tally.record([(0.1, verdict)])

    assert (tally.requests, tally.throttled) == (6, 2)
    assert tally.latencies.total() == 6
    assert tally.songs_done == 0


def test_rows_are_counted_by_their_status() -> None:
    """Set counts and sets of numbers from rows, and leave what they cost."""
    tally = Tally(found=99, missing_songs=SongSet.parse("5"), requests=7, call_id="a")
    tally.count_rows(
        [Row(1, "found", 1), Row(2, "missing", None), Row(3, "failed", None, "timeout"), Row(4, "missing", None)]
    )

    assert (tally.found, tally.missing, tally.failed, tally.songs_done) == (1, 2, 1, 4)
    assert (tally.missing_songs, tally.failed_songs) == (SongSet.parse("2,4"), SongSet.parse("3"))
    assert (tally.requests, tally.call_id) == (7, "a")


@given(tallies())
def test_metadata_and_tally_are_each_others_inverse(tally: Tally) -> None:
    """Read from object metadata the tally that was written there."""
    metadata = tally.to_metadata()

    told = {} if tally.failures is None and not tally.failed else tally.failures
    assert Tally.from_metadata(metadata) == msgspec.structs.replace(tally, failures=told)
    assert all(isinstance(value, str) for value in metadata.values())


def test_an_empty_set_differs_from_an_unknown_one() -> None:
    """Tell a part without missing songs from one whose missing songs are too many to list."""
    known = Tally.from_metadata(Tally(missing_songs=SongSet(), failed_songs=None).to_metadata())

    assert known is not None
    assert (known.missing_songs, known.failed_songs) == (SongSet(), None)


@pytest.mark.parametrize("name", ["attempt", "found", "missing", "failed", "requests", "throttled", "latencies"])
@pytest.mark.parametrize("value", [None, "x", "1:x"], ids=["not there", "no number", "half a pair"])
def test_metadata_that_is_not_all_there_is_none(name: str, value: str | None) -> None:
    """Give None where a name is missing or no number, so that the rows are counted instead."""
    metadata = Tally().to_metadata()
    if value is None:
        del metadata[name]
    else:
        metadata[name] = value

    assert Tally.from_metadata(metadata) is None or (name == "attempt" and value is not None)


def test_foreign_metadata_is_no_tally() -> None:
    """Give None for an object that another program stored."""
    assert Tally.from_metadata({}) is None
    assert Tally.from_metadata({"goog-reserved-file-mtime": "1"}) is None


def test_the_fullest_metadata_fits_an_object() -> None:
    """Stay under the 8 KiB of Cloud Storage with both sets at their limit and every latency from 0 to 10 minutes."""
    scattered = SongSet.of_numbers(range(999_999_000_000, 999_999_000_384, 2))
    seconds = [0.0] + [0.01 * 1.01**power / 1000 for power in range(1810)]
    tally = recorded(seconds)
    for bucket in tally.latencies:
        tally.latencies[bucket] = 10_000
    tally.found = tally.missing = tally.failed = tally.requests = tally.throttled = 100_000
    tally.missing_songs = tally.failed_songs = scattered
    tally.started_at = tally.finished_at = 4e9
    tally.call_id = "f" * 32
    metadata = tally.to_metadata()

    assert seconds[-1] > 600
    assert MOST_SET_CHARACTERS - 13 <= len(metadata["missing_songs"]) <= MOST_SET_CHARACTERS
    assert sum(len(name) + len(value) for name, value in metadata.items()) < MOST_METADATA_BYTES


def test_a_set_too_scattered_is_left_out() -> None:
    """Leave out a set whose text passes the limit; the counts stay."""
    missing = SongSet.of_numbers(range(0, 100_000, 2))
    metadata = Tally(missing=len(missing), missing_songs=missing, failed_songs=SongSet()).to_metadata()

    assert "missing_songs" not in metadata
    assert metadata["failed_songs"] == ""
    assert metadata["missing"] == "50000"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_scattered_numbers_of_a_part_of_a_thousand_fit(share: float) -> None:
    """Have room for missing numbers anywhere among a thousand in a row, however large: nobody need count the rows."""
    draw = random.Random(1)
    missing = SongSet.of_numbers(n for n in range(999_999_000_000, 999_999_001_000) if draw.random() < share)
    every_other = SongSet.of_numbers(range(999_999_000_000, 999_999_001_000, 2))
    metadata = Tally(missing_songs=missing, failed_songs=every_other).to_metadata()
    tally = Tally.from_metadata(metadata)

    assert tally is not None
    assert (tally.missing_songs, tally.failed_songs) == (missing, every_other)


@given(st.lists(st.floats(1e-5, 600), min_size=1, max_size=50), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_percentiles_are_close(latencies: list[float], share: float) -> None:
    """Come within 5 % of the nearest-rank percentile, in milliseconds."""
    rank = next(n for n in range(1, len(latencies) + 1) if n >= share * len(latencies))
    exact = sorted(latencies)[rank - 1] * 1000

    assert percentile_ms(recorded(latencies).latencies, share) == pytest.approx(exact, rel=0.05, abs=0.005)


def test_percentiles_of_parts_add_up() -> None:
    """Give the same percentile for latencies counted together or in two parts."""
    one, other, both = recorded([0.01, 0.02]), recorded([0.5, 0.01]), recorded([0.01, 0.02, 0.5, 0.01])

    assert one.latencies + other.latencies == both.latencies


def test_no_request_has_no_percentile() -> None:
    """Give None where nothing was requested."""
    assert percentile_ms(Counter(), 0.5) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0], ids=["zero", "negative"])
def test_a_latency_of_nothing_is_counted(seconds: float) -> None:
    """Count a latency that a coarse clock shows as nothing."""
    assert percentile_ms(recorded([seconds]).latencies, 0.5) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("text", ["1", "1:2,3", "1:x", "1:2:", ",", "a"])
def test_a_damaged_histogram_is_none(text: str) -> None:
    """Have the rows counted where the metadata's histogram can't be read."""
    assert Tally.from_metadata(Tally().to_metadata() | {"latencies": text}) is None


@given(st.lists(tallies(), max_size=5))
def test_parts_in_columns_come_to_the_same(each: list[Tally]) -> None:
    """Keep the counts, times and call of each part, and add up what belongs to all."""
    parts = RunParts()
    for place, tally in enumerate(each):
        parts.add(2 * place, tally, created_at=float(place))

    assert len(parts) == len(each)
    assert list(parts.places) == [2 * place for place in range(len(each))]
    assert list(parts.failing) == [2 * place for place, tally in enumerate(each) if tally.failed]
    assert parts.created_at == max(len(each) - 1, 0)
    for (_, kept), tally in zip(parts.tallies, each, strict=True):
        for name in ("found", "missing", "failed", "started_at", "finished_at", "carried_seconds", "call_id"):
            assert getattr(kept, name) == getattr(tally, name)
    assert parts.total.requests == sum(tally.requests for tally in each)
    assert parts.total.latencies == sum((tally.latencies for tally in each), Counter())
