"""Make the values of a run that tests of the rules start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.runs.grid import PartKey
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.tally import RunParts, Tally


def run_spec(songs: str = "1-10", **fields: Any) -> RunSpec:
    """Make the content of a run.json."""
    given = {"run": "trial", "source": "https://example.com/{song_num}", "source_digest": "0123456789abcdef"}
    fixed = {"version": 2, "format": "jsonl", "part_songs": 4, "created_at": "2026-01-02T03:04:05.678Z"}
    return RunSpec(songs=songs, **{"asked": songs, **given, **fixed, **fields})


def committed(key: PartKey, missing: Sequence[int] = (), failed: Sequence[int] = (), **fields: Any) -> CommittedPart:
    """Make a stored part: `missing` and `failed` numbers, all others found."""
    counts = {"found": len(key.songs) - len(missing) - len(failed), "missing": len(missing), "failed": len(failed)}
    sets = {"missing_songs": SongSet.of_numbers(missing), "failed_songs": SongSet.of_numbers(failed)}
    stored = StoredObject(f"runs/trial/{key.name}", 100 + key.index, f"crc{key.index}==", created_at=1e9)
    return CommittedPart(key, stored, Tally(**{**counts, **sets, **fields}))


def of_tallies(tallies: Iterable[Tally]) -> RunParts:
    """Add up the tallies of a run's first parts."""
    parts = RunParts()
    for place, tally in enumerate(tallies):
        parts.add(place, tally)
    return parts


def figures(answer: Any) -> dict[str, Any]:
    """Give an answer without its sentences: the same call sent again is told that nothing was asked."""
    given: dict[str, Any] = msgspec.to_builtins(answer)
    return {name: value for name, value in given.items() if name not in ("warnings", "detail")}
