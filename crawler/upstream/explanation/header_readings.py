"""How the headers of an answer that matter are read, one by one, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from crawler.core.quota import Quota
from crawler.core.verdict import Kind
from crawler.upstream.explanation.observed_song import Answer
from crawler.upstream.rate_headers import MOST_SKEW_SECONDS, RateHeaders
from crawler.upstream.response_limits import readable
from crawler.upstream.waits import http_date_epoch, seconds_of

# What looks like a limit to people, whether it is one that we read or not.
_LIMITING = re.compile(r"limit|quota|throttl|remaining|backoff|credits|-left$")
_CACHES = ("age", "x-cache", "x-cache-status", "cf-cache-status", "x-proxy-cache", "x-varnish-cache")


class HeaderReading(msgspec.Struct, frozen=True):
    """One header as it came, its name in lower case, and how it is read."""

    name: str
    value: str
    reading: str


def read_headers(answer: Answer, rate_headers: RateHeaders | None) -> list[HeaderReading]:
    """Say how each header that matters is read, in the order of the answer; `rate_headers` None: limits are ignored."""
    limits = _LimitReader(answer, rate_headers)
    readings = []
    for name, value in answer.headers.items():
        reading = _READERS[name](value, answer) if name in _READERS else limits.reading(name)
        if reading:
            readings.append(HeaderReading(name, value, reading))
    return readings


def quota_of(answer: Answer, rate_headers: RateHeaders | None) -> Quota | None:
    """Return what the headers announce of a quota, as a crawl reads them."""
    return rate_headers.read(answer.headers, answer.now_epoch) if rate_headers else None


def quota_sentence(quota: Quota) -> str:
    """Write an announced quota."""
    told = []
    if quota.limit is not None:
        window = f" in {quota.window_seconds:g} s" if quota.window_seconds else ""
        told.append(f"{quota.limit:,g} requests{window}")
    if quota.remaining is not None:
        told.append(f"{quota.remaining:,g} left")
    if quota.reset_seconds is not None:
        told.append(f"begins anew in {quota.reset_seconds:,.0f} s")
    elif not quota.window_seconds:
        told.append("when it begins anew is not said")
    return ", ".join(told)


def unread_limits(answer: Answer, rate_headers: RateHeaders | None) -> list[str]:
    """Name the headers that look like a limit and are not read, where no quota could be read from any."""
    if quota_of(answer, rate_headers):
        return []
    names = rate_headers.names if rate_headers else frozenset[str]()
    return [name for name in answer.headers if _LIMITING.search(name) and name not in names]


class _LimitReader:
    def __init__(self, answer: Answer, rate_headers: RateHeaders | None) -> None:
        self._names = rate_headers.names if rate_headers else frozenset[str]()
        self._ignored = rate_headers is None
        self._tells = quota_of(answer, rate_headers) is not None

    def reading(self, name: str) -> str:
        """Say whether a header is read as one of a limit; empty: it has nothing to do with any."""
        if name in self._names:
            return "read: part of the quota" if self._tells else "alone it tells of no quota"
        if self._tells or not _LIMITING.search(name):
            return ""
        return "not read: RATE_HEADERS is ignore" if self._ignored else "not read: no limit header that we know"


def _retry_after(_value: str, answer: Answer) -> str:
    if answer.retry_after is None:
        return "no time that can be read"
    if answer.judgement and answer.judgement.verdict.kind in (Kind.RETRY, Kind.THROTTLED):
        wait = answer.judgement.verdict.retry_after
        return f"{answer.retry_after:g} s" + ("" if wait == answer.retry_after else f"; a rule says {wait:g} s")
    return f"{answer.retry_after:g} s, which counts only where a song is asked for again"


def _content_type(value: str, _answer: Answer) -> str:
    kind = value.partition(";")[0].strip().lower()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return "JSON"
    return "a page for people" if "html" in kind else "read as JSON, whatever it is called"


def _content_encoding(value: str, _answer: Answer) -> str:
    if not readable(value):
        return "not read: gzip was asked for"
    known = value.strip().lower() in ("gzip", "x-gzip", "deflate")
    return "unpacked" if known else "no coding: read as it came"


def _validator(_value: str, _answer: Answer) -> str:
    return "tells this state of the song from a later one"


def _location(_value: str, answer: Answer) -> str:
    return "where the song is said to be" if 300 <= answer.status < 400 else ""


def _age(value: str, _answer: Answer) -> str:
    seconds = seconds_of(value)
    return f"from a cache, where it lay for {seconds:g} s" if seconds else "fresh"


def _cache(value: str, _answer: Answer) -> str:
    return "from a cache" if "hit" in value.lower() else "no answer of a cache"


def _www_authenticate(_value: str, _answer: Answer) -> str:
    return "the credentials that are wanted"


def _link(value: str, _answer: Answer) -> str:
    return "a list with more pages" if re.search(r'rel="?next', value) else ""


def _sunset(value: str, _answer: Answer) -> str:
    return f"this address goes away: {value} (RFC 8594)"


def _date(value: str, answer: Answer) -> str:
    epoch = http_date_epoch(value)
    ahead = 0.0 if epoch is None else epoch - answer.now_epoch
    if abs(ahead) <= MOST_SKEW_SECONDS:
        return ""
    return f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} our clock: resets and dates go by it"


def _readers() -> Iterator[tuple[str, Callable[[str, Answer], str]]]:
    yield "retry-after", _retry_after
    yield "content-type", _content_type
    yield "content-encoding", _content_encoding
    yield from ((name, _validator) for name in ("etag", "last-modified"))
    yield "location", _location
    yield from ((name, _age if name == "age" else _cache) for name in _CACHES)
    yield "www-authenticate", _www_authenticate
    yield "link", _link
    yield "sunset", _sunset
    yield "date", _date


_READERS = dict(_readers())
