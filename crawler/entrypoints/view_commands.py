"""The commands on what is stored: `snapshot`, `schema`, `export`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from crawler.adapters.runtime.clock import SystemClock
from crawler.app.composition import key_file_of, open_store, settings_from
from crawler.app.crawl_request import SnapshotRequest
from crawler.app.parameters import parse_run_name
from crawler.app.stored.export import check_export, export
from crawler.app.stored.snapshots import Snapshots
from crawler.core.deadline import CallTime
from crawler.core.errors import UnknownRun
from crawler.core.settings import SETTINGS
from crawler.entrypoints.command_output import COMPLETE, PARTIAL, print_json
from crawler.runs.store import RunStore
from crawler.views.schema import InfoSchema
from crawler.views.snapshot import SnapshotStore
from crawler.views.stored_songs import RunSongs, SnapshotSongs, StoredSongs

AddCommand = Callable[[str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser]

_OUTPUT = next(setting for setting in SETTINGS if setting.name == "OUTPUT")

_SNAPSHOT_EPILOG = """\
One row a song: its newest one of all complete runs that is not failed; songs
that are missing now are left out. Each row says which run it is of, and when
that was fetched. FORMAT says how the parts are written.

  songcrawl snapshot songs
  songcrawl snapshot songs sunday --source deezer-tracks --to gs://bucket/tables
  songcrawl snapshot songs monday --from sunday    only newer runs are read

The same command again continues. Exit codes: 0 complete, 1 error, 2 wrong
command line, 3 not complete."""

_SCHEMA_EPILOG = """\
Paths are JMESPath: album.title, tags[], and names.* where an object has so many
names that they are ids. Each type comes with the first song that has it."""

_EXPORT_EPILOG = """\
Found songs only. In CSV and Parquet info is JSON text; a DuckDB file has the
table songs, with info as JSON. Exit codes: 0 the run or snapshot is complete,
3 it is not, and the file holds what is stored so far."""


def add_view_commands(add: AddCommand) -> None:
    """Add the commands; `add` takes a name, what it runs, what it does and what its help ends with."""
    command = add(
        "snapshot", _snapshot, "make one table of a source's runs: the newest row of each song", _SNAPSHOT_EPILOG
    )
    command.add_argument("output", metavar="OUTPUT", help="where the runs are: a folder, or gs://bucket/prefix")
    command.add_argument("name", metavar="NAME", nargs="?", help="what to call it; left out: the day and a hash")
    command.add_argument("--source", dest="of_source", metavar="NAME", help="whose runs, where there are several")
    command.add_argument("--to", metavar="PLACE", help="folder or gs://bucket/prefix to keep it in (default: OUTPUT)")
    command.add_argument("--from", dest="laid_on", metavar="SNAPSHOT", help="an earlier one: its runs are not read")
    command.add_argument("--format", metavar="VALUE", help="jsonl, csv or parquet (default: FORMAT, or jsonl)")
    command = add("schema", _schema, "say which fields info has in a run or snapshot, of which types", _SCHEMA_EPILOG)
    _add_stored(command)
    command.add_argument("--json-schema", action="store_true", help="write JSON Schema instead")
    command = add("export", _export, "write the found songs of a run or snapshot to one file", _EXPORT_EPILOG)
    _add_stored(command)
    command.add_argument("file", metavar="FILE", help="a name that ends with .csv, .jsonl, .parquet or .duckdb")
    command.add_argument("--force", action="store_true", help="replace a file of that name")


def _add_stored(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "stored", metavar="RUN", help="the name of a run or snapshot, or where it lies: OUTPUT/runs/RUN"
    )
    command.add_argument("--output", metavar="OUTPUT", help=f"where one that is named lies: {_OUTPUT.help}")


def _snapshot(options: argparse.Namespace) -> int:
    given = {"OUTPUT": options.output, **({"FORMAT": options.format} if options.format else {})}
    settings = settings_from({**os.environ, **given})
    key_file = key_file_of(settings)
    snapshots = Snapshots(
        open_store(settings.output, settings.storage_emulator_host),
        open_store(options.to or settings.output, settings.storage_emulator_host),
        settings.format,
        key_file.load if key_file else lambda: None,
    )
    name = options.name and parse_run_name("NAME", options.name)
    laid_on = options.laid_on and parse_run_name("--from", options.laid_on)
    request = SnapshotRequest(name=name, source=options.of_source, laid_on=laid_on)
    summary = snapshots.make(request, CallTime(SystemClock().now(), settings.deadline_seconds or math.inf))
    print_json(summary)
    return COMPLETE if summary.state == "complete" else PARTIAL


def _schema(options: argparse.Namespace) -> int:
    schema = InfoSchema().add_all(_stored(options).lines())
    print_json(schema.json_schema() if options.json_schema else schema.report())
    return COMPLETE


def _export(options: argparse.Namespace) -> int:
    file = Path(options.file)
    check_export(file, force=options.force)
    report = export(_stored(options), file, force=options.force)
    print_json(report)
    if not report.complete:
        print(f"songcrawl: {options.stored} is not complete; the file holds what is stored so far", file=sys.stderr)
    return COMPLETE if report.complete else PARTIAL


def _stored(options: argparse.Namespace) -> StoredSongs:
    """Open the songs at OUTPUT/runs/RUN or OUTPUT/snapshots/SNAPSHOT, or of a run or else a snapshot of a name."""
    output, folders, name = _place(options)
    store = open_store(output, os.environ.get("STORAGE_EMULATOR_HOST") or None)
    for folder in folders:
        songs = _run(RunStore(store, name)) if folder == "runs" else _snapshot_songs(SnapshotStore(store, name))
        if songs is not None:
            return songs
    raise UnknownRun(f"There is no {' and no '.join(folder[:-1] for folder in folders)} {name} in {store.url}.")


def _place(options: argparse.Namespace) -> tuple[str, tuple[str, ...], str]:
    """Return the output, in which of its folders to look, and the name."""
    written = options.stored.rstrip("/").replace(os.sep, "/")
    for folder in ("runs", "snapshots"):
        output, below, name = written.rpartition(f"/{folder}/")
        if below:
            return output or "/", (folder,), parse_run_name(folder[:-1], name)
    output = _OUTPUT.read({"OUTPUT": options.output} if options.output else os.environ)
    return output, ("runs", "snapshots"), parse_run_name("RUN", written)


def _run(run_store: RunStore) -> StoredSongs | None:
    spec = run_store.spec()
    return RunSongs(run_store, spec) if spec else None


def _snapshot_songs(snapshot_store: SnapshotStore) -> StoredSongs | None:
    spec = snapshot_store.spec()
    return SnapshotSongs(snapshot_store, spec) if spec else None
