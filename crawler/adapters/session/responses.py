"""Responses of requests that stay within bounds, whatever a single-request function does with them.

A user's function reads as it likes (`response.json()`, `.text`, `.iter_content()`): a body without end, a small one
that inflates to gigabytes, or JSON that two readers understand differently must get past none of these.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

from crawler.core.ports import Observer, SentRequest
from crawler.core.verdict import Verdict, failed, retry
from crawler.upstream.builtin_rules import judge_status
from crawler.upstream.response_limits import MOST_COOKIE_BYTES, MOST_REDIRECTS, NO_CACHE, readable, same_origin
from crawler.upstream.strict_json import decode_json


class NotTakenError(requests.RequestException):
    """An answer that is not taken, for the reason in `verdict`; of requests' own family, as whoever asked expects."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason or verdict.error)
        self.verdict = verdict


class LimitedResponse(requests.Response):
    """A response whose body is `most_bytes` at most, and whose JSON is read strictly."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def iter_content(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield the body, decompressed; all other ways to read it lead through here.

        Raises NotTakenError once it is too large, or for one that is compressed otherwise than we ask for.
        """
        return self._limited(super().iter_content(*args, **kwargs))

    def json(self, **kwargs: Any) -> Any:
        """Read the body as JSON (RFC 8259); with arguments, by Python's own reader. Raises JSONDecodeError."""
        if kwargs:
            return super().json(**kwargs)
        try:
            return decode_json(self.content)
        except ValueError as error:
            raise requests.exceptions.JSONDecodeError(str(error), "", 0, response=self) from None

    def raise_for_status(self) -> None:
        """Raise HTTPError for anything but a 2xx: requests knows neither status 999 nor a redirect to nowhere."""
        super().raise_for_status()
        if not 200 <= self.status_code < 300:
            raise requests.HTTPError(f"status {self.status_code}", response=self)

    def _limited(self, chunks: Iterator[Any]) -> Iterator[Any]:
        if self.ok and not readable(self.headers.get("Content-Encoding", "")):
            self._refuse(retry("invalid_encoding"))
        left = self._most_bytes
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                self._refuse(failed("too_large"))
            yield chunk

    def _refuse(self, verdict: Verdict) -> None:
        self.close()
        raise NotTakenError(verdict if self.ok else judge_status(self.status_code))


class LimitedSession(requests.Session):
    """A session that takes nothing from the environment, is not sent elsewhere, and keeps few cookies.

    A redirect that leaves the origin raises NotTakenError: requests would take the deployment's headers along. An
    `observer`, if there is one, hears of each request and answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = MOST_REDIRECTS
        self.cookies = _FewCookies()
        self._heard = threading.local()
        self.observer: Observer | None = None

    @property
    def last_headers(self) -> Mapping[str, str]:
        """Return the headers of the answer that this thread heard last."""
        return getattr(self._heard, "headers", {})

    def forget_headers(self) -> None:
        """Forget what this thread heard."""
        self._heard.headers = {}

    @contextmanager
    def past_caches(self) -> Iterator[None]:
        """Have this thread's requests answered by the upstream itself, where caches heed that."""
        self._heard.fresh, self._heard.headers = True, {}
        try:
            yield
        finally:
            self._heard.fresh = False

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, and remember the headers of its answer."""
        if getattr(self._heard, "fresh", False):
            request.headers[NO_CACHE[0]] = NO_CACHE[1]
        if self.observer:
            response = self._send_observed(self.observer, request, kwargs)
        else:
            response = super().send(request, **kwargs)
        self._heard.headers = response.headers
        return response

    def _send_observed(self, observer: Observer, request: requests.PreparedRequest, kwargs: Any) -> requests.Response:
        host = urlsplit(request.url or "").netloc
        headers = {"Host": host, **request.headers} if request.headers else {"Host": host}
        observer.sent(SentRequest(request.method or "", request.url or "", list(headers.items())))
        if request.body:
            observer.sent_body(request.body if isinstance(request.body, bytes) else str(request.body).encode())
        try:
            response = super().send(request, **kwargs)
        except (requests.RequestException, OSError) as error:
            observer.broken(str(error))
            raise
        body = None if kwargs.get("stream") else response.content
        observer.answered(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)
        return response

    def merge_environment_settings(self, _url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Merge the settings of a request with the session's, without what requests looks up in vain for each."""
        return {
            "proxies": {**self.proxies, **(proxies or {})},
            "stream": self.stream if stream is None else stream,
            "verify": self.verify if verify is None else verify,
            "cert": self.cert if cert is None else cert,
        }

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request; one of nothing but a URL, as most are, without merging what there is not."""
        hooks = request.hooks.get("response") or self.hooks.get("response")
        extras = (request.headers, request.files, request.data, request.json, request.params, request.auth)
        if any(extras) or request.cookies or hooks or self.auth or self.params or None in self.headers.values():
            return super().prepare_request(request)
        prepared = requests.PreparedRequest()
        prepared.prepare_method(request.method)
        prepared.prepare_url(request.url, None)
        prepared.headers = CaseInsensitiveDict(self.headers.items())  # type: ignore[arg-type]
        prepared.prepare_cookies(self.cookies)
        prepared.prepare_content_length(None)
        return prepared

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **kwargs: Any) -> Iterator[Any]:
        """Follow redirects; one that is not to be followed is left as it came, its body unread."""
        return iter(()) if yield_requests else super().resolve_redirects(*args, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a response redirects to, within its origin; None: it does not."""
        target = super().get_redirect_target(resp)
        if target and not same_origin(resp.url, target):
            resp.close()
            raise NotTakenError(failed("redirect"))
        return target


class _FewCookies(RequestsCookieJar):
    """A jar that keeps no more cookies than a server takes back in one header."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        cookies = sum(_weigh(kept) for kept in self if kept.name != cookie.name) + _weigh(cookie)
        if len("Cookie: ") + cookies - len("; ") + len("\r\n") <= MOST_COOKIE_BYTES:
            super().set_cookie(cookie, *args, **kwargs)


def _weigh(cookie: Cookie) -> int:
    return len(cookie.name) + len(cookie.value or "") + len("=; ")
