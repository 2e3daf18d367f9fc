"""Why songs failed: how many by each error, and the first few numbers of each.

Kept in the metadata of a part, added up to a run's answer and manifest. Of many kinds the most frequent are told, and
the rest together as `other`; which those are depends on the rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import msgspec

MOST_KINDS = 20
MOST_EXAMPLES = 3
# What the metadata of a part has room for, beside its sets of numbers and its latencies (runs/tally.py).
MOST_CHARACTERS = 1000

OTHER = "other"
# The error of songs whose part does not tell it: an earlier release stored it.
UNKNOWN = "unknown"


class Failure(msgspec.Struct, frozen=True):
    """How many songs failed by one error, and the `first` of them, ascending."""

    songs: int
    first: tuple[int, ...]


Failures = dict[str, Failure]


def failures_of(numbers: Mapping[str, Iterable[int]]) -> Failures:
    """Count the numbers that failed by each error."""
    ascending = {error: sorted(songs) for error, songs in numbers.items()}
    counted = {error: Failure(len(songs), tuple(songs[:MOST_EXAMPLES])) for error, songs in ascending.items()}
    return _fitting(counted)


def add_failures(parts: Iterable[Failures]) -> Failures:
    """Add up the failures of parts, of however many kinds."""
    of_error: dict[str, list[Failure]] = {}
    for part in parts:
        for error, failure in part.items():
            of_error.setdefault(error, []).append(failure)
    return {error: _sum(failures) for error, failures in of_error.items()}


def first_kinds(failures: Failures, kinds: int = MOST_KINDS) -> Failures:
    """Keep so many kinds, the most frequent first; all others are one."""
    ordered = sorted(failures.items(), key=lambda item: (item[0] == OTHER, -item[1].songs, item[0]))
    kept, others = dict(ordered[:kinds]), [failure for _, failure in ordered[kinds:]]
    if others:
        kept[OTHER] = _sum([*others, *([kept[OTHER]] if OTHER in kept else [])])
    return kept


def failures_to_metadata(failures: Failures) -> dict[str, str]:
    """Write failures as an entry of object metadata; nothing if there are none."""
    return {"errors": _text(failures)} if failures else {}


def failures_from_metadata(metadata: Mapping[str, str], failed: int) -> Failures | None:
    """Read failures from object metadata; None if it does not tell them. Raises ValueError if it is none of ours."""
    text = metadata.get("errors")
    if text is None:
        return None if failed else {}
    counts = msgspec.json.decode(text, type=dict[str, list[int]])
    if any(len(count) < 1 for count in counts.values()):
        raise ValueError(text)
    return {error: Failure(count[0], tuple(count[1:])) for error, count in counts.items()}


def _fitting(failures: Failures) -> Failures:
    """Leave kinds out until the metadata has room for the rest."""
    kinds = MOST_KINDS
    while len(_text(fitting := first_kinds(failures, kinds))) > MOST_CHARACTERS:
        kinds -= 1
    return fitting


def _sum(failures: Sequence[Failure]) -> Failure:
    first = sorted(number for failure in failures for number in failure.first)
    return Failure(sum(failure.songs for failure in failures), tuple(first[:MOST_EXAMPLES]))


def _text(failures: Failures) -> str:
    """Write JSON in ASCII, as metadata are headers: {"http_500":[20,4,17,23]}, the count and the first numbers."""
    return json.dumps({error: [f.songs, *f.first] for error, f in failures.items()}, separators=(",", ":"))
