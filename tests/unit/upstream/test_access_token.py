"""Check what an answer of TOKEN_URL means, and when a 401 is a token's fault."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from crawler.upstream.access_token import AccessToken, Rejections, TokenFailure, parse_answer

CANARY = "secret-4711"


def parse(content: Any, status: int = 200, retry_after: float | None = None) -> AccessToken | TokenFailure:
    """Read an answer to a request that was sent at 1000 s."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parse_answer(status, body, retry_after, 1000.0)


def failure(content: Any, status: int = 200, retry_after: float | None = None) -> TokenFailure:
    """Read an answer that has no token."""
    result = parse(content, status, retry_after)
    assert isinstance(result, TokenFailure)
    return result


@pytest.mark.parametrize(
    ("told", "life"),
    [
        ({"expires_in": 3600}, 3600.0),
        ({"expires_in": "3600"}, 3600.0),
        ({"expires_in": 3599.5}, 3599.5),
        ({"expires_in": 1e99}, 1e99),
        ({"expires_in": 10**400}, math.inf),
        ({"expires_in": 0}, math.inf),
        ({"expires_in": -5}, math.inf),
        ({"expires_in": 0.001}, math.inf),
        ({"expires_in": None}, math.inf),
        ({"expires_in": True}, math.inf),
        ({"expires_in": "soon"}, math.inf),
        ({"expires_in": [3600]}, math.inf),
        ({}, math.inf),
    ],
    ids=str,
)
def test_token_is_renewed_at_four_fifths_of_its_life(told: dict[str, Any], life: float) -> None:
    """Count from when it was asked for; what tells no life in seconds means: until it is refused."""
    token = parse({"access_token": "a.b-c~1+/=", "token_type": "bEaReR", **told})

    assert isinstance(token, AccessToken)
    assert (token.renew_at, token.dies_at) == (1000 + 0.8 * life, 1000 + life)
    assert token.authorization == "Bearer a.b-c~1+/="


def test_token_shows_itself_to_nobody() -> None:
    """Leave the token out of what a log or an error would show."""
    assert CANARY not in repr(parse({"access_token": CANARY})) + str([parse({"access_token": CANARY})])


@pytest.mark.parametrize("kind", [None, "Bearer", "bearer"])
def test_type_may_be_left_out(kind: str | None) -> None:
    """Take a token whose type is bearer, or not told."""
    assert isinstance(parse({"access_token": "x", "token_type": kind}), AccessToken)


@pytest.mark.parametrize(
    "content",
    [
        {"access_token": "x", "token_type": "mac"},
        {"access_token": "x", "token_type": 7},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": f"{CANARY} x"},
        {"access_token": f"{CANARY}\n"},
        {"access_token": f"{CANARY}\x7f"},
        {"error": CANARY, "access_token": "x"},
        {},
    ],
    ids=str,
)
def test_token_that_is_none_is_a_sentence(content: dict[str, Any]) -> None:
    """Say what is wrong with an answer that asking again would not mend, and show nothing of it."""
    told = failure(content)

    assert (told.lasting, told.sentence[:9], told.sentence[-1]) == (True, "TOKEN_URL", ".")
    assert CANARY not in told.sentence


@pytest.mark.parametrize(
    ("status", "content", "retry_after", "lasting"),
    [
        (400, {"error": "invalid_grant"}, None, True),
        (401, {"error": CANARY, "error_description": CANARY}, None, True),
        (403, b"", None, True),
        (302, b"", 5.0, True),
        (403, b"", 5.0, False),
        (408, b"", None, False),
        (429, {}, None, False),
        (500, {}, None, False),
        (503, b"", 7.0, False),
        (999, b"", None, False),
        (200, b"<html>", None, False),
        (200, b"", None, False),
        (200, [{"access_token": "x"}], None, False),
        (200, b'{"access_token": "x", "expires_in": NaN}', None, False),
        (200, b"[" * 600, None, False),
        (204, b"", None, False),
    ],
)
def test_refusal_lasts_or_passes(status: int, content: Any, retry_after: float | None, lasting: bool) -> None:
    """End at once where the credentials are wrong; come again where the server is at fault, or says when."""
    told = failure(content, status, retry_after)

    assert told.lasting is lasting
    assert CANARY not in told.sentence
    if not lasting:
        assert told.retry_after == retry_after


def test_only_error_words_of_the_standard_are_shown() -> None:
    """Name the error as RFC 6749 does; any other text of the server may hold what it was sent."""
    assert "401 invalid_client; set TOKEN_FORM" in failure({"error": "invalid_client"}, 401).sentence
    assert "401 with an error; set TOKEN_FORM" in failure({"error": f"no {CANARY}"}, 401).sentence


def test_refused_songs_cost_few_tokens() -> None:
    """Take no 401 for a token's fault while songs are refused with new ones too: a second, two, up to a minute."""
    rejections, renewals, now = Rejections(), [], 0.0
    for song in range(6000):  # a private one every tenth of a second
        now = song / 10
        if rejections.newest(song, now):
            renewals.append(now)
            assert not rejections.newest(song, now + 0.05)  # with the new token

    assert len(renewals) <= 16
    assert renewals[-1] - renewals[-2] >= 60.0


def test_remedy_is_remembered() -> None:
    """Ask for a token at the next 401 again, once a song came that was refused with the one before."""
    rejections = Rejections()
    assert rejections.newest(1, 0.0)
    assert not rejections.newest(1, 0.1)  # refused again
    assert not rejections.newest(2, 0.2)
    assert rejections.newest(3, 1.2)
    assert rejections
    rejections.accepted(3)

    assert not rejections
    assert rejections.newest(4, 1.3)


def test_song_comes_again_a_few_times_only() -> None:
    """Judge the 401 of a song that meets one old token after the other: tokens die faster than it is answered."""
    rejections = Rejections()

    assert [rejections.old(1) for _ in range(7)] == [True] * 5 + [False, True]
