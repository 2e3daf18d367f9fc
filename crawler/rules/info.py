"""From a response to a verdict: all there is to know about a declared song (SONG_URL, SONG_INFO, ...)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.parser import ParsedResult

from crawler.ground.errors import BadSetting
from crawler.ground.records import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.rules.strict_json import decode_json

# RFC 9110: 408 and 425 ask for another try; 5xx are the server's fault and may pass.
_TRANSIENT = frozenset({408, 425})
_MISSING = frozenset({404, 410})
_REFUSED = {
    401: "The upstream answers 401: it wants credentials; set SONG_HEADERS.",
    407: "The upstream answers 407: a proxy before it wants credentials.",
}


UNRESOLVED = refused("The upstream's host name can't be resolved.")
UNTRUSTED = refused("The upstream's TLS certificate can't be trusted, or it speaks no TLS we do.")


class DeclaredSong:
    """Judge responses by three JMESPath expressions (https://jmespath.org/specification.html).

    Raises BadSetting, naming the variable, if one does not parse or calls a function that does not exist.
    """

    def __init__(self, info: str = "@", missing: str | None = None, retry: str | None = None) -> None:
        self._info = None if info == "@" else _compile("SONG_INFO", info)
        self._missing = _compile("SONG_MISSING", missing) if missing else None
        self._retry = _compile("SONG_RETRY", retry) if retry else None

    def judge(self, status: int, body: bytes, retry_after: float | None = None) -> Verdict:
        """Judge one whole response; an error's body is never data."""
        if 200 <= status < 300:
            return self.judge_body(body, retry_after)
        return judge_status(status, retry_after)

    def judge_body(self, body: bytes, retry_after: float | None) -> Verdict:
        """Judge the body of a 2xx response."""
        try:
            content = decode_json(body)
        except ValueError:
            return retry("invalid_json")
        if self._retry and _true(_search(self._retry, content)):
            return throttled("song_retry", retry_after)
        if self._missing and _true(_search(self._missing, content)):
            return MISSING
        info = content if self._info is None else _search(self._info, content)
        return failed("no_info") if info is None else found(info)


def judge_status(status: int, retry_after: float | None = None) -> Verdict:
    """Judge a response by its status alone, anything but 2xx."""
    if status in _MISSING:
        return MISSING
    if status == 429:
        return throttled(f"http_{status}", retry_after)
    if status in _REFUSED:
        return refused(_REFUSED[status])
    if 300 <= status < 400:
        return failed("redirect")
    if status >= 500 or status < 200 or status in _TRANSIENT:
        return retry(f"http_{status}", retry_after if status == 503 else None)
    return failed(f"http_{status}")


def _compile(setting: str, expression: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(expression)
        for call in _calls(compiled.parsed):
            with suppress(JMESPathTypeError):
                call.search(None)
    except JMESPathError as error:
        reason = str(error).splitlines()[0].removesuffix(", for expression:").rstrip(".:")
        raise BadSetting(f"{setting} is {expression!r}, no JMESPath expression: {reason}.") from None
    return compiled


def _calls(node: dict[str, Any]) -> Iterator[ParsedResult]:
    """Yield an expression's function calls, null for every argument.

    jmespath looks a name up, and counts its arguments, only when a song comes to that: a slip would fail every song.
    """
    if node["type"] == "function_expression":
        null: dict[str, Any] = {"type": "literal", "value": None, "children": []}
        yield ParsedResult(node["value"], {**node, "children": [null] * len(node["children"])})
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _calls(child)


def _search(expression: ParsedResult, content: Any) -> Any:
    """Give what an expression picks; None if it fails on this content, such as contains(error, 'quota') on null.

    jmespath raises its own errors, which are ValueErrors, and lets some of Python's through.
    """
    try:
        return expression.search(content)
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def _true(value: Any) -> bool:
    """Tell truth as JMESPath does: false, null and whatever is empty are not; every number is."""
    return value is not None and value is not False and value != "" and value != [] and value != {}
