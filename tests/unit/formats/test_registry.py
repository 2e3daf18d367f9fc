"""Check that CSV and Parquet hold the rows that JSON lines do, for other programs too, and refuse what is damaged."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import BadSetting
from crawler.core.records import FormatName, Row
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats import parquet_rows
from crawler.formats.jsonl_rows import Compressor, decode_rows, encode_row, with_key
from crawler.formats.registry import FORMATS, format_of

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
TEXT = st.text() | st.sampled_from(
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "a;=1", '";"', "\u2028", "a\r\nb"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
OUTCOMES = JSON.filter(lambda info: info is not None).map(found) | st.just(MISSING) | st.just(failed("timeout"))
OTHERS: list[FormatName] = ["csv", "parquet"]


def lines(outcomes: Iterable[Verdict]) -> bytes:
    """Gather a part of the songs 0, 1, ... as JSON lines."""
    compressor = Compressor()
    compressor.feed(encode_row(number, outcome) for number, outcome in enumerate(outcomes))
    return compressor.finish()


def encode(name: FormatName, *outcomes: Verdict) -> bytes:
    """Write a part in a format."""
    return FORMATS[name].encode(lines(outcomes))


def records(data: bytes) -> list[list[str]]:
    """Read CSV as any program would, without the project's code."""
    return list(csv.reader(io.StringIO(gzip.decompress(data).decode(), newline=""), strict=True))


def table_bytes(**columns: Sequence[Any]) -> bytes:
    """Write a Parquet file of other columns."""
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
@given(outcomes=st.lists(OUTCOMES, max_size=20))
def test_every_format_holds_the_same_rows(name: FormatName, outcomes: list[Verdict]) -> None:
    """Read back from each format the rows that were gathered, and write equal bytes for them."""
    part = lines(outcomes)
    data = FORMATS[name].encode(part)

    assert FORMATS[name].decode(data) == decode_rows(part)
    assert FORMATS[name].encode(part) == data


def test_suffixes_tell_formats_apart() -> None:
    """Name the objects of a format as programs expect them."""
    assert {name: form.suffix for name, form in FORMATS.items()} == {
        "jsonl": "jsonl.gz",
        "csv": "csv.gz",
        "parquet": "parquet",
    }


@pytest.mark.parametrize("name", OTHERS)
def test_large_info_comes_back(name: FormatName) -> None:
    """Keep an info beyond what Python's own CSV reader takes by default."""
    outcomes = [found("x" * 200_000), MISSING, found({"text": '"' * 70_000})]

    assert FORMATS[name].decode(encode(name, *outcomes)) == decode_rows(lines(outcomes))


@pytest.mark.parametrize("name", OTHERS)
def test_a_part_without_rows_has_its_columns(name: FormatName) -> None:
    """Write a readable object for no row at all."""
    assert FORMATS[name].decode(encode(name)) == []


# CSV.


def test_csv_is_as_the_rfc_has_it() -> None:
    """Write a header, CRLF at each end of line, quotes doubled, nothing for null."""
    data = encode("csv", found({"title": 'Say "hi"', "n": 1}), MISSING, failed("timeout"), found("plain"), found(7))

    assert gzip.decompress(data).decode() == (
        '"song_num","status","info","error"\r\n'
        '0,found,"{""title"":""Say \\""hi\\"""",""n"":1}",\r\n'
        "1,missing,,\r\n"
        "2,failed,,timeout\r\n"
        '3,found,"""plain""",\r\n'
        "4,found,7,\r\n"
    )
    assert data[4:8] == b"\0\0\0\0"  # gzip's time stamp


@given(st.lists(OUTCOMES, max_size=20))
def test_csv_has_a_line_for_each_row_and_no_formula(outcomes: list[Verdict]) -> None:
    """Keep every row on one line, no cell like a formula, and every info the same JSON value."""
    data = encode("csv", *outcomes)
    header, *rows = records(data)

    assert header == ["song_num", "status", "info", "error"]
    assert gzip.decompress(data).count(b"\n") == len(rows) + 1 == len(outcomes) + 1
    assert not any(cell.startswith(FORMULA) for row in rows for cell in row)
    assert [json.loads(info) if info else None for _, _, info, _ in rows] == [outcome.info for outcome in outcomes]


