"""One transfer of libcurl: how a song is asked for, and what its end means.

What libcurl reports becomes a verdict here, and only here.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pycurl

from crawler.adapters.curl.head import parse_whole_head
from crawler.adapters.curl.sockets import CurlSockets
from crawler.core.errors import BadSetting
from crawler.core.ports import Observer, Page
from crawler.core.verdict import CACHED, Verdict, announcing, failed, found, retry, sent, throttled
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

_GO = int(pycurl.PREREQFUNC_OK)

# What an upstream over HTTP/2 says that is asked too much (RFC 9113, 7), in libcurl's words.
_CALM = "ENHANCE_YOUR_CALM"
_THROTTLED = throttled("enhance_your_calm")
# CURLE_HTTP2_STREAM, for which pycurl has no name either.
_E_HTTP2_STREAM = 92
# A connection, or a stream of it, ended or could not be written to.
_ENDS = frozenset({pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_HTTP2, _E_HTTP2_STREAM})
# What libcurl says of a stream that GOAWAY names as not looked at (RFC 9113, 6.8).
_NOT_LOOKED_AT = "reset by curl"
# A song is sent again so often at most, beside what libcurl does by itself (five times).
_MOST_RESENDS = 2
_LEAST_SECONDS = 0.01


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
        self._refusal: str | None = None
        self._allowed = False
        self._length = 0
        self._requests = 0  # that went out for this song and are to be sent again
        self._resends = 0
        self._new = False
        self._scouts = False
        self._noted = 0
        self._special = False
        kind = type(self)
        judges_itself = (kind._judge_answer, kind._judge_song) != (Transfer._judge_answer, Transfer._judge_song)
        self._plain = not (judges_itself or song.reads_headers)
        self._setopt = self.curl.setopt
        self._getinfo = self.curl.getinfo
        self._status: Callable[[], int] = partial(self.curl.getinfo, pycurl.RESPONSE_CODE)
        self._bytes_sent: Callable[[], int] = partial(self.curl.getinfo, pycurl.REQUEST_SIZE)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        # libcurl holds it against what was announced, and against what comes.
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, self._most_encoded_bytes)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.curl.setopt(pycurl.RESOLVER_START_FUNCTION, sockets.looks_up)

    def set_options(self, options: Mapping[int, Any]) -> None:
        """Set libcurl's options, once."""
        for option, value in options.items():
            self._setopt(option, value)

    def begin(self, token: Any, item: Any, timeout: float) -> None:
        """Get ready for a song."""
        self.token = token
        url = self._url_of(item)
        self._length = len(url)
        self._setopt(pycurl.URL, url)
        if timeout != self._timeout:
            self._set_timeout(timeout)
        sockets = self._sockets
        if self._special or sockets.scouting or sockets.reuse.careful:
            self._begin_specially()

    def _begin_specially(self) -> None:
        """Set what few songs need: a new connection, a note of what goes out."""
        sockets = self._sockets
        # While it is not known whether one connection carries many, nobody opens another.
        careful = sockets.reuse.careful and not (sockets.multiplexed or sockets.scouting)
        new = careful and sockets.reuse.wants_new()
        if new is not self._new:
            self._set_new(new)
        if sockets.scouting is not self._scouts:
            self._set_scouting(sockets.scouting)
        self._noted = 0
        self._special = new or self._scouts

    def ask_past_caches(self) -> None:
        """Have what it carries answered by the upstream itself, or else judged as a cache's."""
        self.fresh, self._parse_head = True, parse_whole_head
        own = [line for line in self.lines if not line.lower().startswith(b"cache-control:")]
        self.curl.setopt(pycurl.HTTPHEADER, [*own, ": ".join(NO_CACHE).encode()])

    def end(self, error: int, message: str) -> tuple[Any, Verdict] | None:
        """Judge the song by what came and libcurl's error; returns its token too, and keeps nothing of either.

        None: it is to be sent again at once, for which all is set.
        Raises BadSetting for an address that is not allowed.
        """
        token, reuse = self.token, self._sockets.reuse
        size = self._bytes_sent()
        requests = 1 if size - self._length == self._sockets.request_size else self._count_requests(size)
        if reuse.careful and not self._new:
            reuse.count_trial(kept=requests == 1 and not error and not self._getinfo(pycurl.NUM_CONNECTS))
        try:
            verdict = self._judge(error, message)
        finally:
            self._refusal = None
            self._allowed = False
            self._lines.clear()
            self._chunks.clear()
        if requests > 1:
            reuse.count_lost(requests - 1)
        if verdict is None:
            self._requests += requests
            return None
        self.token = None
        if requests > 1 or self._requests:
            verdict = sent(verdict, max(1, requests + self._requests))
            self._requests = self._resends = 0
        return token, verdict

    def _count_requests(self, size: int) -> int:
        """Return how many requests the bytes that went out for this song are."""
        if self._noted:
            return self._sockets.learn_size(size // self._noted - self._length, self._noted)
        cookies = [line.split("\t") for line in self._getinfo(pycurl.INFO_COOKIELIST)]
        weight = sum([len(cookie[-2]) + len(cookie[-1]) + len("=; ") for cookie in cookies])
        return self._sockets.count_requests(max(0, size - self._length), self._length, weight)

    def _set_timeout(self, seconds: float) -> None:
        self._timeout = seconds
        self._setopt(pycurl.TIMEOUT_MS, max(1, math.ceil(seconds * 1000)))

    def _set_new(self, new: bool) -> None:
        """Say whether the request is to have a new connection, which no other gets: a dead one would be tried first."""
        self._new = self._special = new
        self._setopt(pycurl.FRESH_CONNECT, int(new))
        self._setopt(pycurl.FORBID_REUSE, int(new))

    def _set_scouting(self, scouts: bool) -> None:
        """Say whether to note that a request goes out; the hook for it costs a twenty-fifth of a song."""
        self._scouts = scouts
        if scouts:
            self._setopt(pycurl.PREREQFUNCTION, self._note_sent)
        else:
            self.curl.unsetopt(pycurl.PREREQFUNCTION)

    def _send_again(self, *, new: bool) -> bool:
        """Get ready to send the same request again, in what is left of the time; False: it was often enough."""
        left = (self._timeout or 0.0) - self._getinfo(pycurl.TOTAL_TIME)
        if self._resends == _MOST_RESENDS or left < _LEAST_SECONDS:
            return False
        self._resends += 1
        self._set_timeout(left)
        self._set_new(new)
        return True

    def _judge(self, error: int, message: str) -> Verdict | None:
        """Judge the song; None: it is to be sent again."""
        if error and error != pycurl.E_FILESIZE_EXCEEDED:
            return None if self._was_lost(error, message) else self._judge_error(error, message)
        head = b"".join(self._lines)
        if len(head) > MOST_HEAD_BYTES:
            return LARGE_HEAD
        fields = self._parse_head(head)
        status = self._status()
        if fields is None or status < 200:
            return UNCLEAR_HEAD
        # As most are: only the song need look at the body.
        if status == 200 and self._plain and not fields and not error:
            chunks = self._chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            return self._song.judge_body(body) if len(body) <= self._most_bytes else failed("too_large")
        # RFC 9110, 15.5.20: ask on another connection.
        if status == 421 and self._send_again(new=True):
            return None
        if self.fresh and is_cached(fields):
            return CACHED
        return self._judge_answer(status, fields, cut=bool(error))

    def _was_lost(self, error: int, message: str) -> bool:
        """Tell whether the request is safe to be sent again, and get ready for it.

        It is if nothing of it went out, if the upstream says that it did not look at it, or if a connection that was
        used before ended without a byte of an answer (RFC 9110, 9.2.2).
        """
        if error not in _ENDS or self._lines or _CALM in message:
            return False
        unsent = error == pycurl.E_SEND_ERROR and not self._bytes_sent()
        used = error != _E_HTTP2_STREAM and not self._getinfo(pycurl.NUM_CONNECTS)
        if not (unsent or used or _NOT_LOOKED_AT in message):
            return False
        return self._send_again(new=not self._sockets.multiplexed)

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
        return song.judge(status, self._read(fields, cut=cut), retry_after, fields, time.time())

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
        if _CALM in message:
            return _THROTTLED
        if error == pycurl.E_OPERATION_TIMEDOUT:
            self._sockets.leave_mute(self._getinfo(pycurl.LOCAL_PORT), self._getinfo(pycurl.TOTAL_TIME))
        if error == pycurl.E_SSL_CONNECT_ERROR and _no_handshake(message):
            return UNTRUSTED
        return _VERDICTS.get(error, _BROKEN)

    def _note_sent(self, *_: object) -> int:
        """Note that a request goes out: what its connection can carry is known."""
        self._sockets.connected = True
        self._noted += 1
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
