"""Tables in a DuckDB file (https://duckdb.org), by its own library where that is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crawler.core.errors import BadSetting, StoreUnavailable

_TYPES = {"song_num": "BIGINT", "info": "JSON", "fetched_at": "TIMESTAMPTZ"}
# What the reader takes of a line if it is told nothing else.
_MOST_LINE_BYTES = 16 << 20


def require_duckdb() -> Any:
    """Return the library; raises BadSetting if it is not installed."""
    try:
        import duckdb
    except ImportError:
        raise BadSetting("A .duckdb file needs duckdb; allowed: with it installed, or another ending.") from None
    return duckdb


def load_lines(lines: Path, longest: int, columns: Sequence[str], file: Path) -> None:
    """Make a DuckDB file with the table `songs` from JSON lines, the longest of which has so many bytes."""
    duckdb = require_duckdb()
    kinds = {column: _TYPES.get(column, "VARCHAR") for column in columns}
    most = max(_MOST_LINE_BYTES, longest + 1)
    try:
        with duckdb.connect(str(file)) as connection:
            connection.execute(
                "CREATE TABLE songs AS SELECT * FROM read_json(?, format = 'newline_delimited', "
                f"columns = {kinds!r}, maximum_object_size = {most})",
                [str(lines)],
            )
    except duckdb.Error as error:
        raise StoreUnavailable(f"{file} can't be written: {str(error).splitlines()[0]}") from error
