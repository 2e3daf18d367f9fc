"""What is known of a song that was tried, for whoever looks for what may be wrong."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from crawler.core.ports import SentRequest
from crawler.core.settings import Settings
from crawler.core.verdict import Kind, Verdict
from crawler.upstream.builtin_rules import NAME as BUILT_IN_NAME
from crawler.upstream.explanation.observed_song import Answer
from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.strict_json import decode_json

NO_JSON = object()


class TrialFacts:
    """One song that was tried: what was asked for under which settings, and what came.

    `verdict` is None where it was not asked for, for the reason in `refusal`; `broken` is what the library said where
    no whole answer came; `key` what KEYS has for the number, `sent` is the last request.
    """

    def __init__(
        self,
        song_num: int,
        settings: Settings,
        rate_headers: RateHeaders | None,
        answer: Answer | None,
        verdict: Verdict | None,
        *,
        refusal: str = "",
        broken: str = "",
        key: str | None = None,
        sent: SentRequest | None = None,
    ) -> None:
        self.song_num = song_num
        self.settings = settings
        self.rate_headers = rate_headers
        self.answer = answer
        self.verdict = verdict
        self.refusal = refusal
        self.broken = broken
        self.key = key
        self.sent = sent

    @property
    def status(self) -> int:
        """Return the answer's status; 0: there is none."""
        return self.answer.status if self.answer else 0

    @property
    def authorized(self) -> bool:
        """Tell whether an Authorization was sent: from SONG_HEADERS, by TOKEN_URL or by a user's function."""
        return self.sent is not None and any(name.lower() == "authorization" for name, _ in self.sent.headers)

    @property
    def error(self) -> str | None:
        """Return the word of the verdict."""
        return self.verdict.error if self.verdict else None

    @property
    def found(self) -> bool:
        """Tell whether the song was found."""
        return self.verdict is not None and self.verdict.kind is Kind.FOUND

    @property
    def by_own_rule(self) -> bool:
        """Tell whether one of the deployment's own rules decided: it knows what the answer means."""
        judgement = self.answer.judgement if self.answer else None
        return judgement is not None and judgement.rule.name != BUILT_IN_NAME

    @property
    def body(self) -> bytes:
        """Return the body; empty where there is none."""
        body = self.answer.body if self.answer else None
        return body if isinstance(body, bytes) else b""

    @property
    def host(self) -> str:
        """Return the host of SONG_URL, and its port if it has one."""
        return urlsplit(self.settings.song_url or "").netloc

    @property
    def declared(self) -> bool:
        """Tell whether SONG_URL declares the song, rather than a user's function."""
        return self.settings.song_url is not None

    @cached_property
    def content(self) -> Any:
        """Return the body's JSON; NO_JSON: it is none."""
        try:
            return decode_json(self.body)
        except ValueError:
            return NO_JSON
