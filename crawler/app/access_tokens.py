"""The access token of a deployment: TOKEN_URL, TOKEN_FORM and TOKEN_HEADERS put together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crawler.adapters.access_tokens import AccessTokens
from crawler.core.errors import BadSetting
from crawler.core.redaction import redact_url
from crawler.core.settings import Settings
from crawler.upstream.access_token import CLIENT_CREDENTIALS, AccessToken, TokenFailure

_Pairs = tuple[tuple[str, str], ...]


def access_tokens_of(settings: Settings) -> AccessTokens | None:
    """Return the access token of the settings, the same for all calls of this process; None: none is wanted.

    Raises BadSetting for settings that contradict each other.
    """
    if settings.token_url is None:
        for name, value in (("TOKEN_FORM", settings.token_form), ("TOKEN_HEADERS", settings.token_headers)):
            if value:
                raise BadSetting(f"{name} is set, and TOKEN_URL is not; allowed: both, or neither.")
        return None
    _check(settings, settings.token_url)
    return _access_tokens(
        settings.token_url,
        _pairs(settings.token_form or CLIENT_CREDENTIALS),
        _pairs(settings.token_headers),
        settings.request_timeout_seconds,
        settings.user_agent,
        settings.ssl_cert_file,
        allow_private=settings.allow_private_upstream,
    )


def _check(settings: Settings, url: str) -> None:
    if url.startswith("http:") and not settings.allow_private_upstream:
        raise BadSetting(
            f"TOKEN_URL is {redact_url(url)!r}, which would send TOKEN_FORM in the clear; "
            "allowed: an https URL (http too with ALLOW_PRIVATE_UPSTREAM=1, for tests)."
        )
    if any(name.lower() == "authorization" for name in settings.song_headers):
        raise BadSetting(
            "SONG_HEADERS has Authorization, and TOKEN_URL gives another; allowed: one of them "
            "(what TOKEN_URL itself wants goes into TOKEN_HEADERS)."
        )


def _pairs(fields: Mapping[str, str]) -> _Pairs:
    return tuple(sorted(fields.items()))


@lru_cache(64)
def _access_tokens(
    url: str,
    form: _Pairs,
    headers: _Pairs,
    timeout: float,
    user_agent: str,
    authorities: str | None,
    *,
    allow_private: bool,
) -> AccessTokens:
    options: dict[str, Any] = {"user_agent": user_agent, "authorities": authorities, "allow_private": allow_private}

    def ask(seconds: float) -> AccessToken | TokenFailure:
        from crawler.adapters.session.token_request import request_token  # 30 ms, for those alone who set TOKEN_URL

        return request_token(url, dict(form), dict(headers), seconds, **options)

    return AccessTokens(ask, timeout)
