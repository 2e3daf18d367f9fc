"""The built-in response rules: what an answer means by its status, where no other rule says more."""

from __future__ import annotations

from functools import lru_cache

from crawler.core.verdict import Verdict
from crawler.upstream.response_rules import Rule

# RFC 9110 is https://www.rfc-editor.org/rfc/rfc9110 (statuses in section 15). The last rules are those of whole
# classes, which stand for statuses that nobody registered too (RFC 9110, 15: treat x as x00). Retry-After is heeded
# wherever a song is to be asked for again: servers send it with more than the statuses it was made for.
BUILT_IN = (
    # RFC 9110, 15.5.5 and 15.5.11: not found, and gone for good.
    Rule(statuses=frozenset({404, 410}), action="missing"),
    # RFC 9110, 15.3.5: the answer has no content, which is how some APIs say that there is nothing under this number.
    Rule(statuses=frozenset({204}), action="missing"),
    # RFC 9110, 15.3.3: accepted, and not done yet. GitHub's statistics answer so until they are reckoned
    # (https://docs.github.com/rest/metrics/statistics): this song is not ready, and the others are not concerned.
    Rule(statuses=frozenset({202}), action="retry", alone=True),
    # RFC 6585, 4: too many requests.
    Rule(statuses=frozenset({429}), action="throttled"),
    # RFC 9110, 15.5.2 and 15.5.8: credentials are wanted, whichever song is asked for.
    Rule(
        statuses=frozenset({401}),
        action="refused",
        error="The upstream answers 401: it wants credentials; set SONG_HEADERS.",
    ),
    Rule(
        statuses=frozenset({407}),
        action="refused",
        error="The upstream answers 407: a proxy before it wants credentials.",
    ),
    # RFC 9110, 15.5.9: the request took too long to come. RFC 8470, 5.2: it came too early. Both ask for another try.
    Rule(statuses=frozenset({408, 425}), action="retry"),
    # RFC 9110, 15.4: elsewhere, where SONG_HEADERS must not go.
    Rule(statuses=frozenset(range(300, 400)), action="failed", error="redirect"),
    # RFC 9110, 15.5: the request is wrong, and will be the next time.
    Rule(statuses=frozenset(range(400, 500)), action="failed"),
    # RFC 9110, 15.3.
    Rule(statuses=frozenset(range(200, 300)), action="found"),
    # RFC 9110, 15.6: the server's fault, which may pass; so may what is no status at all.
    Rule(action="retry"),
)


@lru_cache(1000)
def built_in(status: int) -> Rule:
    """Return the built-in rule for a status."""
    return next(rule for rule in BUILT_IN if rule.statuses is None or status in rule.statuses)


def judge_status(status: int, retry_after: float | None = None) -> Verdict:
    """Judge an answer by its status alone, anything but a song that was found."""
    return built_in(status).verdict(status, None, retry_after)
