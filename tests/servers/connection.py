"""Talk HTTP/1.1 with one client over a raw socket."""

from __future__ import annotations

import math
import socket
import struct
import time
from contextlib import suppress

from servers.pages import Ending

_RECEIVE_BYTES = 65536


class Connection:
    """Hold one client's socket and the bytes received ahead of use."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a freshly accepted socket."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._received = b""

    def read_head(self) -> bytes | None:
        """Read one request up to its blank line, or return None when the client left."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head

    def read_body(self, length: int) -> bytes | None:
        """Read so many bytes of a request's body, or return None when the client left."""
        while len(self._received) < length:
            if not self._receive():
                return None
        body, self._received = self._received[:length], self._received[length:]
        return body

    def gone_within(self, seconds: float) -> bool:
        """Wait this long, and say whether the client left or the server hung up meanwhile."""
        deadline = time.monotonic() + seconds
        # The wait is a receive, for only that notices at once that the client has closed.
        while seconds and (remaining := deadline - time.monotonic()) > 0:
            self._sock.settimeout(None if math.isinf(remaining) else remaining)
            try:
                if not self._receive():
                    return True
            except TimeoutError:
                break
            finally:
                self._sock.settimeout(None)
        return False

    def send(self, data: bytes) -> None:
        """Send all the bytes in one go."""
        self._sock.sendall(data)

    def end(self, ending: Ending) -> bool:
        """Prepare the given ending, and say whether the connection stays open."""
        if ending is Ending.RESET:
            # With a linger time of zero the close sends RST instead of FIN.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return ending is Ending.KEEP

    def hang_up(self) -> None:
        """Wake the thread that waits on this connection, whatever it waits for."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _receive(self) -> bool:
        data = self._sock.recv(_RECEIVE_BYTES)
        self._received += data
        return bool(data)