@pytest.mark.parametrize("separator", [";", "\t"])
@given(outcomes=st.lists(TEXT.map(found) | TEXT.map(lambda text: found({text: text})), max_size=20))
def test_no_other_separator_lets_a_formula_in(separator: str, outcomes: list[Verdict]) -> None:
    """Give a spreadsheet that cuts at semicolons or tabs no cell that is a formula either."""
    text = gzip.decompress(encode("csv", *outcomes)).decode()
    cells = [cell for line in text.split("\r\n") for cell in line.split(separator)]

    assert not any(cell.lstrip(' "').startswith(FORMULA) for cell in cells if not cell.startswith('"'))
    assert not any(cell.startswith(FORMULA) for cell in cells)


@pytest.mark.parametrize("info", [-5, -0.5, [-5], {"n": -5}, "-5"])
def test_negative_numbers_stay_numbers(info: Any) -> None:
    """Read a number that begins like a formula as the same JSON value."""
    (_, (_, _, cell, _)) = records(encode("csv", found(info)))

    assert not cell.startswith("-")
    assert json.loads(cell) == info


@pytest.mark.parametrize("error", ["=1", "+1", "-1", "@a", "\ta", "'a", "'=1"])
def test_error_that_looks_like_a_formula(error: str) -> None:
    """Put an apostrophe before it, which reading takes off."""
    data = encode("csv", failed(error))

    assert records(data)[1] == ["0", "failed", "", f"'{error}"]
    assert FORMATS["csv"].decode(data) == [Row(0, "failed", None, error)]


HEADER = b'"song_num","status","info","error"\r\n'
NO_CSV = {
    "nothing": b"",
    "no header": b"1,missing,,\r\n",
    "another header": b"song_num,status,error,info\r\n",
    "a field too few": HEADER + b"1,missing,\r\n",
    "a field too many": HEADER + b"1,missing,,,\r\n",
    "an empty line": HEADER + b"\r\n",
    "no number": HEADER + b"one,missing,,\r\n",
    "a full-width number": HEADER + "１,missing,,\r\n".encode(),
    "a number with an underscore": HEADER + b"1_0,missing,,\r\n",
    "an unknown status": HEADER + b"1,retry,,\r\n",
    "info that is no JSON": HEADER + b"1,found,plain,\r\n",
    "half a row": HEADER + b'1,found,"{""a',
    "no UTF-8": HEADER + b"1,found,\xff,\r\n",
    "too deep": HEADER + b"1,found," + b"[" * 100_000 + b"]" * 100_000 + b",\r\n",
}


@pytest.mark.parametrize("content", NO_CSV.values(), ids=NO_CSV)
def test_csv_that_is_no_part_is_refused(content: bytes) -> None:
    """Raise ValueError for content that this project would not write."""
    with pytest.raises(ValueError, match=r"^(not a part: |.*utf-8)"):
        FORMATS["csv"].decode(gzip.compress(content))


# Parquet.


def test_parquet_has_one_schema() -> None:
    """Name and type the columns alike in every part, whatever its rows hold."""
    parts = [encode("parquet", *outcomes) for outcomes in ([], [MISSING] * 3, [found(1), failed("timeout")])]

    for part in parts:
        schema = pq.read_schema(io.BytesIO(part))
        assert [(f.name, str(f.type), f.nullable) for f in schema] == [
            ("song_num", "int64", False),
            ("status", "string", False),
            ("info", "string", True),
            ("error", "string", True),
        ]


