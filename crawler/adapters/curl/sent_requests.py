"""Requests of libcurl as they go out, for an observer: what is really sent, not what was meant to be."""

from __future__ import annotations

from functools import partial

import pycurl

from crawler.core.ports import Observer, SentRequest


def tell_requests(curl: pycurl.Curl, scheme: str, observer: Observer) -> None:
    """Have an observer told of each request that a handle sends."""
    curl.setopt(pycurl.VERBOSE, 1)
    curl.setopt(pycurl.DEBUGFUNCTION, partial(_tell, scheme, observer))


def _tell(scheme: str, observer: Observer, kind: int, data: bytes) -> None:
    if kind == pycurl.INFOTYPE_HEADER_OUT:
        observer.sent(_parse(data, scheme))
    elif kind == pycurl.INFOTYPE_DATA_OUT:
        observer.sent_body(data)


def _parse(head: bytes, scheme: str) -> SentRequest:
    """Read the head of a request; libcurl writes one of HTTP/2 in the form of HTTP/1.1 too."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    host = next((value for name, value in pairs if name.lower() == "host"), "")
    return SentRequest(method, f"{scheme}://{host}{rest.rpartition(' ')[0]}", pairs)
