"""What a caller may ask for: the parameters of a crawl, read strictly from a query and a JSON body."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crawler.ground.errors import BadRequest, RequestTooLarge
from crawler.ground.song_set import LARGEST_SONG_NUM
from crawler.rules.asked import SONGS_HELP, Asked, count_asked, parse_asked
from crawler.rules.spec import RUN_NAME

MOST_BODY_BYTES = 64 << 10
PAGE, MOST_PAGE = 20, 100
_INDEX_NAME = re.compile(rf"[0-9]{{13}}-{RUN_NAME.pattern}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class CrawlRequest:
    """Hold one call's parameters; None: the deployment's own."""

    asked: Asked
    run: str | None = None
    max_per_second: float | None = None
    max_at_once: int | None = None
    deadline_seconds: float | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Ceilings:
    """Hold the deployment's settings that a call may lower, never raise; `max_per_second` 0: no ceiling."""

    max_songs: int
    max_per_second: float
    max_at_once: int
    deadline_seconds: float


def parse_crawl(query: Iterable[tuple[str, str]], body: bytes, ceilings: Ceilings) -> CrawlRequest:
    """Read a crawl's parameters.

    Raises BadRequest with one sentence naming the field, its value and what is allowed; RequestTooLarge.
    """
    given = _collect([*query, *_body_pairs(body)])
    unknown = sorted(set(given) - set(_PARAMETERS))
    if unknown:
        raise BadRequest(f"{_short(unknown[0])} is no parameter; allowed: {', '.join(_PARAMETERS)}.")
    if "songs" not in given:
        raise BadRequest(f"songs is missing; allowed: {SONGS_HELP}.")
    values = {name: _PARAMETERS[name](name, value, ceilings) for name, value in given.items()}
    return CrawlRequest(asked=values.pop("songs"), **values)


def parse_run_name(name: str, value: Any, _: Ceilings | None = None) -> str:
    """Read a run's name; raises BadRequest."""
    if not isinstance(value, str) or not RUN_NAME.fullmatch(value):
        raise _bad(name, value, "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit")
    return value


def parse_page(query: Iterable[tuple[str, str]]) -> tuple[int, str]:
    """Read which page of a list is wanted: how many entries, and the index name they come after; raises BadRequest."""
    given = _collect(list(query))
    unknown = sorted(set(given) - {"limit", "after"})
    if unknown:
        raise BadRequest(f"{_short(unknown[0])} is no parameter; allowed: limit, after.")
    allowed = f"a whole number from 1 to {MOST_PAGE}"
    limit = _parse_number("limit", given.get("limit", str(PAGE)), _WHOLE_NUMBER, 1, MOST_PAGE, allowed)
    after = given.get("after", "")
    if after and not _INDEX_NAME.fullmatch(after):
        raise _bad("after", after, "what `next` of the page before says")
    return int(limit), after


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
    """Keep a JSON object's pairs as they stood: a name given twice must be seen, and an array is no object."""


class _Fraction:
    """Keep a JSON number with a point or an exponent as it was written: 1e3 is refused, as in a query."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequest(f"{_short(name)} is given twice; allowed: once, in the query or in the body.")
        given[name] = value
    return given


def _parse_songs(name: str, value: Any, ceilings: Ceilings) -> Asked:
    text = str(value) if _is_integer(value) and 0 <= value <= LARGEST_SONG_NUM else value
    if not isinstance(text, str) or not text:
        raise _bad(name, value, SONGS_HELP)
    try:
        asked = parse_asked(text)
    except ValueError as error:
        raise BadRequest(f"songs: {error}; allowed: {SONGS_HELP}.") from None
    if count_asked(asked) > ceilings.max_songs:
        raise BadRequest(f"songs names {count_asked(asked)} numbers; allowed: {ceilings.max_songs} (MAX_SONGS).")
    return asked


def _parse_max_per_second(name: str, value: Any, ceilings: Ceilings) -> float:
    most = ceilings.max_per_second or 1_000_000
    return _parse_number(name, value, _NUMBER, 0.001, most, f"a number from 0.001 to {_plain(most)}")


def _parse_max_at_once(name: str, value: Any, ceilings: Ceilings) -> int:
    most = ceilings.max_at_once
    return int(_parse_number(name, value, _WHOLE_NUMBER, 1, most, f"a whole number from 1 to {most}"))


def _parse_deadline(name: str, value: Any, ceilings: Ceilings) -> float:
    most = ceilings.deadline_seconds
    return _parse_number(name, value, _NUMBER, 1, most, f"a number of seconds from 1 to {_plain(most)}")


def _parse_dry_run(name: str, value: Any, _: Ceilings) -> bool:
    return _parse_number(name, value, _WHOLE_NUMBER, 0, 1, "0 or 1") == 1


def _parse_number(name: str, value: Any, written: re.Pattern[str], least: float, most: float, allowed: str) -> float:
    """Read a number from its text, which a JSON number has as well as a query's."""
    text = str(value) if _is_integer(value) or isinstance(value, (str, _Fraction)) else ""
    number = float(text) if written.fullmatch(text) else math.nan
    if not least <= number <= most:
        raise _bad(name, value, allowed)
    return number


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


_PARAMETERS: dict[str, Any] = {
    "songs": _parse_songs,
    "run": parse_run_name,
    "max_per_second": _parse_max_per_second,
    "max_at_once": _parse_max_at_once,
    "deadline_seconds": _parse_deadline,
    "dry_run": _parse_dry_run,
}


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