def test_parquet_holds_info_as_json() -> None:
    """Store each info as the text that the JSON line has, and null where there is none."""
    data = encode("parquet", found({"title": "é;"}), MISSING, failed("timeout"), found("null"))

    assert pq.read_table(io.BytesIO(data)).to_pylist() == [
        {"song_num": 0, "status": "found", "info": '{"title":"é;"}', "error": None},
        {"song_num": 1, "status": "missing", "info": None, "error": None},
        {"song_num": 2, "status": "failed", "info": None, "error": "timeout"},
        {"song_num": 3, "status": "found", "info": '"null"', "error": None},
    ]


def test_large_rows_are_cut_into_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound what a writer or a reader holds at once, and keep every row in its place."""
    monkeypatch.setattr(parquet_rows, "_GROUP_CHARACTERS", 1000)
    outcomes = [found("x" * 300)] * 10
    data = encode("parquet", *outcomes)

    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 3
    assert FORMATS["parquet"].decode(data) == decode_rows(lines(outcomes))


PART = encode("parquet", *[found({"n": number, "title": f"Song {number * 7919 % 5003}"}) for number in range(300)])
GOOD = {"song_num": [1], "status": ["found"], "info": ["1"], "error": pa.array([None], pa.string())}
NO_PARQUET = {
    "nothing": b"",
    "JSON lines": lines([found(1)]),
    "cut short": PART[:-1],
    "half": PART[: len(PART) // 2],
    "the end alone": PART[-300:],
    "other columns": table_bytes(song_num=[1], status=["found"]),
    "nullable columns": table_bytes(**GOOD),
}


@pytest.mark.parametrize("data", NO_PARQUET.values(), ids=NO_PARQUET)
def test_parquet_that_is_no_part_is_refused(data: bytes) -> None:
    """Raise ValueError for a file that this project would not write."""
    with pytest.raises(ValueError, match=r"^not a part: "):
        FORMATS["parquet"].decode(data)


@given(st.integers(60, len(PART) // 2), st.integers(1, 255))
def test_parquet_with_a_changed_byte_is_never_read_otherwise(place: int, change: int) -> None:
    """Raise ValueError for a byte changed in the data, which its pages' checksums tell, or read the same rows."""
    damaged = PART[:place] + bytes([PART[place] ^ change]) + PART[place + 1 :]
    try:
        rows = FORMATS["parquet"].decode(damaged)
    except ValueError:
        return
    assert rows == FORMATS["parquet"].decode(PART)


def test_parquet_needs_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say what to install where the library is missing."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadSetting, match=r"^FORMAT is 'parquet', which needs pyarrow"):
        encode("parquet", MISSING)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_rows_say_where_songs_moved(name: FormatName, keyed: bool) -> None:
    """Hold numbers and paths in a column of runs that follow redirects, beside the key where there are some."""
    moved = [
        found(1),
        msgspec.structs.replace(found({"id": 2}), moved_to="02" if keyed else 2),
        msgspec.structs.replace(found(3), moved_to="/songs/b;c?"),
        MISSING,
    ]
    compressor = Compressor()
    rows = [encode_row(number, outcome) for number, outcome in enumerate(moved)]
    compressor.feed([with_key(row, f"k{number}") for number, row in enumerate(rows)] if keyed else rows)
    part = compressor.finish()
    form = format_of(name, keyed=keyed, moved=True)

    decoded = form.decode(form.encode(part))
    assert [(row.moved_to, row.key) for row in decoded] == [
        (place, f"k{number}" if keyed else None)
        for number, place in enumerate((None, "02" if keyed else 2, "/songs/b;c?", None))
    ]
    assert decoded == decode_rows(part)
    assert form is format_of(name, keyed=keyed, moved=True)


def test_runs_that_follow_no_redirects_have_no_such_column() -> None:
    """Keep the columns of all other runs as they were: whoever reads many runs at once knows them."""
    assert format_of("csv", keyed=False) is FORMATS["csv"]
    header = gzip.decompress(format_of("csv", keyed=False, moved=True).encode(lines([]))).decode()
    assert header == '"song_num","status","info","error","moved_to"\r\n'
    assert gzip.decompress(encode("csv")).decode() == '"song_num","status","info","error"\r\n'
