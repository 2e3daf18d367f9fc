"""The manifest: the proof that a run's parts tile what was asked for, as deterministic bytes.

Whoever writes it writes the same bytes: it holds nothing but what run.json and the parts say, in the form of run.json's
version; no time but that of run.json, no attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crawler.core.records import StoredObject, add_counts
from crawler.core.song_set import SongSet, merge, write_ranges
from crawler.formats.checksum import crc32c
from crawler.runs.grid import Grid, PartKey
from crawler.runs.spec import RunSpec
from crawler.runs.tally import Tally

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


def gaps(grid: Grid, parts: Sequence[CommittedPart]) -> SongSet:
    """Give the numbers of the grid that no part covers; empty: the parts tile the request."""
    return grid.songs - SongSet.of(pair for part in parts for pair in part.key.songs.ranges)


def encode_manifest(spec: RunSpec, grid: Grid, parts: Sequence[CommittedPart]) -> bytes:
    """Write the manifest of a run whose `parts`, ascending, tile the grid.

    Every tally must hold its sets of numbers. For an open range the grid reaches to its end, and the manifest says why
    it ended there; a part past it, fetched before the end was known, does not belong to the run.
    """
    parts = parts[: len(grid)]
    manifest = {
        **{name: getattr(spec, name) for name in _SPEC_FIELDS[spec.version]},
        **({"format_note": note} if (note := grid.format.note) else {}),
        "songs": str(grid.songs),
        "run_json_crc32c": crc32c(spec.encode()),
        **_ending(spec, grid),
        **add_counts(part.tally for part in parts).by_status(),
        "missing_songs": _join(part.tally.missing_songs for part in parts),
        "failed_songs": _join(part.tally.failed_songs for part in parts),
        "parts": [_entry(part) for part in parts],
    }
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _ending(spec: RunSpec, grid: Grid) -> dict[str, Any]:
    if spec.end_after_missing is None:
        return {}
    whole = len(grid) == len(spec.grid)
    reason = "MAX_SONGS reached" if whole else f"{spec.end_after_missing} missing in a row"
    return {"ended_at": grid.songs.last, "ended_because": reason}


def _join(sets: Iterable[SongSet | None]) -> str:
    """Write the union of sets, each above the one before; in memory it is no more than its text."""
    return write_ranges(merge(pair for songs in sets if songs for pair in songs.ranges))


def _entry(part: CommittedPart) -> dict[str, Any]:
    return {
        "name": part.key.name,
        "first": part.key.songs.first,
        "last": part.key.songs.last,
        **part.tally.by_status(),
        "bytes": part.stored.size,
        "crc32c": part.stored.crc32c,
    }
