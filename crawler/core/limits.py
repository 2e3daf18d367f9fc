"""The limits of a crawl: how often, how long, how fast, how many at once."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bound the work: tries a song, seconds a request, requests a second (0: no ceiling), requests in flight."""

    max_attempts: int = 4
    request_timeout: float = 10.0
    max_per_second: float = 0.0
    max_at_once: int = 100
