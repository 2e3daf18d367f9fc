"""The verdict on one attempt at a song."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from crawler.core.quota import Quota


class Kind(Enum):
    """What one attempt at a song came to; the first three end its attempts."""

    FOUND = "found"
    MISSING = "missing"
    FAILED = "failed"
    REDIRECTED = "redirected"  # the song is elsewhere: asked for there next, which is no failure
    RETRY = "retry"  # this attempt failed, another may not: counted against MAX_ATTEMPTS
    THROTTLED = "throttled"  # the upstream asks us to slow down: not counted
    REFUSED = "refused"  # it seems that the upstream as a whole is not there or refuses us: no song's fault then
    AGAIN = "again"  # made in vain, or not at all, for want of an access token: as if it had not been

    # Members are single objects. Enum's own hash is a function in Python, called several times for every song.
    __hash__ = object.__hash__


class Verdict(msgspec.Struct, frozen=True, eq=False):
    """The judgement on one attempt; two are equal that come to the same, whatever they say beside it."""

    kind: Kind
    info: Any = None
    """What was found: the song; of REDIRECTED what to ask for in the song's stead."""
    error: str | None = None
    """Why the attempt failed, in a stable word."""
    retry_after: float | None = None
    """In how many seconds the upstream wants to be asked again, if it says so; also after a song that was found."""
    reason: str | None = None
    """Why the upstream refuses us, in a sentence for people; of REFUSED alone."""
    quota: Quota | None = None
    """What the answer's headers announce of a quota, if anything."""
    alone: bool = False
    """Only this song waits: its answer is not ready, which says nothing of the upstream."""
    moved_to: int | str | None = None
    """Where a song was found that is known under another number now: that number, else a path."""
    detail: str | None = None
    """What `error` does not say of an answer, in words for people."""
    provisional: bool = False
    """It ends the song only if a song known to be there still comes: else the upstream answers all of them so."""
    requests: int = 1
    """How many went out for this attempt: more where the protocol has a request sent again, or sent elsewhere."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Verdict):
            return NotImplemented
        return self._judgement == other._judgement

    def __hash__(self) -> int:
        return hash((self.kind, self.error, self.retry_after, self.reason))

    @property
    def _judgement(self) -> tuple[Any, ...]:
        return self.kind, self.info, self.error, self.retry_after, self.reason, self.quota, self.moved_to

    @property
    def final(self) -> bool:
        """Tell whether the song needs no further attempt."""
        return self.kind in _FINAL


# Bound once: `Kind.FOUND` is looked up anew each time it is named, which takes 70 ns (CPython 3.11), a module's name 7.
# It is named several times for every song, here and in the modules that do the same.
_FOUND = Kind.FOUND
_FINAL = frozenset({Kind.FOUND, Kind.MISSING, Kind.FAILED})

MISSING = Verdict(Kind.MISSING)
# The same by a status alone: an API that is gone answers so for every song.
ABSENT = Verdict(Kind.MISSING, provisional=True)


# Not asked for at all: the upstream's robots.txt disallows it.
FORBIDDEN = Verdict(Kind.FAILED, error="robots")
# Sent with an access token that is old now; and not sent, since there was none.
AGAIN = Verdict(Kind.AGAIN, error="access_token")
UNSENT = Verdict(Kind.AGAIN, error="access_token")


# An answer that a cache gave where one of the upstream's own was wanted: it tells nothing of that.
CACHED = Verdict(Kind.FAILED)


def found(info: Any) -> Verdict:
    """Judge the song found."""
    return Verdict(_FOUND, info)


def redirected(retry_after: float | None = None) -> Verdict:
    """Judge the song to be elsewhere; `retry_after` is how long it is to wait, and no other song."""
    return Verdict(Kind.REDIRECTED, retry_after=retry_after, alone=True)


def failed(error: str, *, provisional: bool = False) -> Verdict:
    """Judge that no further attempt can help; `provisional`: unless the upstream answers all songs so."""
    return Verdict(Kind.FAILED, error=error, provisional=provisional)


def retry(error: str, retry_after: float | None = None, *, alone: bool = False, detail: str | None = None) -> Verdict:
    """Judge that another attempt may do better; `retry_after` is the upstream's own word on when, in seconds."""
    return Verdict(Kind.RETRY, error=error, retry_after=retry_after, alone=alone, detail=detail)


def throttled(error: str, retry_after: float | None = None) -> Verdict:
    """Judge that the upstream wants fewer requests; `retry_after` is its own word on when, in seconds."""
    return Verdict(Kind.THROTTLED, error=error, retry_after=retry_after)


def refused(reason: str, error: str = "refused") -> Verdict:
    """Judge that the upstream as a whole seems not to answer, whichever song is asked for.

    `reason` is a sentence for that, `error` the word for a song that alone is answered so.
    """
    return Verdict(Kind.REFUSED, error=error, reason=reason, provisional=True)


def announcing(verdict: Verdict, quota: Quota | None) -> Verdict:
    """Judge the same of an answer whose headers announce a quota."""
    return verdict if quota is None else msgspec.structs.replace(verdict, quota=quota)


def sent(verdict: Verdict, requests: int) -> Verdict:
    """Judge the same of an attempt for which so many requests went out."""
    return verdict if requests == verdict.requests else msgspec.structs.replace(verdict, requests=requests)
