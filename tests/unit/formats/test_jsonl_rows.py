"""Check rows: how they become bytes and come back."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.records import Row
from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, retry
from crawler.formats.jsonl_rows import Compressor, decode_rows, encode_row, gunzip, with_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
OUTCOMES = JSON.filter(lambda info: info is not None).map(found) | st.just(MISSING) | st.just(failed("timeout"))
ROWS = [encode_row(n, found({"title": f"Song {n * 7919 % 5003}", "n": n})) for n in range(1, 301)]
PART = gzip.compress(b"".join(ROWS), mtime=0)


def compressed(pieces: Iterable[Iterable[bytes]]) -> bytes:
    """Feed a compressor piece by piece."""
    compressor = Compressor()
    for piece in pieces:
        compressor.feed(piece)
    return compressor.finish()


def cut(rows: list[bytes], places: Iterable[int]) -> list[list[bytes]]:
    """Cut a list at some places."""
    edges = [0, *sorted(places), len(rows)]
    return [rows[first:last] for first, last in pairwise(edges)]


@given(st.lists(OUTCOMES, max_size=20))
def test_rows_come_back_as_they_were(outcomes: list[Verdict]) -> None:
    """Encode, compress, inflate and decode rows to the same rows, one line each."""
    rows = [encode_row(number, outcome) for number, outcome in enumerate(outcomes)]
    decoded = decode_rows(compressed([rows]))

    assert [(row.song_num, row.status, row.info, row.error) for row in decoded] == [
        (number, outcome.kind.value, outcome.info, outcome.error) for number, outcome in enumerate(outcomes)
    ]
    assert all(row.count(b"\n") == 1 and row.endswith(b"\n") for row in rows)


def test_the_bytes_of_rows_are_the_contracts() -> None:
    """Write a row as the contract shows it, but for blanks."""
    rows = [encode_row(1, found({"a": "é"})), encode_row(2, MISSING), encode_row(3, failed("timeout"))]

    assert b"".join(rows).decode() == (
        '{"song_num":1,"status":"found","info":{"a":"é"}}\n'
        '{"song_num":2,"status":"missing","info":null}\n'
        '{"song_num":3,"status":"failed","info":null,"error":"timeout"}\n'
    )


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(object(), id="an object"),
        pytest.param(1j, id="a complex number"),
        pytest.param({(1, 2): 3}, id="a name that is a tuple"),
        pytest.param({"a": ["\ud800"]}, id="a lone surrogate"),
        pytest.param(10**5000, id="an int of 5001 digits"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(float("-inf"), id="infinite"),
        pytest.param({"title": "x", "bpm": float("nan")}, id="not a number within"),
        pytest.param([[{"a": [1e999]}]], id="infinite deep within"),
        pytest.param({float("nan"): 1}, id="a name that is not a number"),
        pytest.param({1, 2}, id="a set"),
        pytest.param({"tags": [frozenset()]}, id="a frozen set within"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param({"raw": [bytearray(b"x")]}, id="bytes within"),
        pytest.param({b"a": 1}, id="a name of bytes"),
        pytest.param({"a": {1: "x", "1": "y"}}, id="names that are alike once written"),
        pytest.param(datetime(2026, 11, 29, tzinfo=timezone.utc), id="a time"),
        pytest.param({"price": Decimal("1.10")}, id="a decimal"),
        pytest.param([Kind.FOUND], id="a member of an enumeration"),
    ],
)
def test_info_that_json_cannot_hold_is_refused(info: Any) -> None:
    """Raise TypeError or ValueError, so that the song fails instead of the part."""
    with pytest.raises((TypeError, ValueError)):
        encode_row(1, found(info))


@pytest.mark.parametrize(
    ("info", "written"),
    [
        pytest.param((1, ("a",)), [1, ["a"]], id="tuples"),
        pytest.param({7: "x", 8: {9: None}}, {"7": "x", "8": {"9": None}}, id="names that are numbers"),
        pytest.param([], [], id="nothing in it"),
        pytest.param(Counter(a=1), {"a": 1}, id="a kind of dict"),
        pytest.param([-0.0, 0.1, 1e308, 2**70, True, None, "🎵"], None, id="every kind of value"),
    ],
)
def test_info_that_python_writes_as_json_is_kept(info: Any, written: Any) -> None:
    """Write tuples as arrays and numbers as names, as Python's own encoder does."""
    (row,) = decode_rows(gzip.compress(encode_row(1, found(info))))

    assert row.info == (info if written is None else written)


@given(JSON.filter(lambda info: info is not None))
def test_info_read_from_json_needs_no_second_look(info: Any) -> None:
    """Write the same bytes with and without it."""
    assert encode_row(1, found(info), is_json=True) == encode_row(1, found(info))


