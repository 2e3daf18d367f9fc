"""Fetchers: which way the songs of a deployment take, and the session and robots.txt they share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from crawler.adapters.robots_fetcher import Fetch, RobotsFile
from crawler.app.access_tokens import access_tokens_of
from crawler.app.json_log import LOGGER
from crawler.app.source_identity import declared_source, function_source
from crawler.core.errors import BadSetting
from crawler.core.ports import Fetcher
from crawler.core.setting_types import PLACEHOLDER, response_rules
from crawler.core.settings import Settings
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.limiter import Limiter
from crawler.runs.spec import Source
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.song_requests.template import RequestBody

# What only a crawl needs is imported at the first one: a cold start that is asked how a run stands waits for none.
if TYPE_CHECKING:
    import requests

    from crawler.adapters.curl.fetcher import CurlFetcher
    from crawler.adapters.session.fetchers import DeclaredFetcher
    from crawler.upstream.rate_headers import RateHeaders


class MakeFetcher(Protocol):
    """What opens a fetcher on a stack that closes it; `key_of` gives the key of a number, where KEYS has some."""

    def __call__(self, opened: ExitStack, key_of: Callable[[int], str] | None = None) -> Fetcher:
        """Open the fetcher."""


def song_of(
    settings: Settings, observe: Callable[[DeclaredSong], DeclaredSong] | None = None
) -> tuple[Source, MakeFetcher]:
    """Name what the settings crawl, and how to open its fetcher; raises BadSetting.

    `observe` may put an observed song in the place of the declared one.
    """
    access_tokens_of(settings)  # raises BadSetting for what can't be, before the first crawl
    if settings.song_function is None:
        url, rules = _declared_url(settings), _response_rules(settings.response_rules)
        _check_keys(settings, url, settings.song_body or "")
        _request_body(settings)  # says what is wrong with it
        source = declared_source(msgspec.structs.replace(settings, response_rules=rules))
        song = _declared_song(settings, rules)
        return source, _declared_fetchers(settings, url, observe(song) if observe else song)
    if settings.song_url is not None:
        raise BadSetting("SONG_URL and SONG_FUNCTION are both set; allowed: one of them.")
    function = _load_function(settings.song_function)
    return function_source(settings, settings.song_function, function), function_fetchers(settings, function)


def session_of(settings: Settings) -> requests.Session:
    """Open a session as the settings want it; one that can send an access token where TOKEN_URL is set."""
    from crawler.adapters.session.fetchers import open_session

    kind: dict[str, Any] = {}
    if settings.token_url:
        from crawler.adapters.session.bearer import BearerSession

        kind["kind"] = BearerSession

    session = open_session(
        settings.max_at_once,
        settings.user_agent,
        settings.song_headers,
        max_song_bytes=settings.max_song_bytes,
        allow_private=settings.allow_private_upstream,
        **kind,
    )
    session.verify = settings.ssl_cert_file or True
    return session


def declared_fetcher(
    settings: Settings, session: requests.Session, key_of: Callable[[int], str] | None = None
) -> DeclaredFetcher:
    """Open the fetcher of the song that SONG_URL declares; raises BadSetting if it declares none."""
    url, song = _declared_url(settings), _declared_song(settings, _response_rules(settings.response_rules))
    return _session_fetcher(settings, session, url, song, key_of)


def bearing(settings: Settings, session: requests.Session, fetcher: Fetcher) -> Fetcher:
    """Return a fetcher that sends the access token through `session`, opened by `session_of`, if one is wanted."""
    tokens = access_tokens_of(settings)
    if tokens is None:
        return fetcher
    from crawler.adapters.session.bearer import BearerFetcher, BearerSession

    assert isinstance(session, BearerSession)
    return BearerFetcher(fetcher, session, tokens)


def robots_file_of(settings: Settings) -> RobotsFile | None:
    """Name the robots.txt to obey; None: there is none to know of, or it is to be ignored."""
    if settings.song_url is None or settings.robots == "ignore":
        return None
    return RobotsFile(settings.song_url, settings.user_agent)


def obey_robots(
    file: RobotsFile,
    fetch: Fetch,
    seconds: float,
    fetcher: Fetcher,
    limiter: Limiter,
    key_of: Callable[[int], str] | None = None,
) -> tuple[Fetcher, Limiter]:
    """Give the fetcher and the limiter as robots.txt asks for, which its host has so many seconds to say."""
    robots = file.obey(fetch, seconds)
    if robots.delay:
        LOGGER.info(f"robots.txt asks for {robots.delay:g} s between two requests")
        limiter = limiter.narrowed(Ceiling(1 / robots.delay))
    return file.fetcher(robots, fetcher, key_of), limiter


def _declared_url(settings: Settings) -> str:
    if settings.song_url is None:
        raise BadSetting(
            "SONG_URL is not set; allowed: a URL template such as https://api.deezer.com/track/{song_num} "
            "(or SOURCE, an API by name; or SONG_FUNCTION, your own single-request function)."
        )
    return settings.song_url


def _declared_song(settings: Settings, rules: list[Any]) -> DeclaredSong:
    return DeclaredSong(settings.song_info, settings.song_missing, settings.song_retry, rules, settings.redirects)


def _request_body(settings: Settings, key_of: Callable[[int], str] | None = None) -> RequestBody | None:
    """Return the body of a POST; raises BadSetting if it can't be sent."""
    if settings.song_method != "POST":
        return None
    return RequestBody(settings.song_body or "", settings.song_headers, key_of)


