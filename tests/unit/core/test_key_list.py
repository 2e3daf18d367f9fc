"""Check how a text becomes a list of keys: what is taken, what is refused, and what a digest tells."""

from __future__ import annotations

import re

import pytest

from crawler.core.key_list import MOST_KEY_BYTES, KeyList


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\n", ["a"]),
        (b"a\r\nb\r\n\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        ("é\u2028x\n a b \n".encode(), ["é\u2028x", " a b "]),
        (b"\n".join(b"%014d" % n for n in range(200_000)), [f"{n:014d}" for n in range(200_000)]),
    ],
    ids=["lines", "no end of line", "a blank line at the end", "CRLF", "a byte order mark", "other breaks", "many"],
)
def test_each_line_is_a_key(text: bytes, keys: list[str]) -> None:
    """Number the keys by their lines, from 1."""
    key_list = KeyList.parse(text)

    assert len(key_list) == len(keys)
    assert [key_list.key(number) for number in range(1, len(keys) + 1)] == keys


@pytest.mark.parametrize("number", [0, -1, 3])
def test_no_other_line_has_a_key(number: int) -> None:
    """Raise IndexError for a number that is no line's."""
    with pytest.raises(IndexError):
        KeyList.parse(b"a\nb\n").key(number)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "holds no key"),
        (b"\xef\xbb\xbf\r\n", "holds no key"),
        (b"a\n\nb\n", "has a blank line: line 2"),
        (b"a\n \t\nb\n", "has a blank line: line 2"),
        (b"a\n  \nb\n", "has a blank line: line 2"),
        (b"a\nb\n\n\n", "has a blank line: line 3"),
        (b"\na\n", "has a blank line: line 1"),
        (b"a\nb\na\r\n", "has the same key twice: lines 1 and 3"),
        (b"a\nb\n" * 5, "has the same key twice: lines 1 and 3, 2 and 4, 1 and 5"),
        (b"a\nb\rc\n", "has a control character: line 2"),
        (b"a\nb\x00\n", "has a control character: line 2"),
        (b"a\nb\n\xff\n", "is no text in UTF-8: line 3"),
        ("a\nb\n".encode("utf-16"), "is no text in UTF-8: line 1"),
        (b"a\n" + b"x" * (MOST_KEY_BYTES + 1), f"has a key of more than {MOST_KEY_BYTES} bytes: line 2"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: bytes, reason: str) -> None:
    """Raise ValueError, its text naming the lines at fault."""
    with pytest.raises(ValueError, match=rf"^{re.escape(reason)}$"):
        KeyList.parse(text)


def test_doubles_are_found_however_far_apart() -> None:
    """Name the two lines of a key that stands at both ends of a long text."""
    lines = [b"%040d" % number for number in range(60_000)]

    with pytest.raises(ValueError, match=r"lines 3 and 60001$"):
        KeyList.parse(b"\n".join([*lines, lines[2]]))


def test_a_digest_tells_what_a_list_begins_with() -> None:
    """Give equal digests for equal first keys, however their lines end; other ones for any other change."""
    former = KeyList.parse(b"a\nb\n")
    grown = KeyList.parse(b"\xef\xbb\xbfa\r\nb\r\nc")
    others = [KeyList.parse(text) for text in (b"a\nc", b"b\na", b"a\nb ", b"ab\nc")]

    assert grown.digest(2) == former.digest(2) == "7e18f737311b2dc3"  # sha256sum of the two lines
    assert len({former.digest(2), grown.digest(3), *(other.digest(2) for other in others)}) == 6


def test_a_pattern_is_found_in_its_line() -> None:
    """Say in which line a pattern is found first, if in any."""
    key_list = KeyList.parse(b"a\n..\nb/../c\n")

    assert key_list.find(re.compile(rb"(?m)^\.\.?$")) == 2
    assert key_list.find(re.compile(rb"c$")) == 3
    assert key_list.find(re.compile(rb"d")) is None
