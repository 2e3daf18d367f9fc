"""Check parts: how numbers are cut, how parts are named and found again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.song_set import SongSet
from crawler.runs.grid import Grid, PartKey

SETS = st.sets(st.integers(0, 300) | st.integers(999_999_999_900, 999_999_999_999), min_size=1, max_size=60)


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
