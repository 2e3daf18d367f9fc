"""The function fetcher: single-request functions on a real requests.Session, one attempt at a time in each thread.

It is the reference for any faster fetcher. What requests and urllib3 raise becomes a verdict here, and only here.
"""

from __future__ import annotations

import inspect
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
import urllib3

from crawler.adapters.session.connections import HandshakeError, HeadError, LimitedAdapter, take_resent
from crawler.adapters.session.responses import LimitedSession, NotTakenError
from crawler.adapters.session.sockets import time_limit
from crawler.core.errors import SongcrawlError, SongNotFetched
from crawler.core.ports import Observer, Page
from crawler.core.quota import Quota
from crawler.core.verdict import ABSENT, CACHED, Kind, Verdict, announcing, failed, found, retry, sent
from crawler.upstream.builtin_rules import built_in, judge_status
from crawler.upstream.classify import UNRESOLVED, UNTRUSTED, DeclaredSong
from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.response_limits import is_cached, readable
from crawler.upstream.song_requests.redirects import Redirects, item_of
from crawler.upstream.song_requests.template import RequestBody, compile_template, encode_url
from crawler.upstream.waits import parse_retry_after


def open_session(
    max_at_once: int,
    user_agent: str,
    headers: Mapping[str, str] | None = None,
    *,
    max_song_bytes: int = 1 << 20,
    allow_private: bool = False,
    kind: type[LimitedSession] = LimitedSession,
) -> requests.Session:
    """Open a session whose pool fits `max_at_once` threads, and whose responses hold `max_song_bytes` at most.

    It takes nothing from the environment (no proxies, no .netrc), never retries by itself, leaves an origin by no
    redirect, and connects to loopback and private addresses only if allowed.
    """
    session = kind()
    # gzip only: it can be inflated with a bound on what comes out.
    session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip", **(headers or {})})
    adapter = LimitedAdapter(max_at_once, max_song_bytes, allow_private)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class DeclaredFetcher:
    """A fetcher of songs declared by SONG_URL, their verdicts by a DeclaredSong."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        song: DeclaredSong,
        max_song_bytes: int,
        rate_headers: RateHeaders | None = None,
        key_of: Callable[[int], str] | None = None,
        body: RequestBody | None = None,
    ) -> None:
        """`key_of` gives the key of a number; None: an item is its own key. A `body` is posted."""
        self._session = session
        self._url_of = compile_template(url, encode_url, key_of=key_of)
        self._redirects = Redirects(url, self._url_of, posts=body is not None) if song.follows_redirects else None
        self._body = body
        if body:
            for adapter in session.adapters.values():
                if isinstance(adapter, LimitedAdapter):
                    adapter.declare_read("POST")
        self._song = song
        self._max_song_bytes = max_song_bytes
        self._rate_headers = rate_headers
        self.gives_json = song.gives_json

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each request of the session from now on."""
        _observe(self._session, observer)

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Request one song, whole, within `timeout` seconds; raises BadSetting for an address that is not allowed."""
        take_resent()
        verdict = self._attempt(item, timeout)
        return sent(verdict, 1 + take_resent())

    def _attempt(self, item: Any, timeout: float) -> Verdict:
        try:
            with time_limit(timeout), self._ask(item, timeout) as response:
                verdict = self._judge(response)
                if self._redirects:
                    location = response.headers.get("Location")
                    verdict = self._redirects.judge(verdict, item, response.status_code, location)
                return announcing(verdict, _quota(self._rate_headers, response.headers))
        except Exception as error:
            verdict = verdict_of(error)
            if isinstance(self._session, LimitedSession) and self._session.observer:
                self._session.observer.broken(str(error))
            return verdict

    def attempt_fresh(self, item: Any, timeout: float) -> Verdict:
        """Request one song past caches."""
        return _past_caches(self._session, self.attempt, item, timeout)

    def fetch(self, url: str, most_bytes: int, timeout: float) -> Page | Verdict:
        """Ask for another page of the songs' origin: see PageFetcher."""
        try:
            with time_limit(timeout), self._session.get(url, stream=True) as response:
                return Page(response.status_code, response.raw.read(most_bytes, decode_content=True))
        except Exception as error:
            return verdict_of(error)

    def _judge(self, response: requests.Response) -> Verdict:
        status, retry_after, song = response.status_code, _retry_after(response), self._song
        if not song.reads_errors and not 200 <= status < 300:
            response.raw.read(self._max_song_bytes)  # its connection can be used again then
            return song.judge_status(status, retry_after)
        body = self._read(response)
        headers = {name.lower(): value for name, value in response.headers.items()} if song.reads_headers else None
        return song.judge(status, body, retry_after, headers, time.time())

    def _read(self, response: requests.Response) -> bytes | Verdict:
        """Return the body, or why it can't be had."""
        if not readable(response.headers.get("Content-Encoding", "")):
            return retry("invalid_encoding")
        try:
            body: bytes = response.raw.read(self._max_song_bytes + 1, decode_content=True)
        except urllib3.exceptions.DecodeError:
            return retry("invalid_encoding")
        return failed("too_large") if len(body) > self._max_song_bytes else body

    def _ask(self, item: Any, timeout: float) -> requests.Response:
        options: dict[str, Any] = {"stream": True, "allow_redirects": False, "timeout": timeout}
        url = self._redirects.url_of(item) if self._redirects else self._url_of(item)
        if self._body is None:
            return self._session.get(url, **options)
        return self._session.post(url, self._body.of(item_of(item)), headers=self._body.headers, **options)


