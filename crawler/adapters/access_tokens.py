"""The access token of an instance: asked for when a song needs it, and renewed by one for all."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from crawler.core.errors import BadSetting, UpstreamUnavailable
from crawler.upstream.access_token import AccessToken, Rejections, TokenFailure, no_token
from crawler.upstream.backoff import backoff

# What asks TOKEN_URL once, within so many seconds.
Ask = Callable[[float], AccessToken | TokenFailure]

# A wait for longer ends the call: it says when to come again.
_LONGEST_WAIT_SECONDS = 60.0
# How long to try where there was a token once, and where there never was.
_PATIENCE_SECONDS, _NEVER_HAD_SECONDS = 150.0, 30.0
# What is asked for again no sooner: nobody has mended it meanwhile.
_LASTING_SECONDS = 5.0
# With less time left nothing is asked again: it would only be cut off.
_LEAST_SECONDS = 0.25
# Of the time that is left of a call, so that a moment stays to say what came of it.
_SHARE_OF_REST = 0.9


def _in_a_thread(ask: Callable[[], None]) -> None:
    threading.Thread(target=ask, name="access-token", daemon=True).start()


class AccessTokens:
    """The newest access token, for all calls and threads.

    While it is renewed early the others go on with it; where it is dead they wait. The request is made in a thread of
    its own, and nobody's call waits for that longer than it has time.
    """

    def __init__(
        self,
        ask: Ask,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], Any] = _in_a_thread,
    ) -> None:
        """`timeout` is what one request may take, of TOKEN_URL or of a song, in seconds."""
        self._ask = ask
        self._timeout = timeout
        self._clock = clock
        self._spawn = spawn
        self._changed = threading.Condition()
        self._token: AccessToken | None = None
        self._rejected = False
        self._rejections = Rejections()
        self._asking = False
        self._failure: TokenFailure | None = None  # what the last request came to
        self._failures = 0  # in a row
        self._failing_since = 0.0
        self._next_at = -math.inf

    def deadline(self, timeout: float) -> float:
        """Return the instant at which an attempt's call ends, as far as its timeout tells: math.inf, if not at all.

        An attempt has the whole timeout of a request but near the end of its call.
        """
        return self._clock() + timeout if timeout < self._timeout else math.inf

    def current(self, deadline: float = math.inf) -> AccessToken | None:
        """Return the token to use now, None: there is none yet. Has a new one asked for where it is time.

        Raises UpstreamUnavailable where none can be had before the deadline, BadSetting for an address that is not
        allowed.
        """
        token, now = self._token, self._clock()
        if token is not None and now < token.renew_at and not self._rejected:
            return token
        with self._changed:
            return self._due(now, deadline)

    def wait(self, seconds: float, deadline: float = math.inf) -> None:
        """Wait so long at most for a token; raises as `current` does."""
        until = self._clock() + seconds
        with self._changed:
            while (now := self._clock()) < until and self._due(now, deadline) is None:
                self._changed.wait(max(0.0, (until if self._asking else min(until, self._next_at)) - now))

    def reject(self, token: AccessToken, item: Any) -> bool:
        """Learn that an item was answered 401; True: it is to be asked for again, with the newest token."""
        with self._changed:
            if token is not self._token:
                return self._rejections.old(_name(item))
            self._rejected = self._rejections.newest(_name(item), self._clock()) or self._rejected
            return self._rejected

    def accept(self, item: Any) -> None:
        """Learn that an item was answered otherwise."""
        if self._rejections:
            with self._changed:
                self._rejections.accepted(_name(item))

    def _due(self, now: float, deadline: float) -> AccessToken | None:
        """Return the token if it may be used, and start to ask for another where it is time."""
        fresh = self._usable(now) and self._token and now < self._token.renew_at
        has_time = self._failure is None or now <= deadline - _LEAST_SECONDS
        if not fresh and not self._asking and now >= self._next_at and has_time:
            self._start(now, deadline)
        if self._usable(now):
            return self._token
        if not self._asking and self._failure:
            self._give_up(self._failure, now, deadline)
        return None

    def _usable(self, now: float) -> bool:
        return self._token is not None and now < self._token.dies_at and not self._rejected

    def _start(self, now: float, deadline: float) -> None:
        if now > self._next_at + _LASTING_SECONDS:  # nobody wanted it meanwhile: this is another call's
            self._failures, self._failure = 0, None
        self._asking = True
        self._spawn(partial(self._renew, min(self._timeout, max(0.0, deadline - now) * _SHARE_OF_REST)))

    def _renew(self, timeout: float) -> None:
        """Ask once, and tell all who wait."""
        try:
            result = self._ask(timeout)
        except Exception as error:  # whatever it is, those who wait must hear of it
            result = no_token(type(error).__name__)
        with self._changed:
            self._asking = False
            if isinstance(result, AccessToken) and result.dies_at <= self._clock():
                result = no_token("its tokens live no longer than they take to come")
            if isinstance(result, AccessToken):
                self._token, self._rejected = result, False
                self._failure, self._failures, self._next_at = None, 0, -math.inf
            else:
                self._fail(result, self._clock())
            self._changed.notify_all()

    def _fail(self, failure: TokenFailure, now: float) -> None:
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        self._failure = failure
        wait = max(failure.retry_after or 0.0, backoff(self._failures, self._failures, random.random))
        self._next_at = now + max(wait, _LASTING_SECONDS if failure.lasting else 0.0)

    def _give_up(self, failure: TokenFailure, now: float, deadline: float) -> None:
        """Raise what ends the call, unless it is worth waiting for the next request."""
        if failure.setting:
            raise BadSetting(failure.sentence)
        if failure.lasting:
            raise UpstreamUnavailable(failure.sentence)
        patience = _PATIENCE_SECONDS if self._token else _NEVER_HAD_SECONDS
        wait = self._next_at - now
        late = max(now, self._next_at) > deadline - _LEAST_SECONDS
        if late or wait > _LONGEST_WAIT_SECONDS or now - self._failing_since >= patience:
            raise UpstreamUnavailable(failure.sentence, math.ceil(failure.retry_after or 0.0) or None)


def _name(item: Any) -> Hashable:
    """Return what tells an item from others: itself, unless it is an object of a caller's own."""
    return item if isinstance(item, (int, str)) else id(item)
