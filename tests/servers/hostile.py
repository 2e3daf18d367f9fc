"""Pages of an upstream that lies, stalls and attacks: one for each trick, the same for every client that is tried.

Tricks of connections and of TLS, which need more than one answer, are with the tests that play them.
"""

from __future__ import annotations

import base64
import functools
import gzip
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from servers.pages import Ending, Page, Pages, cut, drip, error, hang, html, raw, song, throttled

SONG = b'{"id": 1, "title": "Song 1"}'
_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = b"Content-Type: application/json\r\n"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
_BOMB_BYTES = 200 << 20
# The same text by brotli 1.2, itself compressed: nothing here can write brotli.
_BROTLI = zlib.decompress(
    base64.b85decode(
        "c-lMt|Gz!M5(k$@n;Z(>|9|xVzdVBwLtzBNuJ84K{{LroU{c`YcKH6U|NsAb1`mcKiHtAq{r~v?KR*L!gM|*m-QV{A{{LrGU=(O)"
        "T~Pi1ILI&+hDRG1O5Xqf@&7-21B-)<Si`%&^8f$;XPCgyahU1C-v5t>jU~<u4hl-l0B^{ojs"
    )
)


@dataclass(frozen=True)
class Trick:
    """Say what an upstream does, with the page that does it, and what becomes of a declared song.

    `becomes` is the kind of its verdict and the error word: "retry timeout".
    """

    does: str
    becomes: str
    page: Page


def answer(body: bytes, *lines: str) -> Page:
    """Answer 200 with these header lines and a Content-Type, then hang up."""
    return raw(_OK + _JSON + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body)


def encoded(body: bytes, encoding: str) -> Page:
    """Answer with a body that is said to be compressed so."""
    return Page(body=body, headers={"Content-Encoding": encoding})


def redirect(location: str) -> Page:
    """Answer with a redirect, and with a song for whoever takes its body for one."""
    return Page(status=302, body=SONG, headers={"Location": location})


@cache
def gzip_bomb() -> bytes:
    """Compress a JSON text of 200 MB to 200 KB: one piece that repeats, since a full flush forgets what came before."""
    piece = b" " * (1 << 20)
    pieces = [b'"', *[piece] * (_BOMB_BYTES >> 20), b'"']
    compressed = _flushed(b'"') + _flushed(piece) * (_BOMB_BYTES >> 20) + _flushed(b'"', zlib.Z_FINISH)
    crc = functools.reduce(lambda crc, piece: zlib.crc32(piece, crc), pieces, 0)
    return gzip.compress(b"", mtime=0)[:10] + compressed + struct.pack("<II", crc, sum(map(len, pieces)))


def _flushed(data: bytes, flush: int = zlib.Z_FULL_FLUSH) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(flush)


@cache
def zstd_bomb() -> bytes:
    """Compress the same text to 6 KB, by zstd's blocks that repeat one byte (RFC 8878, 3.1.1.2)."""

    def block(kind: int, size: int, data: bytes, last: bool = False) -> bytes:
        return (size << 3 | kind << 1 | last).to_bytes(3, "little") + data

    blocks = block(1, 1 << 17, b" ") * (_BOMB_BYTES >> 17)
    return bytes.fromhex("28b52ffd0058") + block(0, 1, b'"') + blocks + block(0, 1, b'"', last=True)


def tricks(port: int, canary: str, inside: str = "http://169.254.169.254/latest/") -> Mapping[str, Trick]:
    """Give the tricks of a server on this loopback port, by name; nobody may ask `canary` or `inside`."""
    return {
        name: Trick(does, becomes, page)
        for table in (_SLOW, _CUT, _sizes(), _heads(), _BODIES, _statuses(), _redirects(port, canary, inside))
        for name, (does, becomes, page) in table.items()
    }


def pages_of(table: Mapping[str, Trick]) -> Pages:
    """Serve the tricks as the songs 1, 2, 3, ... in their order, and as any other number a song."""
    pages = [trick.page for trick in table.values()]
    return lambda song_num, _nth: pages[song_num - 1] if 1 <= song_num <= len(pages) else song(song_num)


_SLOW = {
    "hang": ("accepts and never answers", "retry timeout", hang()),
    "header drip": (
        "sends a byte of the head every 0.2 s",
        "retry timeout",
        Page(exact=_OK + b"X-Slow: " + b"x" * 300, pace_seconds=0.2),
    ),
    "body drip": ("sends a byte of the body every 0.2 s", "retry timeout", drip(SONG + b" " * 300, 0.2)),
    "chunk drip": (
        "sends a chunk of one byte every 0.2 s",
        "retry timeout",
        Page(exact=_OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 300, pace_seconds=0.03),
    ),
}

