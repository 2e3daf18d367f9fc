"""Templates: texts in which a song's number or key stands, SONG_URL and SONG_BODY, compiled once, filled for each song.

`{song_num}` is the number, `{song_num:010}` the number with zeros in front, ten digits wide (1 to 12); a longer one
stays whole. `{song_key}` is the key that KEYS gives the number, written as the text around it wants it,
`{song_key:path}` the same with its slashes as they are. Nothing else is replaced: other braces stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from crawler.core.errors import BadSetting
from crawler.core.setting_types import PLACEHOLDER

Fill = Callable[[object], str]

# What may stand in a URL (RFC 3986, 2.2 and 2.3), and the percent signs that `encode_url` left.
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


_JSON = "application/json"


def in_url(key: str, form: str = "") -> str:
    """Write a key as a piece of a URL: all but unreserved characters is percent-encoded (RFC 3986, 2.1 and 2.3).

    The form `path` leaves slashes as they are.
    """
    return quote(key, safe="/" if form == "path" else "")


def encode_url(text: str, encoding: str = "utf-8") -> str:
    """Write a part of a URL with nothing in it that RFC 3986 forbids; what is encoded already stays."""
    return quote(_LONE_PERCENT.sub("%25", text), safe=_URL_SAFE, encoding=encoding)


def in_json(text: str, _form: str = "") -> str:
    """Write a text as it stands inside a string of JSON (RFC 8259, 7)."""
    return msgspec.json.encode(text)[1:-1].decode()


def compile_template(
    text: str,
    encode: Callable[[str], str] = str,
    *,
    key_of: Callable[[int], str] | None = None,
    write_key: Callable[[str, str], str] = in_url,
    write_num: Callable[[str], str] | None = None,
) -> Fill:
    """Return what writes a template with an item in it.

    `encode` writes what stands around the placeholders. `key_of` gives the key of a number; None: the item is the key.
    `write_key` is given a key and its placeholder's form; `write_num` what stands for a number, if that may be a text.
    """
    pieces = PLACEHOLDER.split(text)
    first, *texts = (encode(piece) for piece in pieces[::2])
    if pieces[1::2] == ["song_num"] and write_num is None:  # as nearly all are
        return _around(first, texts[0])
    writers = [_writer(name, key_of or str, write_key, write_num or str) for name in pieces[1::2]]

    def fill(item: object) -> str:
        return first + "".join([write(item) + text for write, text in zip(writers, texts, strict=True)])

    return fill


def _around(prefix: str, suffix: str) -> Fill:
    def fill(item: object) -> str:
        return f"{prefix}{item!s}{suffix}"

    return fill


def _writer(
    name: str, key_of: Callable[..., str], write_key: Callable[[str, str], str], write_num: Callable[[str], str]
) -> Fill:
    field, _, form = name.partition(":")
    if field == "song_key":
        return lambda item: write_key(key_of(item), form)
    width = int(form or 0)
    return lambda item: write_num(str(item).zfill(width))


class RequestBody:
    """What a POST sends: `headers` to send with it, beside the deployment's own, and the bytes for each item."""

    def __init__(
        self, text: str, headers: Mapping[str, str] | None = None, key_of: Callable[[int], str] | None = None
    ) -> None:
        """Read a template; `headers` are the deployment's, of which Content-Type says what the body is.

        It is JSON where they say nothing, or where they say so. `key_of` gives the key of a number; None: an item is
        its own key. Raises BadSetting for JSON that is none.
        """
        own = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type")
        self.headers = {"Content-Type": _JSON} if text and own is None else {}
        is_json = bool(text) and _is_json(_JSON if own is None else own)
        self._fill = (
            compile_template(text, key_of=key_of, write_key=in_json, write_num=in_json)
            if is_json
            else compile_template(text, key_of=key_of, write_key=_plain)
        )
        if is_json:
            self._check_json()

    def of(self, item: object) -> bytes:
        """Write the body for an item."""
        return self._fill(item).encode()

    def _check_json(self) -> None:
        try:
            msgspec.json.decode(self.of(1))
        except (ValueError, RecursionError):
            raise BadSetting(
                "SONG_BODY is no JSON once a number stands in it; "
                'allowed: JSON such as {"id": {song_num}} or {"id": "{song_num:010}"}, '
                "or another Content-Type in SONG_HEADERS."
            ) from None


def _plain(key: str, _form: str) -> str:
    return key


def _is_json(content_type: str) -> bool:
    """Tell whether a media type is JSON's (RFC 6839, 3.1: or one that ends in +json)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == _JSON or media_type.endswith("+json")
