"""Songs asked for with an access token, through requests: a session that sends it, a fetcher that has it renewed."""

from __future__ import annotations

import threading
from typing import Any

import requests

from crawler.adapters.access_tokens import AccessTokens
from crawler.adapters.session.responses import LimitedSession
from crawler.core.ports import Observer, Page
from crawler.core.verdict import AGAIN, UNSENT, Verdict
from crawler.upstream.access_token import AccessToken


class BearerSession(LimitedSession):
    """A session that sends the access token of the attempt that its thread makes.

    A request that has an Authorization of its own keeps that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._attempt = threading.local()

    def begin(self, token: AccessToken) -> None:
        """Send this token with the requests of this thread."""
        self._attempt.authorization = token.authorization
        self._attempt.refused = False

    def end(self) -> bool:
        """Send it no longer; True: one of the requests with it was answered 401."""
        self._attempt.authorization = None
        refused: bool = self._attempt.refused
        return refused

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, with the token."""
        authorization: str | None = getattr(self._attempt, "authorization", None)
        if authorization:
            request.headers.setdefault("Authorization", authorization)
        response = super().send(request, **kwargs)
        if authorization and response.status_code == 401 and request.headers["Authorization"] == authorization:
            self._attempt.refused = True
        return response


class BearerFetcher:
    """A fetcher whose attempts carry the access token, through the session of `fetcher`."""

    def __init__(self, fetcher: Any, session: BearerSession, tokens: AccessTokens) -> None:
        self._fetcher = fetcher
        self._session = session
        self._tokens = tokens
        self.gives_json = getattr(fetcher, "gives_json", False)

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Try one item, once there is a token; raises UpstreamUnavailable where none can be had."""
        deadline = self._tokens.deadline(timeout)
        token = self._tokens.current(deadline)
        if token is None:
            self._tokens.wait(timeout, deadline)
            return UNSENT
        self._session.begin(token)
        try:
            verdict: Verdict = self._fetcher.attempt(item, timeout)
        finally:
            refused = self._session.end()
        if not refused:
            self._tokens.accept(item)
        elif self._tokens.reject(token, item):
            return AGAIN
        return verdict

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each request of the session from now on."""
        self._fetcher.observe(observer)

    def fetch(self, url: str, most_bytes: int, timeout: float) -> Page | Verdict:
        """Ask for another page of the songs' origin, without the token: see PageFetcher."""
        page: Page | Verdict = self._fetcher.fetch(url, most_bytes, timeout)
        return page
