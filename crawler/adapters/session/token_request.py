"""The request for an access token, by requests: one POST of TOKEN_FORM, with nothing of the songs' session."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests

from crawler.adapters.session.fetchers import open_session, verdict_of
from crawler.adapters.session.sockets import time_limit
from crawler.core.errors import BadSetting
from crawler.upstream.access_token import MOST_ANSWER_BYTES, AccessToken, TokenFailure, no_token, parse_answer
from crawler.upstream.classify import UNRESOLVED, UNTRUSTED
from crawler.upstream.response_limits import readable
from crawler.upstream.waits import parse_retry_after

_REASONS = {
    UNRESOLVED: "its host name can't be resolved",
    UNTRUSTED: "its TLS certificate can't be trusted, or it speaks no TLS we do",
}
_WORDS = {
    "timeout": "it does not answer in time",
    "connection": "it can't be connected to, or breaks off",
    "invalid_encoding": "its answer is compressed otherwise than asked for",
}


def request_token(
    url: str,
    form: Mapping[str, str],
    headers: Mapping[str, str],
    timeout: float,
    *,
    user_agent: str,
    allow_private: bool,
    authorities: str | None = None,
) -> AccessToken | TokenFailure:
    """Ask for a token once, within `timeout` seconds; what went wrong comes back as a failure, none is raised.

    No redirect is followed: it would take the form along. `authorities` names a file of the certificates to trust.
    """
    headers = {"Accept": "application/json", **headers}
    bounds: dict[str, Any] = {"max_song_bytes": MOST_ANSWER_BYTES, "allow_private": allow_private}
    try:
        with time_limit(timeout), open_session(1, user_agent, headers, **bounds) as session:
            session.verify = authorities or True
            sent_at = time.monotonic()
            with session.post(url, data=dict(form), allow_redirects=False, stream=True) as response:
                return _read(response, sent_at)
    except BadSetting as error:  # a private address: whoever deploys must know which
        return TokenFailure(f"TOKEN_URL is not asked. {error}", lasting=True, setting=True)
    except Exception as error:
        return _failure(error)


def _read(response: requests.Response, sent_at: float) -> AccessToken | TokenFailure:
    retry_after = parse_retry_after(response.headers.get("Retry-After"), time.time(), response.headers.get("Date"))
    if not readable(response.headers.get("Content-Encoding", "")):
        return no_token(_WORDS["invalid_encoding"], retry_after)
    body = response.raw.read(MOST_ANSWER_BYTES + 1, decode_content=True)
    return parse_answer(response.status_code, body, retry_after, sent_at)


def _failure(error: Exception) -> TokenFailure:
    """Say what went wrong, without a word of what was sent: exceptions of requests hold it."""
    verdict = verdict_of(error)
    if (reason := _REASONS.get(verdict)) is not None:
        return TokenFailure(f"TOKEN_URL gives no token: {reason}.", lasting=True)
    return no_token(_WORDS.get(verdict.error or "", "its answer can't be read"))
