"""Check sets of song numbers: how they are read and written, and that they behave as Python's own sets do."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.song_set import LARGEST_SONG_NUM, SongSet

# Runs of numbers with holes between them: single numbers would hardly ever stand side by side.
NUMBERS = st.lists(st.tuples(st.integers(0, 55), st.integers(1, 6)), max_size=8).map(
    lambda runs: {number for first, length in runs for number in range(first, first + length)}
)
NOT_A_RANGE = "is neither a number from 0 to 999999999999 nor a range such as 1-1000"


def numbers_near_the_largest() -> st.SearchStrategy[set[int]]:
    """Draw a few numbers at the upper end."""
    return st.sets(st.integers(LARGEST_SONG_NUM - 8, LARGEST_SONG_NUM), max_size=8)


@pytest.mark.parametrize(
    ("text", "ranges", "written"),
    [
        pytest.param("7", ((7, 7),), "7", id="one number"),
        pytest.param("0", ((0, 0),), "0", id="zero"),
        pytest.param("1-1000", ((1, 1000),), "1-1000", id="a range"),
        pytest.param("7-7", ((7, 7),), "7", id="a range of one"),
        pytest.param("1-100,205,300-350", ((1, 100), (205, 205), (300, 350)), "1-100,205,300-350", id="several"),
        pytest.param("300-350,205,1-100", ((1, 100), (205, 205), (300, 350)), "1-100,205,300-350", id="unsorted"),
        pytest.param("1-10,5-20", ((1, 20),), "1-20", id="overlapping"),
        pytest.param("1-20,5-10", ((1, 20),), "1-20", id="one inside the other"),
        pytest.param("1-10,11-20", ((1, 20),), "1-20", id="touching"),
        pytest.param("7,7,7", ((7, 7),), "7", id="repeated"),
        pytest.param("1,3", ((1, 1), (3, 3)), "1,3", id="one apart"),
        pytest.param("0-999999999999", ((0, LARGEST_SONG_NUM),), "0-999999999999", id="everything"),
    ],
)
def test_reads_what_the_contract_allows(text: str, ranges: tuple[tuple[int, int], ...], written: str) -> None:
    """Read numbers and ranges in any order, and write them merged and ascending."""
    songs = SongSet.parse(text)

    assert tuple(songs.ranges) == ranges
    assert str(songs) == written


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", f"'' {NOT_A_RANGE}", id="empty"),
        pytest.param("1,,2", f"'' {NOT_A_RANGE}", id="an empty piece"),
        pytest.param("1,", f"'' {NOT_A_RANGE}", id="a comma at the end"),
        pytest.param("１２", f"'１２' {NOT_A_RANGE}", id="full-width digits"),
        pytest.param("٣", f"'٣' {NOT_A_RANGE}", id="Arabic digits"),
        pytest.param("1_0", f"'1_0' {NOT_A_RANGE}", id="underscore"),
        pytest.param("1e3", f"'1e3' {NOT_A_RANGE}", id="exponent"),
        pytest.param("1.0", f"'1.0' {NOT_A_RANGE}", id="decimal point"),
        pytest.param("0x10", f"'0x10' {NOT_A_RANGE}", id="hexadecimal"),
        pytest.param("-5", f"'-5' {NOT_A_RANGE}", id="negative"),
        pytest.param("+7", f"'+7' {NOT_A_RANGE}", id="plus sign"),
        pytest.param(" 7", f"' 7' {NOT_A_RANGE}", id="blank before"),
        pytest.param("7 ", f"'7 ' {NOT_A_RANGE}", id="blank after"),
        pytest.param("7\n", f"'7\\n' {NOT_A_RANGE}", id="line break after"),
        pytest.param("1 - 3", f"'1 - 3' {NOT_A_RANGE}", id="blanks inside"),
        pytest.param("007", f"'007' {NOT_A_RANGE}", id="leading zeros"),
        pytest.param("1-03", f"'1-03' {NOT_A_RANGE}", id="leading zero of an end"),
        pytest.param("1000000000000", f"'1000000000000' {NOT_A_RANGE}", id="thirteen digits"),
        pytest.param("1-1000000000000", f"'1-1000000000000' {NOT_A_RANGE}", id="an end of thirteen digits"),
        pytest.param("1-", f"'1-' {NOT_A_RANGE}", id="no end"),
        pytest.param("1-2-3", f"'1-2-3' {NOT_A_RANGE}", id="two dashes"),
        pytest.param("1–3", f"'1–3' {NOT_A_RANGE}", id="a dash that is none"),
        pytest.param("1;3", f"'1;3' {NOT_A_RANGE}", id="semicolon"),
        pytest.param("true", f"'true' {NOT_A_RANGE}", id="word"),
        pytest.param("1,x,3", f"'x' {NOT_A_RANGE}", id="the piece at fault is named"),
        pytest.param("9" * 40, f"'{'9' * 40}' {NOT_A_RANGE}", id="a piece of forty characters"),
        pytest.param("9" * 41, f"'{'9' * 40}…' {NOT_A_RANGE}", id="a longer piece is cut"),
        pytest.param("10-1", "the range 10-1 is reversed: write 1-10", id="reversed"),
    ],
)
def test_refuses_anything_else_and_says_why(text: str, sentence: str) -> None:
    """Name the piece at fault and what is allowed."""
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        SongSet.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Read a text to a set whose own text means the same, or raise ValueError; nothing else ever."""
    try:
        songs = SongSet.parse(text)
    except ValueError:
        return

    assert text.isascii()
    assert SongSet.parse(str(songs)) == songs


