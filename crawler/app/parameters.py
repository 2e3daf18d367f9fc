"""What a caller may ask for: the parameters of a crawl, read strictly from a query and a JSON body."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from crawler.app.crawl_request import CrawlRequest, Look, RequestBounds, RowsWanted, SnapshotRequest
from crawler.core.errors import BadRequest, RequestTooLarge
from crawler.core.records import STATUSES
from crawler.core.song_set import LARGEST_SONG_NUM
from crawler.fan_out.plan import Task
from crawler.runs.selection import SONGS_HELP, SONGS_PATTERN, Selection, count_selected, parse_selection
from crawler.runs.spec import RUN_NAME

MOST_BODY_BYTES = 64 << 10
PAGE, MOST_PAGE = 20, 100
ROWS, MOST_ROWS = 50, 1000
_AFTER = re.compile(rf"([0-9]{{13}}-{RUN_NAME.pattern})?", re.ASCII)  # the name of an entry of the index
_MOST_PLACES = 999_999_999
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_SONG_NUM = re.compile(r"[0-9]{1,12}", re.ASCII)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: how its value is read, and the JSON Schema that says the same to programs.

    `read` raises BadRequest naming the parameter, its value and what is allowed.
    """

    read: Callable[[str, Any, RequestBounds], Any]
    schema: Callable[[RequestBounds], dict[str, Any]]
    meaning: str


def parse_crawl(query: Iterable[tuple[str, str]], body: bytes, bounds: RequestBounds) -> CrawlRequest:
    """Read a crawl's parameters.

    Raises BadRequest with one sentence naming the field, its value and what is allowed; RequestTooLarge.
    """
    given = _collect([*query, *_body_pairs(body)], CRAWL_PARAMETERS)
    if "songs" not in given:
        raise BadRequest(f"songs is missing; allowed: {SONGS_HELP}.")
    values = {name: CRAWL_PARAMETERS[name].read(name, value, bounds) for name, value in given.items()}
    return CrawlRequest(selection=values.pop("songs"), **values)


def parse_task(body: bytes) -> Task:
    """Read a task as the queue delivers it; raises BadRequest."""
    given = _collect(_body_pairs(body), TASK_PARAMETERS)
    if missing := [name for name in TASK_PARAMETERS if name not in given]:
        raise BadRequest(f"{missing[0]} is missing; allowed: a task that this function enqueued.")
    values = {name: TASK_PARAMETERS[name].read(name, value, _NO_BOUNDS) for name, value in given.items()}
    task = Task(**values)
    if task.last < task.first:
        raise BadRequest(f"last is {task.last}; allowed: a whole number from {task.first} (first).")
    return task


def parse_run_name(name: str, value: str) -> str:
    """Read a run's name; raises BadRequest."""
    run: str = RUN_PARAMETER.read(name, value, _NO_BOUNDS)
    return run


def parse_page(query: Iterable[tuple[str, str]]) -> tuple[int, str]:
    """Read which page of a list is wanted: how many entries, and the index name they come after; raises BadRequest."""
    values = _read_query(query, PAGE_PARAMETERS)
    return values.get("limit", PAGE), values.get("after", "")


def parse_look(query: Iterable[tuple[str, str]]) -> Look:
    """Read how one run is to be shown; raises BadRequest."""
    return Look(**_read_query(query, LOOK_PARAMETERS))


def parse_rows(query: Iterable[tuple[str, str]]) -> RowsWanted:
    """Read which rows of a run are wanted; raises BadRequest."""
    return RowsWanted(**{"limit": ROWS, **_read_query(query, ROWS_PARAMETERS)})


def parse_snapshot(query: Iterable[tuple[str, str]], body: bytes, bounds: RequestBounds) -> SnapshotRequest:
    """Read which snapshot is wanted; raises BadRequest, RequestTooLarge."""
    given = _collect([*query, *_body_pairs(body)], SNAPSHOT_PARAMETERS)
    values = {name: SNAPSHOT_PARAMETERS[name].read(name, value, bounds) for name, value in given.items()}
    return SnapshotRequest(laid_on=values.pop("from", None), **values)


def parse_snapshot_name(value: str) -> str:
    """Read a snapshot's name of a path; raises BadRequest."""
    return parse_run_name("snapshot", value)