def test_a_verdict_that_is_not_final_has_no_row() -> None:
    """Refuse to write a row for a song whose attempts go on."""
    with pytest.raises(KeyError):
        encode_row(1, retry("timeout"))


@given(st.lists(st.integers(0, len(ROWS)), max_size=12))
def test_the_same_rows_give_the_same_bytes(places: list[int]) -> None:
    """Compress to the same bytes wherever the rows are cut into pieces, empty ones too."""
    assert compressed(cut(ROWS, places)) == compressed([ROWS])


def test_many_small_pieces_give_the_same_bytes() -> None:
    """Compress to the same bytes also past the window of 32 KiB: row by row, by hundreds, or all at once."""
    rows = ROWS * 40
    whole = compressed([rows])

    assert sum(map(len, rows)) > 500_000
    assert compressed([row] for row in rows) == whole
    assert compressed(cut(rows, range(0, len(rows), 100))) == whole


def test_a_part_is_ordinary_gzip() -> None:
    """Write what every gzip reader inflates, without a time stamp or a file's name."""
    part = compressed([ROWS])

    assert gzip.decompress(part) == b"".join(ROWS)
    assert part[:9] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04"


def test_a_part_without_rows_is_empty() -> None:
    """Read no rows from a part to which none were fed."""
    assert decode_rows(compressed([])) == []


@given(st.integers(0, len(PART) - 1))
def test_a_part_cut_short_is_refused(length: int) -> None:
    """Raise ValueError wherever a part was cut off."""
    with pytest.raises(ValueError, match="gzip"):
        decode_rows(PART[:length])


@given(st.integers(10, len(PART) - 1), st.integers(1, 255))
def test_a_part_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    """Raise ValueError for any byte changed after the header: gzip's own checksum tells."""
    damaged = PART[:place] + bytes([PART[place] ^ change]) + PART[place + 1 :]

    with pytest.raises(ValueError, match="gzip"):
        decode_rows(damaged)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"".join(ROWS), id="not compressed"),
        pytest.param(PART + b"x", id="a byte after it"),
        pytest.param(PART + PART, id="twice"),
        pytest.param(b"\x00" + PART, id="a byte before it"),
    ],
)
def test_what_is_not_one_gzip_stream_is_refused(data: bytes) -> None:
    """Raise ValueError unless it is exactly one gzip member."""
    with pytest.raises(ValueError, match="gzip"):
        gunzip(data)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"x\n", id="no JSON"),
        pytest.param(b"null\n", id="null"),
        pytest.param(b'[1,"found",1]\n', id="an array"),
        pytest.param(b'{"song_num":1,"status":"found"}\n', id="no info"),
        pytest.param(b'{"status":"found","info":1}\n', id="no number"),
        pytest.param(b'{"song_num":1,"status":"retry","info":1}\n', id="an unknown status"),
        pytest.param(b'{"song_num":"1","status":"found","info":1}\n', id="a number that is a text"),
        pytest.param(b'{"song_num":1.0,"status":"found","info":1}\n', id="a number with a point"),
        pytest.param(b'{"song_num":1,"status":"found","info":NaN}\n', id="NaN"),
        pytest.param(b'{"song_num":1,"status":"found","info":"\xff"}\n', id="invalid UTF-8"),
        pytest.param(b'{"song_num":1,"status":"found","info":' + b"[" * 10**5 + b"]" * 10**5 + b"}\n", id="too deep"),
        pytest.param(b'{"song_num":1,"status":"missing","info":null}', id="no line break at the end"),
        pytest.param(ROWS[0] + b"\n" + ROWS[1], id="an empty line"),
        pytest.param(ROWS[0].strip() + b" " + ROWS[1], id="two rows on a line"),
        pytest.param(ROWS[0] + ROWS[1][:20] + b"\n", id="half a row"),
    ],
)
def test_lines_that_are_no_rows_are_refused(lines: bytes) -> None:
    """Raise ValueError for content that this code would not write."""
    with pytest.raises(ValueError, match=r"^not a part: "):
        decode_rows(gzip.compress(lines))


def test_rows_are_read_from_any_gzip() -> None:
    """Read rows that another program compressed."""
    assert decode_rows(gzip.compress(ROWS[6], 9)) == [Row(7, "found", {"title": "Song 400", "n": 7})]


@pytest.mark.parametrize("outcome", [found({"a": [1]}), MISSING, failed("timeout")], ids=["found", "missing", "failed"])
def test_a_row_with_a_key_is_a_row(outcome: Verdict) -> None:
    """Read the same row back, with its key as it was."""
    row = encode_row(7, outcome)
    (plain,) = decode_rows(gzip.compress(row))
    (keyed,) = decode_rows(gzip.compress(with_key(row, 'a"\\é/')))

    assert keyed.key == 'a"\\é/'
    assert msgspec.structs.replace(keyed, key=None) == plain
