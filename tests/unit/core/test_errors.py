"""Check the tree of errors: what its drawing says is what the code does."""

from __future__ import annotations

import re

import pytest

from crawler.core import errors
from crawler.core.errors import MethodNotAllowed, SongcrawlError, SongNotFetched
from crawler.core.verdict import retry

BRANCH = re.compile(
    r"^    (?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3})  (?P<remedy>.+))?$", re.MULTILINE
)


def drawn() -> dict[str, tuple[str, int]]:
    """Read the drawing in the module's docstring: each error's parent and status."""
    tree: dict[str, tuple[str, int]] = {}
    path: list[str] = []
    for branch in BRANCH.finditer(errors.__doc__ or ""):
        depth = len(branch["lines"]) // 4
        path[depth:] = [branch["name"]]
        if depth:
            tree[branch["name"]] = (path[depth - 1], int(branch["status"]))
    return tree


def real(parent: type[SongcrawlError] = SongcrawlError) -> dict[str, tuple[str, int]]:
    """Walk the classes: each error's parent and status."""
    tree: dict[str, tuple[str, int]] = {}
    for error in parent.__subclasses__():
        tree |= {error.__name__: (parent.__name__, error.http_status)} | real(error)
    return tree


def test_the_drawing_is_the_tree() -> None:
    """Draw every error under its parent, with its status."""
    assert drawn() == real()
    assert len(drawn()) >= 10


def test_every_error_is_in_this_module() -> None:
    """Keep the whole tree in one place, exported by name."""
    assert all(getattr(errors, name, None) for name in real())


def test_the_base_is_an_error_of_ours() -> None:
    """Answer 500 for an error that no leaf says more of."""
    assert SongcrawlError.http_status == 500
    assert issubclass(SongcrawlError, Exception)


@pytest.mark.parametrize(
    ("allowed", "sentence"),
    [
        (("POST",), "/sweep takes POST, not PUT."),
        (("GET", "POST"), "/sweep takes GET and POST, not PUT."),
    ],
    ids=["one", "two"],
)
def test_a_wrong_method_names_the_right_ones(allowed: tuple[str, ...], sentence: str) -> None:
    """Say which methods a path takes, in the sentence and as a value for the Allow header."""
    error = MethodNotAllowed("PUT", "/sweep", *allowed)

    assert str(error) == sentence
    assert error.allowed == allowed


def test_a_song_not_fetched_says_why() -> None:
    """Name the song and the error's word, and keep the verdict."""
    error = SongNotFetched(7, retry("timeout"))

    assert str(error) == "Song 7 was not fetched: timeout."
    assert error.verdict == retry("timeout")
