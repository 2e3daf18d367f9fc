"""The checksum of Cloud Storage, so that a folder's objects carry the same."""

from __future__ import annotations

import base64


def crc32c(data: bytes) -> str:
    """Return the CRC-32C of bytes as Cloud Storage writes it: base64, big-endian (RFC 9260, appendix A)."""
    import google_crc32c  # a C extension that only a commit needs: not at cold start

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
