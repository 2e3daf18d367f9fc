"""The sockets of libcurl's connections, watched with epoll.

`curl_multi_perform` looks at every transfer each time one of them moves, and the `select` that pycurl has knows no
descriptor past 1,023.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any

import pycurl

_CONNECTIONS = (socket.AF_INET, socket.AF_INET6)
_REMOVE = pycurl.POLL_REMOVE
# What comes is always watched for: a connection may become idle while libcurl last waited to send on it.
_EVENTS = {pycurl.POLL_IN: EPOLLIN, pycurl.POLL_OUT: EPOLLIN | EPOLLOUT, pycurl.POLL_INOUT: EPOLLIN | EPOLLOUT}


class CurlSockets:
    """The sockets of a multi handle, watched.

    `connected` says that a request went out, `multiplexed` that a connection carries many at once. `ended_ports` are
    the local ports of connections on which nothing can be sent any more, though libcurl does not know it yet.
    """

    def __init__(self, multi: pycurl.CurlMulti) -> None:
        self.connected = False
        self.multiplexed = False
        self.ended_ports: set[int] = set()
        self._multi = multi
        self._epoll = epoll()
        self._watched: dict[int, int] = {}  # for what; forgotten before a number can come back as another socket
        self._idle: set[int] = set()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)

    def hear(self, seconds: float) -> bool:
        """Wait for the sockets, and have libcurl attend to those that are ready; False: there are none."""
        ready = self._epoll.poll(seconds)
        # All that are idle, before libcurl attends to any: of the others some will be by then.
        idle = [(descriptor, events) for descriptor, events in ready if descriptor in self._idle]
        for descriptor, events in idle:
            self._tend_idle(descriptor, events)
        for descriptor, events in [pair for pair in ready if pair not in idle] if idle else ready:
            reads = pycurl.CSELECT_IN if events & ~EPOLLOUT else 0
            self._multi.socket_action(descriptor, reads | (pycurl.CSELECT_OUT if events & EPOLLOUT else 0))
        return bool(ready)

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

    def _hang_up(self, descriptor: int) -> None:
        """Shut a connection down: what comes unasked is not the answer to the next song.

        libcurl looks only after a second whether an idle connection is still good; what it can't send on this one it
        sends on another.
        """
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:  # no socket: an eventfd, by which a thread of libcurl's tells it that a name was looked up
            return
        with suppress(OSError):
            if connection.family in _CONNECTIONS:
                self.ended_ports.add(connection.getsockname()[1])
                connection.shutdown(socket.SHUT_RDWR)
        connection.detach()

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