_CUT = {
    "nothing": ("hangs up without a word", "retry connection", raw(b"")),
    "status line only": ("hangs up after the status line", "retry connection", raw(_OK)),
    "short body": ("sends less than its Content-Length", "retry connection", cut(SONG[:10], len(SONG))),
    "short chunk": (
        "hangs up within a chunk",
        "retry connection",
        answer(b"1c\r\n" + SONG[:10], "Transfer-Encoding: chunked"),
    ),
    "no last chunk": (
        "hangs up before the last chunk",
        "retry connection",
        answer(b"1c\r\n" + SONG + b"\r\n", "Transfer-Encoding: chunked"),
    ),
    "reset": (
        "resets the connection within the body",
        "retry connection",
        replace(cut(SONG[:10], len(SONG)), ending=Ending.RESET),
    ),
    "short, no length": ("cuts a body that ends with the connection", "retry invalid_json", answer(SONG[:10])),
    "short gzip": (
        "cuts a compressed body, its length right",
        "retry invalid_json",
        encoded(gzip.compress(SONG, mtime=0)[:30], "gzip"),
    ),
    "broken gzip": ("compresses wrongly", "retry invalid_encoding", encoded(b"\x1f\x8b\x08" + b"x" * 20, "gzip")),
    "plain gzip": ("says that a plain body is compressed", "retry invalid_encoding", encoded(SONG, "gzip")),
}

_BODIES = {
    "html": ("a web page, with status 200", "retry invalid_json", html()),
    "empty": ("nothing, with status 200", "retry invalid_json", Page()),
    "wrong schema": ("an error as JSON, with status 200", "failed no_info", Page(body=b'{"error": {"code": 7}}')),
    "bad UTF-8": ("a title that is not UTF-8", "retry invalid_json", Page(body=b'{"id": 1, "title": "Song \xff"}')),
    "lone surrogate": (
        "half a character, escaped",
        "retry invalid_json",
        Page(body=rb'{"id": 1, "title": "Song \ud800"}'),
    ),
    "byte order mark": ("a mark before the JSON text", "found", Page(body=b"\xef\xbb\xbf" + SONG)),
    "UTF-16": ("JSON as UTF-16", "retry invalid_json", Page(body=SONG.decode().encode("utf-16"))),
    "NaN": ("NaN, which is no JSON", "retry invalid_json", Page(body=b'{"id": NaN, "title": "Song 1"}')),
    "Infinity": (
        "Infinity, which is no JSON",
        "retry invalid_json",
        Page(body=b'{"id": -Infinity, "title": "Song 1"}'),
    ),
    "1e999": ("a number that no float holds", "retry invalid_json", Page(body=b'{"id": 1e999, "title": "Song 1"}')),
    "2**64": ("a whole number past 64 bits", "found", Page(body=b'{"id": 18446744073709551616, "title": "Song 1"}')),
    "5,000 digits": (
        "a whole number of 5,000 digits",
        "retry invalid_json",
        Page(body=b'{"id": %b, "title": "Song 1"}' % (b"9" * 5000)),
    ),
    "two names": ("the same name twice", "found", Page(body=b'{"id": 1, "title": "Song 0", "title": "Song 1"}')),
    "100,000 deep": ("arrays within arrays", "retry invalid_json", Page(body=b"[" * 100_000 + b"]" * 100_000)),
    "two texts": ("two JSON texts as one body", "retry invalid_json", Page(body=SONG + SONG)),
}


def _sizes() -> dict[str, tuple[str, str, Page]]:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    chained = gzip_bomb()
    for _ in range(5):
        chained = gzip.compress(chained, mtime=0)
    return {
        "gzip bomb": ("200 KB that inflate to 200 MB", "failed too_large", encoded(gzip_bomb(), "gzip")),
        "deflate bomb": ("the same as deflate, unasked", "failed too_large", encoded(gzip_bomb()[10:-8], "deflate")),
        "brotli bomb": ("the same as brotli, unasked", "retry invalid_encoding", encoded(_BROTLI, "br")),
        "zstd bomb": ("the same as zstd, unasked", "retry invalid_encoding", encoded(zstd_bomb(), "zstd")),
        "gzip six times": (
            "a bomb within five other wrappings",
            "retry invalid_encoding",
            encoded(chained, ", ".join(["gzip"] * 6)),
        ),
        "error bomb": (
            "the gzip bomb as the body of a 500",
            "retry http_500",
            replace(encoded(gzip_bomb(), "gzip"), status=500),
        ),
        "endless body": (
            "a body without length or end",
            "failed too_large",
            replace(answer(b'"'), endless=b" " * 65536),
        ),
        "endless chunks": (
            "chunks without end",
            "failed too_large",
            replace(answer(b"", "Transfer-Encoding: chunked"), endless=chunk),
        ),
        "huge length": ("announces a terabyte", "failed too_large", replace(cut(b'"', 1 << 40), endless=b" " * 65536)),
    }


