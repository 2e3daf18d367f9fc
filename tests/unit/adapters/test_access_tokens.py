"""Check who asks for an access token, and when, in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from crawler.adapters.access_tokens import AccessTokens
from crawler.core.errors import BadSetting, UpstreamUnavailable
from crawler.upstream.access_token import AccessToken, TokenFailure, no_token

TIMEOUT = 10.0


class TokenServer:
    """Be a token server in virtual time: an answer comes when `answer` is called."""

    def __init__(self, life: float = 100.0) -> None:
        """Give tokens that live so long."""
        self.now = 1000.0
        self.life = life
        self.asked: list[tuple[float, float]] = []
        self.failures: list[TokenFailure] = []
        self.pending: list[Callable[[], None]] = []
        self.tokens = AccessTokens(self.ask, TIMEOUT, lambda: self.now, self.pending.append)

    def ask(self, timeout: float) -> AccessToken | TokenFailure:
        """Answer one request."""
        self.asked.append((self.now, timeout))
        if self.failures:
            return self.failures.pop(0)
        return AccessToken(f"t{len(self.asked)}", self.now + 0.8 * self.life, self.now + self.life)

    def answer(self) -> None:
        """Let the one request that is on its way be answered."""
        (answer,) = self.pending
        self.pending.clear()
        answer()

    def value(self, seconds: float = 0.0) -> str | None:
        """Give the token to use after so many seconds more."""
        self.now += seconds
        token = self.tokens.current()
        return token.value if token else None


def test_first_song_asks_and_all_wait() -> None:
    """Ask once however many want a token, not before, and within the timeout of a request."""
    server = TokenServer()

    assert (server.value(), server.value(), len(server.pending)) == (None, None, 1)
    server.answer()
    assert (server.value(), server.asked) == ("t1", [(1000.0, TIMEOUT)])


def test_renewal_is_early_and_nobody_waits() -> None:
    """Ask for the next at 80 % of a life, by one, and use the old one until it comes or dies."""
    server = TokenServer()
    server.value()
    server.answer()

    assert (server.value(79.9), len(server.pending)) == ("t1", 0)
    assert (server.value(0.2), server.value(10.0), len(server.pending)) == ("t1", "t1", 1)
    server.answer()
    assert server.value() == "t2"


def test_dead_token_is_waited_for() -> None:
    """Send nothing with a token whose life is over."""
    server = TokenServer()
    server.value()
    server.answer()

    assert (server.value(100.0), len(server.pending)) == (None, 1)


def test_one_401_asks_for_all() -> None:
    """Take one 401 of many for the token's end; what was sent with the old one comes again, whenever it comes back."""
    server = TokenServer()
    server.value()
    server.answer()
    old = server.tokens.current()
    assert old is not None

    assert [server.tokens.reject(old, song) for song in (1, 2, 3)] == [True] * 3
    assert (server.value(), server.value(), len(server.pending)) == (None, None, 1)
    server.answer()
    assert server.tokens.reject(old, 4)  # to an older one than the newest
    assert (server.value(), len(server.pending)) == ("t2", 0)


def test_401_to_the_new_token_is_judged_as_any() -> None:
    """Ask for no third token where a song is refused with the second too, though objects of any kind may be songs."""
    server = TokenServer()
    server.value()
    server.answer()
    song = ["no hash"]
    for again in (True, False):
        token = server.tokens.current()
        assert token is not None
        assert server.tokens.reject(token, song) is again
        if again:
            server.value()
            server.answer()

    assert (server.value(), len(server.asked), server.pending) == ("t2", 2, [])


def test_failure_is_tried_again_later_each_time() -> None:
    """Wait longer after each failure, as long as told at least, and end the call after half a minute in vain."""
    server = TokenServer()
    server.failures = [no_token("it answers 503", 7.0 if nth == 1 else None) for nth in range(50)]
    sentence = None
    while sentence is None:
        try:
            server.value(0.05)
        except UpstreamUnavailable as error:
            sentence = str(error)
        if server.pending:
            server.answer()
    times = [at for at, _ in server.asked]
    gaps = [later - earlier for earlier, later in pairwise(times)]

    assert sentence == "TOKEN_URL gives no token: it answers 503."
    assert 4 <= len(times) <= 8
    assert gaps[1] >= 7.0
    assert 30.0 <= server.now - 1000.0 <= 60.0


