"""Measure a snapshot beside DuckDB's own query over the same runs: seconds and memory, each a process of its own.

    python -m bench.snapshots [RUNS [SONGS]]

Three nightly runs of 300,000 songs if nothing else is said, in a temporary folder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from crawler.adapters.storage.folder import FolderStore
from crawler.formats.jsonl_rows import Compressor
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex, scopes_of
from crawler.runs.spec import RunSpec
from crawler.runs.tally import Tally

_QUERY = """
SET preserve_insertion_order = true;
COPY (
  SELECT song_num, info, split_part(filename, '/', -2) AS run
  FROM read_json('{folder}/runs/*/songs-*.jsonl.gz', filename = true,
                 columns = {{song_num: 'BIGINT', status: 'VARCHAR', info: 'JSON', error: 'VARCHAR'}})
  WHERE status != 'failed'
  QUALIFY row_number() OVER (PARTITION BY song_num ORDER BY run DESC) = 1 AND status = 'found'
  ORDER BY song_num
) TO '{folder}/table.jsonl.gz' (FORMAT json, COMPRESSION gzip)
"""
_PART_SONGS = 1000
_ROUNDS = 3


def main() -> None:
    """Store runs, and print the best of three of each."""
    runs, songs = (int(text) for text in (sys.argv[1:] + ["3", "300000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            _store_run(Path(folder), run, songs)
        places = [f"{folder}/to-{turn}" for turn in range(_ROUNDS)]
        snapshot = [[sys.executable, "-m", "crawler", "snapshot", folder, "now", "--to", place] for place in places]
        query = [sys.executable, "-c", f"import duckdb; duckdb.sql({_QUERY.format(folder=folder)!r})"]
        print(f"{runs} runs of {songs} songs, {songs // 10} missing in each")
        for name, commands in (("songcrawl snapshot", snapshot), ("DuckDB", [query] * _ROUNDS)):
            measured = [_measure(command) for command in commands]
            seconds, mebibytes = (min(values) for values in zip(*measured, strict=True))
            print(f"{name:<20} {seconds:6.2f} s {mebibytes:7.0f} MiB")


def _store_run(folder: Path, night: int, songs: int) -> None:
    fields = {"source": "https://example.com/{song_num}", "source_digest": "0123456789abcdef", "format": "jsonl"}
    created_at = f"2026-01-{night + 1:02d}T03:00:00.000Z"
    asked = f"1-{songs}"
    spec = msgspec.convert(
        {**fields, "run": f"night-{night:02d}", "asked": asked, "songs": asked, "part_songs": _PART_SONGS}
        | {"version": 3, "created_at": created_at},
        RunSpec,
    )
    index = RunIndex(FolderStore(folder), "bench")
    index.announce(spec, scopes_of(spec.request_digest, None), 1_767_000_000_000 + night * 86_400_000)
    run_store = index.run_store(spec.run)
    run_store.begin(spec)
    for key in spec.grid:
        compressor = Compressor()
        compressor.feed(_row(number, night) for number in key.songs)
        tally = Tally(started_at=1_767_000_000.0 + night * 86_400 + key.index, call_id="bench")
        missing = [number for number in key.songs if number % 10 == 0]
        found = [number for number in key.songs if number % 10]
        tally.count_numbers({"found": found, "missing": missing, "failed": []}, {})
        run_store.commit(key, compressor.finish(), tally)
    run_store.finish(spec, spec.grid, run_store.parts(spec), Gate())


def _row(number: int, night: int) -> bytes:
    if number % 10 == 0:
        return b'{"song_num":%d,"status":"missing","info":null}\n' % number
    info = b'{"title":"Song number %d","artist":"Artist %d","album":{"id":%d,"title":"Album %d"},"plays":%d}'
    text = info % (number, number % 5000, number % 9999, number % 9999, number * 7919 % 10**6 + night)
    return b'{"song_num":%d,"status":"found","info":%s}\n' % (number, text)


def _measure(command: list[str]) -> tuple[float, float]:
    """Run a command; returns its seconds and the most memory it had, in MiB."""
    before = time.monotonic()
    watched = (
        f"import resource, subprocess, sys; code = subprocess.run({command!r}, stdout=subprocess.DEVNULL).returncode"
    )
    told = f"{watched}; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    return time.monotonic() - before, int(done.stdout) / 1024


if __name__ == "__main__":
    main()
