"""Redirects of declared songs: where one leads, whether it is followed, and as what its song is then known.

A redirect is followed by the next request of its song, so that each keeps to the rate, to robots.txt and to the address
guard as any other does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

import msgspec

from crawler.core.setting_types import PLACEHOLDER
from crawler.core.verdict import Kind, Verdict, failed
from crawler.upstream.response_limits import MOST_REDIRECTS, same_origin
from crawler.upstream.response_rules import paused
from crawler.upstream.song_requests.template import Fill, encode_url

# By these a POST stays one (RFC 9110, 15.4.8 and 15.4.9).
_KEEPS_METHOD = frozenset({307, 308})

# No URL holds a control character; two Location fields come as one, with a comma and a blank between.
_NO_URL = re.compile(r"[\x00-\x1f\x7f]|, ")
# What stands at a placeholder: a number of a song, or a key.
_NUMBER, _KEY = "([0-9]{1,18})", "([^/].*)"
# No id is looked for in a longer text: a template with several keys would be matched in quadratic time.
_MOST_CHARACTERS = 4096


class Redirected(msgspec.Struct, frozen=True):
    """A song that was redirected: `item` is what was asked for, `urls` where so far; the last is to be asked next."""

    item: Any
    urls: tuple[str, ...]


def item_of(item: Any) -> Any:
    """Return what was asked for at first."""
    return item.item if isinstance(item, Redirected) else item


class Redirects:
    """The following of a source's redirects, within its origin and MOST_REDIRECTS of them at most.

    `posts`: songs are asked for by POST.
    """

    def __init__(self, url: str, url_of: Fill, *, posts: bool = False) -> None:
        self._fill = url_of
        self._read_id = id_reader(url)
        self._posts = posts

    def url_of(self, item: Any) -> str:
        """Return where an item is to be asked for."""
        return item.urls[-1] if isinstance(item, Redirected) else self._fill(item)

    def judge(self, verdict: Verdict, item: Any, status: int, location: str | None) -> Verdict:
        """Judge an answer whose `verdict` knows nothing of redirects, but that there is one."""
        if verdict.kind is Kind.REDIRECTED:
            return self._follow(verdict, item, status, location)
        if verdict.kind is Kind.FOUND and isinstance(item, Redirected):
            return msgspec.structs.replace(verdict, moved_to=self._moved_to(item))
        return verdict

    def _follow(self, verdict: Verdict, item: Any, status: int, location: str | None) -> Verdict:
        urls = item.urls if isinstance(item, Redirected) else (urldefrag(self._fill(item)).url,)
        target = target_of(urls[-1], location or "")
        changes_method = self._posts and status not in _KEEPS_METHOD
        if target is None or target in urls or changes_method or len(urls) > MOST_REDIRECTS:
            return paused(failed("redirect"), None if verdict.alone else verdict.retry_after)
        return msgspec.structs.replace(verdict, info=Redirected(item_of(item), (*urls, target)))

    def _moved_to(self, item: Redirected) -> int | str | None:
        """Return the number or key under which the song is now, else its URL's path; None: it is the old one."""
        first, last = item.urls[0], item.urls[-1]
        song_id = self._read_id(last)
        if song_id is None:
            return urlsplit(last).path
        return None if song_id == self._read_id(first) else song_id


def target_of(url: str, location: str) -> str | None:
    """Return the URL that a Location field leads to (RFC 9110, 10.2.2); None: nowhere, or out of the URL's origin.

    The field's bytes are read as ISO 8859-1, as they come out of every head.
    """
    if not location or _NO_URL.search(location):
        return None
    try:
        target = urlsplit(urljoin(url, encode_url(location, "latin-1")))
        if "@" in target.netloc or not same_origin(url, target.geturl()):
            return None
    except ValueError:  # no URL at all
        return None
    own = urlsplit(url)
    path = target.path or "/"
    return target._replace(scheme=own.scheme, netloc=own.netloc, path=path, fragment="").geturl()


def id_reader(template: str) -> Callable[[str], int | str | None]:
    """Return what reads a song's number, or its key, out of a URL, at the placeholder's place in the template.

    That is the path, or, where it has none, the query. What else is in the URL may differ: an API key is left out of a
    redirect, or something is added.
    """
    parts = urlsplit(template)
    keyed = "{song_key" in template
    kind = str if keyed else int
    if PLACEHOLDER.search(parts.path):
        path = _pattern(parts.path, keyed=keyed)
        return lambda url: _read(path, kind, unquote(urlsplit(url).path))
    fields = {name: _pattern(value, keyed=keyed) for name, value in parse_qsl(parts.query) if PLACEHOLDER.search(value)}
    if not fields:
        return lambda _url: None
    name, value = next(iter(fields.items()))
    return lambda url: _read(value, kind, dict(parse_qsl(urlsplit(url).query)).get(name, ""))


def _pattern(text: str, *, keyed: bool) -> re.Pattern[str]:
    """Return the pattern of a template, a group for each number; with keys for each key."""
    pieces = PLACEHOLDER.split(text)
    first, *texts = [re.escape(unquote(piece)) for piece in pieces[::2]]
    marks = [_KEY if name.startswith("song_key") else "[0-9]+" if keyed else _NUMBER for name in pieces[1::2]]
    return re.compile(first + "".join(mark + text for mark, text in zip(marks, texts, strict=True)), re.ASCII)


def _read(pattern: re.Pattern[str], kind: Callable[[str], int | str], text: str) -> int | str | None:
    if len(text) > _MOST_CHARACTERS:
        return None
    match = pattern.fullmatch(text) or pattern.fullmatch(text.removesuffix("/"))
    ids = {kind(group) for group in match.groups()} if match else set()
    return ids.pop() if len(ids) == 1 else None
