"""What a verdict means, and what comes of it in a crawl, in words."""

from __future__ import annotations

from crawler.core.settings import Settings
from crawler.core.verdict import Kind, Verdict
from crawler.upstream.response_rules import Rule

_ERRORS = {
    "no_info": "SONG_INFO picks nothing from the body, or only nulls",
    "invalid_json": "the body is no JSON",
    "invalid_encoding": "the body is compressed otherwise than we ask for, or is not what it says it is",
    "too_large": "the body is over MAX_SONG_BYTES",
    "timeout": "no whole answer in REQUEST_TIMEOUT_SECONDS",
    "connection": "no connection, or one that broke",
    "redirect": "the answer is a redirect, which is not followed",
    "robots": "robots.txt disallows the address; it was not asked for",
    "song_retry": "the body says: slow down",
}


def meaning(verdict: Verdict) -> str:
    """Say what the error of a verdict means; empty: its word says it."""
    if verdict.reason:
        return verdict.reason
    words = [_ERRORS.get(verdict.error or "", ""), verdict.detail or ""]
    return "; ".join(filter(None, words))


def consequence(verdict: Verdict, settings: Settings) -> str:
    """Say what a crawl does after a verdict that ends no song, or after one that asks for a pause; empty: goes on."""
    wait = f"{verdict.retry_after:,g} s" if verdict.retry_after else ""
    if verdict.kind is Kind.THROTTLED:
        return f"Nothing yet: a crawl asks again after {wait or 'a pause that grows'}, and more slowly."
    if verdict.kind is Kind.REDIRECTED:
        return "Nothing yet: a crawl asks for the song where the redirect leads, by its next request."
    if verdict.kind is Kind.RETRY:
        after = f" after {wait}" if wait else ""
        return f"A crawl tries again{after}, {settings.max_attempts} times in all; this if it stays so."
    if verdict.kind is Kind.REFUSED:
        return "Nothing: a crawl ends partial here. No song is marked failed for it."
    return f"Then a crawl pauses for {wait}." if wait else ""


def rule_words(rule: Rule, status: int) -> str:
    """Name a rule; a built-in one by the statuses that it is for."""
    if rule.statuses is None or rule.name.startswith("RESPONSE_RULES"):
        return rule.name
    statuses = sorted(rule.statuses)
    return f"{rule.name} for {', '.join(map(str, statuses)) if len(statuses) < 10 else f'{status // 100}xx'}"