@given(NUMBERS | numbers_near_the_largest())
def test_text_and_set_are_each_others_inverse(numbers: set[int]) -> None:
    """Write a set so that it is read back as it was."""
    songs = SongSet.of_numbers(numbers)

    assert str(songs) == "" if not numbers else SongSet.parse(str(songs)) == songs


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))))
def test_ranges_are_canonical(pairs: list[tuple[int, int]]) -> None:
    """Keep ranges ascending, neither touching nor overlapping, however they came; so equal sets are equal values."""
    songs = SongSet.of((first, first + more) for first, more in pairs)
    numbers = {number for first, more in pairs for number in range(first, first + more + 1)}

    assert all(first <= last for first, last in songs.ranges)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(songs.ranges))
    assert songs == SongSet.of_numbers(numbers)
    assert hash(songs) == hash(SongSet.of_numbers(numbers))


@given(NUMBERS)
def test_holds_what_a_python_set_holds(numbers: set[int]) -> None:
    """Count, list and find the numbers as a Python set would."""
    songs = SongSet.of_numbers(numbers)

    assert len(songs) == len(numbers)
    assert bool(songs) == bool(numbers)
    assert list(songs) == sorted(numbers)
    assert {number for number in range(-1, 62) if number in songs} == numbers


@given(NUMBERS, NUMBERS)
def test_algebra_is_that_of_python_sets(left: set[int], right: set[int]) -> None:
    """Unite, intersect and subtract as Python sets do."""
    a, b = SongSet.of_numbers(left), SongSet.of_numbers(right)

    assert a | b == SongSet.of_numbers(left | right)
    assert a & b == SongSet.of_numbers(left & right)
    assert a - b == SongSet.of_numbers(left - right)


@given(NUMBERS, st.integers(0, 45), st.integers(0, 45))
def test_slice_is_that_of_the_sorted_list(numbers: set[int], start: int, stop: int) -> None:
    """Cut out positions as slicing the sorted list does, also past its end or where nothing is asked for."""
    cut = SongSet.of_numbers(numbers).slice(start, stop)

    assert cut == SongSet.of_numbers(sorted(numbers)[start:stop])


@given(NUMBERS, st.integers(0, 62))
def test_position_counts_the_numbers_below(numbers: set[int], number: int) -> None:
    """Give a member's place in the sorted list, and for others where they would stand."""
    songs = SongSet.of_numbers(numbers)

    assert songs.position(number) == sum(other < number for other in numbers)


@given(NUMBERS.filter(bool))
def test_first_and_last_are_the_lowest_and_highest(numbers: set[int]) -> None:
    """Give both ends of a set that is not empty."""
    songs = SongSet.of_numbers(numbers)

    assert (songs.first, songs.last) == (min(numbers), max(numbers))


@given(NUMBERS, st.integers(0, 100))
def test_shifts_as_pythons_sets(numbers: set[int], by: int) -> None:
    """Add a number to each, and take it off again."""
    songs = SongSet.of_numbers(numbers)

    assert set(songs.shifted(by)) == {number + by for number in numbers}
    assert songs.shifted(by).shifted(-by) == songs


def test_equal_sets_are_one() -> None:
    """Compare and hash by the numbers alone."""
    assert {SongSet.parse("1-3,5"), SongSet.of_numbers([5, 3, 2, 1])} == {SongSet([(1, 3), (5, 5)])}
    assert SongSet.parse("1") != "1"
    assert repr(SongSet.parse("1-3,5")) == "SongSet([(1, 3), (5, 5)])"


def test_the_empty_set_has_no_ends() -> None:
    """Raise IndexError for the ends of the empty set, and write it as the empty text."""
    empty = SongSet()

    assert (str(empty), len(empty), list(empty)) == ("", 0, [])
    with pytest.raises(IndexError):
        _ = empty.first
    with pytest.raises(IndexError):
        _ = empty.last


def test_cost_does_not_depend_on_the_numbers_between() -> None:
    """Work on a million million numbers as on ten: nothing walks a range."""
    songs = SongSet.parse(f"0-{LARGEST_SONG_NUM}") - SongSet.parse("500000000000")

    assert len(songs) == LARGEST_SONG_NUM
    assert str(songs.slice(499_999_999_999, 500_000_000_001)) == "499999999999,500000000001"
    assert songs.position(LARGEST_SONG_NUM) == LARGEST_SONG_NUM - 1
    assert LARGEST_SONG_NUM in songs
    assert 500_000_000_000 not in songs
