"""The declared fetcher: a worker that keeps many songs on their way, on the multi interface of libcurl.

It gives the verdicts of the function fetcher (`adapters/session/fetchers.py`), at a fraction of its work for a song:
what libcurl does is C, and a song costs a handful of Python calls. Sockets are watched with epoll, so that what a song
costs does not grow with how many are on their way. Where there is no epoll, importing this module raises ImportError,
as without pycurl.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
import pycurl

from crawler.adapters.curl.declared_transfer import DeclaredTransfer
from crawler.adapters.curl.head import parse_head, parse_whole_head
from crawler.adapters.curl.sent_requests import tell_requests
from crawler.adapters.curl.sockets import CurlSockets
from crawler.adapters.curl.transfer import PageTransfer, Transfer
from crawler.core.ports import Observer, Page, Transfers
from crawler.core.verdict import Verdict, failed
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.response_limits import MOST_REDIRECTS, same_origin
from crawler.upstream.song_requests.redirects import Redirects
from crawler.upstream.song_requests.template import RequestBody, compile_template, encode_url

if TYPE_CHECKING:
    from crawler.adapters.access_tokens import AccessTokens

# What closing takes at most; without a name look-up on its way it is a millisecond.
_CLOSE_SECONDS = 0.5

# How long the first song over TLS connects alone, to find out whether one connection can carry them all.
_SCOUT_SECONDS = 0.5
# Songs to a connection that carries many: most servers allow a hundred (RFC 9113, 6.5.2), and some fewer.
_SONGS_A_CONNECTION = 16

_OPTIONS = {
    # With threads about, libcurl must not use signals for its timeouts.
    pycurl.NOSIGNAL: 1,
    # The body as it came: upstream/content_encoding.py decompresses it, within a bound.
    pycurl.HTTP_CONTENT_DECODING: 0,
    # Nothing of the environment: an empty name is no proxy.
    pycurl.PROXY: "",
    pycurl.NETRC: pycurl.NETRC_IGNORED,
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    # HTTP/2 where TLS offers it; CURLOPT_PIPEWAIT would have all songs wait for the first answer, come it or not.
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS,
    pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
}

# So many heads are kept: those of songs that come in the same second often differ in nothing.
_HEADS = 64
# libcurl goes through all lines of HTTPHEADER for each field that it may write itself: a sixtieth of a song's CPU.
_FIELD_OPTIONS = {"user-agent": pycurl.USERAGENT, "accept-encoding": pycurl.ACCEPT_ENCODING}


class CurlFetcher:
    """A fetcher of songs declared by SONG_URL, their verdicts by a DeclaredSong; one for each run.

    Its cookies, name look-ups and TLS sessions are shared by all that it opens, and gone with it.
    """

    def __init__(
        self,
        url: str,
        song: DeclaredSong,
        max_song_bytes: int,
        user_agent: str,
        headers: Mapping[str, str] | None = None,
        *,
        allow_private: bool = False,
        authorities: str | None = None,
        rate_headers: RateHeaders | None = None,
        key_of: Callable[[int], str] | None = None,
        tokens: AccessTokens | None = None,
        body: RequestBody | None = None,
    ) -> None:
        """`authorities` names a file of the certificates to trust, instead of those that requests does.

        `key_of` gives the key of a number; None: an item is its own key. With a `body` songs are asked for by POST.
        """
        self.url_of = compile_template(url, encode_url, key_of=key_of)
        self.host = urlsplit(url).hostname or ""
        self.over_tls = urlsplit(url).scheme == "https"
        self.song = song
        self.max_song_bytes = max_song_bytes
        self.allow_private = allow_private
        self.rate_headers = rate_headers
        self.gives_json = song.gives_json
        self.tokens = tokens
        parse = (
            parse_whole_head
            if song.reads_headers
            else partial(parse_head, rate_headers=rate_headers, follows_redirects=song.follows_redirects)
        )
        self._parse_head = lru_cache(_HEADS)(parse)
        self._options = _options({"User-Agent": user_agent, "Accept-Encoding": "gzip", **(headers or {})})
        self._options[pycurl.CAINFO] = authorities or certifi.where()
        self._options[pycurl.SHARE] = _share()
        redirects = Redirects(url, self.url_of, posts=body is not None) if song.follows_redirects else None
        if redirects:
            self.url_of = redirects.url_of
        self._open_song = partial(self._open_transfer, kind=_transfer_kind(body, redirects, tokens))
        self._observer: Observer | None = None

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each request from now on, and of what libcurl says where no whole answer comes."""
        self._observer = observer

    def open_transfers(self, most: int) -> Transfers:
        """Open what tries `most` songs at once, for the calling thread alone."""
        transfers = CurlTransfers(self._open_song, most, over_tls=self.over_tls)
        if self.tokens is None:
            return transfers
        from crawler.adapters.curl.bearer import BearerTransfers

        return BearerTransfers(self.tokens, transfers)

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Request one song, whole, within `timeout` seconds; raises BadSetting for an address that is not allowed."""
        return _attempt(self.open_transfers(1), item, timeout)

    def fetch(self, url: str, most_bytes: int, timeout: float) -> Page | Verdict:
        """Ask for another page of the songs' origin: see PageFetcher."""
        until = time.monotonic() + timeout
        for _ in range(1 + MOST_REDIRECTS):
            page = self._fetch(url, most_bytes, max(0.0, until - time.monotonic()))
            if not isinstance(page, Page) or not page.target:
                return page
            if not same_origin(url, page.target):
                break
            url = page.target
        return failed("redirect")

    def _fetch(self, url: str, most_bytes: int, timeout: float) -> Page | Verdict:
        """Ask for a page once, following no redirect."""
        pages: list[Page] = []
        open_page = partial(self._open_transfer, kind=partial(PageTransfer, pages.append), most_bytes=most_bytes)
        verdict = _attempt(CurlTransfers(open_page, 1, over_tls=self.over_tls), url, timeout)
        return pages[0] if pages else verdict

    def _open_transfer(
        self, sockets: CurlSockets, kind: Callable[..., Transfer] = Transfer, most_bytes: int | None = None
    ) -> Transfer:
        """Open what carries one song after the other."""
        transfer = kind(
            sockets,
            self.host,
            self.url_of,
            self.song,
            self.max_song_bytes if most_bytes is None else most_bytes,
            self._parse_head,
            allow_private=self.allow_private,
            rate_headers=self.rate_headers,
        )
        transfer.set_options(self._options)
        if self._observer:
            transfer.observer = self._observer
            tell_requests(transfer.curl, "https" if self.over_tls else "http", self._observer)
        transfer.lines = self._options[pycurl.HTTPHEADER]
        return transfer


