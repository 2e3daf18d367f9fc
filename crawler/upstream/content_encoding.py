"""Undo a Content-Encoding within a bound."""

from __future__ import annotations

import zlib

# https://docs.python.org/3/library/zlib.html#zlib.decompress: a gzip header, a zlib one, none.
_GZIP, _ZLIB, _RAW = 31, 15, -15


def most_encoded_bytes(most_bytes: int) -> int:
    """Return what a body of so many bytes takes at most if it can't be compressed at all (zlib's compressBound)."""
    return most_bytes + (most_bytes >> 12) + (most_bytes >> 14) + (most_bytes >> 25) + 64


def decode_body(body: bytes, content_encoding: str, most_bytes: int) -> bytes:
    """Decompress a body whose Content-Encoding is `readable`; no more than `most_bytes` + 1 bytes of it.

    Raises ValueError for one that can't be. What follows a whole gzip member and is none itself is passed over.
    """
    encoding = content_encoding.strip().lower()
    try:
        if encoding in ("gzip", "x-gzip"):
            return _decode_gzip(body, most_bytes + 1)
        if encoding == "deflate":
            return _decode_deflate(body, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return body


def _decode_gzip(body: bytes, most: int) -> bytes:
    """Decompress the members of a gzip file one after the other (RFC 1952, 2.2)."""
    inflater = zlib.decompressobj(_GZIP)
    decoded = inflater.decompress(body, most)
    while inflater.unused_data and len(decoded) < most:
        body, inflater = inflater.unused_data, zlib.decompressobj(_GZIP)
        try:
            decoded += inflater.decompress(body, most - len(decoded))
        except zlib.error:
            break
    return decoded


def _decode_deflate(body: bytes, most: int) -> bytes:
    """Decompress with a zlib header, as it ought to be (RFC 9110, 8.4.1.2), or without, as some servers send it."""
    try:
        return zlib.decompressobj(_ZLIB).decompress(body, most)
    except zlib.error:
        return zlib.decompressobj(_RAW).decompress(body, most)
