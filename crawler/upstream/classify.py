"""From a response to a verdict: which status or body means found, missing, failed, throttled, to be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crawler.core.verdict import MISSING, Verdict, failed, found, refused, retry, throttled
from crawler.upstream.builtin_rules import built_in
from crawler.upstream.response_rules import ResponseRules, paused
from crawler.upstream.strict_json import decode_json

if TYPE_CHECKING:
    from crawler.upstream.expression import Expression

UNRESOLVED = refused("The upstream's host name can't be resolved.")
UNTRUSTED = refused("The upstream's TLS certificate can't be trusted, or it speaks no TLS we do.")

_NO_JSON = object()


class DeclaredSong:
    """A declared song: judges responses by the deployment's rules, SONG_RETRY, SONG_MISSING, then the built-in rules.

    `reads_headers`: some rule may ask for any header. `reads_errors`: bodies of other answers than 2xx may decide.
    `gives_json`: infos are what strict JSON says, so that nobody need look whether JSON can hold them.
    """

    def __init__(
        self,
        info: str = "@",
        missing: str | None = None,
        retry: str | None = None,
        rules: Sequence[Any] = (),
    ) -> None:
        """Read JMESPath expressions (https://jmespath.org/specification.html) and rules.

        Raises BadSetting, naming the variable, for one that does not parse or calls a function that does not exist.
        """
        self._info = None if info == "@" else _expression("SONG_INFO", info)
        self._missing = _expression("SONG_MISSING", missing) if missing else None
        self._retry = _expression("SONG_RETRY", retry) if retry else None
        self._asks = bool(missing or retry)
        self._rules = ResponseRules(rules)
        self.reads_headers = bool(self._rules)
        self.reads_errors = self.reads_headers or self._asks
        self.gives_json = self._info is None

    def judge(
        self,
        status: int,
        body: bytes | Verdict,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        now_epoch: float = 0.0,
    ) -> Verdict:
        """Judge one whole response.

        `body` may be a verdict: why it could not be read, which holds if no rule decides without it. The names of the
        `headers` are in lower case; they and the time matter where `reads_headers`, the body of an error where
        `reads_errors`.
        """
        content = _content(body)
        if not self._rules:
            return self._judge(status, body, content, retry_after)
        answer = {"status": status, "headers": headers or {}, "body": _told(body, content), "asked": 1}
        rule, wait, pause = self._rules.decide(answer, now_epoch)
        if rule is None:
            verdict = self._judge(status, body, content, retry_after)
        elif rule.action == "found":
            verdict = paused(self._found(body, content), wait)
        else:
            verdict = rule.verdict(status, wait, retry_after)
        return paused(verdict, pause)

    def judge_body(self, body: bytes, retry_after: float | None = None) -> Verdict:
        """Judge the body of a 200 where there are no rules; the same as `judge`, for what nearly every answer is."""
        try:
            content = decode_json(body)
        except ValueError:
            return retry("invalid_json")
        if self._asks and (verdict := self._said(content, retry_after)):
            return verdict
        return self._pick(content)

    def _judge(self, status: int, body: bytes | Verdict, content: Any, retry_after: float | None) -> Verdict:
        if self._asks and content is not _NO_JSON and (verdict := self._said(content, retry_after)):
            return verdict
        rule = built_in(status)
        return self._found(body, content) if rule.action == "found" else rule.verdict(status, None, retry_after)

    def _said(self, content: Any, retry_after: float | None) -> Verdict | None:
        """Judge what a JSON body says, whatever the status; None: nothing that SONG_RETRY or SONG_MISSING tells."""
        if self._retry and self._retry.holds(content):
            return throttled("song_retry", retry_after)
        return MISSING if self._missing and self._missing.holds(content) else None

    def _found(self, body: bytes | Verdict, content: Any) -> Verdict:
        if isinstance(body, Verdict):
            return body
        if content is _NO_JSON:
            return retry("invalid_json")
        return self._pick(content)

    def _pick(self, content: Any) -> Verdict:
        info = content if self._info is None else self._info.search(content)
        return failed("no_info") if info is None or (info.__class__ is dict and _blank(info)) else found(info)


def _content(body: bytes | Verdict) -> Any:
    try:
        return _NO_JSON if isinstance(body, Verdict) else decode_json(body)
    except ValueError:
        return _NO_JSON


def _told(body: bytes | Verdict, content: Any) -> Any:
    """Return the body as rules see it: the JSON, else the text, null where it could not be read."""
    if content is not _NO_JSON:
        return content
    return None if isinstance(body, Verdict) else body.decode("utf-8", "replace")


def _blank(info: dict[str, Any]) -> bool:
    """Tell whether an object has values, and all are null: nothing of what SONG_INFO names is in the body."""
    for value in info.values():
        if value is not None:
            return False
    return bool(info)


def _expression(setting: str, text: str) -> Expression:
    from crawler.upstream.expression import Expression  # 3 ms of a cold start, for those alone who set one

    return Expression(setting, text)
