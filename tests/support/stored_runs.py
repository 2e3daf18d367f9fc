"""Store whole runs without crawling: what became of each number, and when each part was fetched, are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crawler.core.ports import Store
from crawler.core.records import Status
from crawler.core.verdict import Verdict
from crawler.formats.jsonl_rows import STATUS, Compressor, encode_row, with_key
from crawler.runs.ending.gate import Gate
from crawler.runs.grid import PartKey
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from support.runs import run_spec

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def store_run(
    store: Store,
    run: str,
    songs: str,
    judge: Callable[[int], Verdict],
    fetched_at: Callable[[int], float] = lambda place: EPOCH + place,
    *,
    key_of: Callable[[int], str] | None = None,
    whole: bool = True,
    gate: Gate | None = None,
    **fields: Any,
) -> RunSpec:
    """Store a run, of which `judge` says what became of each number, and `fetched_at` when each part was begun.

    Not `whole`: without its last part and its manifest. A `gate` may hold it.
    """
    spec = run_spec(songs, run=run, **{"version": 3, **fields})
    run_index = RunIndex(store, "stored")
    run_index.announce(spec, scopes_of(spec.request_digest, None), int(EPOCH * 1000))
    run_store = run_index.run_store(run)
    run_store.begin(spec)
    for key in list(spec.grid)[: None if whole else -1]:
        commit(run_store, key, judge, fetched_at(key.index), key_of)
    if whole:
        assert run_store.finish(spec, spec.grid, run_store.parts(spec), gate or Gate())
    return spec


def commit(
    run_store: RunStore,
    key: PartKey,
    judge: Callable[[int], Verdict],
    started_at: float,
    key_of: Callable[[int], str] | None = None,
) -> None:
    """Store a part."""
    numbers: dict[Status, list[int]] = {"found": [], "missing": [], "failed": []}
    errors: dict[str, list[int]] = {}
    compressor = Compressor()
    for number in key.songs:
        verdict = judge(number)
        numbers[STATUS[verdict.kind]].append(number)
        if verdict.error:
            errors.setdefault(verdict.error, []).append(number)
        row = encode_row(number, verdict)
        compressor.feed([with_key(row, key_of(number)) if key_of else row])
    tally = Tally(started_at=started_at, finished_at=started_at + 1, call_id="stored")
    tally.count_numbers(numbers, errors)
    run_store.commit(key, compressor.finish(), tally)