class FunctionFetcher:
    """A fetcher that tries songs with a user's single-request function, in either form.

    `f(session, song_num)` returns the info; `f(session, song_num, song_urls)` appends `(song_num, info)` to a list.
    With `key_of` both are given the number's key in its place.
    """

    def __init__(
        self,
        session: requests.Session,
        function: Callable[..., Any],
        rate_headers: RateHeaders | None = None,
        key_of: Callable[[int], str] | None = None,
    ) -> None:
        self._session = session
        self._rate_headers = rate_headers
        self._function = function
        self._key_of = key_of
        self._observer: Observer | None = None
        self._appends = _takes_three(function)

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each request of the session, its answer, and what the function raises, from now on."""
        self._observer = observer
        _observe(self._session, observer)

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Call the function for one item; whatever its requests wait for ends after `timeout` seconds in all.

        What its last answer announces of a quota, if it came through the session, goes with the verdict.
        """
        if self._key_of:
            item = self._key_of(item)
        if not isinstance(self._session, LimitedSession):
            return self._call(item, timeout)
        self._session.forget_headers()
        take_resent()
        verdict = self._call(item, timeout)
        verdict = sent(verdict, verdict.requests + take_resent())
        return announcing(verdict, _quota(self._rate_headers, self._session.last_headers))

    def attempt_fresh(self, item: Any, timeout: float) -> Verdict:
        """Call the function for one item, its requests past caches."""
        return _past_caches(self._session, self.attempt, item, timeout)

    def _call(self, item: Any, timeout: float) -> Verdict:
        try:
            with time_limit(timeout):
                info = self._append(item) if self._appends else self._function(self._session, item)
        except SongNotFetched as error:
            return error.verdict
        except SystemExit as error:  # a function's own way out is no reason to end the server
            self._tell(error)
            return retry(type(error).__name__)
        except Exception as error:
            self._tell(error)
            return _verdict_of_function(error)
        return ABSENT if info is None else found(info)

    def _tell(self, error: BaseException) -> None:
        if self._observer:
            self._observer.raised(error)

    def _append(self, item: Any) -> Any:
        song_urls: list[Any] = []
        self._function(self._session, item, song_urls)
        if not song_urls:
            return None
        last = song_urls[-1]
        return last[1] if isinstance(last, tuple) and len(last) == 2 else last


def _observe(session: requests.Session, observer: Observer) -> None:
    if isinstance(session, LimitedSession):
        session.observer = observer


def _past_caches(
    session: requests.Session, attempt: Callable[[Any, float], Verdict], item: Any, timeout: float
) -> Verdict:
    """Try an item whose answer a cache must not give; one that does tells nothing."""
    if not isinstance(session, LimitedSession):
        return attempt(item, timeout)
    with session.past_caches():
        verdict = attempt(item, timeout)
    return CACHED if is_cached({name.lower(): value for name, value in session.last_headers.items()}) else verdict


def _takes_three(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) >= 3


def _quota(rate_headers: RateHeaders | None, headers: Mapping[str, str]) -> Quota | None:
    """Return what headers announce of a quota, if anything does: most hold nothing of the kind."""
    if rate_headers is None or not rate_headers.may_tell("\n".join(headers).encode("latin-1", "replace")):
        return None
    return rate_headers.read({name.lower(): value for name, value in headers.items()}, time.time())


def _retry_after(response: requests.Response) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), time.time(), response.headers.get("Date"))


def _verdict_of_function(error: Exception) -> Verdict:
    """Judge what a user's function raised: an HTTP status as such, anything else is an attempt that failed.

    A status too that no song comes with, such as 204, where the function asked for JSON that was not there.
    """
    by_status = isinstance(error, requests.HTTPError)
    response = error.response if isinstance(error, requests.RequestException) else None
    if response is None or not (by_status or isinstance(error, requests.exceptions.JSONDecodeError)):
        return verdict_of(error)
    status = response.status_code
    if built_in(status).action == "found":
        return retry(f"http_{status}") if by_status else verdict_of(error)
    verdict = judge_status(status, _retry_after(response))
    return retry(verdict.error or "failed") if verdict.kind is Kind.FAILED else verdict


def verdict_of(error: Exception) -> Verdict:
    """Judge an exception by the most telling of those that caused it; raises our own errors on."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, SongcrawlError):
            raise cause
        if isinstance(cause, (NotTakenError, HeadError)):
            return cause.verdict
    for kind, verdict in _VERDICTS:
        if any(isinstance(cause, kind) for cause in causes):
            return verdict
    return retry(type(error).__name__)


_VERDICTS: tuple[tuple[type[BaseException], Verdict], ...] = (
    (urllib3.exceptions.NameResolutionError, UNRESOLVED),
    (HandshakeError, UNTRUSTED),
    (TimeoutError, retry("timeout")),
    # Before the timeouts, one of which urllib3 counts it as: nothing listens there, or no way leads there.
    (urllib3.exceptions.NewConnectionError, retry("connection")),
    (requests.Timeout, retry("timeout")),
    (urllib3.exceptions.TimeoutError, retry("timeout")),
    (urllib3.exceptions.DecodeError, retry("invalid_encoding")),
    (requests.exceptions.ContentDecodingError, retry("invalid_encoding")),
    (requests.exceptions.JSONDecodeError, retry("invalid_json")),
    (requests.TooManyRedirects, failed("redirect")),
    (ssl.SSLError, retry("connection")),
    (requests.ConnectionError, retry("connection")),
    (requests.exceptions.ChunkedEncodingError, retry("connection")),
    (urllib3.exceptions.HTTPError, retry("connection")),
    (ConnectionError, retry("connection")),
)


def _causes(error: BaseException) -> Any:
    """Yield an exception and all it wraps: requests and urllib3 keep the cause in args, `reason` or the context."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
