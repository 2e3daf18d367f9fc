"""Check what `songs` may say: every form, its normal form, and every form refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.song_set import LARGEST_SONG_NUM, SongSet
from crawler.runs.selection import (
    FromRun,
    NextNumbers,
    NumberRanges,
    OpenRange,
    Selection,
    count_selected,
    open_songs,
    parse_selection,
)


def numbers(text: str) -> NumberRanges:
    """Ask for the numbers of a text."""
    return NumberRanges(SongSet.parse(text))


FORMS = [
    pytest.param("7", numbers("7"), 1, id="a number"),
    pytest.param("0", numbers("0"), 1, id="zero"),
    pytest.param("999999999999", numbers("999999999999"), 1, id="the largest number"),
    pytest.param("1-1000", numbers("1-1000"), 1000, id="a range"),
    pytest.param("1-100,205,300-350", numbers("1-100,205,300-350"), 152, id="several"),
    pytest.param("1-", OpenRange(1), 0, id="an open range"),
    pytest.param("0-", OpenRange(0), 0, id="an open range from zero"),
    pytest.param("999999999999-", OpenRange(999_999_999_999), 0, id="an open range from the end"),
    pytest.param("next:1", NextNumbers(1), 1, id="the next one"),
    pytest.param("next:5000", NextNumbers(5000), 5000, id="the next many"),
    pytest.param("next:999999999999", NextNumbers(999_999_999_999), 999_999_999_999, id="the next of all"),
    pytest.param("failed:trial", FromRun("failed", "trial"), 0, id="failed"),
    pytest.param("missing:trial", FromRun("missing", "trial"), 0, id="missing"),
    pytest.param("failed:2026-01-02.a_b", FromRun("failed", "2026-01-02.a_b"), 0, id="a run's name with everything"),
    pytest.param(f"missing:{'a' * 63}", FromRun("missing", "a" * 63), 0, id="a run's longest name"),
]


@pytest.mark.parametrize(("text", "asked", "count"), FORMS)
def test_every_form_is_read_counted_and_written_back(text: str, asked: Selection, count: int) -> None:
    """Read a form for what it is, count what it names at once, and write it as it was."""
    read = parse_selection(text)

    assert read == asked
    assert count_selected(read) == count
    assert str(read) == text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("7-7", "7"),
        ("7,7,7", "7"),
        ("1-5,6-10", "1-10"),
        ("6-10,1-7", "1-10"),
        ("3,1,2", "1-3"),
        ("300-350,205,1-100", "1-100,205,300-350"),
        ("1,3", "1,3"),
    ],
)
def test_equal_requests_have_one_normal_form(text: str, normal: str) -> None:
    """Write the same numbers the same way, however they were named."""
    assert str(parse_selection(text)) == normal
    assert parse_selection(text) == parse_selection(normal)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), min_size=1, max_size=6))
def test_the_normal_form_is_that_of_the_numbers(ranges: list[tuple[int, int]]) -> None:
    """Give requests for equal numbers equal normal forms, and write a normal form as itself."""
    text = ",".join(f"{first}-{first + length}" for first, length in ranges)
    members = {number for first, length in ranges for number in range(first, first + length + 1)}

    normal = str(parse_selection(text))

    assert normal == str(NumberRanges(SongSet.of_numbers(members)))
    assert str(parse_selection(normal)) == normal


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        *((text, repr(text)) for text in ("", "-", "all", "1--", "-1", "01-", "１-", "1- ", " 1-", "1-\n", "1_0-")),
        *((text, repr(text)) for text in ("1000000000000-", "1-2-", "1:2", "1..2", "*")),
        *((text, repr(text)) for text in ("next", "next:", "next:0", "next:-1", "next:01", "next: 5", "Next:5")),
        *((text, repr(text)) for text in ("next:5\n", "next:５", "next:1e3", "next:1-5", "next:1000000000000")),
        *((text, repr(text)) for text in ("failed", "failed:", "failed:A", "failed:.", "failed:../a", "failed:a/b")),
        *((text, repr(text)) for text in ("FAILED:a", "failed: a", "failed:a\n", "found:a", "missing:", "failed:ä")),
        ("missing:" + "a" * 64, repr("missing:" + "a" * 32 + "…")),
        ("1-,5", "'1-'"),
        ("5,1-", "'1-'"),
        ("7,next:5", "'next:5'"),
        ("failed:a,failed:b", "'failed:a'"),
        ("next:5,", "'next:5'"),
        ("7,", "''"),
    ],
)
def test_any_other_form_is_refused(text: str, piece: str) -> None:
    """Name the piece at fault; open ranges, next: and other runs' numbers stand alone."""
    with pytest.raises(ValueError, match="is neither a number from 0 to 999999999999 nor a range") as refusal:
        parse_selection(text)

    assert str(refusal.value).startswith(f"{piece} ")


def test_a_reversed_range_is_refused_by_its_mirror() -> None:
    """Say what was probably meant."""
    with pytest.raises(ValueError, match=r"^the range 10-1 is reversed: write 1-10$"):
        parse_selection("5,10-1")


@pytest.mark.parametrize(
    ("first", "max_songs", "songs"),
    [
        pytest.param(1, 10, "1-10", id="as many as allowed"),
        pytest.param(0, 1, "0", id="one"),
        pytest.param(LARGEST_SONG_NUM - 2, 10, "999999999997-999999999999", id="no further than the largest number"),
        pytest.param(LARGEST_SONG_NUM, 10, "999999999999", id="the largest number alone"),
    ],
)
def test_an_open_range_reaches_so_far_at_the_most(first: int, max_songs: int, songs: str) -> None:
    """Give the numbers from the first on, MAX_SONGS of them, none above the largest."""
    assert str(open_songs(first, max_songs)) == songs
