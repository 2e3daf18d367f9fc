"""Limits on what is accepted of a response, the same in every fetcher: head, length, encoding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urljoin, urlsplit

from crawler.core.verdict import retry

# Of a final answer together with all interim ones before it. Large APIs send some 2 KB in 30 lines; a line more costs
# no more than its bytes, but libcurl gives up after 5,000.
MOST_HEAD_BYTES = 65_536
LARGE_HEAD = retry("connection", detail=f"a head of more than {MOST_HEAD_BYTES} bytes or 5000 lines, which is refused")
UNCLEAR_HEAD = retry("connection", detail="a head that is cut short or contradicts itself, which is refused")

# A single-request function may be redirected within an origin; RFC 9309 asks for as many on the way to a robots.txt.
MOST_REDIRECTS = 5

# The whole line that sends cookies back, its name and end too, as much as libcurl sends: servers give up past 8 KB of
# one header, and then fail every song.
MOST_COOKIE_BYTES = 8_190

# We ask for gzip only. Servers that don't listen send deflate; brotli or zstd would need libraries that bound them.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
# What else is a coding: https://www.iana.org/assignments/http-parameters, and what is met without standing there. Any
# other word (`UTF-8`, `none`, `binary`) is a mistake of servers whose body is plain.
_COMPRESSIONS = {"brotli", "bzip2", "compress", "deflate", "gzip", "lz4", "lzma", "snappy", "xz", "zlib", "zstd"}
_CODINGS = frozenset(
    {"aes128gcm", "br", "dcb", "dcz", "exi", "pack200-gzip", *_COMPRESSIONS, *(f"x-{name}" for name in _COMPRESSIONS)}
)

# What asks every cache on the way to ask the upstream itself (RFC 9111, 5.2.1.4).
NO_CACHE = ("Cache-Control", "no-cache")

# X-Cache is CloudFront's, Fastly's and Varnish's, CF-Cache-Status Cloudflare's
# (https://developers.cloudflare.com/cache/concepts/cache-responses/), Cache-Status RFC 9211's.
_FIELDS = ("x-cache", "cf-cache-status", "cache-status")
_HIT = re.compile(r"\bhit\b", re.IGNORECASE)


def readable(content_encoding: str) -> bool:
    """Tell whether a body in this Content-Encoding is read at all: one that was compressed several times is not."""
    encoding = content_encoding.strip().lower()
    return encoding in _ENCODINGS or _CODINGS.isdisjoint(word.strip() for word in encoding.split(","))


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


def is_cached(fields: Mapping[str, str]) -> bool:
    """Tell whether a cache gave an answer, by its header fields, names in lower case: Age (RFC 9111, 5.1), or a hit."""
    age = fields.get("age", "").strip()
    if age.isdecimal() and int(age) > 0:
        return True
    return any(_HIT.search(fields.get(name, "")) for name in _FIELDS)
