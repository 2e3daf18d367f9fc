"""An upstream over TLS that speaks HTTP/2 (RFC 9113), or HTTP/1.1 where that is asked; a test says each answer."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes

HOST = "127.0.0.1"


class Asked(NamedTuple):
    """A request: for which song, as which of its connection and on which connection, both counted from 0."""

    song_num: int
    nth: int
    connection: int
    http2: bool


class Reset(NamedTuple):
    """Answer with RST_STREAM."""

    code: ErrorCodes


class GoAway(NamedTuple):
    """Answer with a GOAWAY that names the stream before as the last one looked at, and close."""

    code: ErrorCodes


class Status(NamedTuple):
    """Answer with a status, and the song as body."""

    status: int


# None: nothing is ever answered.
Answer = Status | Reset | GoAway | None
SONG = Status(200)


class Http2Upstream:
    """A running server; `requests` are those that came."""

    def __init__(self, answer: Callable[[Asked], Answer], certificate: Path) -> None:
        """Start listening on a free loopback port."""
        self.requests: list[Asked] = []
        self.connections = 0
        self._answer = answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        port: int = self._listener.getsockname()[1]
        self.url = f"https://{HOST}:{port}/songs/{{song_num}}"

    def __enter__(self) -> Http2Upstream:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        for sock in [self._listener, *self._open]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._open.append(plain)
                thread = threading.Thread(target=self._serve, args=(plain, self.connections), daemon=True)
                self.connections += 1
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket, connection: int) -> None:
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as sock:
            if sock.selected_alpn_protocol() == "h2":
                _Http2(sock, connection, self._ask).run()
                sock.settimeout(1.0)  # what closes with data unread has its last frames dropped
                while sock.recv(65536):
                    pass
            else:
                self._serve_http1(sock, connection)

    def _ask(self, asked: Asked) -> Answer:
        self.requests.append(asked)
        return self._answer(asked)

    def _serve_http1(self, sock: ssl.SSLSocket, connection: int) -> None:
        received, nth = b"", 0
        while data := sock.recv(65536):
            received += data
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                answer = self._ask(Asked(_song_num(head.split()[1].decode()), nth, connection, http2=False))
                nth += 1
                if isinstance(answer, Status):
                    body = _body(_song_num(head.split()[1].decode()))
                    sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (answer.status, len(body)) + body)
                elif answer:
                    return


class _Http2:
    """One connection."""

    def __init__(self, sock: ssl.SSLSocket, number: int, ask: Callable[[Asked], Answer]) -> None:
        self._sock = sock
        self._number = number
        self._ask = ask
        self._nth = 0
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def run(self) -> None:
        """Answer until the client leaves or it is to be closed."""
        self._h2.initiate_connection()
        self._flush()
        while data := self._sock.recv(65536):
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived) and not self._respond(event):
                    self._flush()
                    return
            self._flush()

    def _respond(self, event: h2.events.RequestReceived) -> bool:
        """Answer a request; False: the connection ends."""
        stream = event.stream_id
        assert stream is not None
        song_num = _song_num(dict(event.headers)[b":path"].decode())
        answer = self._ask(Asked(song_num, self._nth, self._number, http2=True))
        self._nth += 1
        if isinstance(answer, GoAway):
            self._h2.close_connection(answer.code, last_stream_id=stream - 2)
            return False
        if isinstance(answer, Reset):
            self._h2.reset_stream(stream, answer.code)
        elif answer:
            self._h2.send_headers(stream, [(":status", str(answer.status))])
            self._h2.send_data(stream, _body(song_num), end_stream=True)
        return True

    def _flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())


def _song_num(path: str) -> int:
    return int(path.rsplit("/", 1)[1])


def _body(song_num: int) -> bytes:
    return json.dumps({"id": song_num, "title": f"Song {song_num}"}).encode()