def test_long_wait_ends_the_call_with_the_time_to_come_back() -> None:
    """Keep no call waiting for an hour."""
    server = TokenServer()
    server.failures = [no_token("it answers 429", 3600.0)]
    server.value()
    server.answer()

    with pytest.raises(UpstreamUnavailable) as refused:
        server.value()
    assert refused.value.retry_after == 3600


def test_lasting_failure_is_for_every_call_a_question_anew() -> None:
    """End all that wait at once; a call that comes later asks again."""
    server = TokenServer()
    server.failures = [TokenFailure("TOKEN_URL answers 401.", lasting=True)]
    server.value()
    server.answer()
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable, match="TOKEN_URL answers 401"):
            server.value(0.1)

    assert (server.value(10.0), len(server.pending)) == (None, 1)
    server.answer()
    assert server.value() == "t2"


def test_failed_renewal_leaves_the_token_alive() -> None:
    """Go on with a token that lives, whatever its renewal comes to, and try that again in time."""
    server = TokenServer()
    server.value()
    server.answer()
    server.failures = [TokenFailure("TOKEN_URL answers 401.", lasting=True), no_token("it answers 500")]
    for seconds in (80.0, 6.0, 5.0):
        assert server.value(seconds) == "t1"
        server.answer()

    assert (server.value(), len(server.asked)) == ("t4", 4)


def test_deployment_with_a_private_token_server_is_wrong() -> None:
    """Blame the setting where its address is not allowed."""
    server = TokenServer()
    server.failures = [TokenFailure("TOKEN_URL is not asked.", lasting=True, setting=True)]
    server.value()
    server.answer()

    with pytest.raises(BadSetting, match="TOKEN_URL is not asked"):
        server.value()


def test_token_that_comes_dead_is_no_token() -> None:
    """Ask for no token after the other where each is dead when it comes."""
    server = TokenServer()
    server.life = -1.0
    server.value()
    server.answer()

    assert (server.value(), server.pending) == (None, [])
    with pytest.raises(UpstreamUnavailable, match="its tokens live no longer than they take to come"):
        server.tokens.current(server.now + 0.3)


def test_request_ends_before_its_call() -> None:
    """Give a request nine tenths of what is left, and none to a call that has a moment only."""
    server = TokenServer()
    deadline = server.tokens.deadline(2.0)
    server.failures = [no_token("it does not answer in time")]

    assert (deadline, server.tokens.deadline(TIMEOUT)) == (1002.0, float("inf"))
    server.tokens.current(deadline)
    server.answer()
    assert server.asked == [(1000.0, 1.8)]
    server.now += 1.8  # another request would be due by now
    with pytest.raises(UpstreamUnavailable, match="it does not answer in time"):
        server.tokens.current(deadline)


def test_request_that_breaks_is_heard_of() -> None:
    """Have nobody wait for ever for a request that ended by an error of our own, and show nothing of it."""

    def ask(_timeout: float) -> AccessToken:
        raise RuntimeError("secret-4711")

    tokens = AccessTokens(ask, TIMEOUT, spawn=lambda request: request())

    with pytest.raises(UpstreamUnavailable, match=r"^TOKEN_URL gives no token: RuntimeError\.$"):
        tokens.current(tokens.deadline(0.3))


def test_threads_wait_for_one_request() -> None:
    """Wake all threads that wait once the token is there; one asked."""
    go, asked = threading.Event(), []

    def ask(_timeout: float) -> AccessToken:
        asked.append(1)
        assert go.wait(5.0)
        return AccessToken("t")

    tokens = AccessTokens(ask, TIMEOUT)
    threads = [threading.Thread(target=tokens.wait, args=(5.0,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(5.0)

    assert not any(thread.is_alive() for thread in threads)
    token = tokens.current()
    assert token is not None
    assert (token.value, len(asked)) == ("t", 1)
