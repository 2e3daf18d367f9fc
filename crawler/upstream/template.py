"""Templates: texts in which a song's number stands, such as SONG_URL, compiled once and filled for each song.

`{song_num}` is the number, `{song_num:010}` the number with zeros in front, ten digits wide (1 to 12); a longer one
stays whole. Nothing else is replaced: other braces stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from crawler.core.setting_types import PLACEHOLDER

Fill = Callable[[object], str]


def compile_template(text: str, encode: Callable[[str], str] = str) -> Fill:
    """Return what writes a template with an item in it; `encode` writes what stands around the placeholders."""
    pieces = PLACEHOLDER.split(text)
    widths = [int(width or 0) for width in pieces[1::2]]
    first, *texts = (encode(piece) for piece in pieces[::2])
    if widths == [0]:  # as nearly all are
        return _around(first, texts[0])

    def fill(item: object) -> str:
        number = str(item)
        return first + "".join([number.zfill(width) + text for width, text in zip(widths, texts, strict=True)])

    return fill


def _around(prefix: str, suffix: str) -> Fill:
    def fill(item: object) -> str:
        return f"{prefix}{item!s}{suffix}"

    return fill
