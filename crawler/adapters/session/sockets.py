"""Sockets that keep a total deadline, and connect only where they may.

A socket's own timeout counts from its last byte: an upstream that drips a byte a second outlives any of them (a 60-byte
body took 11.8 s with `timeout=1`). So the thread that waits sets an instant, and every read and write of its sockets
gets only what is left until then.
"""

from __future__ import annotations

import math
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from crawler.adapters.runtime.in_time import in_time
from crawler.core.errors import BadSetting
from crawler.upstream.address_guard import refusal

_of_thread = threading.local()

# Since when addresses have not answered; forgotten once they are so many.
_silent_since: dict[Any, float] = {}
_MOST_SILENT = 1000

# struct timeval; Windows has another form.
_TIMEVAL = None if sys.platform == "win32" else struct.Struct("ll")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let this thread's sockets wait no longer than this in total; an enclosing limit that ends earlier still holds."""
    outer: float | None = getattr(_of_thread, "until", None)
    until = time.monotonic() + seconds
    _of_thread.until = until if outer is None else min(outer, until)
    try:
        yield
    finally:
        _of_thread.until = outer


def time_left(idle: float | None) -> float | None:
    """Return the seconds a socket of this thread may wait, `idle` at most; None: for ever.

    Raises TimeoutError once nothing is left.
    """
    until: float | None = getattr(_of_thread, "until", None)
    if until is None:
        return idle
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the total time limit is over")
    return left if idle is None else min(idle, left)


class _Limited:
    """A part of a socket class: `settimeout` says how long one read may idle, the thread's limit bounds them all.

    Nothing is set before the next operation, which sets what is left then.
    """

    _idle: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._idle = value

    def gettimeout(self) -> float | None:
        return self._idle

    def _limit(self, option: int) -> None:
        """Have the next operation end in time; `option` is the kernel's for its direction."""
        raise NotImplementedError

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit(socket.SO_RCVTIMEO)
        try:
            received: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        except BlockingIOError:
            raise TimeoutError("timed out") from None
        return received

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._limit(socket.SO_SNDTIMEO)
        try:
            super().sendall(*args, **kwargs)  # type: ignore[misc]
        except BlockingIOError:
            raise TimeoutError("timed out") from None


class LimitedSocket(_Limited, socket.socket):
    """A plain socket that keeps its thread's time limit, by the kernel's own timeouts.

    Python's cost a poll before each operation and two calls to be set, at each of which a thread lets go of the
    interpreter and waits to have it back: together a sixth of what a song costs where threads are many.
    """

    def _limit(self, option: int) -> None:
        left = time_left(self._idle)
        if _TIMEVAL is None:
            socket.socket.settimeout(self, left)
        else:
            # Zero would be no limit at all.
            microseconds = 0 if left is None else max(1, int(left * 1e6))
            self.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(*divmod(microseconds, 1_000_000)))


class LimitedSSLSocket(_Limited, ssl.SSLSocket):
    """A TLS socket that keeps its thread's time limit; `SSLContext.sslsocket_class` makes contexts use it."""

    def _limit(self, _option: int) -> None:
        socket.socket.settimeout(self, time_left(self._idle))

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands within what is left."""
        socket.socket.settimeout(self, time_left(self._idle))
        super().do_handshake(block)


def connect(host: str, port: int, idle: float | None, allow_private: bool) -> LimitedSocket:
    """Connect to the first address of a host that answers and may be connected to.

    Each address gets its share of the time that is left, so that a silent one does not use up that of the others; one
    that did not answer is tried after the others from then on.
    Whatever is checked is what is connected to: no second look-up lies between, which could give another address.
    Raises BadSetting where all addresses are refused, OSError where those that are not don't answer.
    """
    refused, failure = "", None
    addresses = []
    for family, kind, protocol, where in _look_up(host, port, idle):
        if reason := refusal(str(where[0]), allow_private):
            refused = f"The upstream {host} has the address {where[0]}: {reason}."
        else:
            addresses.append((family, kind, protocol, where))
    addresses.sort(key=lambda address: _silent_since.get(address[3], 0.0))
    for others, (family, kind, protocol, where) in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
        left = time_left(idle)
        share = left if left is None else left / (1 + others)
        try:
            return _connected(LimitedSocket(family, kind, protocol), where, idle, share)
        except OSError as error:
            failure = error
            _note_silent(where)
    raise failure or BadSetting(refused)


def _look_up(host: str, port: int, idle: float | None) -> list[tuple[Any, ...]]:
    """Return family, kind, protocol and address of a name, each; raises TimeoutError once nothing is left.

    The system's look-up can't be cut: it is left behind.
    """
    left = time_left(idle)
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = in_time(look_up, math.inf if left is None else left)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


def _note_silent(address: Any) -> None:
    if len(_silent_since) >= _MOST_SILENT:
        _silent_since.clear()
    _silent_since[address] = time.monotonic()


def _connected(sock: LimitedSocket, address: Any, idle: float | None, seconds: float | None) -> LimitedSocket:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(idle)
        socket.socket.settimeout(sock, seconds)
        sock.connect(address)
        socket.socket.settimeout(sock, None)
    except BaseException:
        sock.close()
        raise
    return sock