def _heads() -> dict[str, tuple[str, str, Page]]:
    noise = random.Random(1).randbytes(2000)
    length = f"Content-Length: {len(SONG)}"
    return {
        "endless head": (
            "header lines without end",
            "retry connection",
            replace(raw(_OK), endless=b"X-More: " + b"x" * 1000 + b"\r\n"),
        ),
        "endless line": (
            "one header line without end",
            "retry connection",
            replace(raw(_OK + b"X-Long: "), endless=b"x" * 65536),
        ),
        "200 KB header": ("a header of 200 KB", "retry connection", answer(SONG, "X-Long: " + "x" * 200_000, length)),
        "500 headers": ("500 headers", "found", answer(SONG, *(f"X-{n}: {n}" for n in range(500)), length)),
        "no header": ("a line that is no header", "retry connection", answer(SONG, "no colon here", length)),
        "HTTP/9.9": (
            "an HTTP that does not exist",
            "retry connection",
            raw(b"HTTP/9.9 200 OK\r\nContent-Length: 28\r\n\r\n" + SONG),
        ),
        "noise": ("random bytes", "retry connection", raw(noise)),
        "negative length": ("a Content-Length below zero", "retry connection", answer(SONG, "Content-Length: -28")),
        "no number": ("a Content-Length that is no number", "retry connection", answer(SONG, "Content-Length: 2_8")),
        "two lengths": (
            "two Content-Lengths that differ",
            "retry connection",
            answer(SONG, length, "Content-Length: 10"),
        ),
        "two endings": (
            "both Transfer-Encoding and Content-Length",
            "found",
            answer(b"1c\r\n" + SONG + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"),
        ),
        "cookies": (
            "60 cookies of 1 KB",
            "found",
            answer(SONG, *(f"Set-Cookie: c{n}={'x' * 900}" for n in range(60)), length),
        ),
        "hints": ("an interim answer first", "found", raw(_HINTS + _OK + _JSON + length.encode() + b"\r\n\r\n" + SONG)),
        "endless hints": (
            "interim answers without end",
            "retry connection",
            replace(raw(_HINTS), endless=_HINTS * 100),
        ),
    }


def _statuses() -> dict[str, tuple[str, str, Page]]:
    return {
        "101": ("switches to another protocol", "retry connection", raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")),
        "204": (
            "nothing, and says so",
            "missing",
            Page(status=204, headers={"Content-Length": "0"}),
        ),
        "999": ("a song, with status 999", "retry http_999", Page(status=999, body=SONG)),
        "000": (
            "a song, with status 000",
            "retry connection",
            raw(b"HTTP/1.1 000 OK\r\nContent-Length: 28\r\n\r\n" + SONG),
        ),
        "500 song": ("a song, with status 500", "retry http_500", Page(status=500, body=SONG)),
        "404 song": ("a song, with status 404", "missing", Page(status=404, body=SONG)),
        "403": ("forbids", "failed http_403", error(403)),
        **{
            f"Retry-After: {text}": ("429 with a Retry-After that says nothing", "throttled http_429", throttled(text))
            for text in ("soon", "1m0s", "-5", "nan", "1e3", "")
        },
    }


def _redirects(port: int, canary: str, inside: str) -> dict[str, tuple[str, str, Page]]:
    return {
        "redirect to nowhere": ("redirects nowhere", "failed redirect", redirect("")),
        "redirect loop": ("redirects to itself", "failed redirect", redirect("?again")),
        "redirect away": ("redirects to another server", "failed redirect", redirect(canary)),
        "redirect //": (
            "redirects to another server, the scheme left out",
            "failed redirect",
            redirect(canary.removeprefix("http:")),
        ),
        "redirect inside": (
            "redirects to the metadata server",
            "failed redirect",
            redirect(inside),
        ),
        "redirect to file": ("redirects to a file", "failed redirect", redirect("file:///etc/passwd")),
        "redirect to https": (
            "redirects to another scheme",
            "failed redirect",
            redirect(f"https://127.0.0.1:{port}/songs/0"),
        ),
        "redirect to nonsense": ("redirects to no URL", "failed redirect", redirect("http://[::1")),
    }
