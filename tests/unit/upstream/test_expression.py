"""Hold the expressions that are followed without the JMESPath library to what the library picks."""

from __future__ import annotations

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.upstream.expression import Expression

NAMES = ["title", "artist", "name", "", "a.b", "get", "é", "@", '"', "\\", "\n", "0"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
fields = st.sampled_from(NAMES).map(json.dumps) | st.sampled_from(["title", "artist", "name"])
paths = st.lists(fields, min_size=1, max_size=4).map(".".join) | st.just("@")
objects = st.lists(st.tuples(fields, paths), min_size=1, max_size=4).map(
    lambda pairs: "{" + ", ".join(f"{key}: {path}" for key, path in pairs) + "}"
)


@given(paths | objects, values)
def test_plain_expression_picks_what_the_library_does(text: str, content: Any) -> None:
    """Pick what the library picks, be the content what it may: other types, nulls, names that are not there."""
    expression = Expression("SONG_INFO", text)

    assert expression.plain
    assert repr(expression.search(content)) == repr(jmespath.search(text, content))


@pytest.mark.parametrize(
    "text",
    ["a[0]", "a[]", "a || b", "length(a)", "[a, b]", "a.*", "{x: a[0]}", "{x: {y: a}}", "a.{x: b}", "`1`", "!a", "a|b"],
)
def test_any_other_expression_is_the_librarys(text: str) -> None:
    """Have the library pick by whatever is no plain path: indexes, projections, functions, literals."""
    expression = Expression("SONG_INFO", text)
    content = {"a": [{"b": 1}, {"b": None}], "b": "c"}

    assert not expression.plain
    assert expression.search(content) == jmespath.search(text, content)
