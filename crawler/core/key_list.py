"""A list of keys, one a line of a text: what ids that are no whole numbers, or sparse ones, are numbered by.

Ten million keys of 40 bytes take 450 MB, and 50 MB more while they are read: the text itself, and where each line ends.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, count
from operator import add

MOST_KEYS = 10_000_000
MOST_TEXT_BYTES = 512 << 20
MOST_KEY_BYTES = 4096

_BOM = b"\xef\xbb\xbf"
_PIECE_BYTES = 1 << 20
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
_NAMED = 3  # of lines that are alike so many pairs are named

# Keys are told apart by 40 bits of Python's hash, in 256 groups of 32 bits, and then by themselves.
_GROUPS, _GROUP_SHIFT, _HASH = 256, 32, 0xFFFFFFFF


class KeyList:
    """Keys, numbered by their lines from 1. It never changes."""

    def __init__(self, text: bytes, ends: array[int]) -> None:
        self._text = text
        self._ends = ends  # where each key ends in the text; a line feed is between two
        self.digest = lru_cache(64)(self._digest)

    @classmethod
    def parse(cls, text: bytes) -> KeyList:
        """Read a text in UTF-8, a key a line.

        A byte order mark, CRLF, and one blank line at the end are taken. Raises ValueError, its text saying what is
        wrong with which lines: blank or alike ones, too long ones, too many, control characters.
        """
        text = text.removeprefix(_BOM)
        if b"\r\n" in text:
            text = text.replace(b"\r\n", b"\n")
        end = len(text)
        for _ in range(2):
            end -= text.endswith(b"\n", 0, end)
        if not end:
            raise ValueError("holds no key")
        ends, suspects = _read(text, end)
        if suspects:
            _refuse_doubles(text, end, suspects)
        return cls(text, ends)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._ends)

    def key(self, number: int) -> str:
        """Return the key of a line, from 1; raises IndexError for a line that there is not."""
        if not 1 <= number <= len(self._ends):
            raise IndexError(number)
        start = self._ends[number - 2] + 1 if number > 1 else 0
        return self._text[start : self._ends[number - 1]].decode()

    def find(self, pattern: re.Pattern[bytes]) -> int | None:
        """Return the first line in which a pattern is found; None: it is in none."""
        match = pattern.search(self._text, 0, self._ends[-1])
        return bisect_left(self._ends, match.start()) + 1 if match else None

    def _digest(self, lines: int) -> str:
        """Return 16 hex digits that are equal where the first so many keys are."""
        hasher = hashlib.sha256(memoryview(self._text)[: self._ends[lines - 1]])
        return hasher.hexdigest()[:16]


def _read(text: bytes, end: int) -> tuple[array[int], set[int]]:
    """Return where each key ends, and the hashes that some share; raises ValueError."""
    ends = array("I")
    groups = [array("I") for _ in range(_GROUPS)]
    for start, piece in _pieces(text, end):
        lines = piece.split(b"\n")
        _check(piece, lines, len(ends))
        ends.extend(map(add, accumulate(map(len, lines)), count(start)))
        if len(ends) > MOST_KEYS:
            raise ValueError(f"has more than {MOST_KEYS} lines")
        for code in map(hash, lines):
            groups[code >> _GROUP_SHIFT & _GROUPS - 1].append(code & _HASH)
    return ends, _shared(groups)


def _pieces(text: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Cut a text between lines; yields where a piece begins too."""
    start = 0
    while start <= end:
        cut = text.find(b"\n", start + _PIECE_BYTES, end)
        stop = end if cut < 0 else cut
        yield start, text[start:stop]
        start = stop + 1


def _check(piece: bytes, lines: list[bytes], before: int) -> None:
    """Raise ValueError for what no line may be; `before` counts the lines before these."""
    if not all(map(bytes.strip, lines)):
        line = next(index for index, line in enumerate(lines, before + 1) if not line.strip())
        raise ValueError(f"has a blank line: line {line}")
    if len(max(lines, key=len)) > MOST_KEY_BYTES:
        line = next(index for index, line in enumerate(lines, before + 1) if len(line) > MOST_KEY_BYTES)
        raise ValueError(f"has a key of more than {MOST_KEY_BYTES} bytes: line {line}")
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        line = before + 1 + piece.count(b"\n", 0, error.start)
        raise ValueError(f"is no text in UTF-8: line {line}") from None
    if match := _CONTROL.search(piece):
        line = before + 1 + piece.count(b"\n", 0, match.start())
        raise ValueError(f"has a control character: line {line}")


def _shared(groups: list[array[int]]) -> set[int]:
    shared: set[int] = set()
    for index, group in enumerate(groups):
        if len(set(group)) < len(group):
            shared |= {index << _GROUP_SHIFT | code for code, times in Counter(group).items() if times > 1}
    return shared


def _refuse_doubles(text: bytes, end: int, suspects: set[int]) -> None:
    """Raise ValueError, naming lines that are alike, if those of the same hash are."""
    first: dict[bytes, int] = {}
    pairs: list[str] = []
    lines = (line for _, piece in _pieces(text, end) for line in piece.split(b"\n"))
    for number, line in enumerate(lines, 1):
        if hash(line) & (_GROUPS << _GROUP_SHIFT) - 1 in suspects and first.setdefault(line, number) != number:
            pairs.append(f"{first[line]} and {number}")
            if len(pairs) == _NAMED:
                break
    if pairs:
        raise ValueError(f"has the same key twice: lines {', '.join(pairs)}")
