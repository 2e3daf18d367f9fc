"""What of a URL may be shown and stored: a key may stand in its query, a password before its host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from crawler.core.setting_types import PLACEHOLDER, song_url


def redact_url(text: str) -> str:
    """Leave out of a song's URL the values in its query; a song's number stays.

    Of a text that is no such URL nobody can tell the parts: all before an @ and after a question mark is left out.
    """
    try:
        song_url(text)
    except ValueError:
        return re.sub(r"\?.*", "?…", re.sub(r".*@", "…@", text, flags=re.DOTALL), flags=re.DOTALL)
    parts = urlsplit(text)
    pairs = [pair.partition("=") for pair in parts.query.split("&")] if parts.query else []
    query = "&".join(f"{name}={_shown(value)}" if eq else name for name, eq, value in pairs)
    return parts._replace(query=query, fragment="").geturl()


def _shown(value: str) -> str:
    return value if PLACEHOLDER.fullmatch(value) else "…"
