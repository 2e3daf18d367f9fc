"""The limits of a crawl: how often, how long, how fast, how many at once."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What bounds the work: tries a song, seconds a request, requests a second (0: no ceiling), requests in flight."""

    max_attempts: int = 4
    request_timeout: float = 10.0
    max_per_second: float = 0.0
    max_at_once: int = 100

    def lowered(self, max_per_second: float | None, max_at_once: int | None) -> Limits:
        """Return the limits with what a call sets lower; None: as they are."""
        return msgspec.structs.replace(
            self, max_per_second=max_per_second or self.max_per_second, max_at_once=max_at_once or self.max_at_once
        )
