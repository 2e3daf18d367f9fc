"""What a run learned about an upstream, for the next one to start with: the content of rates/ORIGIN/RUN.json."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

# Older ones tell nothing.
MOST_AGE_SECONDS = 7 * 86400.0


class LearnedRate(msgspec.Struct, frozen=True, kw_only=True):
    """The requests a second and those in flight that an upstream took.

    `throttles`: it takes no more a second. Where it never throttled it may take more.
    """

    per_second: Annotated[float, msgspec.Meta(gt=0)]
    in_flight: Annotated[float, msgspec.Meta(ge=1)]
    throttles: bool = False

    def encode(self) -> bytes:
        """Write the object."""
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> LearnedRate:
        """Read the object; raises ValueError if it is none."""
        return msgspec.json.decode(data, type=cls)


def origin_name(source: str) -> str:
    """Name the upstream of a source in an object's name: scheme, host and port of a URL, without any secret.

    Of a function nothing but its name is known.
    """
    try:
        parts = urlsplit(source)
        if parts.scheme in ("http", "https") and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            source = f"{parts.scheme}-{parts.hostname}{port}"
    except ValueError:
        pass
    return re.sub(r"[^a-z0-9._-]", "_", source.lower())[:200]
