"""Hints from an answer's status and headers, or from its failing to come: what may be wrong, and what to set."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from crawler.core.verdict import Kind
from crawler.upstream.classify import UNRESOLVED, UNTRUSTED
from crawler.upstream.explanation.header_readings import quota_of, unread_limits
from crawler.upstream.explanation.trial_facts import TrialFacts


def not_asked(facts: TrialFacts) -> Iterator[str]:
    """Say what to set where robots.txt or the guard of addresses keeps us from asking."""
    if "ALLOW_PRIVATE_UPSTREAM" in facts.refusal:
        yield "If the API does run there, on this machine or in your own network: ALLOW_PRIVATE_UPSTREAM=1."
    elif facts.error == "robots" or "disallowed" in facts.refusal:
        yield "robots.txt is the owner's word to programs. ROBOTS=ignore passes over it: for an API of your own."


def no_answer(facts: TrialFacts) -> Iterator[str]:
    """Say what to look at where no whole answer came."""
    limit = facts.settings.request_timeout_seconds
    if UNRESOLVED in (facts.verdict,) or UNRESOLVED.reason == facts.refusal:
        yield f"Nobody knows a host {facts.host}: is it spelt right in SONG_URL?"
    elif UNTRUSTED in (facts.verdict,) or UNTRUSTED.reason == facts.refusal:
        yield f"If the certificate of {facts.host} is one of your own, name its file in SSL_CERT_FILE."
    elif facts.error == "timeout":
        yield f"Nothing whole came within {limit:g} s: is the API so slow? Then raise REQUEST_TIMEOUT_SECONDS."
    elif not facts.answer and facts.broken and facts.declared:
        yield f"Does anything listen at {facts.host}? Look at scheme, host and port of SONG_URL."


def status_says(facts: TrialFacts) -> Iterator[str]:
    """Say what a status often means that people do not expect."""
    if facts.by_own_rule:
        return
    if facts.status in (401, 403):
        yield from _credentials(facts)
    elif facts.status in (404, 410):
        yield (
            "Is there a song of this number? If you know that there is, SONG_URL is wrong: an API answers "
            "404 to a wrong address too, and every song would be missing."
        )
    elif facts.status == 400:
        yield "The API does not understand the request: read its body, then look at SONG_URL."
    elif facts.status == 406:
        yield 'The API wants to be told what to send: SONG_HEADERS=\'{"Accept": "application/json"}\'.'
    elif facts.status >= 500:
        yield "A fault of the server's, or its way of refusing: try again, and a number that you know is there."


def _credentials(facts: TrialFacts) -> Iterator[str]:
    name = "Authorization"
    if not facts.authorized:
        yield (
            f'No {name} is sent. A key goes into SONG_HEADERS, such as {{"{name}": "Bearer ..."}}, or into the query '
            "of SONG_URL; where a token is to be fetched first, see TOKEN_URL. The API's documentation says which."
        )
    else:
        yield f"An {name} is sent and not taken: has it expired, and may it read this song?"
    if facts.status == 403 and facts.declared:
        yield (
            'If this 403 means "slow down", say so: RESPONSE_RULES=\'[{"status": 403, "action": "throttled"}]\'. If a '
            "guard against robots gives it, set USER_AGENT to your name and address."
        )


def too_fast(facts: TrialFacts) -> Iterator[str]:
    """Say how to keep below the limit."""
    if facts.verdict is None or facts.verdict.kind is not Kind.THROTTLED or facts.by_own_rule:
        return
    quota = facts.answer and quota_of(facts.answer, facts.rate_headers)
    seconds = quota and (quota.window_seconds or quota.reset_seconds)
    pace = f", such as {quota.limit / seconds:.2g}" if quota and quota.limit and seconds else ""
    yield (
        f"MAX_PER_SECOND is {facts.settings.max_per_second:g}: set it to what the API allows{pace}. A crawl slows down "
        "by itself, and waits as long as it is told to."
    )


def redirects(facts: TrialFacts) -> Iterator[str]:
    """Say where a redirect leads, and what that means."""
    if not facts.answer or not 300 <= facts.status < 400 or facts.by_own_rule:
        return
    if facts.verdict and facts.verdict.kind is Kind.REDIRECTED:  # a crawl follows it
        return
    location = facts.answer.headers.get("location", "")
    url = facts.sent.url if facts.sent else ""
    target, asked = urlsplit(urljoin(url, location)), urlsplit(url)
    if not location:
        yield "The redirect names no address."
    elif asked.scheme == "http" and target._replace(scheme="http") == asked:
        yield "It is the same address with https: write https:// in SONG_URL."
    elif target.netloc == asked.netloc and target.path.rstrip("/") == asked.path.rstrip("/"):
        yield "It is the same address but for a slash or the query: write it so in SONG_URL."
    elif "login" in location.lower() or "signin" in location.lower():
        yield "It leads to a login: a key is lacking, see SONG_HEADERS."
    else:
        yield "No redirect is followed: put the address it leads to into SONG_URL, or if songs move, see REDIRECTS."


def unread_limit_headers(facts: TrialFacts) -> Iterator[str]:
    """Name limit headers that nobody reads, and how to have them read."""
    names = unread_limits(facts.answer, facts.rate_headers) if facts.answer else []
    if not names:
        return
    if facts.rate_headers is None:
        yield f"Limits are announced ({', '.join(names[:4])}), and RATE_HEADERS=ignore has nobody read them."
        return
    left = next((name for name in names if "remaining" in name or "left" in name), "")
    told = f'RATE_HEADERS=\'{{"remaining": "{left}"}}\', with "reset" too.' if left else "MAX_PER_SECOND by hand."
    yield f"Nobody reads {', '.join(names[:4])}. If requests are counted there: {told}"
