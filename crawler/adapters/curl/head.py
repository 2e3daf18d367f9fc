"""The head of an answer as libcurl hands it over, interim answers before it included: which fields it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile

from crawler.upstream.rate_headers import RateHeaders
from crawler.upstream.response_limits import plain_length

# What a head must hold for its fields to matter; two lengths may contradict each other.
_TELLING = re.compile(rb"\n(?:content-encoding:|retry-after:|content-length:(?s:.*)\ncontent-length:)", re.IGNORECASE)
# The field by which a redirect says where it leads.
_LOCATION = re.compile(rb"\nlocation:", re.IGNORECASE)


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
