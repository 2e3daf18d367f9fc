"""The sockets of libcurl's connections, watched with epoll.

`curl_multi_perform` looks at every transfer each time one of them moves, and the `select` that pycurl has knows no
descriptor past 1,023.
"""

from __future__ import annotations

import math
import socket
import time
from contextlib import suppress
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any

import pycurl

from crawler.adapters.connection_reuse import ConnectionReuse

_CONNECTIONS = (socket.AF_INET, socket.AF_INET6)
_NUDGE_SECONDS = 0.05
_REMOVE = pycurl.POLL_REMOVE
# What comes is always watched for: a connection may become idle while libcurl last waited to send on it.
_EVENTS = {pycurl.POLL_IN: EPOLLIN, pycurl.POLL_OUT: EPOLLIN | EPOLLOUT, pycurl.POLL_INOUT: EPOLLIN | EPOLLOUT}


class CurlSockets:
    """The sockets of a multi handle, watched.

    `connected` says that a request went out, which is noted while `scouting`, `multiplexed` that a connection carries
    many at once; `heard_at` is when an answer came last on those, by their local ports. `request_size` is what
    one request takes, in bytes, less its URL.
    """

    def __init__(self, multi: pycurl.CurlMulti) -> None:
        self.connected = False
        self.multiplexed = False
        self.scouting = False
        self.heard_at: dict[int, float] = {}
        self.reuse = ConnectionReuse()
        self.request_size = 0
        self._multi = multi
        self._epoll = epoll()
        self._watched: dict[int, int] = {}  # for what; forgotten before a number can come back as another socket
        self._idle: set[int] = set()
        self._least_size = 0
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)

    def hear(self, seconds: float) -> bool:
        """Wait for the sockets, and have libcurl attend to those that are ready; False: there are none."""
        if not self.multiplexed:
            ready = self._epoll.poll(seconds)
        elif not (ready := self._epoll.poll(min(seconds, _NUDGE_SECONDS))) and seconds:
            self._nudge()
        # All that are idle, before libcurl attends to any: of the others some will be by then.
        idle = [(descriptor, events) for descriptor, events in ready if descriptor in self._idle]
        for descriptor, events in idle:
            self._tend_idle(descriptor, events)
        for descriptor, events in [pair for pair in ready if pair not in idle] if idle else ready:
            reads = pycurl.CSELECT_IN if events & ~EPOLLOUT else 0
            self._multi.socket_action(descriptor, reads | (pycurl.CSELECT_OUT if events & EPOLLOUT else 0))
        return bool(ready)

    def _nudge(self) -> None:
        """Have libcurl send what it may have left lying.

        libcurl 8.23 waits for the answer to a request that it has not written yet, where that was to be sent again on
        a connection just made (REFUSED_STREAM): one in a thousand hung until its timeout.
        """
        for descriptor in self._watched.keys() - self._idle:
            self._multi.socket_action(descriptor, 0)

    def _tend_idle(self, descriptor: int, events: int) -> None:
        """End a connection on which something came though nothing was asked for: its end, or worse."""
        if events == EPOLLOUT:
            self._epoll.modify(descriptor, EPOLLIN)
            self._watched[descriptor] = EPOLLIN
            return
        self._idle.discard(descriptor)
        self._epoll.unregister(descriptor)
        self._watched.pop(descriptor, None)
        if not self.multiplexed:
            self._hang_up(descriptor)

    def _hang_up(self, descriptor: int, port: int | None = None) -> None:
        """Shut a connection down, if it is from this port: what comes unasked is not the answer to the next song.

        libcurl looks only after a second whether an idle connection is still good; what it can't send on this one it
        sends on another.
        """
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:  # no socket: an eventfd, by which a thread of libcurl's tells it that a name was looked up
            return
        with suppress(OSError):
            if connection.family in _CONNECTIONS and port in (None, connection.getsockname()[1]):
                connection.shutdown(socket.SHUT_RDWR)
        connection.detach()

    def count_requests(self, size: int, length: int, cookies: int) -> int:
        """Return how many requests so many bytes are, each with a URL of this length and so many bytes of cookies.

        libcurl sends some again, and says nothing of that but the bytes that went out for a song.
        """
        if not size:
            return 0
        single = min(self._least_size or size, size) + cookies + length
        requests = max(1, round((size + length) / single))
        return self.learn_size(size, 1) if requests == 1 else requests

    def learn_size(self, size: int, requests: int) -> int:
        """Learn how many bytes a request has, less its URL, from a song that took so many requests; returns those."""
        self.request_size = size
        self._least_size = min(self._least_size or size, size)
        return requests

    def leave_mute(self, port: int, seconds: float) -> None:
        """End the connection from this port if it carries many songs, and none was answered for so long.

        libcurl would go on using it.
        """
        if not self.multiplexed or self.heard_at.get(port, -math.inf) > time.monotonic() - seconds:
            return
        for descriptor in list(self._watched):
            self._hang_up(descriptor, port)

    def _watch(self, wanted: int, descriptor: int, _multi: Any, _data: Any) -> None:
        """Watch a socket as libcurl wants it.

        One that is not wanted any more goes on being watched: most are wanted again at once, for the next song.
        """
        if wanted == _REMOVE:
            self._idle.add(descriptor)
            return
        self._idle.discard(descriptor)
        events = _EVENTS[wanted]
        if self._watched.get(descriptor) == events:  # no call of the kernel: a twentieth of a song's CPU
            return
        try:
            self._epoll.modify(descriptor, events)
        except FileNotFoundError:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = events

    def opened(self, descriptor: int) -> None:
        """Note a new socket: it may have the number of one that was closed, and is not watched yet."""
        self._watched.pop(descriptor, None)

    def looks_up(self) -> None:
        """Note that libcurl looks a name up: the socket by which its thread reports the end may have any number."""
        self._watched.clear()

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()
