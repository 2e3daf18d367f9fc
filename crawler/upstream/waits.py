"""How long an upstream asks to wait, in the forms that APIs write it: values in, seconds out.

There is no clock in here: the instant that counts as now is an argument, in seconds since 1970.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

# A number from here on counts milliseconds since 1970: as seconds it would be the year 5138.
LEAST_EPOCH_MS = 1e11
# What is longer holds no wait that we would find by reading on.
MOST_TEXT = 4096

# Longer than any call lasts. What is sent may be thousands of years, which a thread's wait can't even hold
# (threading.TIMEOUT_MAX).
MOST_RETRY_AFTER_SECONDS = 86_400.0

# One header or several of the name, which are one with commas between (RFC 9110, 5.3).
_RETRY_AFTER_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?(\s*,\s*[0-9]{1,12}(\.[0-9]{1,9})?)*", re.ASCII)

_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT = "ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?"
_AMOUNT = rf"([0-9]{{1,15}}(?:,[0-9]{{3}})*(?:\.[0-9]{{1,12}})?) ?({_UNIT})(?![a-z])"
_AMOUNTS = re.compile(_AMOUNT, re.IGNORECASE | re.ASCII)
# A minus before it makes it no wait; digits, a point or a comma, a part of another number.
_DURATION = re.compile(rf"(?<![\w.,+-]){_AMOUNT}(?:(?:,? (?:and )?)?{_AMOUNT}){{0,4}}", re.IGNORECASE | re.ASCII)
# What tells a wait from the limit that stands beside it: "100 requests in 10 seconds; try again in 3 seconds".
_CUE = re.compile(r"\b(?:again|retry|available|wait|reset|after|back)\w*[^.!?;]{0,48}$", re.IGNORECASE)
_PACE = re.compile(r"(?:\bper|\bevery|\beach|/) ?$", re.IGNORECASE)
# ISO 8601 as RFC 3339 has it, and its basic form; Python reads a trailing Z from 3.11 on only.
_ISO = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
    r"(?:[T ]([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]{1,12}))?)?(?: ?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?)?",
    re.IGNORECASE | re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def seconds_of(value: object) -> float | None:
    """Return the seconds that a value asks to wait; None for one that names none, or a negative or endless time.

    A number counts seconds, as do its digits. A text may hold the time with its units (`in 17524 seconds`, `6m0s`).
    """
    if isinstance(value, str):
        text = value[:MOST_TEXT].strip()
        return float(text) if _NUMBER.fullmatch(text) else _named_in(text)
    return _number(value)


def seconds_until(value: object, now_epoch: float) -> float | None:
    """Return the seconds from `now_epoch` to the instant that a value names, 0 for one that has passed; None: none.

    Seconds or milliseconds since 1970, as a number or its digits; ISO 8601; an HTTP date. Without a zone it is UTC.
    """
    epoch = epoch_of(value)
    return None if epoch is None else max(0.0, epoch - now_epoch)


def epoch_of(value: object) -> float | None:
    """Return the instant that a value names, in seconds since 1970; None: it names none."""
    if isinstance(value, str):
        text = value[:MOST_TEXT].strip()
        if not _NUMBER.fullmatch(text):
            epoch = _iso_epoch(text)
            return http_date_epoch(text) if epoch is None else epoch
        value = float(text)
    number = _number(value)
    return number / 1000 if number is not None and number >= LEAST_EPOCH_MS else number


def http_date_epoch(text: str) -> float | None:
    """Return the instant of an HTTP date (RFC 9110, 5.6.7) in seconds since 1970; None for any other text."""
    try:
        return _epoch(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None


def _iso_epoch(text: str) -> float | None:
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, zone = match.group(7) or "", (match.group(8) or "Z").upper()
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(zone))
    except ValueError:
        return None
    return (moment - _EPOCH).total_seconds() + float(f"0.{fraction}0")


def _zone(text: str) -> timezone:
    if text in ("Z", "UTC"):
        return timezone.utc
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]) if len(text) > 3 else 0)
    return timezone(-ahead if text[0] == "-" else ahead)


def _epoch(moment: datetime) -> float:
    # The obsolete asctime form names no zone: it is UTC like the others (RFC 9110, 5.6.7), not this machine's.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _number(value: object) -> float | None:
    """Return a number as a float; None for what is none, negative or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return abs(number) if math.isfinite(number) and number >= 0 else None  # -0.0 is 0


def _named_in(text: str) -> float | None:
    """Return the time with units that a text holds, the one that is a wait rather than a limit's window."""
    times = [match for match in _DURATION.finditer(text) if not _PACE.search(text, 0, match.start())]
    waits = [match for match in times if _CUE.search(text, max(0, match.start() - 64), match.start())]
    return _sum((waits or times)[0].group()) if times else None


def _sum(duration: str) -> float:
    parts = _AMOUNTS.findall(duration)
    return math.fsum(float(number.replace(",", "")) * _UNIT_SECONDS[_short(unit.lower())] for number, unit in parts)


def _short(unit: str) -> str:
    return "ms" if unit.startswith(("ms", "milli")) else unit[0]


def parse_retry_after(text: str | None, now_epoch: float, date: str | None = None) -> float | None:
    """Read a Retry-After header as seconds from `now_epoch`, a day at most; None for one that says nothing usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3); a fraction is taken too, since servers send it, and the longest of
    several. An HTTP date is measured by the clock it was set by: that of the answer's own Date header, if it has one.
    """
    text = (text or "").strip()
    if _RETRY_AFTER_SECONDS.fullmatch(text):
        return min(max(float(seconds) for seconds in text.split(",")), MOST_RETRY_AFTER_SECONDS)
    epoch = http_date_epoch(text)
    if epoch is None:
        return None
    told_at = http_date_epoch(date) if date else None
    return min(max(0.0, epoch - (now_epoch if told_at is None else told_at)), MOST_RETRY_AFTER_SECONDS)
