"""How much is left of an announced quota, from the headers in which APIs tell it (docs/sources.md has the table).

There is no clock in here: the instant that counts as now is an argument, in seconds since 1970. The structured fields
(RFC 9651) of the IETF's drafts are read by a small reader of our own: of all that RFC holds, they use lists of strings
with parameters. What is malformed is no header at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from crawler.core.quota import Quota
from crawler.upstream.waits import epoch_of, http_date_epoch, seconds_of

# From here on a number that tells a reset counts seconds since 1970, not from now: no window lasts 32 years.
LEAST_EPOCH = 1e9
# By so much a server's clock may differ from ours before its own Date is what a reset is measured by.
MOST_SKEW_SECONDS = 2.0
# What X-Discogs-Ratelimit counts in, and in what time Shopify's bucket, whatever its size, runs empty.
DISCOGS_SECONDS, SHOPIFY_SECONDS = 60.0, 20.0

_COUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)
_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE = r'"(?:[ !#-\[\]-~]|\\["\\])*"|:[A-Za-z0-9+/=]*:|\?[01]|-?[0-9]{1,15}(?:\.[0-9]{1,3})?|[A-Za-z*][!-+\--:<-~]*'
_ITEM = re.compile(rf"\s*({_BARE})((?:\s*;\s*{_KEY}(?:=(?:{_BARE}))?)*)\s*(,|$)", re.ASCII)
_PARAMETER = re.compile(rf";\s*({_KEY})(?:=({_BARE}))?", re.ASCII)
_PAIR = re.compile(r"\s*(limit|remaining|reset)\s*=\s*([0-9]{1,15})\s*(?:;[^,]*)?", re.ASCII)


class Names(NamedTuple):
    """The names of the headers of one dialect, in lower case; an empty name: it has none."""

    limit: str
    remaining: str
    reset: tuple[str, ...]
    window: str = ""
    window_seconds: float | None = None
    window_unit: float = 1.0


def _names(prefix: str, suffix: str = "") -> Names:
    resets = (f"{prefix}reset-after{suffix}", f"{prefix}reset{suffix}", f"{prefix}resettime")
    return Names(f"{prefix}limit{suffix}", f"{prefix}remaining{suffix}", resets, f"{prefix}interval")


_DIALECTS = (
    _names("ratelimit-"),
    _names("x-ratelimit-"),
    _names("x-rate-limit-"),
    _names("x-ratelimit-", "-requests"),
    Names("x-rate-limit", "x-rate-limit-remaining", ("ratelimit-reset",)),
    Names("x-discogs-ratelimit", "x-discogs-ratelimit-remaining", (), window_seconds=DISCOGS_SECONDS),
    Names(
        "x-hubspot-ratelimit-max",
        "x-hubspot-ratelimit-remaining",
        (),
        "x-hubspot-ratelimit-interval-milliseconds",
        window_unit=0.001,
    ),
    Names(
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        ("anthropic-ratelimit-requests-reset",),
    ),
)
_SHOPIFY = "x-shopify-shop-api-call-limit"
_POLICIES, _LEFT = "ratelimit-policy", "ratelimit"
_KNOWN = frozenset({_LEFT, _SHOPIFY} | {name for names in _DIALECTS for name in (names.limit, names.remaining)})


class RateHeaders:
    """A reader of quotas from headers: those of every dialect we know, or two that a deployment names.

    `may_tell` says of a whole head, at little cost, whether one of them may be there: most heads hold none.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        """`names` has the keys `remaining`, and perhaps `reset` and `limit`; None: every dialect."""
        named = {key: name.lower() for key, name in (names or {}).items()}
        self._named = None
        self._mark = b"limit"  # that all of them have in common
        if named:
            resets = (named["reset"],) if "reset" in named else ()
            self._named = Names(named.get("limit", ""), named["remaining"], resets)
            self._mark = named["remaining"].encode("latin-1")

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all headers that are read, in lower case."""
        if self._named:
            return frozenset(_names_of(self._named))
        return frozenset({_LEFT, _POLICIES, _SHOPIFY}.union(*map(_names_of, _DIALECTS)))

    def may_tell(self, head: bytes) -> bool:
        """Tell whether a head, or the names in it, may announce a quota."""
        return self._mark in head.lower()

    def read(self, fields: Mapping[str, str], now_epoch: float) -> Quota | None:
        """Return the tightest quota that headers, named in lower case, announce; None: none that can be read."""
        if not self._named and _KNOWN.isdisjoint(fields):
            return None
        clock = _clock(fields.get("date"), now_epoch)
        if self._named:
            return _of_names(self._named, fields, clock)
        found = list(_structured(fields)) or [
            quota for names in _DIALECTS if (quota := _of_names(names, fields, clock)) is not None
        ]
        if (used := fields.get(_SHOPIFY)) and (quota := _of_shopify(used)):
            found.append(quota)
        return min(found, key=_tightness, default=None)


def _names_of(names: Names) -> set[str]:
    return {names.limit, names.remaining, names.window, *names.reset} - {""}


def _clock(date: str | None, now_epoch: float) -> float:
    """Return the server's idea of now, if it differs from ours by more than a Date's rounding."""
    told = http_date_epoch(date) if date else None
    return now_epoch if told is None or abs(told - now_epoch) <= MOST_SKEW_SECONDS else told


def _tightness(quota: Quota) -> tuple[float, float]:
    """Sort the quota first that ends first: fewest left, then longest to wait for more."""
    left = quota.remaining if quota.remaining is not None else quota.limit
    return (float("inf") if left is None else left, -(quota.reset_seconds or 0.0))


def _of_names(names: Names, fields: Mapping[str, str], clock: float) -> Quota | None:
    limit, remaining = _count(fields.get(names.limit)), _count(fields.get(names.remaining))
    window = names.window_seconds
    if names.window and (told := seconds_of(fields.get(names.window, ""))) is not None:
        window = told * names.window_unit
    if remaining is None and (limit is None or not window):
        return None
    texts = [fields[name] for name in names.reset if name in fields]
    for text in texts:
        if (reset := _reset(text, clock)) is not None:
            return Quota(limit, remaining, reset, window, exact=_exact(text))
    # A reset that can't be read leaves a quota of which nobody knows the end.
    return None if remaining is None and texts else Quota(limit, remaining, None, window)


def _reset(text: str, clock: float) -> float | None:
    """Return in how many seconds a quota begins anew: told as seconds from now, an epoch, a date or a duration."""
    text = text.strip()
    if _COUNT.fullmatch(text) and float(text) < LEAST_EPOCH:
        return float(text)
    epoch = epoch_of(text)
    return seconds_of(text) if epoch is None else max(0.0, epoch - clock)


def _exact(text: str) -> bool:
    text = text.strip()
    whole_ms = text.isdigit() and len(text) >= 12
    return whole_ms or "." in text


def _count(text: str | None) -> float | None:
    """Return a count; of `100, 100;w=60`, as drafts 3 to 6 have it, the first."""
    text = (text or "").split(",")[0].split(";")[0].strip()
    return float(text) if _COUNT.fullmatch(text) else None


def _of_shopify(text: str) -> Quota | None:
    """Read `32/40`: so many of the bucket's places are taken, and all of them free in 20 s."""
    used, _, size = text.partition("/")
    taken, limit = _count(used), _count(size)
    if taken is None or not limit:
        return None
    seconds = SHOPIFY_SECONDS * min(1.0, taken / limit)
    return Quota(limit, max(0.0, limit - taken), seconds, SHOPIFY_SECONDS, exact=True)


