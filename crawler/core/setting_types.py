"""What a setting is, and the types it may have: each reads a text, or raises ValueError or KeyError for a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from crawler.core.errors import BadSetting

# Where a song's number stands in a template, and with how many digits at least: as many as it may have; or its key.
PLACEHOLDER = re.compile(r"\{(song_num(?::0(?:[1-9]|1[0-2]))?|song_key(?::path)?)\}", re.ASCII)
# What looks like one, and is none: with a width or a form that there is not.
_UNKNOWN_FORM = re.compile(r"\{song_num:(?!0(?:[1-9]|1[0-2])\})|\{song_key:(?!path\})", re.ASCII)

# What a run or a source may be called.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)

# What requests sends as a header: no line break, no blank before it, and ASCII for every server's sake.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_TEXT = re.compile(r"[!-~][\t -~]*")


class Setting(msgspec.Struct, frozen=True):
    """One environment variable; `allowed` completes the sentence "X is ...; allowed: ..."."""

    name: str
    default: str
    parse: Callable[[str], Any]
    allowed: str
    help: str
    secret: bool = False
    redact: Callable[[str], str] = str

    def read(self, environ: Mapping[str, str]) -> Any:
        """Parse the variable, or its default; raises BadSetting with one sentence, never a secret's value."""
        text = environ.get(self.name, self.default)
        try:
            return self.parse(text)
        except (ValueError, KeyError):
            raise self.refusal(text) from None

    def refusal(self, text: str) -> BadSetting:
        """Say that a value is not allowed, and what is."""
        value = "a value that can't be used" if self.secret else repr(self.redact(text)[:200])
        return BadSetting(f"{self.name} is {value}; allowed: {self.allowed}.")


def number(least: float, most: float, kind: type = float) -> Callable[[str], Any]:
    """Return a reader of numbers from `least` to `most`, in plain decimal digits."""

    def parse(text: str) -> Any:
        if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?" if kind is float else r"[0-9]{1,15}", text, re.ASCII):
            raise ValueError(text)
        value = kind(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a reader of one of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return parse


def optional_text(text: str) -> str | None:
    """Read a text; the empty one is None."""
    return text or None


def flag(text: str) -> bool:
    """Read 0 or 1."""
    return {"0": False, "1": True}[text]


def auto_number(text: str) -> int | None:
    """Read a whole number from 1 to 100000; `auto` is None."""
    return None if text == "auto" else int(number(1, 100_000, int)(text))


def optional_seconds(text: str) -> float | None:
    """Read seconds from 1 to 3600; the empty text is None."""
    return None if text == "" else float(number(1, 3600)(text))


def optional_share(text: str) -> float | None:
    """Read a share from 0 to 1; the empty text is None."""
    return None if text == "" else float(number(0, 1)(text))


def song_url(text: str) -> str | None:
    """Read a URL template; a placeholder may stand after its host, see `holds_placeholder`."""
    if not text:
        return None
    url = urlsplit(text)
    whole = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0
    if not whole or PLACEHOLDER.search(url.netloc) or _UNKNOWN_FORM.search(text) or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(text)
    return text


def holds_placeholder(url: str) -> bool:
    """Tell whether a song's number or key stands in a URL template: not in the fragment alone, which is never sent."""
    return PLACEHOLDER.search(url.partition("#")[0]) is not None


def check_request(setting: Setting, url: str | None, method: str, body: str | None) -> None:
    """Raise BadSetting if what says how a song is asked for contradicts itself; `setting` is SONG_URL."""
    if body and method == "GET":
        raise BadSetting("SONG_BODY is set, and SONG_METHOD is 'GET', which sends no body; allowed: POST.")
    if url is None or holds_placeholder(url):
        return
    if method == "GET":
        raise setting.refusal(url)
    if not PLACEHOLDER.search(body or ""):
        raise BadSetting("Neither SONG_URL nor SONG_BODY holds {song_num}; allowed: with it in one of them.")


def song_body(text: str) -> str | None:
    """Read the template of a request's body; the empty text is None."""
    if _UNKNOWN_FORM.search(text):
        raise ValueError(text)
    return text or None


def response_rules(text: str) -> list[Any] | str:
    """Read a JSON list; `@` and the name of a file that holds one stay as they are."""
    if re.fullmatch(r"@.+", text):
        return text
    return msgspec.json.decode(text or "[]", type=list[Any])


def song_function(text: str) -> str | None:
    """Read module:function."""
    if text and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ValueError(text)
    return text or None


def headers(text: str) -> dict[str, str]:
    """Read a JSON object of header names and values."""
    pairs = msgspec.json.decode(text, type=dict[str, str])
    for name, value in pairs.items():
        if not _HEADER_NAME.fullmatch(name) or (value and not _HEADER_TEXT.fullmatch(value)):
            raise ValueError(name)
    return pairs


def token_url(text: str) -> str | None:
    """Read the address of a token server, with no user name in it."""
    url = urlsplit(text)
    whole = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0
    if text and (not whole or "#" in text or not re.fullmatch(r"[!-~]+", text)):
        raise ValueError(text)
    return text or None


def form(text: str) -> dict[str, str]:
    """Read a JSON object of form fields."""
    fields = msgspec.json.decode(text or "{}", type=dict[str, str])
    if "" in fields:
        raise ValueError("no name")
    return fields


def rate_headers(text: str) -> str | dict[str, str]:
    """Read auto, ignore, or a JSON object that names the headers `remaining` and perhaps `reset` and `limit`."""
    if text in ("auto", "ignore"):
        return text
    names = headers(text)
    if "remaining" not in names or not set(names) <= {"remaining", "reset", "limit"}:
        raise ValueError(text)
    for name in names.values():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(name)
    return names


def header_text(text: str) -> str:
    """Read one header's value."""
    if not _HEADER_TEXT.fullmatch(text):
        raise ValueError(text)
    return text


def output(text: str) -> str:
    """Read a bucket's address or a folder."""
    remote = text.startswith("gs:") or "://" in text
    if not text or (remote and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}(/.*)?", text)):
        raise ValueError(text)
    return text


def keys(text: str) -> str | None:
    """Read a file's path or an object's address."""
    remote = text.startswith("gs:") or "://" in text
    if remote and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}/.+", text):
        raise ValueError(text)
    return text or None


def name(text: str) -> str | None:
    """Read a name as runs have it."""
    if text and not NAME.fullmatch(text):
        raise ValueError(text)
    return text or None


def emulator(text: str) -> str | None:
    """Read an emulator's address."""
    if text and not re.fullmatch(r"https?://[^/\s]+/?", text):
        raise ValueError(text)
    return text.rstrip("/") or None


def queue(text: str) -> str | None:
    """Read the full name of a Cloud Tasks queue."""
    if text and not re.fullmatch(r"projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/queues/[A-Za-z0-9-]{1,100}", text):
        raise ValueError(text)
    return text or None


def service_url(text: str) -> str | None:
    """Read the address of this function."""
    url = urlsplit(text)
    whole = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0
    if text and (not whole or url.query or url.fragment or not re.fullmatch(r"[!-~]+", text)):
        raise ValueError(text)
    return text.rstrip("/") or None


def account(text: str) -> str | None:
    """Read a service account's e-mail address."""
    if text and not re.fullmatch(r"[a-z0-9._-]+@[a-z0-9.-]+", text):
        raise ValueError(text)
    return text or None
