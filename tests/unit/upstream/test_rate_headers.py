"""Check that what is left of a quota is read from the headers of every dialect, and that garbage is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.quota import Quota
from crawler.core.setting_types import rate_headers
from crawler.upstream.rate_headers import RateHeaders

# 2027-01-15 08:00:00 UTC.
NOW = 1_800_000_000.0
AUTO = RateHeaders()


def headers(*lines: str) -> dict[str, str]:
    """Make headers of lines as they stand in a response."""
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize(
    ("lines", "quota"),
    [
        (['RateLimit: "default";r=50;t=30'], Quota(None, 50, 30, policy="default")),
        (['RateLimit: "default";r=50'], Quota(None, 50, policy="default")),
        (["RateLimit: default;r=50;t=5"], Quota(None, 50, 5, policy="default")),
        (
            [
                'RateLimit: "burst";r=5;t=3, "daily";r=900;t=40000',
                'RateLimit-Policy: "burst";q=100;w=60,"daily";q=1000;w=86400',
            ],
            Quota(100, 5, 3, 60, "burst"),
        ),
        (
            [
                'RateLimit: "burst";r=5;t=3, "daily";r=0;t=40000',
                'RateLimit-Policy: "burst";q=100;w=60,"daily";q=1000;w=86400',
            ],
            Quota(1000, 0, 40000, 86400, "daily"),
        ),
        (
            ['RateLimit: "10-in-5sec"; r=9; t=5', 'RateLimit-Policy: "10-in-5sec"; q=10; w=5; pk=:NjA0YWY=:'],
            Quota(10, 9, 5, 5, "10-in-5sec"),
        ),
        (
            [
                'RateLimit: "bytes";r=5;t=3, "r";r=900;t=9',
                'RateLimit-Policy: "bytes";q=9;w=9;qu="content-bytes", "r";q=1000;w=9',
            ],
            Quota(1000, 900, 9, 9, "r"),
        ),
        (["RateLimit: limit=100, remaining=50, reset=5"], Quota(100, 50, 5)),
        (["RateLimit-Limit: 100, 100;w=60", "RateLimit-Remaining: 7", "RateLimit-Reset: 50"], Quota(100, 7, 50)),
        (["X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 1800000005"], Quota(60, 5, 5)),
        (["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 1800000005500"], Quota(None, 5, 5.5, exact=True)),
        (["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 11987"], Quota(None, 5, 11987)),
        (["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 4.25"], Quota(None, 5, 4.25, exact=True)),
        (["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 2027-01-15T08:01Z"], Quota(None, 5, 60)),
        (["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: Fri, 15 Jan 2027 08:00:05 GMT"], Quota(None, 5, 5)),
        (["X-Rate-Limit-Remaining: 5", "X-Rate-Limit-Reset: 9"], Quota(None, 5, 9)),
        (
            ["X-RateLimit-Remaining: 5", "X-RateLimit-Reset-After: 0.75", "X-RateLimit-Reset: 1800000000"],
            Quota(None, 5, 0.75, exact=True),
        ),
        (["X-Shopify-Shop-Api-Call-Limit: 32/40"], Quota(40, 8, 16, 20, exact=True)),
        (["X-Rate-Limit-Limit: 50", "X-Rate-Limit-Interval: 1s"], Quota(50, None, None, 1)),
        (["X-Discogs-Ratelimit: 60", "X-Discogs-Ratelimit-Remaining: 59"], Quota(60, 59, None, 60)),
        (
            [
                "X-HubSpot-RateLimit-Max: 100",
                "X-HubSpot-RateLimit-Remaining: 98",
                "X-HubSpot-RateLimit-Interval-Milliseconds: 10000",
            ],
            Quota(100, 98, None, 10),
        ),
        (
            [
                "RateLimit-Limit: 600",
                "RateLimit-Remaining: 599",
                "RateLimit-Reset: 1800000030",
                "RateLimit-ResetTime: Fri, 15 Jan 2027 08:00:30 GMT",
            ],
            Quota(600, 599, 30),
        ),
        (["X-Rate-Limit: 700", "X-Rate-Limit-Remaining: 699", "ratelimit-reset: 41"], Quota(700, 699, 41)),
        (
            [
                "x-ratelimit-limit-requests: 60",
                "x-ratelimit-remaining-requests: 59",
                "x-ratelimit-reset-requests: 6m0s",
            ],
            Quota(60, 59, 360),
        ),
        (["X-RateLimit-Limit: 3", "X-RateLimit-Remaining: 0"], Quota(3, 0)),
        (
            ["X-RateLimit-Remaining: 5", "X-RateLimit-Reset: 1800003605", "Date: Fri, 15 Jan 2027 09:00:00 GMT"],
            Quota(None, 5, 5),
        ),
    ],
    ids=lambda value: value[0][:60] if isinstance(value, list) else "",
)
def test_quota_is_read_in_every_dialect(lines: list[str], quota: Quota) -> None:
    """Read the tightest quota, by the clock of the server where that differs; its head is found worth reading."""
    assert AUTO.read(headers(*lines), NOW) == quota
    assert AUTO.may_tell("".join(f"{line}\r\n" for line in lines).encode())


@pytest.mark.parametrize(
    "line",
    [
        *('RateLimit: "default";r=50;t=30,', "RateLimit: x=;", 'RateLimit: "default', "RateLimit: \x00", "RateLimit: "),
        *('RateLimit: "default";r=-1', 'RateLimit: "a";r=1 "b"', "RateLimit: limit=100, remaining=x", "Ratelimit: 5"),
        *("X-RateLimit-Remaining: -1", "X-RateLimit-Remaining: soon", "X-RateLimit-Limit: 5", "X-Left: 3"),
        *("X-Shopify-Shop-Api-Call-Limit: 32", "X-Shopify-Shop-Api-Call-Limit: 1/0", "Content-Type: text/plain"),
    ],
)
def test_what_is_malformed_is_ignored(line: str) -> None:
    """Take a header that can't be read as if it were not there."""
    assert AUTO.read(headers(line), NOW) is None


@given(st.sampled_from(["ratelimit", "ratelimit-policy", "x-ratelimit-reset"]), st.text(max_size=80))
def test_any_text_is_a_quota_or_none(name: str, text: str) -> None:
    """Raise for no text whatever, and read no negative time."""
    fields = {"ratelimit": '"a";r=1', "x-ratelimit-remaining": "1"} | {name: text}
    quota = AUTO.read(fields, NOW)

    assert quota is None or (quota.reset_seconds or 0.0) >= 0


def test_headers_can_be_named() -> None:
    """Read those that a deployment names, and no other."""
    named = RateHeaders({"remaining": "X-Left", "reset": "x-again"})

    assert named.read(headers("X-Left: 3", "X-Again: 7", "X-RateLimit-Remaining: 0"), NOW) == Quota(None, 3, 7)
    assert named.read(headers("X-RateLimit-Remaining: 0"), NOW) is None
    assert named.may_tell(b"HTTP/1.1 200 OK\r\nX-Left: 3\r\n")
    assert not named.may_tell(b"HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 0\r\n")


def test_setting_takes_words_and_names() -> None:
    """Read auto, ignore and a JSON object that names at least what is left."""
    assert (rate_headers("auto"), rate_headers("ignore")) == ("auto", "ignore")
    assert rate_headers('{"remaining": "x-left"}') == {"remaining": "x-left"}
    for text in ("", "Auto", "[]", "{}", '{"reset": "x"}', '{"remaining": ""}', '{"remaining": "a b"}'):
        with pytest.raises(ValueError, match=r".*"):
            rate_headers(text)
