"""An export: the found songs of a run or a snapshot in one file, which appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec

from crawler.adapters.duckdb_file import load_lines, require_duckdb
from crawler.core.errors import BadRequest, StoreUnavailable
from crawler.core.records import FormatName
from crawler.formats.found_rows import FoundTable
from crawler.views.stored_songs import StoredSongs

_FORMATS: dict[str, FormatName] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".duckdb": "jsonl"}
_CHUNK_ROWS = 1000


class ExportReport(msgspec.Struct, frozen=True):
    """Tell which file holds how many songs, and whether the run or snapshot was complete."""

    file: str
    songs: int
    complete: bool


def check_export(file: Path, *, force: bool) -> None:
    """Raise BadRequest for a file that an export can't go to, StoreUnavailable for one that is there."""
    if file.suffix not in _FORMATS:
        raise BadRequest(f"FILE is {str(file)!r}; allowed: a name that ends with {', '.join(_FORMATS)}.")
    if not file.parent.is_dir():
        raise BadRequest(f"FILE is {str(file)!r}, in a folder that is not there; allowed: one that is.")
    if file.is_dir() or (file.exists() and not force):
        raise _taken(file)
    if file.suffix == ".duckdb":
        require_duckdb()


def export(songs: StoredSongs, file: Path, *, force: bool = False) -> ExportReport:
    """Write the songs to a file, by its ending in which form; raises BadRequest, Damaged, StoreUnavailable."""
    check_export(file, force=force)
    complete = songs.complete  # before the parts are listed: no more come after it
    with _appearing(file, force=force) as temporary:
        lines = temporary.with_suffix(".lines") if file.suffix == ".duckdb" else temporary
        with lines.open("wb") as opened:
            count, longest = _write(songs, _FORMATS[file.suffix], opened)
        if lines != temporary:
            load_lines(lines, longest, songs.columns, temporary)
    return ExportReport(str(file), count, complete)


def _write(songs: StoredSongs, form: FormatName, opened: IO[bytes]) -> tuple[int, int]:
    """Write all rows; returns how many there are, and the length of the longest as a JSON line, in bytes."""
    table = FoundTable(form, songs.columns).open(opened)
    count = longest = 0
    rows = songs.lines()
    while chunk := [line for _, line in islice(rows, _CHUNK_ROWS)]:
        table.feed(chunk)
        count += len(chunk)
        longest = max(longest, *map(len, chunk), 0)
    table.finish()
    return count, longest


@contextmanager
def _appearing(file: Path, *, force: bool) -> Iterator[Path]:
    """Yield a path beside a file, which gets the file's name at the end, unless something went wrong."""
    try:
        with TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
            temporary = Path(folder) / file.name
            yield temporary
            if force:
                os.replace(temporary, file)
            else:
                _name(temporary, file)
    except OSError as error:
        raise StoreUnavailable(f"{file} can't be written: {error.strerror or error}.") from error


def _name(temporary: Path, file: Path) -> None:
    """Give a file its name; raises StoreUnavailable if another one got it meanwhile."""
    with suppress(NotImplementedError):
        try:
            os.link(temporary, file)
        except FileExistsError:
            raise _taken(file) from None
        except OSError:  # a file system without hard links
            os.replace(temporary, file)


def _taken(file: Path) -> StoreUnavailable:
    return StoreUnavailable(f"FILE is {str(file)!r}, which is there already; allowed: another name, or --force.")
