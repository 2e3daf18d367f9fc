"""Check the values that travel."""

from __future__ import annotations

import pickle
from copy import copy

import msgspec
import pytest

from crawler.core.records import STATUSES, Counts, Row, SongRecord, add_counts
from crawler.core.verdict import (
    AGAIN,
    FORBIDDEN,
    MISSING,
    UNSENT,
    Kind,
    Verdict,
    failed,
    found,
    redirected,
    refused,
    retry,
    throttled,
)
from crawler.runs.tally import Tally


@pytest.mark.parametrize(
    ("verdict", "kind", "final"),
    [
        pytest.param(found({"id": 7}), Kind.FOUND, True, id="found"),
        pytest.param(MISSING, Kind.MISSING, True, id="missing"),
        pytest.param(failed("redirect"), Kind.FAILED, True, id="failed"),
        pytest.param(redirected(), Kind.REDIRECTED, False, id="redirected"),
        pytest.param(retry("timeout"), Kind.RETRY, False, id="retry"),
        pytest.param(throttled("http_429", 3.0), Kind.THROTTLED, False, id="throttled"),
        pytest.param(refused("It wants credentials."), Kind.REFUSED, False, id="refused"),
        pytest.param(AGAIN, Kind.AGAIN, False, id="again"),
    ],
)
def test_only_found_missing_and_failed_are_final(verdict: Verdict, kind: Kind, final: bool) -> None:
    """End a song's attempts with three kinds of verdict, and go on with the others."""
    assert (verdict.kind, verdict.final) == (kind, final)


def test_every_kind_is_judged_above() -> None:
    """Know eight kinds: a new one must be put in the table of the test before."""
    kinds = ["found", "missing", "failed", "redirected", "retry", "throttled", "refused", "again"]
    assert [kind.value for kind in Kind] == kinds


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param(Row(1, "found", {"a": 1}), b'{"song_num":1,"status":"found","info":{"a":1}}', id="found"),
        pytest.param(Row(2, "missing", None), b'{"song_num":2,"status":"missing","info":null}', id="missing"),
        pytest.param(
            Row(3, "failed", None, "timeout"),
            b'{"song_num":3,"status":"failed","info":null,"error":"timeout"}',
            id="failed",
        ),
    ],
)
def test_a_row_holds_an_error_only_if_it_failed(row: Row, line: bytes) -> None:
    """Write the three fields of every row, null included, and `error` for failed ones only."""
    assert msgspec.json.encode(row) == line
    assert msgspec.json.decode(line, type=Row) == row


def test_a_record_is_the_promised_tuple() -> None:
    """Be a pair of the song's number and its info, by name and by place."""
    record = SongRecord(7, {"title": "Song 7"})

    assert (record.song_num, record.info) == tuple(record) == (7, {"title": "Song 7"})
    assert isinstance(record, tuple)


def test_counts_have_a_field_for_each_status() -> None:
    """Count every status by its name, in the order in which they are stored."""
    assert Counts.__struct_fields__ == STATUSES
    assert list(Counts().by_status()) == list(STATUSES)


def test_counts_add_up() -> None:
    """Add counts status by status, also those of what has more to it; of none, nothing."""
    summed = add_counts([Counts(1, 2, 3), Tally(found=10, requests=99)])

    assert (summed, summed.songs_done) == (Counts(11, 2, 3), 16)
    assert add_counts([]) == Counts()


def test_what_sent_nothing_is_no_request() -> None:
    """Count an attempt that came in vain, and none that was not made."""
    tally = Tally()
    tally.record([(0.1, verdict) for verdict in (found(1), AGAIN, UNSENT, FORBIDDEN)])

    assert (tally.requests, sum(tally.latencies.values())) == (2, 2)


def test_record_may_say_where_its_song_is_now() -> None:
    """Keep the tuple of two, whatever is beside it, also after a copy."""
    moved, stayed = SongRecord.of(7, "info", 9), SongRecord.of(7, "info", None)

    assert [*moved] == [*stayed] == [7, "info"]
    assert moved == stayed
    assert (moved.moved_to, stayed.moved_to, SongRecord(7, "info").moved_to) == (9, None, None)
    assert pickle.loads(pickle.dumps(moved)).moved_to == copy(moved).moved_to == 9
    number, info = moved
    assert (number, info, repr(moved)) == (7, "info", "SongRecord(song_num=7, info='info')")
