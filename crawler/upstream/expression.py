"""JMESPath expressions (https://jmespath.org/specification.html), checked when they are set, not when a song comes.

What nearly all are, a plain path (`artist.name`) or an object of such paths (`{title: title, artist: artist.name}`), is
followed here: the library interprets each anew for every song, at 5 us for those two where this takes 0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.parser import ParsedResult

from crawler.core.errors import BadSetting

_Pick = Callable[[Any], Any]


class Absent(NamedTuple):
    """A name that an expression asks for, and `where` it is not: an object without it, or what is no object."""

    name: str
    where: Any


class Expression:
    """An expression that picks something of a song; `plain`: it takes values as they stand there, and makes none.

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
        pick = _plain(self._compiled.parsed)
        self.plain = pick is not None
        self.search: _Pick = pick or self._search
        """Return what is picked; None if it fails on this content, such as contains(error, 'quota') on null."""

    def _search(self, content: Any) -> Any:
        """Have the library pick.

        jmespath raises its own errors, which are ValueErrors, and lets some of Python's through.
        """
        try:
            return self._compiled.search(content)
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return None

    @property
    def constant(self) -> bool:
        """Tell whether the whole expression is a literal, such as a text in quotes: the same of every content."""
        return bool(self._compiled.parsed["type"] == "literal")

    def absent(self, content: Any) -> Iterator[Absent]:
        """Yield the names that the expression asks for where there are none; not all, where one leads to the other."""
        return _absent(self._compiled.parsed, content)

    def holds(self, content: Any) -> bool:
        """Tell whether what is picked is true as JMESPath has it: not false, null or empty; every number is."""
        value = self.search(content)
        return value is not None and value is not False and value != "" and value != [] and value != {}


def _plain(node: dict[str, Any]) -> _Pick | None:
    """Return what picks by a plain path or an object of plain paths, as the library does; None: it is neither."""
    if node["type"] != "multi_select_dict":
        names = _names(node)
        return None if names is None else _path(names)
    paths = {pair["value"]: _names(pair["children"][0]) for pair in node["children"]}
    picks = [(key, _path(names)) for key, names in paths.items() if names is not None]
    return _object(picks) if len(picks) == len(paths) else None


def _names(node: dict[str, Any]) -> list[str] | None:
    """Return the names of a plain path, none for `@`; None: it is no such path."""
    if node["type"] == "field":
        return [node["value"]]
    if node["type"] == "current":
        return []
    if node["type"] != "subexpression":
        return None
    names: list[str] = []
    for child in node["children"]:
        inner = _names(child)
        if inner is None:
            return None
        names += inner
    return names


def _path(names: list[str]) -> _Pick:
    if len(names) == 1:
        return _field(names[0])

    def pick(content: Any) -> Any:
        for name in names:
            if not isinstance(content, dict):
                return None
            content = content.get(name)
        return content

    return pick


def _field(name: str) -> _Pick:
    def pick(content: Any) -> Any:
        return content.get(name) if isinstance(content, dict) else None

    return pick


def _object(picks: list[tuple[str, _Pick]]) -> _Pick:
    def pick(content: Any) -> Any:
        return None if content is None else {key: value(content) for key, value in picks}

    return pick


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


# What these pick each from: the next from what the one before picked, or all from the same.
_CHAINS = {"subexpression", "index_expression", "pipe", "projection", "filter_projection", "value_projection"}
_SPREADS = {"projection", "filter_projection", "value_projection"}


def _absent(node: dict[str, Any], content: Any) -> Iterator[Absent]:
    """Yield absent names as an expression is followed through a content."""
    kind, children = node["type"], [child for child in node["children"] if isinstance(child, dict)]
    if kind == "field":
        if content is not None and not (isinstance(content, dict) and node["value"] in content):
            yield Absent(node["value"], content)
    elif kind in _CHAINS:
        for child in children[:2] if kind in _SPREADS else children:  # the third is a filter's condition
            yield from _absent(child, content)
            content = _search(child, content)
            if kind in _SPREADS:  # what follows is asked of each: the first stands for all
                content = _first_of(content)
            if content is None:
                return
    elif kind == "or_expression":
        if _search(node, content) is None:
            yield from _absent(children[0], content)
    else:
        for child in children:
            yield from _absent(child, content)


def _search(node: dict[str, Any], content: Any) -> Any:
    with suppress(ValueError, TypeError, ArithmeticError, RecursionError):
        return ParsedResult("", node).search(content)
    return None


def _first_of(content: Any) -> Any:
    values = list(content.values()) if isinstance(content, dict) else content
    return values[0] if isinstance(values, list) and values else None
