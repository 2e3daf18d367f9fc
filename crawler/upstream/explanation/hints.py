"""All hints, in the order in which they are given: what keeps from an answer first, then what is odd in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crawler.upstream.explanation import answer_hints, body_hints
from crawler.upstream.explanation.trial_facts import TrialFacts

_LOOKS: tuple[Callable[[TrialFacts], Iterator[str]], ...] = (
    answer_hints.not_asked,
    answer_hints.no_answer,
    answer_hints.status_says,
    answer_hints.redirects,
    answer_hints.too_fast,
    body_hints.no_json,
    body_hints.too_large,
    body_hints.constants,
    body_hints.error_in_200,
    body_hints.missed_by_song_info,
    body_hints.marked,
    body_hints.another_song,
    answer_hints.unread_limit_headers,
)


def hints(facts: TrialFacts) -> list[str]:
    """Return what may be wrong with a song that was tried, each in a sentence or two."""
    return [hint for look in _LOOKS for hint in look(facts)]