def _structured(fields: Mapping[str, str]) -> Iterator[Quota]:
    """Yield the quotas of the one field RateLimit: of draft 7, or of drafts 8 and later, one for each policy."""
    text = fields.get(_LEFT)
    if text is None:
        return
    if pairs := _pairs(text):
        if "remaining" in pairs:
            yield Quota(pairs.get("limit"), pairs["remaining"], pairs.get("reset"))
        return
    policies = dict(_list(fields.get(_POLICIES, "")))
    for name, left in _list(text):
        policy = policies.get(name, {})
        if (remaining := left.get("r")) is not None and not policy.get("qu"):
            yield Quota(policy.get("q"), remaining, left.get("t"), policy.get("w"), name)


def _pairs(text: str) -> dict[str, float]:
    """Read `limit=100, remaining=50, reset=5`; empty for anything else."""
    matches = [_PAIR.fullmatch(part) for part in text.split(",")]
    return {match[1]: float(match[2]) for match in matches if match} if all(matches) else {}


def _list(text: str) -> list[tuple[str, dict[str, float]]]:
    """Read a list of names with parameters that are numbers; empty for one that is malformed (RFC 9651, 4.2)."""
    items, at = [], 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if not match or (match[3] and match.end() == len(text)):
            return []
        pairs = _PARAMETER.findall(match[2])
        numbers = {key: float(value) for key, value in pairs if _COUNT.fullmatch(value)}
        # A unit of its own, `qu`: it does not count requests.
        other = {key: 1.0 for key, value in pairs if key == "qu" and value != '"requests"'}
        items.append((match[1].strip('"'), numbers | other))
        at = match.end()
    return items
