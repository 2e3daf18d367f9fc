"""Templates: texts in which a song's number or key stands, such as SONG_URL, compiled once and filled for each song.

`{song_num}` is the number, `{song_num:010}` the number with zeros in front, ten digits wide (1 to 12); a longer one
stays whole. `{song_key}` is the key that KEYS gives the number, written as the text around it wants it,
`{song_key:path}` the same with its slashes as they are. Nothing else is replaced: other braces stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from crawler.core.setting_types import PLACEHOLDER

Fill = Callable[[object], str]


def in_url(key: str, form: str = "") -> str:
    """Write a key as a piece of a URL: all but unreserved characters is percent-encoded (RFC 3986, 2.1 and 2.3).

    The form `path` leaves slashes as they are.
    """
    return quote(key, safe="/" if form == "path" else "")


def compile_template(
    text: str,
    encode: Callable[[str], str] = str,
    *,
    key_of: Callable[[int], str] | None = None,
    write_key: Callable[[str, str], str] = in_url,
) -> Fill:
    """Return what writes a template with an item in it.

    `encode` writes what stands around the placeholders. `key_of` gives the key of a number; None: the item is the key.
    `write_key` is given a key and its placeholder's form.
    """
    pieces = PLACEHOLDER.split(text)
    first, *texts = (encode(piece) for piece in pieces[::2])
    if pieces[1::2] == ["song_num"]:  # as nearly all are
        return _around(first, texts[0])
    writers = [_writer(name, key_of or str, write_key) for name in pieces[1::2]]

    def fill(item: object) -> str:
        return first + "".join([write(item) + text for write, text in zip(writers, texts, strict=True)])

    return fill


def _around(prefix: str, suffix: str) -> Fill:
    def fill(item: object) -> str:
        return f"{prefix}{item!s}{suffix}"

    return fill


def _writer(name: str, key_of: Callable[..., str], write_key: Callable[[str, str], str]) -> Fill:
    field, _, form = name.partition(":")
    if field == "song_key":
        return lambda item: write_key(key_of(item), form)
    width = int(form or 0)
    return lambda item: str(item).zfill(width)
