"""What is shown of a song that was tried: request, answer, verdict, row and hints, secrets left out."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from crawler.core.ports import SentRequest
from crawler.core.redaction import Redactor
from crawler.core.verdict import Kind, Verdict, failed
from crawler.formats.jsonl_rows import encode_row, with_key
from crawler.upstream.builtin_rules import built_in
from crawler.upstream.explanation.header_readings import HeaderReading, quota_of, quota_sentence, read_headers
from crawler.upstream.explanation.hints import hints
from crawler.upstream.explanation.trial_facts import TrialFacts
from crawler.upstream.explanation.verdict_words import consequence, meaning, rule_words
from crawler.upstream.response_rules import Rule

# What stands in a verdict's place where nothing was asked for.
NOT_ASKED = "not_asked"

_OURS, _LIBRARIES = str(Path(__file__).parents[2]), "site-packages"


class ShownRequest(msgspec.Struct, frozen=True):
    """A request that was sent, secrets left out."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: str = ""


class ShownRule(msgspec.Struct, frozen=True):
    """A rule: which one, and what stands in it."""

    name: str
    says: str


class Trial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One song that was tried, all of it fit to be shown: secrets are left out.

    `verdict` is a Kind's word, or `not_asked`; `meaning` says what it means, `row` is what would be stored as JSON,
    `then` what a crawl would do.
    """

    song_num: int
    key: str | None = None
    requests: Sequence[ShownRequest] = ()
    status: int | None = None
    phrase: str = ""
    seconds: float | None = None
    headers: Sequence[HeaderReading] = ()
    other_headers: Sequence[str] = ()
    quota: str = ""
    body: str | None = None
    body_bytes: int = 0
    broken: str = ""
    traceback: str = ""
    verdict: str
    error: str | None = None
    meaning: str = ""
    rule: ShownRule | None = None
    paused_by: ShownRule | None = None
    row: str = ""
    then: str = ""
    hints: Sequence[str] = ()

    @property
    def found(self) -> bool:
        """Tell whether the song was found."""
        return self.verdict == Kind.FOUND.value

    @property
    def ends(self) -> bool:
        """Tell whether other songs would end alike: the upstream refuses us, or may not be asked."""
        return self.verdict in (Kind.REFUSED.value, NOT_ASKED)


def make_trial(
    facts: TrialFacts,
    redactor: Redactor,
    requests: Iterable[tuple[SentRequest, bytes]],
    seconds: float | None,
    error: BaseException | None,
) -> Trial:
    """Return what is shown: the requests with their bodies, how long they took, what a user's function raised."""
    return _Showing(facts, redactor, error).trial(requests, seconds)


class _Showing:
    """A song that was tried, turned into what may be shown of it."""

    def __init__(self, facts: TrialFacts, redactor: Redactor, error: BaseException | None) -> None:
        self._facts = facts
        self._redactor = redactor
        self._error = error

    def trial(self, requests: Iterable[tuple[SentRequest, bytes]], seconds: float | None) -> Trial:
        facts, show = self._facts, self._redactor.text
        answer, headers = facts.answer, self._headers()
        quota = quota_of(answer, facts.rate_headers) if answer else None
        told = {"content-length", *(reading.name for reading in headers)}
        return Trial(
            song_num=facts.song_num,
            key=facts.key,
            requests=[self._request(*sent) for sent in requests],
            status=answer.status if answer else None,
            phrase=_phrase(facts.status),
            seconds=None if seconds is None else round(seconds, 3),
            headers=headers,
            other_headers=[name for name in answer.headers if name not in told] if answer else [],
            quota=quota_sentence(quota) if quota else "",
            body=show(facts.body.decode("utf-8", "replace")) if answer and isinstance(answer.body, bytes) else None,
            body_bytes=len(facts.body),
            broken="" if answer else show(facts.broken),
            traceback=show(_traceback(self._error, facts.verdict)),
            **self._outcome(facts.verdict),
            hints=[show(hint) for hint in hints(facts)],
        )

    def _request(self, request: SentRequest, body: bytes) -> ShownRequest:
        show = self._redactor
        headers = [(name, show.header(name, value)) for name, value in request.headers]
        return ShownRequest(request.method, show.text(request.url), headers, show.text(body.decode("utf-8", "replace")))

    def _headers(self) -> list[HeaderReading]:
        if self._facts.answer is None:
            return []
        readings = read_headers(self._facts.answer, self._facts.rate_headers)
        return [HeaderReading(r.name, self._redactor.text(r.value), self._redactor.text(r.reading)) for r in readings]

    def _outcome(self, verdict: Verdict | None) -> dict[str, Any]:
        """Return the verdict, the rule that gave it, and what would come of it."""
        facts, show = self._facts, self._redactor.text
        if verdict is None:
            return {"verdict": NOT_ASKED, "meaning": show(facts.refusal)}
        judgement = facts.answer.judgement if facts.answer else None
        return {
            "verdict": verdict.kind.value,
            "error": verdict.error,
            "meaning": show(meaning(verdict)),
            "rule": self._rule(judgement.rule) if judgement else self._rule_of_function(verdict),
            "paused_by": self._rule(judgement.paused_by) if judgement and judgement.paused_by else None,
            "row": show(_row(facts, verdict)),
            "then": consequence(verdict, facts.settings),
        }

    def _rule(self, rule: Rule) -> ShownRule:
        return ShownRule(rule_words(rule, self._facts.status), self._redactor.text(rule.says))

    def _rule_of_function(self, verdict: Verdict) -> ShownRule | None:
        """Say what a user's function did; None: there is none, and no answer to judge."""
        function = self._facts.settings.song_function
        if function is None:
            return None
        did = "gave no info (None)" if verdict.kind is Kind.MISSING else "gave an info"
        if self._error is not None:
            did = f"raised {type(self._error).__name__}{self._by_status(verdict)}"
        return ShownRule(f"SONG_FUNCTION {function}", f"it {did}")

    def _by_status(self, verdict: Verdict) -> str:
        """Name the rule for the status that the function raised, if the verdict is by that."""
        status = self._facts.status
        if not status or verdict.error not in (None, f"http_{status}", built_in(status).error):
            return ""
        return f" after a {status}: {built_in(status).says}"


def _row(facts: TrialFacts, verdict: Verdict) -> str:
    """Write the row that a crawl would store in the end; empty: it would store none."""
    if verdict.kind is Kind.RETRY:
        verdict = failed(verdict.error or "failed")
    if not verdict.final:
        return ""
    try:
        row = encode_row(facts.song_num, verdict)
    except (TypeError, ValueError, RecursionError):
        row = encode_row(facts.song_num, failed("not_json"))
    row = row if facts.key is None else with_key(row, facts.key)
    return row.decode().rstrip("\n")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def _traceback(error: BaseException | None, verdict: Verdict | None) -> str:
    """Write where an exception came from, in the user's own code; nothing of one that says: no such song."""
    if error is None or (verdict and verdict.kind is Kind.MISSING):
        return ""
    told = traceback.TracebackException.from_exception(error)
    own = [frame for frame in told.stack if not frame.filename.startswith(_OURS) and _LIBRARIES not in frame.filename]
    told.stack = traceback.StackSummary.from_list(own or list(told.stack))
    return "".join(told.format(chain=False)).rstrip("\n")