class CurlTransfers:
    """Many songs on their way at once, in the calling thread."""

    def __init__(self, open_transfer: Callable[[CurlSockets], Transfer], most: int, *, over_tls: bool) -> None:
        self._new_transfer = open_transfer
        self._over_tls = over_tls
        self._most = most
        self._transfers: dict[pycurl.Curl, Transfer] = {}
        self._idle: list[Transfer] = []
        self._multi = pycurl.CurlMulti(close_handles=True)
        self._multi.setopt(pycurl.M_MAXCONNECTS, most)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, most)
        self._add, self._remove = self._multi.add_handle, self._multi.remove_handle
        self._sockets = CurlSockets(self._multi)
        self._sockets.scouting = over_tls
        self._knows_protocol = not over_tls
        self._scout_until = math.inf
        self._waiting: list[Transfer] = []

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt, which ends within `timeout` seconds; `token` comes back with its verdict."""
        transfer = self._idle.pop() if self._idle else self._open_transfer()
        transfer.begin(token, item, timeout)
        if self._knows_protocol:
            self._add(transfer.curl)
        elif self._scout_until == math.inf:
            self._scout_until = time.monotonic() + _SCOUT_SECONDS
            self._add(transfer.curl)
        else:
            self._waiting.append(transfer)

    def start_fresh(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt past caches, on a transfer of its own."""
        transfer = self._new_transfer(self._sockets)
        transfer.ask_past_caches()
        self._transfers[transfer.curl] = transfer
        self._idle.append(transfer)
        self.start(token, item, timeout)

    def perform(self, seconds: float) -> list[tuple[Any, Verdict]]:
        """Move all transfers on, wait `seconds` at most until one ends, and return those that did.

        Raises BadSetting for an address that is not allowed.
        """
        now = time.monotonic()
        until = now + seconds
        if self._waiting:
            if now >= self._scout_until:
                self._start_waiting()
            else:
                until = min(until, self._scout_until)
        # What has come already is heard before anything new is asked for: a connection may have ended.
        self._sockets.hear(0.0)
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        while not (ended := self._ended()) and (left := until - time.monotonic()) > 0:
            if self._waiting and self._sockets.connected:  # libcurl knows what that connection can carry
                self._start_waiting()
            timer = self._multi.timeout()
            if not self._sockets.hear(left if timer < 0 else min(left, timer / 1000)):
                self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return ended

    def close(self) -> None:
        """Cut what is on its way, and close the connections.

        A name look-up can't be cut: libcurl waits for it, and is left to do so in a thread of its own.
        """
        closing = threading.Thread(target=self._close, name="curl-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _close(self) -> None:
        self._multi.close()
        for transfer in [*self._idle, *self._waiting]:
            transfer.curl.close()
        self._sockets.close()

    def _open_transfer(self) -> Transfer:
        transfer = self._new_transfer(self._sockets)
        self._transfers[transfer.curl] = transfer
        return transfer

    def _ended(self) -> list[tuple[Any, Verdict]]:
        _, whole, broken = self._multi.info_read()
        if not whole and not broken:
            return []
        ended = [(self._transfers[curl], pycurl.E_OK, "") for curl in whole]
        ended += [(self._transfers[curl], error, message) for curl, error, message in broken]
        for transfer, _, _ in ended:
            self._remove(transfer.curl)
        if whole and self._over_tls:
            self._learn_of(whole)
        if not self._knows_protocol:
            self._start_waiting()
        self._sockets.reuse.count(len(ended))
        return [pair for transfer, error, message in ended if (pair := self._end(transfer, error, message))]

    def _end(self, transfer: Transfer, error: int, message: str) -> tuple[Any, Verdict] | None:
        """Return the token and verdict of a song that ended, or send it again."""
        pair = transfer.end(error, message)
        if pair is None:
            self._add(transfer.curl)
        elif transfer.fresh:
            del self._transfers[transfer.curl]
        else:
            self._idle.append(transfer)
        return pair

    def _learn_of(self, whole: Sequence[pycurl.Curl]) -> None:
        """Learn from whole answers over TLS what connections carry, and which are alive."""
        if not self._sockets.multiplexed:
            self._learn_protocol(whole[0].getinfo(pycurl.INFO_HTTP_VERSION))
        if self._sockets.multiplexed:
            now = time.monotonic()
            self._sockets.heard_at.update([(curl.getinfo(pycurl.LOCAL_PORT), now) for curl in whole])

    def _learn_protocol(self, version: int) -> None:
        """Note whether a connection carries many songs: then there are to be few."""
        self._sockets.scouting = False
        self._sockets.multiplexed = version >= pycurl.CURL_HTTP_VERSION_2_0
        if self._sockets.multiplexed:
            self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, 1 + self._most // _SONGS_A_CONNECTION)

    def _start_waiting(self) -> None:
        """Send out the songs that waited for the first one."""
        self._knows_protocol = True
        for transfer in self._waiting:
            self._add(transfer.curl)
        self._waiting.clear()


def _transfer_kind(
    body: RequestBody | None, redirects: Redirects | None, tokens: AccessTokens | None
) -> Callable[..., Transfer]:
    """Return what makes the transfers of songs: a plain one where nothing else is wanted."""
    if tokens:
        from crawler.adapters.curl.bearer import BearerTransfer

        return partial(BearerTransfer, tokens, body, redirects)
    return partial(DeclaredTransfer, body, redirects) if body or redirects else Transfer


def _attempt(transfers: Transfers, item: Any, timeout: float) -> Verdict:
    """Try one item, and close the transfers."""
    try:
        transfers.start(None, item, timeout)
        while not (ended := transfers.perform(timeout)):
            pass
        return ended[0][1]
    finally:
        transfers.close()


def _options(headers: Mapping[str, str]) -> dict[int, Any]:
    """Return the options of every transfer; of headers alike but for case the last one counts, as in a session."""
    fields = {name.lower(): (name, value) for name, value in headers.items()}
    options: dict[int, Any] = dict(_OPTIONS)
    for folded, option in _FIELD_OPTIONS.items():
        if folded in fields and fields[folded][1]:
            options[option] = fields.pop(folded)[1].encode("latin-1")
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in fields.values()]
    options[pycurl.HTTPHEADER] = [line.encode("latin-1") for line in lines]
    if "cookie" not in fields:  # a deployment's own cookies stand alone, as in a session
        options[pycurl.COOKIEFILE] = ""
    return options


def _share() -> pycurl.CurlShare:
    share = pycurl.CurlShare()
    for data in (pycurl.LOCK_DATA_COOKIE, pycurl.LOCK_DATA_DNS, pycurl.LOCK_DATA_SSL_SESSION):
        share.setopt(pycurl.SH_SHARE, data)
    return share
