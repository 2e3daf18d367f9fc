"""Check the measure of spans of time that overlap."""

from __future__ import annotations

import pytest

from crawler.core.intervals import covered, merged

Spans = list[tuple[float, float]]


@pytest.mark.parametrize(
    ("spans", "union"),
    [
        ([], []),
        ([(1, 2)], [(1, 2)]),
        ([(5, 6), (1, 2)], [(1, 2), (5, 6)]),
        ([(1, 3), (2, 5)], [(1, 5)]),
        ([(1, 9), (2, 3)], [(1, 9)]),
        ([(1, 2), (2, 3)], [(1, 3)]),
        ([(4, 4)], [(4, 4)]),
        ([(4, 3)], [(4, 4)]),
    ],
    ids=["none", "one", "apart", "overlapping", "inside", "touching", "a moment", "backwards"],
)
def test_spans_are_merged(spans: Spans, union: Spans) -> None:
    """Count no moment twice, and none for a span that a clock set back made negative."""
    assert merged(spans) == union
    assert covered(spans) == sum(finish - start for start, finish in union)
