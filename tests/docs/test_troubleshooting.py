"""Check that docs/troubleshooting.md explains every error word of the code, and quotes only what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TREES = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "crawler").rglob("*.py"))]

# A verdict's word is the first argument of these (core/verdict.py).
VERDICTS = {"failed", "retry", "throttled"}


def first_cells(section: str) -> list[str]:
    """List what stands in the first column of a section's table, in backticks."""
    rows = re.findall(r"^\| (`.*?) \|", SECTIONS[section], re.MULTILINE)
    return [quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row)]


def text_of(node: ast.AST) -> str:
    """Write a string of the code, an ellipsis for each value put into it; nothing for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def error_words() -> Iterator[str]:
    """Yield every word that a verdict is given in the code; `http_…` stands for all statuses."""
    for tree in TREES:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (word := _word(node)):
                # `error.word or "failed"` names a word too.
                yield from filter(None, [text_of(each) for each in ast.walk(word) if each not in _parts(word)])


def _word(call: ast.Call) -> ast.AST | None:
    """Give the argument of a call that is a failed song's word, if there is one."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name in VERDICTS:
        return call.args[0]
    kinds = {ast.unparse(argument) for argument in call.args} & {"Kind.FAILED", "Kind.RETRY"}
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    kinds |= {text_of(given.get("action", call))} & VERDICTS if name == "Rule" else set()
    return given.get("error") if name in ("Verdict", "Rule") and kinds else None


def _parts(node: ast.AST) -> list[ast.AST]:
    """List what lies inside an f-string: it is told as a whole."""
    return [part for each in ast.walk(node) if isinstance(each, ast.JoinedStr) for part in ast.walk(each)][1:]


def test_every_error_word_is_explained() -> None:
    """Explain each word of the code, and none that it does not have."""
    words = {"http_NNN" if word == "http_…" else word for word in error_words()}
    explained = first_cells("The error of a failed song")

    assert {"http_NNN", "timeout", "connection", "invalid_json", "no_info", "too_large", "not_json", "robots"} <= words
    assert words <= set(explained)
    assert set(explained) - words <= {"ValueError", "KeyError"}


@pytest.mark.parametrize("sentence", [cell for title in SECTIONS if title[0].isdigit() for cell in first_cells(title)])
def test_sentences_are_the_codes_own(sentence: str) -> None:
    """Quote the sentences of errors as they are said."""
    assert [node for tree in TREES for node in ast.walk(tree) if sentence in text_of(node)]
