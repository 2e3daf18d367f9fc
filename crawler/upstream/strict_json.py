"""Reading JSON strictly (RFC 8259), the same in every fetcher: a text that two readers understand differently is none.

Refused: anything but UTF-8, NaN and Infinity, lone surrogates, numbers beyond a float's range, integers of more digits
than Python converts (4,300), arrays and objects nested deeper than 500. Integers are exact, however large; of a name
given twice the last value counts; a byte order mark is passed over.
"""

from __future__ import annotations

from typing import Any

import msgspec

# As much as BigQuery reads; Python's own reader gives up before 1000, other versions of it much later.
MOST_DEPTH = 500

_decode = msgspec.json.Decoder().decode


def decode_json(body: bytes) -> Any:
    """Return the value of a JSON text; raises ValueError for what is none, or is refused."""
    try:
        content = _decode(body.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    # A level takes two bytes. Few texts have as many brackets as they would need for it.
    if len(body) > 2 * MOST_DEPTH:
        brackets = body.count(b"[") + body.count(b"{")
        if brackets > MOST_DEPTH and _deeper(content, MOST_DEPTH, brackets):
            raise ValueError("nested too deep")
    return content


def _deeper(content: Any, most: int, left: int) -> bool:
    """Tell whether a value is nested deeper than `most`; it has `left` arrays and objects at most."""
    level = [content]
    for depth in range(1, most + 1):
        left -= len(level)
        if depth + left <= most:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if outer.__class__ is dict else outer)
            if inner.__class__ is dict or inner.__class__ is list
        ]
    return bool(level)
