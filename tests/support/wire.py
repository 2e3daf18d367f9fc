"""A TCP server whose every byte the test writes, in the clear or over TLS."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


class Wire:
    """Answer every connection's first request with what `talk` does on its socket, then close it."""

    def __init__(self, talk: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        """Start listening on a free loopback port."""
        self.connections = 0
        self._talk = talk
        self._context = context
        self._listener = socket.create_server((HOST, 0))
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="wire", daemon=True)]
        self._threads[0].start()
        port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://{HOST}:{port}/songs/{{song_num}}"

    def __enter__(self) -> Wire:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self._closing.set()
        with socket.create_connection(self._listener.getsockname()[:2]):
            for thread in self._threads:
                thread.join(timeout=5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing.is_set():
                sock.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), name="wire-client", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        # A client that leaves, or trusts no certificate of ours, ends its conversation with an OSError.
        with plain, suppress(OSError):
            if self._context is None:
                self._answer(plain)
                return
            with self._context.wrap_socket(plain, server_side=True) as sock:
                self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        if sock.recv(65536):
            self._talk(sock)


def dripping(data: bytes, pace_seconds: float, *, at_most: float = 5.0) -> Callable[[socket.socket], None]:
    """Send byte by byte, until the client leaves or after `at_most` seconds."""

    def talk(sock: socket.socket) -> None:
        end = time.monotonic() + at_most
        for byte in data:
            sock.sendall(bytes([byte]))
            time.sleep(pace_seconds)  # the slowness is what is served
            if time.monotonic() > end:
                return

    return talk


def saying(data: bytes) -> Callable[[socket.socket], None]:
    """Send all the bytes."""
    return lambda sock: sock.sendall(data)


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for the loopback address that nobody else has signed: a server's context, a client's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "songs.example")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file
