"""One transfer of libcurl: how a song is asked for, and what its end means.

What libcurl reports becomes a verdict here, and only here.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

import pycurl

from crawler.adapters.curl.sockets import CurlSockets
from crawler.core.errors import BadSetting
from crawler.core.ports import Observer, Page
from crawler.core.verdict import CACHED, Verdict, announcing, failed, found, retry
from crawler.upstream.address_guard import refusal
from crawler.upstream.classify import UNRESOLVED, UNTRUSTED, DeclaredSong
from crawler.upstream.content_encoding import decode_body, most_encoded_bytes
from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.response_limits import (
    LARGE_HEAD,
    MOST_HEAD_BYTES,
    NO_CACHE,
    UNCLEAR_HEAD,
    is_cached,
    plain_length,
    readable,
)
from crawler.upstream.song_requests.template import Fill
from crawler.upstream.waits import parse_retry_after

# CURLE_TOO_LARGE, for which pycurl has no name: libcurl's own bounds of a head, which lie above ours.
_E_TOO_LARGE = 100

_VERDICTS = {
    pycurl.E_COULDNT_RESOLVE_HOST: UNRESOLVED,
    pycurl.E_PEER_FAILED_VERIFICATION: UNTRUSTED,
    pycurl.E_SSL_CIPHER: UNTRUSTED,
    pycurl.E_SSL_CERTPROBLEM: UNTRUSTED,
    pycurl.E_OPERATION_TIMEDOUT: retry("timeout"),
    pycurl.E_BAD_CONTENT_ENCODING: retry("invalid_encoding"),
    _E_TOO_LARGE: LARGE_HEAD,
}
_BROKEN = retry("connection")

ParseHead = Callable[[bytes], Mapping[str, str] | None]

_GO, _ABORT = int(pycurl.PREREQFUNC_OK), int(pycurl.PREREQFUNC_ABORT)

# What a head must hold for its fields to matter; two lengths may contradict each other.
_TELLING = re.compile(rb"\n(?:content-encoding:|retry-after:|content-length:(?s:.*)\ncontent-length:)", re.IGNORECASE)
# The field by which a redirect says where it leads.
_LOCATION = re.compile(rb"\nlocation:", re.IGNORECASE)


class Transfer:
    """What carries one song after the other on the handle `curl`; `token` stands for the present one.

    An `observer`, if there is one, hears what libcurl says where no whole answer comes.
    """

    def __init__(
        self,
        sockets: CurlSockets,
        host: str,
        url_of: Fill,
        song: DeclaredSong,
        most_bytes: int,
        parse_head: ParseHead,
        *,
        allow_private: bool,
        rate_headers: RateHeaders | None = None,
    ) -> None:
        self.curl = pycurl.Curl()
        self.token: Any = None
        self.observer: Observer | None = None
        self._sockets = sockets
        self._host = host
        self._url_of = url_of
        self._song = song
        self._most_bytes = most_bytes
        self._most_encoded_bytes = most_encoded_bytes(most_bytes)
        self._parse_head = parse_head
        self._allow_private = allow_private
        self._rate_headers = rate_headers
        self._timeout: float | None = None
        self.lines: list[bytes] = []  # of the request's head
        self.fresh = False
        self._lines: list[bytes] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._refusal: str | None = None
        self._allowed = False
        self._asked = False
        self._setopt = self.curl.setopt
        self._status: Callable[[], int] = partial(self.curl.getinfo, pycurl.RESPONSE_CODE)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._write)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.curl.setopt(pycurl.PREREQFUNCTION, self._ask)
        self.curl.setopt(pycurl.RESOLVER_START_FUNCTION, sockets.looks_up)

    def set_options(self, options: Mapping[int, Any]) -> None:
        """Set libcurl's options, once."""
        for option, value in options.items():
            self._setopt(option, value)

    def begin(self, token: Any, item: Any, timeout: float) -> None:
        """Get ready for a song."""
        self.token = token
        self._setopt(pycurl.URL, self._url_of(item))
        if timeout != self._timeout:
            self._timeout = timeout
            self._setopt(pycurl.TIMEOUT_MS, max(1, math.ceil(timeout * 1000)))

    def ask_past_caches(self) -> None:
        """Have what it carries answered by the upstream itself, or else judged as a cache's."""
        self.fresh, self._parse_head = True, parse_whole_head
        own = [line for line in self.lines if not line.lower().startswith(b"cache-control:")]
        self.curl.setopt(pycurl.HTTPHEADER, [*own, ": ".join(NO_CACHE).encode()])

    def end(self, error: int, message: str) -> tuple[Any, Verdict]:
        """Judge the song by what came and libcurl's error; returns its token too, and keeps nothing of either.

        Raises BadSetting for an address that is not allowed.
        """
        token = self.token
        try:
            return token, self._judge(error, message)
        finally:
            self.token = self._refusal = None
            self._allowed = self._asked = False
            self._lines.clear()
            self._chunks.clear()
            self._size = 0

    def _judge(self, error: int, message: str) -> Verdict:
        if error and error != pycurl.E_WRITE_ERROR:  # which is how _write ends a body that is too large
            return self._judge_error(error, message)
        head = b"".join(self._lines)
        if len(head) > MOST_HEAD_BYTES:
            return LARGE_HEAD
        fields = self._parse_head(head)
        status = self._status()
        if fields is None or status < 200:
            return UNCLEAR_HEAD
        if self.fresh and is_cached(fields):
            return CACHED
        return self._judge_answer(status, fields, cut=bool(error))

    def _judge_answer(self, status: int, fields: Mapping[str, str], *, cut: bool) -> Verdict:
        verdict = self._judge_song(status, fields, cut=cut)
        if not fields or self._rate_headers is None:
            return verdict
        return announcing(verdict, self._rate_headers.read(fields, time.time()))

    def _judge_song(self, status: int, fields: Mapping[str, str], *, cut: bool) -> Verdict:
        retry_after, song = None, self._song
        if "retry-after" in fields:
            retry_after = parse_retry_after(fields["retry-after"], time.time(), fields.get("date"))
        if not song.reads_errors and not 200 <= status < 300:
            return song.judge_status(status, retry_after)
        body = self._read(fields, cut=cut)
        if status == 200 and not song.reads_headers:  # as most are
            return body if isinstance(body, Verdict) else song.judge_body(body, retry_after)
        return song.judge(status, body, retry_after, fields, time.time())

    def _read(self, fields: Mapping[str, str], *, cut: bool) -> bytes | Verdict:
        """Return the body, or why it can't be had."""
        try:
            body = self._body(fields.get("content-encoding"))
        except ValueError:
            return retry("invalid_encoding")
        return failed("too_large") if len(body) > self._most_bytes or cut else body

    def _body(self, encoding: str | None) -> bytes:
        """Return the body, decompressed; raises ValueError for one that is compressed otherwise than we ask for."""
        body = b"".join(self._chunks)
        if encoding is None:
            return body
        if not readable(encoding):
            raise ValueError(encoding)
        return decode_body(body, encoding, self._most_bytes)

    def _judge_error(self, error: int, message: str) -> Verdict:
        if self._refusal and not self._allowed:
            raise BadSetting(self._refusal)
        if self.observer:
            self.observer.broken(message)
        if error == pycurl.E_SSL_CONNECT_ERROR and _no_handshake(message):
            return UNTRUSTED
        return _VERDICTS.get(error, _BROKEN)

    def _write(self, chunk: bytes) -> int | None:
        self._size += len(chunk)
        self._chunks.append(chunk)
        return -1 if self._size > self._most_encoded_bytes else None

    def _ask(self, _address: str, _own_address: str, _port: int, own_port: int) -> int:
        """Let one request go out: libcurl would send up to six, uncounted, if a connection ends without an answer."""
        if own_port in self._sockets.ended_ports:  # nothing can be sent from there
            self._sockets.ended_ports.discard(own_port)
        elif self._asked and not self._sockets.multiplexed:  # HTTP/2 says which requests were not looked at
            return _ABORT
        else:
            self._asked = self._sockets.connected = True
        return _GO

    def _open_socket(self, _purpose: int, address: Any) -> int:
        """Open a socket for an address that is allowed: no second look-up lies between, which could give another."""
        host = str(address.addr[0])
        if reason := refusal(host, self._allow_private):
            self._refusal = f"The upstream {self._host} has the address {host}: {reason}."
            return int(pycurl.SOCKET_BAD)
        self._allowed = True
        descriptor = socket.socket(address.family, address.socktype, address.protocol).detach()
        self._sockets.opened(descriptor)
        return descriptor


