"""The built-in response rules: what an answer means by its status, where no other rule says more."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from crawler.core.verdict import Verdict, redirected
from crawler.upstream.response_rules import Action, Rule

NAME = "built-in rule"


def _rule(statuses: Iterable[int] | None, action: Action, says: str, **fields: Any) -> Rule:
    known = None if statuses is None else frozenset(statuses)
    return Rule(name=NAME, says=says, statuses=known, action=action, **fields)


# RFC 9110 is https://www.rfc-editor.org/rfc/rfc9110 (statuses in section 15). The last rules are those of whole
# classes, which stand for statuses that nobody registered too (RFC 9110, 15: treat x as x00). Retry-After is heeded
# with every status but those of a song that is there or not: servers send it with more than those it was made for.
# What a status alone says of a song is provisional: a firewall, a lost route or a limit answers all songs alike.
BUILT_IN = (
    _rule({404, 410}, "missing", "not found, or gone for good (RFC 9110, 15.5.5 and 15.5.11)", provisional=True),
    # Which is how some APIs say that there is nothing under this number.
    _rule({204}, "missing", "the answer has no content (RFC 9110, 15.3.5)", provisional=True),
    # GitHub's statistics answer so until they are reckoned (https://docs.github.com/rest/metrics/statistics): this song
    # is not ready, and the others are not concerned.
    _rule({202}, "retry", "accepted, and not done yet (RFC 9110, 15.3.3)", alone=True),
    _rule({429}, "throttled", "too many requests (RFC 6585, 4)"),
    _rule(
        {401},
        "refused",
        "credentials are wanted, whichever song is asked for (RFC 9110, 15.5.2)",
        error="The upstream answers 401: it wants credentials; set SONG_HEADERS.",
    ),
    _rule(
        {407},
        "refused",
        "a proxy wants credentials, whichever song is asked for (RFC 9110, 15.5.8)",
        error="The upstream answers 407: a proxy before it wants credentials.",
    ),
    _rule({408, 425}, "retry", "the request came too late or too early (RFC 9110, 15.5.9; RFC 8470, 5.2)"),
    # Elsewhere, where SONG_HEADERS must not go.
    _rule(
        range(300, 400),
        "failed",
        "the song is elsewhere, and no redirect is followed (RFC 9110, 15.4)",
        error="redirect",
        provisional=True,
    ),
    _rule(
        range(400, 500), "failed", "the request is wrong, and will be the next time (RFC 9110, 15.5)", provisional=True
    ),
    _rule(range(200, 300), "found", "the song, if SONG_INFO picks something from JSON in its body (RFC 9110, 15.3)"),
    # So may what is no status at all.
    _rule(None, "retry", "the server's fault, which may pass (RFC 9110, 15.6)"),
)


class FollowRule(Rule, frozen=True, kw_only=True):
    """The rule of redirects that are followed, see upstream/song_requests/redirects.py."""

    def verdict(self, status: int, wait: float | None, retry_after: float | None) -> Verdict:  # noqa: ARG002
        """Judge the song to be elsewhere; Retry-After on a redirect is for its own song (RFC 9110, 10.2.3)."""
        return redirected(retry_after)


# RFC 9110, 15.4.2 to 15.4.9: what names another place. 300 offers a choice, 304 means no place at all.
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
REDIRECT_RULES: dict[str, Rule] = {
    "missing": Rule(name="REDIRECTS", says="missing", statuses=_REDIRECTIONS, action="missing"),
    "follow": FollowRule(name="REDIRECTS", says="follow", statuses=_REDIRECTIONS),
}
"""What a value of REDIRECTS puts before the built-in rules."""


@lru_cache(1000)
def built_in(status: int) -> Rule:
    """Return the built-in rule for a status."""
    return next(rule for rule in BUILT_IN if rule.statuses is None or status in rule.statuses)


def judge_status(status: int, retry_after: float | None = None) -> Verdict:
    """Judge an answer by its status alone, anything but a song that was found."""
    return built_in(status).verdict(status, None, retry_after)