def _check_keys(settings: Settings, *templates: str) -> None:
    """Raise BadSetting where there are keys and no place for them, or a place and no keys."""
    wanted = any(name.startswith("song_key") for template in templates for name in PLACEHOLDER.findall(template))
    where = "SONG_URL or SONG_BODY" if settings.song_body else "SONG_URL"
    if wanted and settings.keys is None:
        raise BadSetting(f"{where} has {{song_key}}, and KEYS is not set; allowed: both, or {{song_num}} alone.")
    if settings.keys is not None and not wanted:
        raise BadSetting(f"KEYS is set, and {where} has no {{song_key}}; allowed: both, or neither.")


def _response_rules(setting: list[Any] | str) -> list[Any]:
    """Return the rules of a setting, which may name the file that holds them."""
    if not isinstance(setting, str):
        return setting
    try:
        rules = response_rules(Path(setting[1:]).read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no JSON list"
        allowed = "a JSON list of rules, or @file.json with one in it"
        raise BadSetting(f"RESPONSE_RULES is {setting!r}, which can't be read: {reason}; allowed: {allowed}.") from None
    if isinstance(rules, str):
        raise BadSetting(f"RESPONSE_RULES is {setting!r}, a file that names another; allowed: a JSON list in it.")
    return rules


def _declared_fetchers(settings: Settings, url: str, song: DeclaredSong) -> MakeFetcher:
    """Choose the fetcher of declared songs at the first crawl: libcurl's, many in a thread, where it can be had."""

    @cache
    def fetcher_class() -> type[CurlFetcher] | None:
        try:
            from crawler.adapters.curl.fetcher import CurlFetcher
        except ImportError as error:
            LOGGER.warning(f"declared songs are requested by the slower function fetcher: {error}")
            return None
        return CurlFetcher

    def make_fetcher(opened: ExitStack, key_of: Callable[[int], str] | None = None) -> Fetcher:
        if (curl_fetcher := fetcher_class()) is None:
            session = opened.enter_context(session_of(settings))
            return bearing(settings, session, _session_fetcher(settings, session, url, song, key_of))
        return curl_fetcher(
            url,
            song,
            settings.max_song_bytes,
            settings.user_agent,
            settings.song_headers,
            allow_private=settings.allow_private_upstream,
            authorities=settings.ssl_cert_file,
            rate_headers=rate_headers_of(settings),
            key_of=key_of,
            tokens=access_tokens_of(settings),
            body=_request_body(settings, key_of),
        )

    return make_fetcher


def _session_fetcher(
    settings: Settings,
    session: requests.Session,
    url: str,
    song: DeclaredSong,
    key_of: Callable[[int], str] | None,
) -> DeclaredFetcher:
    from crawler.adapters.session.fetchers import DeclaredFetcher

    body = _request_body(settings, key_of)
    return DeclaredFetcher(session, url, song, settings.max_song_bytes, rate_headers_of(settings), key_of, body)


def function_fetchers(settings: Settings, function: Callable[..., Any]) -> MakeFetcher:
    """Say how to open the fetcher of a user's function."""

    def make_fetcher(opened: ExitStack, key_of: Callable[[int], str] | None = None) -> Fetcher:
        from crawler.adapters.session.fetchers import FunctionFetcher

        session = opened.enter_context(session_of(settings))
        return bearing(settings, session, FunctionFetcher(session, function, rate_headers_of(settings), key_of))

    return make_fetcher


def rate_headers_of(settings: Settings) -> RateHeaders | None:
    """Return the reader of limit headers that the settings want; None: they are ignored."""
    if settings.rate_headers == "ignore":
        return None
    from crawler.upstream.rate_headers import RateHeaders

    return RateHeaders(settings.rate_headers if isinstance(settings.rate_headers, dict) else None)


def _load_function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's own code
        # Only what the import itself says is told: an exception of the user's own code may hold a secret.
        told = isinstance(error, (ImportError, AttributeError, SyntaxError))
        reason = f"{type(error).__name__}: {error}" if told else type(error).__name__
        raise BadSetting(f"SONG_FUNCTION is {name!r}, which can't be loaded: {reason}.") from error
    if not callable(function):
        raise BadSetting(f"SONG_FUNCTION is {name!r}, which is no function.")
    return function  # type: ignore[no-any-return]
