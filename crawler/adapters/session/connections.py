"""Connections of requests and urllib3 that keep a total deadline, go only where they may, and take no lies.

An answer's head is bounded and read strictly: what two readers could understand differently would let an upstream slip
one song's answer under another's number.
"""

from __future__ import annotations

import http
import http.client
import logging
import re
import socket
import ssl
import threading
from collections.abc import Set
from io import BytesIO
from typing import Any, BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HeaderParsingError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.response import assert_header_parsing
from urllib3.util.ssl_ import create_urllib3_context

from crawler.adapters.connection_reuse import ConnectionReuse
from crawler.adapters.session.responses import LimitedResponse
from crawler.adapters.session.sockets import LimitedSocket, LimitedSSLSocket, connect
from crawler.core.verdict import Verdict
from crawler.upstream.response_limits import LARGE_HEAD, MOST_HEAD_BYTES, UNCLEAR_HEAD, plain_length

# The lines that end a head, and a field's name (RFC 9110, 5.6.2).
_ENDS = frozenset({b"\r\n", b"\n"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_SPACE = " \t\r\n"


# What only reads, and may be sent again (RFC 9110, 9.2.2).
READS = frozenset({"GET", "HEAD"})
# How the end of a connection looks; http.client's RemoteDisconnected is one of these.
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_of_thread = threading.local()


def take_resent() -> int:
    """Return how many requests this thread has sent again since it was last asked."""
    resent: int = getattr(_of_thread, "resent", 0)
    _of_thread.resent = 0
    return resent


class LimitedAdapter(HTTPAdapter):
    """An adapter with one pool per host that fits all threads; its connections keep time limits and allowed addresses.

    The responses' bodies hold `most_bytes` at most.
    """

    def __init__(self, max_at_once: int, most_bytes: int, allow_private: bool) -> None:
        self._reads = set(READS)
        self._most_bytes = most_bytes
        self._allow_private = allow_private
        # Below that it tells whole URLs, a key in the query included, to whatever log the process keeps.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        self._latest: tuple[Any, Any] = (None, None)
        super().__init__(pool_connections=16, pool_maxsize=max_at_once, max_retries=0)

    def declare_read(self, method: str) -> None:
        """Learn that requests of this method only read: what is lost of them may be sent again."""
        self._reads.add(method)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools' connections ours."""
        context = create_urllib3_context()
        context.sslsocket_class = LimitedSSLSocket
        super().init_poolmanager(*args, ssl_context=context, **kwargs)
        of_pools = {"allow_private": self._allow_private, "reads": self._reads, "reuse": ConnectionReuse()}
        connection = type("Connection", (_LimitedConnection,), of_pools)
        tls_connection = type("TLSConnection", (_LimitedTLSConnection,), of_pools)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": connection}),
            "https": type("TLSPool", (HTTPSConnectionPool,), {"ConnectionCls": tls_connection}),
        }

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool of a request's origin; nearly always it is that of the request before."""
        url = request.url or ""
        origin = (url[: url.find("/", len("https://"))], verify, cert)
        latest, pool = self._latest
        if origin == latest and not proxies and pool.pool is not None:  # it is None once the pool is closed
            return pool
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if not proxies:
            self._latest = origin, pool
        return pool

    def close(self) -> None:
        """Let go of the pools: their connections are closed with them."""
        self._latest = (None, None)
        super().close()

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return what stands in the request line."""
        return super().request_url(request, proxies) if proxies else request.path_url

    def build_response(self, *args: Any, **kwargs: Any) -> LimitedResponse:
        """Make the responses ours: requests itself names their class."""
        response = LimitedResponse(self._most_bytes)
        response.__dict__.update(super().build_response(*args, **kwargs).__dict__)
        return response


class HandshakeError(ssl.SSLError):
    """No TLS connection can be had: a certificate nobody trusts, no version or cipher in common."""


class HeadError(http.client.HTTPException):
    """The head of an answer is refused; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


class _Head:
    """The lines of an answer's head, and of the interim ones before it, up to a limit on all of them."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._bytes = 0

    def readline(self, limit: int) -> bytes:
        line = self._source.readline(limit)
        if self._bytes and not line:
            raise HeadError(UNCLEAR_HEAD)
        self._bytes += len(line)
        if self._bytes > MOST_HEAD_BYTES:
            raise HeadError(LARGE_HEAD)
        return line

    @property
    def begun(self) -> bool:
        """Tell whether anything of an answer has come."""
        return self._bytes > 0

    def fields(self) -> list[bytes]:
        """Read what follows the status line, up to the empty line and with it."""
        lines = [self.readline(MOST_HEAD_BYTES + 1)]
        while lines[-1] not in _ENDS:
            lines.append(self.readline(MOST_HEAD_BYTES + 1))
        return lines

    def close(self) -> None:
        self._source.close()


def _parse(lines: list[bytes]) -> http.client.HTTPMessage:
    """Return the fields of a head; raises HTTPException for a line that is none.

    Where all is plain without Python's parser of e-mails, which holds the interpreter an eighth of a request.
    """
    message = http.client.HTTPMessage()
    for line in lines[:-1]:
        name, _, value = line.decode("latin-1").partition(":")
        value = value.strip(_SPACE)
        if not _TOKEN.fullmatch(name) or "\r" in value or not line.endswith(b"\n"):
            break
        message.set_raw(name, value)
    else:
        return message
    try:
        message = http.client.parse_headers(BytesIO(b"".join(lines)))
        assert_header_parsing(message)
    except HeaderParsingError as error:
        raise HeadError(UNCLEAR_HEAD) from error
    return message


class _FinalResponse(http.client.HTTPResponse):
    """A response that is the final answer, with no head that is too large or contradicts itself.

    http.client takes any interim answer but 100 for the answer itself (RFC 9110, 15.2); the final one, coming later on
    the same connection, would then be taken for the next song's.
    """

    def begin(self) -> None:
        """Read the head: what http.client's own does, but for the time that its parser of e-mails takes."""
        source = self.fp
        self.fp = self._head = _Head(source)  # type: ignore[assignment]
        try:
            version, self.status, reason = self._read_status()
            self.headers = self.msg = _parse(self._head.fields())
        except _CLOSED as error:
            if self._head.begun:
                raise http.client.HTTPException("the head is cut short") from error
            raise
        finally:
            if self.fp is not None:
                self.fp = source
        self.code, self.reason = self.status, reason.strip()
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version == "HTTP/1.0" else 11
        self._frame()

    def _frame(self) -> None:
        """Find out where the body ends (RFC 9112, 6.3): http.client reads it by these."""
        lengths = self.headers.get_all("Content-Length", [])
        if not plain_length(lengths):
            raise HeadError(UNCLEAR_HEAD)
        self.chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = int(lengths[0]) if lengths and lengths[0].isdigit() and not self.chunked else None
        if self.status in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED) or self._method == "HEAD":  # type: ignore[attr-defined]
            self.length = 0
        closes = self._check_close()  # type: ignore[attr-defined]
        self.will_close = closes or not (self.chunked or self.length is not None)

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200:
                return version, status, reason
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("no final answer")
            self._head.fields()


