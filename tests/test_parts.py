"""Check parts: how numbers are cut, how parts are named and found again, how rows become bytes and come back."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.ground.records import MISSING, Row, Verdict, failed, found, retry
from crawler.ground.song_set import SongSet
from crawler.rules.parts import Compressor, Grid, PartKey, decode_rows, encode_row, gunzip

SETS = st.sets(st.integers(0, 300) | st.integers(999_999_999_900, 999_999_999_999), min_size=1, max_size=60)
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


@pytest.mark.parametrize(
    ("songs", "part_songs", "names"),
    [
        pytest.param("7", 1000, ["songs-000000000007-000000000007.jsonl.gz"], id="one song"),
        pytest.param(
            "1-2500",
            1000,
            [
                "songs-000000000001-000000001000.jsonl.gz",
                "songs-000000001001-000000002000.jsonl.gz",
                "songs-000000002001-000000002500.jsonl.gz",
            ],
            id="a range",
        ),
        pytest.param("1-1000", 1000, ["songs-000000000001-000000001000.jsonl.gz"], id="just one part"),
        pytest.param(
            "0,10,200,3000,40000",
            2,
            [
                "songs-000000000000-000000000010.jsonl.gz",
                "songs-000000000200-000000003000.jsonl.gz",
                "songs-000000040000-000000040000.jsonl.gz",
            ],
            id="a sparse set is few parts",
        ),
        pytest.param("999999999999", 1, ["songs-999999999999-999999999999.jsonl.gz"], id="the largest number"),
    ],
)
def test_the_grid_cuts_the_numbers_asked_for(songs: str, part_songs: int, names: list[str]) -> None:
    """Cut the sorted numbers every so many, and name each part by its first and last."""
    grid = Grid(SongSet.parse(songs), part_songs)

    assert [key.name for key in grid] == names
    assert [key.index for key in grid] == list(range(len(names)))


@given(SETS, st.integers(1, 70))
def test_parts_tile_the_grid(numbers: set[int], part_songs: int) -> None:
    """Put every number in exactly one part, in order, every part full but the last."""
    grid = Grid(SongSet.of_numbers(numbers), part_songs)
    sizes = [len(key.songs) for key in grid]

    assert [number for key in grid for number in key.songs] == sorted(numbers)
    assert len(grid) == len(sizes) == math.ceil(len(numbers) / part_songs)
    assert sizes[:-1] == [part_songs] * (len(grid) - 1)
    assert 1 <= sizes[-1] <= part_songs


@given(SETS, st.integers(1, 70))
def test_a_name_leads_back_to_its_part(numbers: set[int], part_songs: int) -> None:
    """Find every part by its name, which sorts as its numbers do; a place past the ends is no part."""
    grid = Grid(SongSet.of_numbers(numbers), part_songs)
    names = [key.name for key in grid]

    assert [grid.find(name) for name in names] == list(grid)
    assert names == sorted(names)
    for index in (-1, len(grid)):
        with pytest.raises(IndexError):
            grid[index]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "manifest.json",
        "songs-000000000001-000000000100.jsonl",
        "songs-000000000001-000000000100.jsonl.gz.tmp",
        "xsongs-000000000001-000000000100.jsonl.gz",
        "songs-1-100.jsonl.gz",
        "songs-０00000000001-000000000100.jsonl.gz",
        "songs-000000000001-000000000099.jsonl.gz",
        "songs-000000000002-000000000101.jsonl.gz",
        "songs-000000000001-000000000200.jsonl.gz",
        "songs-000000000301-000000000400.jsonl.gz",
        "songs-000000000000-000000000099.jsonl.gz",
        "songs-000000000001-000000000100.jsonl.gz\n",
    ],
)
def test_any_other_name_is_no_part(name: str) -> None:
    """Find nothing by a name that this grid would not give."""
    assert Grid(SongSet.parse("1-300"), 100).find(name) is None


def test_a_grid_of_a_million_million_numbers_costs_nothing() -> None:
    """Find parts of the largest range without walking it."""
    grid = Grid(SongSet.parse("0-999999999999"), 1000)

    assert len(grid) == 10**9
    assert grid[999_999_999] == PartKey(999_999_999, SongSet.parse("999999999000-999999999999"))
    assert grid.find("songs-500000000000-500000000999.jsonl.gz") == grid[500_000_000]


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
    ],
)
def test_info_that_json_cannot_hold_is_refused(info: Any) -> None:
    """Raise TypeError or ValueError, so that the song fails instead of the part."""
    with pytest.raises((TypeError, ValueError)):
        encode_row(1, found(info))


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
