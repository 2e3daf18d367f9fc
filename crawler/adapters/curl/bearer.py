"""Songs asked for with an access token, through libcurl: transfers that send it, and wait where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pycurl

from crawler.adapters.access_tokens import AccessTokens
from crawler.adapters.curl.declared_transfer import DeclaredTransfer
from crawler.core.ports import Transfers
from crawler.core.verdict import AGAIN, UNSENT, Verdict
from crawler.upstream.access_token import AccessToken

# How long after a token has come those who wait for it hear of it, at most.
_LOOK_SECONDS = 0.01


class BearerTransfer(DeclaredTransfer):
    """A transfer whose `token` is that of its song, the song, and the access token to send.

    The list of headers is made anew only where the access token is another.
    """

    def __init__(self, tokens: AccessTokens, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tokens = tokens
        self._access_token: AccessToken | None = None

    def begin(self, token: tuple[Any, Any, AccessToken], item: Any, timeout: float) -> None:
        """Get ready for a song."""
        if token[2] is not self._access_token:
            self._access_token = token[2]
            line = f"Authorization: {token[2].authorization}"
            self._setopt(pycurl.HTTPHEADER, [*self._lines_of_all, line.encode("ascii")])
        super().begin(token, item, timeout)

    def _judge_answer(self, status: int, fields: Mapping[str, str], *, cut: bool) -> Verdict:
        _, item, access_token = self.token
        if status != 401:
            self._tokens.accept(item)
        elif self._tokens.reject(access_token, item):
            return AGAIN
        return super()._judge_answer(status, fields, cut=cut)


class BearerTransfers:
    """Many songs on their way at once, each with the newest access token; while there is none they wait for it."""

    def __init__(self, tokens: AccessTokens, transfers: Transfers) -> None:
        self._tokens = tokens
        self._transfers = transfers
        self._waiting: list[tuple[Any, float]] = []
        self._deadline = 0.0

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt, or have it wait; raises UpstreamUnavailable where no access token can be had."""
        deadline = self._tokens.deadline(timeout)
        access_token = self._tokens.current(deadline)
        if access_token is None:
            self._deadline = deadline
            self._waiting.append((token, time.monotonic() + timeout))
        else:
            self._transfers.start((token, item, access_token), item, timeout)

    def perform(self, seconds: float) -> Sequence[tuple[Any, Verdict]]:
        """Move all transfers on; those that waited come back unsent once there is a token, to be sent in their turn."""
        back = self._back() if self._waiting else []
        if back:
            seconds = 0.0
        elif self._waiting:
            seconds = min(seconds, _LOOK_SECONDS)
        ended = self._transfers.perform(seconds)
        return [*back, *((token, verdict) for (token, _, _), verdict in ended)]

    def close(self) -> None:
        """Cut what is on its way."""
        self._transfers.close()

    def _back(self) -> list[tuple[Any, Verdict]]:
        """Return those that wait no longer: all, once there is an access token, else those whose time is over."""
        now = time.monotonic()
        has_token = self._tokens.current(self._deadline) is not None
        back = [token for token, until in self._waiting if has_token or now >= until]
        self._waiting = [] if has_token else [pair for pair in self._waiting if now < pair[1]]
        return [(token, UNSENT) for token in back]
