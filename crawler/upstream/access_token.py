"""Access tokens of OAuth 2.0: what an answer of TOKEN_URL means, and whether a 401 is the token's fault.

RFC 6749 (https://www.rfc-editor.org/rfc/rfc6749), 4.4 and 5, and RFC 6750 for how a token is sent. There is no clock in
here: instants are arguments, in seconds of one monotonic clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

import msgspec

from crawler.upstream.strict_json import decode_json
from crawler.upstream.waits import seconds_of

# RFC 6749, 4.4.2: what is asked for where TOKEN_FORM says nothing, and TOKEN_HEADERS name the client.
CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}

MOST_ANSWER_BYTES = 65_536

# So much of its life a token is used before the next is asked for.
_USED_SHARE = 0.8
# A life that is shorter would have tokens asked for all the time: it counts as not told.
_LEAST_LIFE_SECONDS = 0.1

# RFC 6749, 5.2. Other words of the server are not shown: it may send back what it was sent.
_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)
# RFC 6750, 2.1 allows fewer characters; these are all that a header can hold without a blank.
_VALUE = re.compile(r"[!-~]+")
# Statuses that pass, whatever they are answered to: RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4.
_PASSING = frozenset({408, 425, 429})

_MEND = "set TOKEN_FORM, or TOKEN_HEADERS, to what the API gave you"

# A song that met so many old tokens, one after the other, has them judged as any 401.
_MOST_OLD_TOKENS = 5
_MOST_KEPT_SECONDS = 60.0
# Many more than come again at once: MAX_AT_ONCE is 1000 at most.
_MOST_SONGS = 4096


class AccessToken(msgspec.Struct, frozen=True, eq=False):
    """A token, which is asked for anew from `renew_at` on and used until `dies_at`."""

    value: str
    renew_at: float = math.inf
    dies_at: float = math.inf

    def __repr__(self) -> str:
        """Tell nothing of the token."""
        return "AccessToken(...)"

    @property
    def authorization(self) -> str:
        """Return the value of the Authorization header (RFC 6750, 2.1)."""
        return f"Bearer {self.value}"


class TokenFailure(msgspec.Struct, frozen=True):
    """Why there is no token, in a sentence; `lasting`: to ask again soon is no use.

    `retry_after` is the server's own word on when to come again, in seconds; `setting`: the deployment is to blame.
    """

    sentence: str
    lasting: bool = False
    retry_after: float | None = None
    setting: bool = False


def parse_answer(status: int, body: bytes, retry_after: float | None, sent_at: float) -> AccessToken | TokenFailure:
    """Return the token of an answer to a request that was sent at an instant, or why there is none."""
    if len(body) > MOST_ANSWER_BYTES:
        return no_token(f"its answer is larger than {MOST_ANSWER_BYTES} bytes", retry_after)
    try:
        content = decode_json(body)
    except ValueError:
        content = None
    if not 200 <= status < 300:
        return _refusal(status, content, retry_after)
    if not isinstance(content, dict):
        return no_token("its answer is no JSON object", retry_after)
    return _refusal(status, content, None) if "error" in content else _token(content, sent_at)


def no_token(reason: str, retry_after: float | None = None) -> TokenFailure:
    """Return a failure that may pass."""
    return TokenFailure(f"TOKEN_URL gives no token: {reason}.", retry_after=retry_after)


def _refusal(status: int, content: Any, retry_after: float | None) -> TokenFailure:
    if 300 <= status < 400:
        sentence = f"TOKEN_URL answers {status}, a redirect, which is not followed; set it to where the token is given."
        return TokenFailure(sentence, lasting=True)
    if status >= 500 or status < 200 or status in _PASSING or retry_after is not None:
        return no_token(f"it answers {status}", retry_after)
    error = content.get("error") if isinstance(content, dict) else None
    word = f" {error}" if isinstance(error, str) and error in _ERRORS else ""
    return TokenFailure(f"TOKEN_URL answers {status}{word or ' with an error'}; {_MEND}.", lasting=True)


def _token(content: Mapping[str, Any], sent_at: float) -> AccessToken | TokenFailure:
    """Read a good answer (RFC 6749, 5.1)."""
    value, kind = content.get("access_token"), content.get("token_type")
    if not isinstance(value, str) or not value:
        return TokenFailure("TOKEN_URL gives no token: its answer has no access_token.", lasting=True)
    if not _VALUE.fullmatch(value):
        return TokenFailure("TOKEN_URL gives a token with characters that no header may hold.", lasting=True)
    # Servers leave the type out, though they must not; its case says nothing.
    if kind is not None and (not isinstance(kind, str) or kind.lower() != "bearer"):
        return TokenFailure("TOKEN_URL gives a token whose token_type is not bearer; no other is used.", lasting=True)
    life = _life(content.get("expires_in"))
    return AccessToken(value, sent_at + _USED_SHARE * life, sent_at + life)


def _life(expires_in: object) -> float:
    """Return how long a token lives, in seconds: for ever, until a 401 says otherwise, where nothing usable tells."""
    seconds = seconds_of(expires_in)
    return math.inf if seconds is None or seconds < _LEAST_LIFE_SECONDS else seconds


class Rejections:
    """The 401s to tokens: whether one is a reason for a new token, or says something of its song alone.

    A song that was refused comes again with the next token. If that one is refused too, the token was not to blame: for
    a while no 401 is a reason for another, longer each time. So records that are refused for ever cost few tokens.
    """

    def __init__(self) -> None:
        self._comes_again: dict[Hashable, int] = {}
        self._kept_seconds = 0.0
        self._kept_until = -math.inf

    def __bool__(self) -> bool:
        """Tell whether songs come again, of which nobody knows yet whether a new token helped them."""
        return bool(self._comes_again)

    def old(self, song: Hashable) -> bool:
        """Learn that a token was refused that is not the newest; True: the song is to come again."""
        times = self._comes_again[song] = self._comes_again.get(song, 0) + 1
        if times > _MOST_OLD_TOKENS:
            del self._comes_again[song]
        return times <= _MOST_OLD_TOKENS

    def newest(self, song: Hashable, now: float) -> bool:
        """Learn that the newest token was refused; True: another is to be had, with which the song comes again."""
        if self._comes_again.pop(song, 0) and now >= self._kept_until:
            self._kept_seconds = min(_MOST_KEPT_SECONDS, max(1.0, 2 * self._kept_seconds))
            self._kept_until = now + self._kept_seconds
        if now < self._kept_until:
            return False
        if len(self._comes_again) >= _MOST_SONGS:  # calls that were cut off left them
            self._comes_again.clear()
        self._comes_again[song] = 1
        return True

    def accepted(self, song: Hashable) -> None:
        """Learn that a song was answered otherwise: if it came again, the new token was the remedy."""
        if self._comes_again.pop(song, 0):
            self._kept_seconds = 0.0
            self._kept_until = -math.inf
