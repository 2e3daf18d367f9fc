"""From a response to a verdict: which status or body means found, missing, failed, throttled, to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.upstream.strict_json import decode_json

if TYPE_CHECKING:
    from crawler.upstream.expression import Expression

# RFC 9110: 408 and 425 ask for another try; 5xx are the server's fault and may pass.
_TRANSIENT = frozenset({408, 425})
_MISSING = frozenset({404, 410})
_REFUSED = {
    401: "The upstream answers 401: it wants credentials; set SONG_HEADERS.",
    407: "The upstream answers 407: a proxy before it wants credentials.",
}


UNRESOLVED = refused("The upstream's host name can't be resolved.")
UNTRUSTED = refused("The upstream's TLS certificate can't be trusted, or it speaks no TLS we do.")


class DeclaredSong:
    """A declared song, whose responses are judged by three JMESPath expressions (https://jmespath.org/specification.html).

    Raises BadSetting, naming the variable, if one does not parse or calls a function that does not exist.
    """

    def __init__(self, info: str = "@", missing: str | None = None, retry: str | None = None) -> None:
        self._info = None if info == "@" else _expression("SONG_INFO", info)
        self._missing = _expression("SONG_MISSING", missing) if missing else None
        self._retry = _expression("SONG_RETRY", retry) if retry else None

    def judge_body(self, body: bytes, retry_after: float | None = None) -> Verdict:
        """Judge the body of a 2xx response."""
        try:
            content = decode_json(body)
        except ValueError:
            return retry("invalid_json")
        if self._retry and self._retry.holds(content):
            return throttled("song_retry", retry_after)
        if self._missing and self._missing.holds(content):
            return MISSING
        info = content if self._info is None else self._info.search(content)
        return failed("no_info") if info is None else found(info)


def judge_status(status: int, retry_after: float | None = None) -> Verdict:
    """Judge a response by its status alone, anything but 2xx: an error's body is never data."""
    if status in _MISSING:
        return MISSING
    if status == 429:
        return throttled(f"http_{status}", retry_after)
    if status in _REFUSED:
        return refused(_REFUSED[status])
    if 300 <= status < 400:
        return failed("redirect")
    if status >= 500 or status < 200 or status in _TRANSIENT:
        return retry(f"http_{status}", retry_after)
    return failed(f"http_{status}")


def _expression(setting: str, text: str) -> Expression:
    from crawler.upstream.expression import Expression  # 3 ms of a cold start, for those alone who set one

    return Expression(setting, text)