def parse_snapshots_page(query: Iterable[tuple[str, str]]) -> tuple[int, str]:
    """Read which page of snapshots is wanted: how many, and the name they come after; raises BadRequest."""
    values = _read_query(query, SNAPSHOTS_PAGE_PARAMETERS)
    return values.get("limit", PAGE), values.get("after", "")


def parse_song_num(value: str) -> int:
    """Read a song number of a path; raises BadRequest."""
    song_num: int = SONG_PARAMETER.read("song_num", value, _NO_BOUNDS)
    return song_num


def _read_query(query: Iterable[tuple[str, str]], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    given = _collect(list(query), parameters)
    return {name: parameters[name].read(name, value, _NO_BOUNDS) for name, value in given.items()}


def _body_pairs(body: bytes) -> list[tuple[str, Any]]:
    if len(body) > MOST_BODY_BYTES:
        raise RequestTooLarge(f"The body is too long; allowed: {MOST_BODY_BYTES} bytes.")
    if not body.strip():
        return []
    try:
        pairs = json.loads(
            body.decode("utf-8"), object_pairs_hook=_Pairs, parse_float=_Fraction, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, _Pairs):
        raise BadRequest('The body is no JSON object; allowed: one such as {"songs": "1-1000"}.')
    return list(pairs)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object's pairs as they stood: a name given twice must be seen, and an array is no object."""


class _Fraction:
    """A JSON number with a point or an exponent, as it was written: 1e3 is refused, as in a query."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _collect(pairs: list[tuple[str, Any]], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequest(f"{_short(name)} is given twice; allowed: once, in the query or in the body.")
        given[name] = value
    if unknown := sorted(set(given) - set(parameters)):
        raise BadRequest(f"{_short(unknown[0])} is no parameter; allowed: {', '.join(parameters)}.")
    return given


def _parse_songs(name: str, value: Any, bounds: RequestBounds) -> Selection:
    text = str(value) if _is_integer(value) and 0 <= value <= LARGEST_SONG_NUM else value
    if not isinstance(text, str) or not text:
        raise _bad(name, value, SONGS_HELP)
    try:
        selection = parse_selection(text)
    except ValueError as error:
        raise BadRequest(f"songs: {error}; allowed: {SONGS_HELP}.") from None
    if count_selected(selection) > bounds.max_songs:
        raise BadRequest(f"songs names {count_selected(selection)} numbers; allowed: {bounds.max_songs} (MAX_SONGS).")
    return selection


def _parse_number(name: str, value: Any, written: re.Pattern[str], least: float, most: float, allowed: str) -> float:
    """Read a number from its text, which a JSON number has as well as a query's."""
    text = str(value) if _is_integer(value) or isinstance(value, (str, _Fraction)) else ""
    number = float(text) if written.fullmatch(text) else math.nan
    if not least <= number <= most:
        raise _bad(name, value, allowed)
    return number


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _songs(meaning: str) -> Parameter:
    schema = {
        "anyOf": [
            {"type": "string", "pattern": f"^(?:{SONGS_PATTERN})$"},
            {"type": "integer", "minimum": 0, "maximum": LARGEST_SONG_NUM},
        ],
        "examples": ["1-100", "1-100,205,300-350", "failed:nightly", "next:5000", 7],
    }
    return Parameter(_parse_songs, lambda _: schema, meaning)


def _text(pattern: re.Pattern[str], allowed: str, meaning: str) -> Parameter:
    def read(name: str, value: Any, _: RequestBounds) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _bad(name, value, allowed)
        return value

    return Parameter(read, lambda _: {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}, meaning)


def _number(least: float, most: Callable[[RequestBounds], float], what: str, meaning: str) -> Parameter:
    def read(name: str, value: Any, bounds: RequestBounds) -> float:
        allowed = f"{what} from {_plain(least)} to {_plain(most(bounds))}"
        return _parse_number(name, value, _NUMBER, least, most(bounds), allowed)

    return Parameter(read, lambda c: {"type": "number", "minimum": least, "maximum": most(c)}, meaning)


def _whole_number(least: int, most: Callable[[RequestBounds], int], meaning: str) -> Parameter:
    def read(name: str, value: Any, bounds: RequestBounds) -> int:
        allowed = f"a whole number from {least} to {most(bounds)}"
        return int(_parse_number(name, value, _WHOLE_NUMBER, least, most(bounds), allowed))

    return Parameter(read, lambda c: {"type": "integer", "minimum": least, "maximum": most(c)}, meaning)


def _song_num(meaning: str) -> Parameter:
    def read(name: str, value: Any, _: RequestBounds) -> int:
        allowed = f"a song number from 0 to {LARGEST_SONG_NUM}"
        return int(_parse_number(name, value, _SONG_NUM, 0, LARGEST_SONG_NUM, allowed))

    return Parameter(read, lambda _: {"type": "integer", "minimum": 0, "maximum": LARGEST_SONG_NUM}, meaning)


def _flag(meaning: str) -> Parameter:
    def read(name: str, value: Any, _: RequestBounds) -> bool:
        return _parse_number(name, value, _WHOLE_NUMBER, 0, 1, "0 or 1") == 1

    return Parameter(read, lambda _: {"type": "integer", "enum": [0, 1]}, meaning)


# The one definition of what may be asked: it reads every request, and openapi.json is made from it.
_NAME_ALLOWED = "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit"
RUN_PARAMETER = _text(RUN_NAME, _NAME_ALLOWED, "the run's name")
CRAWL_PARAMETERS: dict[str, Parameter] = {
    "songs": _songs(f"which songs: {SONGS_HELP}"),
    "run": RUN_PARAMETER,
    "max_per_second": _number(
        0.001, lambda c: c.max_per_second or 1_000_000, "a number", "requests a second, lower than the deployment's"
    ),
    "max_at_once": _whole_number(1, lambda c: c.max_at_once, "requests in flight, lower than the deployment's"),
    "deadline_seconds": _number(
        1, lambda c: c.deadline_seconds, "a number of seconds", "time this call may take, lower than the deployment's"
    ),
    "dry_run": _flag("1: say time and cost; the upstream is not called and nothing is written"),
}
PAGE_PARAMETERS: dict[str, Parameter] = {
    "limit": _whole_number(1, lambda _: MOST_PAGE, f"how many runs; {PAGE} if not given"),
    "after": _text(_AFTER, "what `next` of the page before says", "where the page before ended: its `next`"),
}
SNAPSHOT_PARAMETERS: dict[str, Parameter] = {
    "name": _text(RUN_NAME, _NAME_ALLOWED, "what to call it; if not given, the day and a hash"),
    "source": _text(RUN_NAME, _NAME_ALLOWED, "the source's name, or its digest, where there are runs of several"),
    "from": _text(RUN_NAME, _NAME_ALLOWED, "an earlier snapshot to lay newer runs on: its own are not read"),
    "deadline_seconds": CRAWL_PARAMETERS["deadline_seconds"],
}
SNAPSHOTS_PAGE_PARAMETERS: dict[str, Parameter] = {
    "limit": _whole_number(1, lambda _: MOST_PAGE, f"how many snapshots; {PAGE} if not given"),
    "after": _text(RUN_NAME, _NAME_ALLOWED, "where the page before ended: its `next`"),
}
SONG_PARAMETER = _song_num("the song's number")
ROWS_PARAMETERS: dict[str, Parameter] = {
    "status": _text(re.compile("|".join(STATUSES)), ", ".join(STATUSES), "only songs of this status"),
    "after": _song_num("only songs with a number above this one: what `next` of the page before says"),
    "limit": _whole_number(1, lambda _: MOST_ROWS, f"how many rows at most; {ROWS} if not given"),
}
LOOK_PARAMETERS: dict[str, Parameter] = {
    "parts": _flag("1: say also which parts are committed"),
    "download": _flag("1: the report as a file to keep"),
}
TASK_PARAMETERS: dict[str, Parameter] = {
    "sweep": _whole_number(0, lambda _: _MOST_PLACES, "the sweep that enqueued it, from 0"),
    "first": _whole_number(0, lambda _: _MOST_PLACES, "the place of its first part in the run's grid, from 0"),
    "last": _whole_number(0, lambda _: _MOST_PLACES, "the place of its last part"),
    "continuation": _whole_number(0, lambda _: _MOST_PLACES, "how often it was cut off by its deadline before"),
    "failures": _whole_number(0, lambda _: _MOST_PLACES, "how often it has failed before, for no reason known"),
}
_NO_BOUNDS = RequestBounds(0, 0, 0, 0)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(name: str, value: Any, allowed: str) -> BadRequest:
    return BadRequest(f"{name} is {_short(value)}; allowed: {allowed}.")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "an object" if isinstance(value, _Pairs) else "an array"
    # A lone surrogate, which JSON can hold as an escape, has no form in UTF-8: no answer could quote it.
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 60 else text[:60] + "…"
