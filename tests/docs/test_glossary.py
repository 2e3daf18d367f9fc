"""Hold docs/glossary.md to the tree, and every text to its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
SECTIONS = [section.partition("\n\n") for section in re.split(r"^## ", GLOSSARY, flags=re.MULTILINE)[1:]]
TERMS = {term: paragraph.strip() for term, _, paragraph in SECTIONS}

# The words of an older vocabulary, and what the glossary has for them.
RIGHT_WORDS = {
    "strands?": "worker",
    "lanes?|ManyLane|PageLane": "fetcher",
    "ledgers?": "run store",
    "catalogs?": "run index",
    "firings?(?!/)": "scheduled call",  # firings/ is a name in the store, which never changes
    "doubt(s|ed|ful)?": "outage probe, canary request",
    "KnownSong|RunCount|OpenEnd|choose_run": "canary request, run progress, open range, resolve",
    r"(?<!Math\.)floors?(?!\()": "rank",
    "seams?": "port",
    "faces?": "entry point",
}


def texts() -> Iterator[Path]:
    """Yield every document, page and module that people read."""
    yield from (ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", "deploy.sh"))
    yield from (ROOT / "docs").glob("*.md")
    for folder in ("crawler", "bench", "examples", "tests"):
        for kind in ("*.py", "*.html", "*.js", "*.md", "*.ipynb"):
            # What lies in fixtures was stored by earlier releases, and says how.
            yield from (p for p in (ROOT / folder).rglob(kind) if p != Path(__file__) and "fixtures" not in p.parts)


def old_words(path: Path) -> set[str]:
    """Return what a text says in words that were replaced, with the right ones."""
    text = path.read_text("utf-8")
    found = {wrong: re.search(rf"(?<![A-Za-z])(?:{wrong})(?![A-Za-z])", text) for wrong in RIGHT_WORDS}
    return {f"{path.relative_to(ROOT)}: {hit[0]}: {RIGHT_WORDS[wrong]}" for wrong, hit in found.items() if hit}


def test_terms_are_in_the_order_of_the_alphabet() -> None:
    """A reader finds a term by the alphabet, and finds it once."""
    assert [term for term, _, _ in SECTIONS] == sorted(TERMS, key=lambda term: term.replace("_", " "))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_one_paragraph(term: str) -> None:
    """Each term has one paragraph, of one sentence a line."""
    assert "\n\n" not in TERMS[term]
    assert [line for line in TERMS[term].split("\n") if not line.endswith(".")] == []


@pytest.mark.parametrize("term", TERMS)
def test_a_term_says_where_it_lives(term: str) -> None:
    """Each paragraph names a path, and every path that it names is there."""
    paths = re.findall(r"`((?:crawler|tests|docs)/[\w./]*)`", TERMS[term])

    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_no_text_uses_a_word_that_was_replaced() -> None:
    """Documents, pages, docstrings, messages and code say things in the glossary's words."""
    assert set().union(*map(old_words, texts())) == set()