class PageTransfer(Transfer):
    """What carries a page that is no song, asked for by its URL.

    `keep` gets it, whatever its status, cut where it is too large.
    """

    def __init__(self, keep: Callable[[Page], object], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keep = keep
        self._url_of = str

    def _judge_answer(self, status: int, fields: Mapping[str, str], *, cut: bool) -> Verdict:
        del cut
        try:
            body = self._body(fields.get("content-encoding"))[: self._most_bytes]
        except ValueError:
            return retry("invalid_encoding")
        self._keep(Page(status, body, self.curl.getinfo(pycurl.REDIRECT_URL)))
        return found(None)


def _no_handshake(message: str) -> bool:
    """Tell whether the two have no TLS in common, from libcurl's words: for an end of the connection it has others."""
    return message.startswith("TLS connect error") and "unexpected eof" not in message


def parse_head(
    head: bytes, rate_headers: RateHeaders | None = None, *, follows_redirects: bool = False
) -> Mapping[str, str] | None:
    """Return the fields that matter of the final answer's head; None if it is cut or contradicts itself.

    Most heads hold none of them, and are not taken apart.
    """
    telling = _TELLING.search(head) or (rate_headers and rate_headers.may_tell(head))
    telling = telling or (follows_redirects and _LOCATION.search(head))
    return parse_whole_head(head) if telling or not _whole(head) else {}


def parse_whole_head(head: bytes) -> Mapping[str, str] | None:
    """Return all fields of the final answer's head, names in lower case; None if it is cut or contradicts itself."""
    if not _whole(head):
        return None
    fields = _parse_fields(head)
    return fields if plain_length([fields["content-length"]] if "content-length" in fields else []) else None


def _whole(head: bytes) -> bool:
    return head.endswith(b"\r\n\r\n") or b"\n\r\n" in head or b"\n\n" in head


def _parse_fields(head: bytes) -> dict[str, str]:
    """Return the fields of the final answer: not of interim ones before it (RFC 9110, 15.2), not those after its body.

    Several of one name are one, with commas between (RFC 9110, 5.2).
    """
    rest = iter(head.removesuffix(b"\n").split(b"\n"))
    fields: dict[str, str] = {}
    for status_line in rest:
        fields = {}
        for line in takewhile(bytes.strip, rest):
            name, _, value = line.decode("latin-1").partition(":")
            # What else Python calls a blank may be part of a text in UTF-8, read as ISO 8859-1.
            name, value = name.lower(), value.strip(" \t\r")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        if not status_line.split()[1].startswith(b"1"):
            break
    return fields
