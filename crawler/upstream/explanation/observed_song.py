"""A declared song that tells how each answer was judged, and judges it as every crawl does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from crawler.core.verdict import Verdict
from crawler.upstream.classify import DeclaredSong, Judgement


class Answer(msgspec.Struct, frozen=True):
    """One answer, header names in lower case; `body` may be a verdict: why it could not be read.

    `retry_after` is what Retry-After came to, in seconds; `now_epoch` when it came; `judgement` None: a user's function
    was answered, and judges for itself.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Verdict | None
    retry_after: float | None = None
    now_epoch: float = 0.0
    judgement: Judgement | None = None


class ObservedSong(DeclaredSong):
    """A declared song whose answers are told to `tell`, whole: no fetcher takes a short cut around its rules."""

    def __init__(self, song: DeclaredSong, tell: Callable[[Answer], object]) -> None:
        self.__dict__.update(song.__dict__)
        self._tell = tell
        self.reads_headers = self.reads_errors = True

    def judge(
        self,
        status: int,
        body: bytes | Verdict,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        now_epoch: float = 0.0,
    ) -> Verdict:
        """Judge one whole response, and tell of it."""
        judgement = self.decide(status, body, retry_after, headers, now_epoch)
        self._tell(Answer(status, headers or {}, body, retry_after, now_epoch, judgement))
        return judgement.verdict
