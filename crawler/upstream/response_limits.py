"""Limits on what is accepted of a response, the same in every fetcher: head, length, encoding."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

# Of a final answer together with all interim ones before it. Large APIs send some 2 KB in 30 lines.
MOST_HEAD_BYTES = 65_536
MOST_HEAD_LINES = 100

# A single-request function may be redirected within an origin; RFC 9309 asks for as many on the way to a robots.txt.
MOST_REDIRECTS = 5

# What is sent back of cookies, as much as libcurl does: servers give up past 8 KB of one header, and then fail every
# song.
MOST_COOKIE_BYTES = 8_190

# We ask for gzip only. Servers that don't listen send deflate; brotli or zstd would need libraries that bound them.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


def readable(content_encoding: str) -> bool:
    """Tell whether a body in this Content-Encoding is read at all: one that was compressed several times is not."""
    return content_encoding.strip().lower() in _ENCODINGS


def same_origin(url: str, target: str) -> bool:
    """Tell whether a URL redirects within its own scheme, host and port."""
    try:
        return _origin(urljoin(url, target)) == _origin(url)
    except ValueError:  # no URL at all
        return False


def plain_length(content_lengths: Iterable[str]) -> bool:
    """Tell whether all Content-Length fields of a response together say one number, or there is none (RFC 9112, 6.3).

    Two readers that take different ones see a different end of the body, and a different next answer.
    """
    lengths = {length.strip() for field in content_lengths for length in field.split(",")}
    return len(lengths) <= 1 and all(re.fullmatch(r"[0-9]{1,18}", length, re.ASCII) for length in lengths)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