class _LimitedConnection(HTTPConnection):
    """A connection that may be used again; what only reads is sent again, on a new one, if it is lost by that."""

    allow_private = False
    reads: Set[str] = READS
    reuse = ConnectionReuse()
    response_class = _FinalResponse
    _used = False
    _trial = False
    _request: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        """Send a request; one that reads is kept until its answer comes."""
        reads = method in self.reads and (body is None or isinstance(body, (bytes, str)))
        self._request = ((method, url, body, *args), kwargs) if reads else None
        self._end_trial(kept=False)
        if self.reuse.careful and self._used:
            self._trial = not self.reuse.wants_new()
            if not self._trial:
                self.close()
        used = self._used
        try:
            super().request(method, url, body, *args, **kwargs)
        except ConnectionResetError:
            if not self._lost(used):
                raise
            super().request(method, url, body, *args, **kwargs)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Read the head of the answer; where not a byte of it came on a used connection, ask again."""
        used = self._used
        try:
            response = super().getresponse()
        except _CLOSED:
            if not self._lost(used):
                raise
            arguments, options = self._request or ((), {})
            super().request(*arguments, **options)
            response = super().getresponse()
        self._used = self.sock is not None  # it is closed already where the answer says that it ends
        self.reuse.count(1)
        self._end_trial(kept=True)
        return response

    def _lost(self, used: bool) -> bool:
        """Tell whether a request was lost on a used connection; leaves that, and counts what is sent again."""
        if not self._request or not used:
            return False
        self._end_trial(kept=False)
        self.close()
        self.reuse.count_lost()
        _of_thread.resent = getattr(_of_thread, "resent", 0) + 1
        return True

    def _end_trial(self, *, kept: bool) -> None:
        if self._trial:
            self.reuse.count_trial(kept=kept)
        self._trial = False

    def close(self) -> None:
        """Close the connection; it opens anew with the next request."""
        self._used = False
        super().close()

    def _new_conn(self) -> LimitedSocket:
        idle = self.timeout if isinstance(self.timeout, (int, float)) else None
        try:
            return connect(self._dns_host.strip("[]"), self.port or 0, idle, self.allow_private)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection in time") from error
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connect and shake hands; raises HandshakeError where another attempt would end the same."""
        try:
            super().connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            raise HandshakeError(*error.args) from error
