"""Check where an open range ends: at the first part edge with enough missing numbers in a row before it."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.song_set import SongSet
from crawler.runs.ending.open_range import OpenRangeEnd
from crawler.runs.grid import Grid, PartKey
from crawler.runs.tally import Tally

PART_SONGS = 4
FOUND, MISSING, FAILED = "f", "m", "x"


def grid_of(outcomes: str, first: int = 1) -> Grid:
    """Cut as many numbers as there are outcomes into parts of four."""
    return Grid(SongSet.of([(first, first + len(outcomes) - 1)]), PART_SONGS)


def tally(key: PartKey, outcomes: str, first: int = 1) -> Tally:
    """Count the outcomes of a part's numbers: the nth letter is what became of the nth number."""
    sets: dict[str, list[int]] = {FOUND: [], MISSING: [], FAILED: []}
    for number in key.songs:
        sets[outcomes[number - first]].append(number)
    return Tally(
        found=len(sets[FOUND]),
        missing=len(sets[MISSING]),
        failed=len(sets[FAILED]),
        missing_songs=SongSet.of_numbers(sets[MISSING]),
        failed_songs=SongSet.of_numbers(sets[FAILED]),
    )


def parts_until_the_end(outcomes: str, end_after_missing: int, indexes: list[int] | None = None) -> int | None:
    """Add the parts of these outcomes, or those at `indexes` in that order; gives how many parts the range has."""
    outcomes = outcomes.replace(" ", "")
    grid = grid_of(outcomes)
    end = OpenRangeEnd(grid, end_after_missing)
    for index in range(len(grid)) if indexes is None else indexes:
        end.add(index, tally(grid[index], outcomes))
    return end.parts


@pytest.mark.parametrize(
    ("outcomes", "end_after_missing", "parts"),
    [
        pytest.param("ffffffmmmfffffff", 3, 4, id="a row across an edge that goes on being broken"),
        pytest.param("ffffffmmmmmmffff", 3, 2 + 1, id="a row across an edge"),
        pytest.param("fffffmmmffffffff", 3, 2, id="a row that ends with its part"),
        pytest.param("ffffmmmfffffffff", 3, 4, id="a row that ends before its part does"),
        pytest.param("mmmmffffffffffff", 3, 1, id="a first part without a song"),
        pytest.param("fffmmmmmmmmmffff", 9, 3, id="a row over three parts"),
        pytest.param("fffmmmmmmmmmffff", 10, 4, id="a row one short"),
        pytest.param("fffffmmxmmmmffff", 4, 3, id="a failed number begins the row anew"),
        pytest.param("ffffmmmxffffffff", 3, 4, id="a failed number at the edge"),
        pytest.param("ffffxmmmffffffff", 4, 4, id="a failed number is not one of the row"),
        pytest.param("xxxxxxxxxxxxmfff", 3, 4, id="failed numbers are no missing ones"),
        pytest.param("fffmffffffffffff", 1, 1, id="one missing number is enough"),
        pytest.param("ffffffffffffmm", 2, 4, id="a last part of its own length"),
    ],
)
def test_ends_at_the_first_edge_with_enough_missing_before_it(
    outcomes: str, end_after_missing: int, parts: int
) -> None:
    """Count missing numbers in a row across part edges, look at edges only, and let nothing but missing count."""
    assert parts_until_the_end(outcomes, end_after_missing) == parts


def test_the_end_is_open_while_the_row_is_too_short() -> None:
    """Know no end before a row is long enough or the grid is used up."""
    assert parts_until_the_end("fmmmmmffffff", 4, indexes=[0, 1]) is None
    assert parts_until_the_end("fmmmmmffffff", 4, indexes=[]) is None


@pytest.mark.parametrize("outcomes", ["ffffffff", "ffffffmm", "xxxxxxxx", "ffffff"])
def test_max_songs_is_an_end_too(outcomes: str) -> None:
    """End where the grid, MAX_SONGS long, is used up, whatever its last numbers are."""
    assert parts_until_the_end(outcomes, 1000) == 2


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=lambda order: "".join(map(str, order)))
def test_parts_may_come_in_any_order(order: tuple[int, ...]) -> None:
    """Find the same end in whatever order parts are committed: at the third part, not in the fourth."""
    assert parts_until_the_end("fffmmffffmmmmmmm", 3, indexes=list(order)) == 3


def test_a_gap_in_the_prefix_hides_the_end() -> None:
    """Know no end while a part before it is not committed, and know it as soon as that one is."""
    outcomes = "fffmmmmmmmmmmmmm"

    assert parts_until_the_end(outcomes, 6, indexes=[0, 2, 3]) is None
    assert parts_until_the_end(outcomes, 6, indexes=[0, 2, 3, 1]) == 3


def test_a_part_added_twice_counts_once() -> None:
    """Count a part's missing numbers once, though it is committed and then listed."""
    assert parts_until_the_end("ffmmmmffffff", 4, indexes=[0, 0, 0]) is None
    assert parts_until_the_end("ffffffmmmmffffff", 4, indexes=[1, 1, 0, 1, 0]) is None


def test_the_end_stays_where_it_is() -> None:
    """Keep an end that is known, whatever a part after it holds."""
    assert parts_until_the_end("fmmmffffmmmm", 3, indexes=[0, 1, 2, 2]) == 1


def test_a_damaged_part_has_an_end_too() -> None:
    """Take a part for missing whole where its rows, one of them there twice, say so of every number."""
    grid = grid_of("mmmm")
    end = OpenRangeEnd(grid, 4)

    end.add(0, Tally(missing=5, missing_songs=grid.songs, failed_songs=SongSet()))

    assert end.parts == 1


@given(st.data())
def test_the_end_is_what_the_rows_themselves_say(data: st.DataObject) -> None:
    """Agree with a count that walks over every number, in whatever order the parts come."""
    outcomes = data.draw(st.text(FOUND + MISSING * 4 + FAILED, min_size=1, max_size=30))
    end_after_missing = data.draw(st.integers(1, 12))
    indexes = data.draw(st.permutations(range(len(grid_of(outcomes)))))

    assert parts_until_the_end(outcomes, end_after_missing, list(indexes)) == walked(outcomes, end_after_missing)


def walked(outcomes: str, end_after_missing: int) -> int:
    """Find the end number by number."""
    row = 0
    for place, outcome in enumerate(outcomes, start=1):
        row = row + 1 if outcome == MISSING else 0
        if row >= end_after_missing and place % PART_SONGS == 0:
            return place // PART_SONGS
    return -(-len(outcomes) // PART_SONGS)
