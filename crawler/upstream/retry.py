"""When a song is tried again: backoff, and what a Retry-After header means."""

from __future__ import annotations

import re
from collections.abc import Callable

from crawler.upstream.waits import http_date_epoch

# Equal jitter for throttling: full jitter can collapse to nearly nothing, and spend every retry before a quota refills
# (https://github.com/aws/aws-sdk-net/issues/4341). Full jitter for the rest: the cause is not that we ask too fast.
THROTTLE_BASE_SECONDS = 1.0
RETRY_BASE_SECONDS = 0.05
MOST_SECONDS = 20.0

# Longer than any call lasts. What is sent may be thousands of years, which a thread's wait can't even hold
# (threading.TIMEOUT_MAX).
MOST_RETRY_AFTER_SECONDS = 86_400.0

# One header or several of the name, which are one with commas between (RFC 9110, 5.3).
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?(\s*,\s*[0-9]{1,12}(\.[0-9]{1,9})?)*", re.ASCII)


def backoff(attempt: int, throttles: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait before the next attempt at a song.

    `attempt` counts tries that failed, `throttles` those that were throttled since the last of the others; both are
    doubled up to 20 s. `random` gives a float from 0 to 1. Source of the two kinds of jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if throttles:
        most = _doubled(THROTTLE_BASE_SECONDS, throttles)
        return most / 2 + random() * most / 2
    return random() * _doubled(RETRY_BASE_SECONDS, attempt)


def _doubled(base: float, times: int) -> float:
    return min(MOST_SECONDS, base * 2.0 ** min(times - 1, 30))


def parse_retry_after(text: str | None, now_epoch: float, date: str | None = None) -> float | None:
    """Read a Retry-After header as seconds from `now_epoch`, a day at most; None for one that says nothing usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3); a fraction is taken too, since servers send it, and the longest of
    several. An HTTP date is measured by the clock it was set by: that of the answer's own Date header, if it has one.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return min(max(float(seconds) for seconds in text.split(",")), MOST_RETRY_AFTER_SECONDS)
    epoch = http_date_epoch(text)
    if epoch is None:
        return None
    told_at = http_date_epoch(date) if date else None
    return min(max(0.0, epoch - (now_epoch if told_at is None else told_at)), MOST_RETRY_AFTER_SECONDS)
