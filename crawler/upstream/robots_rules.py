"""What an upstream's robots.txt asks of us (RFC 9309)."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

# RFC 9309, 2.5: a crawler must read as much; what comes after it is passed over.
MOST_ROBOTS_BYTES = 500 << 10

# Answered 4xx, there is no robots.txt; but a server that throttles us says nothing of it.
_UNKNOWN = frozenset({429})


class Robots:
    """What a robots.txt asks of the crawler that calls itself `user_agent`.

    `delay` is the Crawl-delay in seconds, 0 if there is none; `allows` tells of a URL whether it may be asked for, and
    is None where every URL may.
    """

    def __init__(self, text: str, user_agent: str) -> None:
        self.delay = 0.0
        self.allows: Callable[[str], bool] | None = None
        # Most are about nothing, or are a page that says so.
        if re.search(r"^[ \t]*(disallow|crawl-delay)[ \t]*:[ \t]*[^\s#]", text, re.IGNORECASE | re.MULTILINE):
            self._read(text, _product(user_agent))

    def _read(self, text: str, product: str) -> None:
        from protego import Protego  # 15 ms that most upstreams don't need

        rules = Protego.parse(text.removeprefix("\ufeff"))
        if delay := rules.crawl_delay(product):
            self.delay = delay
        self.allows = lambda url: rules.can_fetch(url, product)


def robots_url(url: str) -> str:
    """Name the robots.txt of a URL's origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/robots.txt"


def judge_robots(status: int, body: bytes, user_agent: str) -> Robots | None:
    """Read the answer to a request for robots.txt; None: it tells nothing, so that for now all is disallowed.

    A 4xx means that there is none (RFC 9309, 2.3.1.3), and so does a redirect that we don't follow (2.3.1.2).
    """
    if status >= 500 or status < 200 or status in _UNKNOWN:
        return None
    return Robots(body.decode("utf-8", "replace") if status < 300 else "", user_agent)


def _product(user_agent: str) -> str:
    """Return the name by which a robots.txt calls a crawler: songcrawl of songcrawl/0.1.0 (RFC 9309, 2.2.1)."""
    name = re.match(r"[A-Za-z_-]+", user_agent)
    return name[0] if name else user_agent
