"""Known songs: a few numbers that were found before, to be asked for where it is not clear whose fault failures are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress

from crawler.core.errors import SongcrawlError
from crawler.runs.index import RunIndex, run_of
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally

# Of known songs so many are enough, from the newest parts of as many runs.
_MOST_KNOWN, _MOST_RUNS = 3, 20


def known_songs(run_index: RunIndex, spec: RunSpec) -> list[int]:
    """Return up to _MOST_KNOWN numbers that were found: by the run, its parent, the newest runs of its source.

    None where the store can't be read: it only helps to tell whose fault a failure is.
    """
    songs: list[int] = []
    with suppress(SongcrawlError):
        for each in _runs_of_source(run_index, spec):
            run_store = run_index.run_store(each.run)
            songs += _found_in(run_store.parts(each))
            if each is spec and not songs:
                songs += _found_in_rests(run_store, spec)
            if len(songs) >= _MOST_KNOWN:
                break
    return songs[:_MOST_KNOWN]


def _runs_of_source(run_index: RunIndex, spec: RunSpec) -> Iterator[RunSpec]:
    """Yield the runs to look at, each of the same source."""
    yield spec
    names = [spec.parent] if spec.parent else []
    for run in [*names, *(run_of(name) for name in run_index.newest(_MOST_RUNS))]:
        with suppress(SongcrawlError):
            other = run_index.run_store(run).spec() if run != spec.run else None
            if other and other.source_digest == spec.source_digest:
                yield other


def _found_in_rests(run_store: RunStore, spec: RunSpec) -> Iterator[int]:
    """Yield a few numbers found among the rows that were kept aside."""
    for kept in run_store.rests(spec).values():
        for stored in kept:
            tally = Tally.from_metadata(stored.metadata)
            yield from tally.known_songs if tally else ()


def _found_in(parts: Iterable[CommittedPart]) -> Iterator[int]:
    """Yield a few numbers found, of the newest parts first."""
    newest = sorted(parts, key=lambda part: -part.tally.finished_at)
    for part in itertools.islice((part for part in newest if part.tally.found), _MOST_KNOWN):
        tally = part.tally
        if tally.known_songs:
            yield from tally.known_songs[: 1 if len(newest) >= _MOST_KNOWN else _MOST_KNOWN]
        elif tally.missing_songs is not None and tally.failed_songs is not None:  # stored by an earlier release
            yield (part.key.songs - tally.missing_songs - tally.failed_songs).first
