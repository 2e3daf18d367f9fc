"""What of a URL, of headers, bodies and texts may be shown and stored: a key may stand in any of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlsplit

from crawler.core.setting_types import PLACEHOLDER, holds_placeholder, song_url


def redact_url(text: str) -> str:
    """Leave out of a song's URL the values in its query; a song's number stays.

    Of a text that is no such URL nobody can tell the parts: all before an @ and after a question mark is left out.
    """
    if not _is_template(text):
        return re.sub(r"\?.*", "?…", re.sub(r".*@", "…@", text, flags=re.DOTALL), flags=re.DOTALL)
    parts = urlsplit(text)
    pairs = [pair.partition("=") for pair in parts.query.split("&")] if parts.query else []
    query = "&".join(f"{name}={_shown(value)}" if eq else name for name, eq, value in pairs)
    return parts._replace(query=query, fragment="").geturl()


def _is_template(text: str) -> bool:
    try:
        url = song_url(text)
    except ValueError:
        return False
    return url is not None and holds_placeholder(url)


def redact_body(text: str) -> str:
    """Say of a body template only how long it is: a key may stand anywhere in it."""
    return f"a text of {len(text)} characters" if text else ""


def _shown(value: str) -> str:
    return value if PLACEHOLDER.fullmatch(value) else "…"


HIDDEN = "(secret)"

# Names of headers and parameters whose values are secrets: not `keyword`, not `author`.
_SECRET_NAME = re.compile(
    r"(?:.*[_.-])?(?:sig|pass|pwd|app_?id|client_?id)|.*(?:key(?!word)|token|secret|passw|auth(?!ors?(?![a-z]))|cookie|signature"
    r"|credential|session|jwt).*",
    re.IGNORECASE | re.ASCII,
)
# What looks like a key, whatever its name: long, and of letters and digits that make no word.
_KEY = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_+/=.~-]{20,}", re.ASCII)
_QUERY = re.compile(r"([?&;])([^?&;=\s]+)=([^&;#\s\"'<>]*)")
# Headers that many set, and that say nothing of who calls.
_PLAIN = re.compile(
    r"accept(-.*)?|content-type|user-agent|cache-control|pragma|referer|origin|from|prefer", re.IGNORECASE
)
# What is shorter stands in many a text by chance.
_LEAST_SECRET = 4


def secret_values(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return the values of headers whose names say that they are secret, such as an access token's."""
    return [value for name, value in headers if _SECRET_NAME.fullmatch(name)]


class Redactor:
    """What leaves secrets out of all that is shown: the values of a deployment's own headers, keys in its URL.

    `others` are more secrets; a value of a query that is `plain` is none, whatever it looks like. A secret is found
    wherever it stands: an upstream or an exception may repeat it.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], others: Iterable[str] = (), *, plain: Iterable[str] = ()
    ) -> None:
        self._plain = frozenset(plain)
        self._own = {name.lower() for name in headers}
        values = [value for name, value in headers.items() if not _PLAIN.fullmatch(name)]
        parts = urlsplit(url)
        values += [value for _, name, value in _QUERY.findall(f"?{parts.query}") if _is_secret(name, value)]
        values += [segment for segment in parts.path.split("/") if _KEY.fullmatch(segment)]
        words = {word for value in [*values, *others] for word in (value, *value.split()[1:])}
        forms = {form for word in words if len(word) >= _LEAST_SECRET for form in _forms(word)}
        self._secret = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None

    def header(self, name: str, value: str) -> str:
        """Return the value of a header that was sent, if it may be shown."""
        own = name.lower() in self._own or _SECRET_NAME.fullmatch(name)
        return HIDDEN if own else self.text(value)

    def text(self, text: str) -> str:
        """Return a text without the secrets, and without the values in its URLs' queries that look like some."""
        known = self._secret.sub(HIDDEN, text) if self._secret else text
        return _QUERY.sub(self._pair, known)

    def _pair(self, match: re.Match[str]) -> str:
        mark, name, value = match.groups()
        hidden = value and value not in self._plain and _is_secret(name, value)
        return f"{mark}{name}={HIDDEN if hidden else value}"


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be written: in a URL, in JSON, in the words of Python."""
    return {
        secret,
        unquote(secret),
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    }


def _is_secret(name: str, value: str) -> bool:
    return not PLACEHOLDER.search(value) and bool(_SECRET_NAME.fullmatch(name) or _KEY.fullmatch(value))
