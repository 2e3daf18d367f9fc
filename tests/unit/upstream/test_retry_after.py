"""Check what a Retry-After header means: seconds or a date, on every continent."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.upstream.waits import parse_retry_after

# 1994-11-06 08:49:37 UTC, the instant of RFC 9110's examples.
RFC_EPOCH = 784_111_777.0


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this process into another time zone."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system can't change a process's time zone")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0.0, id="at once"),
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(" 7 ", 7.0, id="blanks around"),
        pytest.param("0.5", 0.5, id="a fraction, since servers send it"),
        pytest.param("2.0", 2.0, id="a decimal number"),
        pytest.param("7, 8", 8.0, id="two headers: the longer one"),
        pytest.param("5,5", 5.0, id="the same twice"),
        pytest.param("86400", 86_400.0, id="a day"),
        pytest.param("86401", 86_400.0, id="more than a day"),
        pytest.param("999999999999", 86_400.0, id="thousands of years"),
        pytest.param("Sun, 06 Nov 1994 08:49:47 GMT", 10.0, id="a date"),
        pytest.param("Sunday, 06-Nov-94 08:49:47 GMT", 10.0, id="a date as in RFC 850"),
        pytest.param("Sun Nov  6 08:49:47 1994", 10.0, id="a date as of asctime"),
        pytest.param("Sun, 06 Nov 1994 09:49:47 +0100", 10.0, id="a date with another zone"),
        pytest.param("Sun, 06 Nov 1994 08:00:00 GMT", 0.0, id="a date that has passed"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0, id="the last date there is"),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    """Read both forms of RFC 9110 as seconds from now, from none to a day."""
    assert parse_retry_after(text, RFC_EPOCH) == seconds


def test_date_is_measured_by_the_clock_that_set_it() -> None:
    """Wait two seconds where a server whose clock is an hour ahead names an instant two seconds ahead of its Date."""
    told = "Sun, 06 Nov 1994 09:49:39 GMT"

    assert parse_retry_after(told, RFC_EPOCH, "Sun, 06 Nov 1994 09:49:37 GMT") == 2.0
    assert parse_retry_after(told, RFC_EPOCH, "no date") == 3602.0


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", " ", "soon", "-5", "+5", "1e3", "1_0", "９", "nan", "inf", "-inf", "0x10", "1m0s", "7, x", "7;8"),
        *("1.", ".5", "1.5.5", "10" + "0" * 29, "9" * 5000, "null", "Sun, 99 Nov 1994 08:49:37 GMT", "GMT", "Sun,"),
        *("Sun, 06 Nov 1994 08:49:37 +9999", "Sun, 06 Nov 99999 08:49:37 GMT", "Sun, 06 Nov 1994 25:61:61 GMT"),
    ],
    ids=lambda text: repr(text[:32]) if text else repr(text),
)
def test_retry_after_that_says_nothing_usable_is_none(text: str | None) -> None:
    """Take garbage as if there were no header."""
    assert parse_retry_after(text, RFC_EPOCH) is None


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2},? [0-9A-Za-z:+ -]{0,40}(GMT)?", fullmatch=True))
def test_retry_after_never_raises(text: str) -> None:
    """Give seconds from 0 or None for any text whatever."""
    seconds = parse_retry_after(text, RFC_EPOCH)

    assert seconds is None or 0.0 <= seconds <= 86_400.0


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(
    "text", ["Sun Nov  6 08:49:47 1994", "Sun, 06 Nov 1994 08:49:47 -0000"], ids=["asctime", "-0000"]
)
def test_a_date_without_a_zone_is_utc_everywhere(text: str) -> None:
    """Read an HTTP date as UTC on a machine that keeps another time."""
    assert parse_retry_after(text, RFC_EPOCH) == 10.0
