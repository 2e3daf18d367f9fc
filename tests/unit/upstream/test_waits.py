"""Check how long an upstream asks to wait, in every form in which APIs write it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.upstream.waits import seconds_of, seconds_until

# 1994-11-06 08:49:37 UTC, the instant of RFC 9110's examples.
NOW = 784_111_777.0

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.just([3])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((3, 3.0), (0, 0.0), (-0.0, 0.0), (2.5, 2.5), ("17524", 17524.0), (" 831.0 ", 831.0), ("2.0", 2.0)),
        ("too many requests from this IP, more requests available in 17524 seconds", 17524.0),
        ("Request was throttled. Expected available in 831.0 seconds.", 831.0),
        *(("6m0s", 360.0), ("2m59.56s", 179.56), ("1h2m", 3720.0), ("7.66s", 7.66), ("140ms", 0.14)),
        ("Limit 10000, Used 9990. Please try again in 1m2.94s. Visit us.", 62.94),
        ("Max 100 requests in 10 seconds; try again in 3 seconds.", 3.0),
        ("Retry in 5 seconds (limit 100 per 3600 seconds)", 5.0),
        ("1 hour, 2 minutes and 3 seconds", 3723.0),
        ("in 17,524 Seconds", 17524.0),
    ],
)
def test_wait_is_read_in_every_form(value: object, seconds: float) -> None:
    """Read numbers, their digits and texts that hold a time with its units."""
    assert seconds_of(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, -5, -0.1, math.nan, math.inf, -math.inf, 10**400, [], {}, b"5"),
        *("", "soon", "-5", "-5 seconds", "+5", "1e3", "nan", "inf", "1_0", "９", "9" * 5000, "0x10", "7, 8"),
        *("5 moons", "wait 5", "v2s1", "100 requests per 10 seconds", "Exceeded 2 calls per second", "1.2.3 s"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_what_names_no_wait_is_none(value: object) -> None:
    """Take a value without a wait, a negative or an endless one as none."""
    assert seconds_of(value) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((NOW + 10, 10.0), (784111787, 10.0), ("784111787", 10.0), ("784111787.5", 10.5), (5, 0.0), ("0", 0.0)),
        *((784111787000, 10.0), ("784111787000", 10.0), (784111787500.0, 10.5)),
        *(("1994-11-06T08:49:47Z", 10.0), ("1994-11-06T08:50Z", 23.0), ("1994-11-06 08:49:47 UTC", 10.0)),
        *(("1994-11-06T09:49:47.5+01:00", 10.5), ("1994-11-06t02:49:47-0600", 10.0), ("19941106T084947Z", 10.0)),
        *(("1994-11-06T08:49:47.123456789z", 10.123457), ("1994-11-07", 54_623.0), ("1994-11-06T08:49:47", 10.0)),
        *(("Sun, 06 Nov 1994 08:49:47 GMT", 10.0), ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0)),
        *(("Sunday, 06-Nov-94 08:49:47 GMT", 10.0), ("Sun Nov  6 08:49:47 1994", 10.0), ("1970-01-01", 0.0)),
    ],
)
def test_instant_is_read_in_every_form(value: object, seconds: float) -> None:
    """Read epochs of seconds and milliseconds, ISO 8601 and HTTP dates as seconds from now, none once passed."""
    assert seconds_until(value, NOW) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, -1, "-1", math.nan, math.inf, 10**400, [], "", "tomorrow", "9" * 5000),
        *("1994-13-06T08:49:47Z", "1994-11-06T25:00Z", "1994-11-06T08:49:47+99:00", "1994-11", "GMT"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_what_names_no_instant_is_none(value: object) -> None:
    """Take a value that names no instant as none."""
    assert seconds_until(value, NOW) is None


@pytest.mark.parametrize("read", [seconds_of, lambda value: seconds_until(value, NOW)], ids=["of", "until"])
@given(value=ANYTHING | st.from_regex(r"[0-9TZ:.+ -]{0,40}(s|ms|GMT|seconds)?", fullmatch=True))
def test_whatever_is_read_is_a_wait_or_none(read: Callable[[object], float | None], value: object) -> None:
    """Return a finite number of seconds from 0, or None, for any value whatever."""
    seconds = read(value)

    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize("text", ["1 s " * 300_000, "again " * 200_000, "1,111" * 200_000, "1 s and " * 130_000])
def test_long_text_costs_little(text: str) -> None:
    """Read no more of a body that is a megabyte of times than its beginning."""
    began = time.thread_time()
    seconds_of(text)

    assert time.thread_time() - began < 0.5
