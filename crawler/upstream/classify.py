"""From a response to a verdict: which status or body means found, missing, failed, throttled, to be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crawler.core.verdict import Kind, Verdict, failed, refused, retry
from crawler.upstream.builtin_rules import REDIRECT_RULES, built_in
from crawler.upstream.response_rules import NO_DECISION, ResponseRules, Rule, paused
from crawler.upstream.strict_json import decode_json

if TYPE_CHECKING:
    from crawler.upstream.expression import Expression

UNRESOLVED = refused("The upstream's host name can't be resolved.", "dns")
UNTRUSTED = refused("The upstream's TLS certificate can't be trusted, or it speaks no TLS we do.", "tls")

_NO_JSON = object()
# Bound once, as in core/verdict.py.
_FOUND = Kind.FOUND


class Judgement(NamedTuple):
    """A verdict, the rule that gave it, and the one that asked for a pause beside it, if any did."""

    verdict: Verdict
    rule: Rule
    paused_by: Rule | None = None


class DeclaredSong:
    """A declared song: judges responses by the deployment's rules, SONG_RETRY, SONG_MISSING, then the built-in rules.

    `reads_headers`: some rule may ask for any header. `reads_errors`: bodies of other answers than 2xx may decide.
    `follows_redirects`: a redirect is to be followed, see upstream/song_requests/redirects.py.
    `gives_json`: infos are what strict JSON says, so that nobody need look whether JSON can hold them.
    """

    def __init__(
        self,
        info: str = "@",
        missing: str | None = None,
        retry: str | None = None,
        rules: Sequence[Any] = (),
        redirects: str = "fail",
    ) -> None:
        """Read JMESPath expressions (https://jmespath.org/specification.html) and rules.

        Raises BadSetting, naming the variable, for one that does not parse or calls a function that does not exist.
        """
        self._info = None if info == "@" else _expression("SONG_INFO", info)
        self._search = self._info.search if self._info else None
        self._missing = _expression("SONG_MISSING", missing) if missing else None
        self._retry = _expression("SONG_RETRY", retry) if retry else None
        self._missing_rule = Rule(name="SONG_MISSING", says=missing or "", action="missing")
        self._retry_rule = Rule(name="SONG_RETRY", says=retry or "", action="throttled", error="song_retry")
        self._asks = bool(missing or retry)
        self._rules = ResponseRules(rules)
        self._redirect_rule = REDIRECT_RULES.get(redirects)
        self.follows_redirects = redirects == "follow"
        self.reads_headers = bool(self._rules)
        self.reads_errors = self.reads_headers or self._asks
        self.gives_json = self._info is None or self._info.plain

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
        return self._decide(status, body, retry_after, headers, now_epoch)[0]

    def decide(
        self,
        status: int,
        body: bytes | Verdict,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        now_epoch: float = 0.0,
    ) -> Judgement:
        """Judge one whole response, and say which rule gave the verdict: see `judge`."""
        return Judgement(*self._decide(status, body, retry_after, headers, now_epoch))

    def _decide(
        self,
        status: int,
        body: bytes | Verdict,
        retry_after: float | None,
        headers: Mapping[str, str] | None,
        now_epoch: float,
    ) -> tuple[Verdict, Rule, Rule | None]:
        content, own = _content(body), NO_DECISION
        if self._rules:
            answer = {"status": status, "headers": headers or {}, "body": _told(body, content), "asked": 1}
            own = self._rules.decide(answer, now_epoch)
        rule = own.rule or (self._asks and self._said(content)) or self._rule_of(status)
        if rule.action != "found":
            verdict = rule.verdict(status, own.wait, retry_after)
        else:
            verdict = paused(self._found(body, content), own.wait) if own.wait else self._found(body, content)
        return paused(verdict, own.pause) if own.pause else verdict, rule, own.paused_by

    def judge_status(self, status: int, retry_after: float | None = None) -> Verdict:
        """Judge a response by its status alone, where no body but that of a 2xx may decide."""
        return self._rule_of(status).verdict(status, None, retry_after)

    def _rule_of(self, status: int) -> Rule:
        rule = self._redirect_rule
        return rule if rule and rule.fits({"status": status}) else built_in(status)

    def judge_body(self, body: bytes, retry_after: float | None = None) -> Verdict:
        """Judge the body of a 200 where there are no rules; the same as `judge`, for what nearly every answer is."""
        try:
            content = decode_json(body)
        except ValueError:
            return retry("invalid_json")
        if self._asks and (rule := self._said(content)):
            return rule.verdict(200, None, retry_after)
        return self._pick(content)

    def _said(self, content: Any) -> Rule | None:
        """Return the rule by which a JSON body decides, whatever the status; None: neither expression is true of it."""
        if content is _NO_JSON:
            return None
        if self._retry and self._retry.holds(content):
            return self._retry_rule
        return self._missing_rule if self._missing and self._missing.holds(content) else None

    def _found(self, body: bytes | Verdict, content: Any) -> Verdict:
        if isinstance(body, Verdict):
            return body
        if content is _NO_JSON:
            return retry("invalid_json")
        return self._pick(content)

    def _pick(self, content: Any) -> Verdict:
        info = content if self._search is None else self._search(content)
        return failed("no_info") if info is None or (info.__class__ is dict and _blank(info)) else Verdict(_FOUND, info)


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
