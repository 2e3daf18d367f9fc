"""Check what a compressed body becomes, and that no more of it than is allowed."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.upstream.content_encoding import decode_body, most_encoded_bytes

BODY = b'{"id": 1, "title": "Song 1"}'
MOST = 1000


def raw_deflate(body: bytes) -> bytes:
    """Compress without any header."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


ENCODED = {
    "none": ("", BODY),
    "identity": ("identity", BODY),
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("X-GZip ", gzip.compress(BODY)),
    "gzip, two members": ("gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
    "gzip, then rubbish": ("gzip", gzip.compress(BODY) + b"rubbish"),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without a header": ("deflate", raw_deflate(BODY)),
}


@pytest.mark.parametrize(("encoding", "encoded"), ENCODED.values(), ids=ENCODED)
def test_body_is_what_was_encoded(encoding: str, encoded: bytes) -> None:
    """Undo each encoding that is read."""
    assert decode_body(encoded, encoding, MOST) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("encoded", [BODY, b"\x1f\x8b\x08" + b"x" * 20], ids=["plain", "broken"])
def test_body_that_is_not_encoded_so_is_refused(encoding: str, encoded: bytes) -> None:
    """Raise ValueError for what no encoder wrote."""
    with pytest.raises(ValueError, match=r"Error -\d while decompressing"):
        decode_body(encoded, encoding, MOST)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1, 64 << 20])
def test_decoding_stops_past_the_limit(encoding: str, size: int) -> None:
    """Give one byte more than allowed of a body that is larger, and make no more of it."""
    body = b"x" * size
    encoded = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    tracemalloc.start()
    try:
        decoded = decode_body(encoded, encoding, MOST)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(decoded) == min(size, MOST + 1)
    assert peak < 1 << 20


@given(st.binary(max_size=4000), st.integers(0, 5000))
def test_any_body_survives(body: bytes, most: int) -> None:
    """Give back what was compressed, up to the limit."""
    for encoding, encoded in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        assert decode_body(encoded, encoding, most) == body[: most + 1]


@pytest.mark.parametrize("size", [0, 1, MOST, 100_000, 1 << 20])
def test_incompressible_body_is_not_longer_than_that(size: int) -> None:
    """Allow for what an encoder adds to a body that it can make no smaller."""
    body = random.Random(1).randbytes(size)
    for level in (0, 6, 9):
        assert len(gzip.compress(body, level)) <= most_encoded_bytes(size)
