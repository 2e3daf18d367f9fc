"""The manifest: the proof that a run's parts tile what was asked for, as deterministic bytes.

Whoever writes it writes the same bytes: it holds nothing but what run.json and the parts say, in the form of run.json's
version; no time but that of run.json, no attempt.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

from crawler.core.records import Counts, StoredObject
from crawler.core.song_set import SongSet, merge, write_ranges
from crawler.formats.checksum import crc32c
from crawler.runs.ending.failures import first_kinds
from crawler.runs.grid import Grid, PartKey
from crawler.runs.spec import RunSpec
from crawler.runs.tally import RunParts, Tally

# What a manifest takes from run.json, by its version.
_SPEC_FIELDS = {
    1: ("run", "parent", "asked", "source", "source_digest", "format"),
    2: ("version", "run", "parent", "asked", "source", "source_digest", "format", "created_at"),
    3: (
        *("version", "run", "parent", "asked", "source", "source_name", "source_digest", "answers_digest", "keys"),
        *("follows_redirects", "format", "created_at"),
    ),
}


class CommittedPart(msgspec.Struct, frozen=True):
    """Join what the grid says of a part with what the store does."""

    key: PartKey
    stored: StoredObject
    tally: Tally


def add_up(parts: Iterable[CommittedPart]) -> RunParts:
    """Add up committed parts, in the grid's order; none of them is held."""
    run_parts = RunParts()
    for part in parts:
        run_parts.add(part.key.index, part.tally, part.stored.created_at)
    return run_parts


def gaps(grid: Grid, places: Iterable[int]) -> SongSet:
    """Give the numbers of the grid whose places are not among these; empty: the parts there tile the request."""
    size = grid.part_songs
    covered = merge((place * size, (place + 1) * size - 1) for place in sorted(places))
    return grid.songs - SongSet.of(pair for first, last in covered for pair in grid.songs.slice(first, last + 1).ranges)


class ManifestParts:
    """What a manifest says of a run's parts, gathered one after the other, ascending.

    In memory a part is what it comes to in the text, and a number of its sets at most 16 bytes.
    """

    def __init__(self) -> None:
        self._total = Tally()
        self._entries: list[msgspec.Raw] = []
        self._sets = {name: (array("q"), array("q")) for name in ("missing_songs", "failed_songs")}

    def __len__(self) -> int:
        """Count the parts."""
        return len(self._entries)

    @property
    def counts(self) -> Counts:
        """Return how many of their songs have each status."""
        return self._total

    def add(self, part: CommittedPart) -> None:
        """Add the next part, whose tally must hold its sets of numbers."""
        self._total.add_part(part.tally)
        self._entries.append(msgspec.Raw(msgspec.json.encode(_entry(part))))
        for name, (firsts, lasts) in self._sets.items():
            for first, last in getattr(part.tally, name).ranges:
                firsts.append(first)
                lasts.append(last)

    def follow(self, part: CommittedPart) -> None:
        """Add a part if all before it in the grid are there, and its tally holds its sets of numbers."""
        tally = part.tally
        if None not in (tally.missing_songs, tally.failed_songs, tally.failures) and part.key.index == len(self):
            self.add(part)

    def encode(self, spec: RunSpec, grid: Grid) -> bytes:
        """Write the manifest of a run whose parts these are, and tile the grid.

        For an open range the grid reaches to its end, and the manifest says why it ended there; a part past it, fetched
        before the end was known, does not belong to the run.
        """
        manifest = {
            **{name: getattr(spec, name) for name in _SPEC_FIELDS[spec.version]},
            **({"format_note": note} if (note := grid.format.note) else {}),
            "songs": str(grid.songs),
            "run_json_crc32c": crc32c(spec.encode()),
            **_ending(spec, grid),
            **self._total.by_status(),
            **_errors(spec, self._total),
            **{name: write_ranges(merge(zip(*pairs, strict=True))) for name, pairs in self._sets.items()},
            "parts": self._entries,
        }
        return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def encode_manifest(spec: RunSpec, grid: Grid, parts: Iterable[CommittedPart]) -> bytes:
    """Write the manifest of a run whose `parts`, ascending, tile the grid; each tally must hold its sets of numbers."""
    gathered = ManifestParts()
    for part in islice(parts, len(grid)):
        gathered.add(part)
    return gathered.encode(spec, grid)


def _errors(spec: RunSpec, total: Tally) -> dict[str, Any]:
    """Count the failed songs by their errors, since version 3."""
    if spec.version < 3:
        return {}
    return {"errors": {error: failure.songs for error, failure in first_kinds(total.told_failures).items()}}


def _ending(spec: RunSpec, grid: Grid) -> dict[str, Any]:
    if spec.end_after_missing is None:
        return {}
    whole = len(grid) == len(spec.grid)
    reason = "MAX_SONGS reached" if whole else f"{spec.end_after_missing} missing in a row"
    return {"ended_at": grid.songs.last, "ended_because": reason}


def _entry(part: CommittedPart) -> dict[str, Any]:
    return {
        "name": part.key.name,
        "first": part.key.songs.first,
        "last": part.key.songs.last,
        **part.tally.by_status(),
        "bytes": part.stored.size,
        "crc32c": part.stored.crc32c,
    }
