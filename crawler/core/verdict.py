"""The verdict on one attempt at a song."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import msgspec


class Kind(Enum):
    """Say what one attempt at a song came to; the first three end its attempts."""

    FOUND = "found"
    MISSING = "missing"
    FAILED = "failed"
    RETRY = "retry"  # this attempt failed, another may not: counted against MAX_ATTEMPTS
    THROTTLED = "throttled"  # the upstream asks us to slow down: not counted
    REFUSED = "refused"  # the upstream as a whole is down or refuses us: no song's fault

    # Members are single objects. Enum's own hash is a function in Python, called several times for every song.
    __hash__ = object.__hash__


class Verdict(msgspec.Struct, frozen=True):
    """Judge one attempt. `error` is a stable word, or for REFUSED a sentence; `retry_after` is in seconds, if given."""

    kind: Kind
    info: Any = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def final(self) -> bool:
        """Tell whether the song needs no further attempt."""
        return self.kind in _FINAL


# A member of an enumeration is looked up anew each time it is named: so is this one, once for every song.
_FOUND = Kind.FOUND
_FINAL = frozenset({Kind.FOUND, Kind.MISSING, Kind.FAILED})

MISSING = Verdict(Kind.MISSING)


# Not asked for at all: the upstream's robots.txt disallows it.
FORBIDDEN = Verdict(Kind.FAILED, error="robots")


def found(info: Any) -> Verdict:
    """Judge the song found."""
    return Verdict(_FOUND, info)


def failed(error: str) -> Verdict:
    """Judge that no further attempt can help."""
    return Verdict(Kind.FAILED, error=error)


def retry(error: str, retry_after: float | None = None) -> Verdict:
    """Judge that another attempt may do better; `retry_after` is the upstream's own word on when, in seconds."""
    return Verdict(Kind.RETRY, error=error, retry_after=retry_after)


def throttled(error: str, retry_after: float | None = None) -> Verdict:
    """Judge that the upstream wants fewer requests; `retry_after` is its own word on when, in seconds."""
    return Verdict(Kind.THROTTLED, error=error, retry_after=retry_after)


def refused(sentence: str) -> Verdict:
    """Judge that the upstream as a whole won't answer, whichever song is asked for."""
    return Verdict(Kind.REFUSED, error=sentence)


class Page(NamedTuple):
    """Hold an answer that is no song, of whatever status; `target` is where it redirects to, if it does."""

    status: int
    body: bytes
    target: str | None = None
