"""Songs as a table: a few rows in a notebook's HTML, all of them as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from crawler.core.errors import BadRequest
from crawler.core.records import SongRecord

if TYPE_CHECKING:
    import pandas

SHOWN_ROWS = 10
_SHOWN_COLUMNS = 8
_SHOWN_CHARACTERS = 60


def to_html(sentence: str, records: Sequence[SongRecord], total: int) -> str:
    """Show a sentence and the first of `total` songs; whatever the songs hold is text, never mark-up."""
    names, rows = _columns(records[:SHOWN_ROWS])
    cut = names[:_SHOWN_COLUMNS]
    head = "".join(f'<th scope="col">{_shown(name)}</th>' for name in cut)
    body = "".join(f"<tr>{''.join(f'<td>{_shown(value)}</td>' for value in row[: len(cut)])}</tr>" for row in rows)
    more = [f"the first {len(rows)} of {total} songs"] if total > len(rows) else []
    more += [f"the first {len(cut)} of {len(names)} columns"] if len(names) > len(cut) else []
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    note = f"<p>{', '.join(more)}</p>" if more else ""
    return f"<p>{escape(sentence)}</p>{table}{note}"


def to_dataframe(records: Iterable[SongRecord]) -> pandas.DataFrame:
    """Return a row for each song; raises BadRequest where pandas is not installed.

    `song_num` and a column for each field of info, or one called info where not every info is an object.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise BadRequest("to_dataframe needs pandas; allowed: once it is installed (pip install pandas).") from None
    names, rows = _columns(list(records))
    return DataFrame(rows, columns=names)


def _columns(records: Sequence[SongRecord]) -> tuple[list[str], list[list[Any]]]:
    """Spread songs over columns; returns their names and the rows, None where a song lacks a field."""
    if not all(isinstance(record.info, dict) for record in records):
        return ["song_num", "info"], [list(record) for record in records]
    fields = list(dict.fromkeys(name for record in records for name in record.info))
    if all(record.info.get("song_num") == record.song_num for record in records):
        fields = [name for name in fields if name != "song_num"]
    # Any other field of that name is the API's own, and kept beside ours.
    names = ["song_num", *(f"info.{name}" if name == "song_num" else str(name) for name in fields)]
    return names, [[record.song_num, *(record.info.get(name) for name in fields)] for record in records]


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
