"""Intervals of time, as (start, finish) in seconds: when at least one instance was at work on a run."""

from __future__ import annotations

from collections.abc import Iterable


def merged(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the union of intervals as disjoint ones, ascending."""
    union: list[tuple[float, float]] = []
    for start, finish in sorted(intervals):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], finish))
        else:
            union.append((start, max(start, finish)))
    return union


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Measure the union of intervals."""
    return sum(finish - start for start, finish in merged(intervals))
