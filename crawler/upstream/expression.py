"""JMESPath expressions (https://jmespath.org/specification.html), checked when they are set, not when a song comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.parser import ParsedResult

from crawler.core.errors import BadSetting


class Expression:
    """An expression that picks something of a song.

    Raises BadSetting, naming the variable, if the text is none, or calls a function that does not exist.
    """

    def __init__(self, setting: str, text: str) -> None:
        try:
            self._compiled = jmespath.compile(text)
            for call in _calls(self._compiled.parsed):
                with suppress(JMESPathTypeError):
                    call.search(None)
        except JMESPathError as error:
            reason = str(error).splitlines()[0].removesuffix(", for expression:").rstrip(".:")
            raise BadSetting(f"{setting} is {text!r}, no JMESPath expression: {reason}.") from None

    def search(self, content: Any) -> Any:
        """Return what is picked; None if it fails on this content, such as contains(error, 'quota') on null.

        jmespath raises its own errors, which are ValueErrors, and lets some of Python's through.
        """
        try:
            return self._compiled.search(content)
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return None

    def holds(self, content: Any) -> bool:
        """Tell whether what is picked is true as JMESPath has it: not false, null or empty; every number is."""
        value = self.search(content)
        return value is not None and value is not False and value != "" and value != [] and value != {}


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
