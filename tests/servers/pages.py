"""Describe the answers that the song API gives, good and bad."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus


class Ending(Enum):
    """Name what becomes of the connection after an answer."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()


@dataclass(frozen=True)
class Page:
    """Describe one answer: what is sent, how slowly, and how the connection ends.

    `exact` is sent as it is instead of head and body; then `endless` again and again, until the client leaves, or
    `late` once, when the client has had the time to read the answer.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    pace_seconds: float = 0.0
    exact: bytes | None = None
    endless: bytes = b""
    late: bytes = b""
    ending: Ending = Ending.KEEP

    def after(self, seconds: float) -> Page:
        """Return the same page with this delay before its first byte."""
        return replace(self, delay_seconds=seconds)

    def head(self) -> bytes:
        """Return the status line and the headers with the blank line after them."""
        standard = {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in {**standard, **self.headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def chunks(self) -> list[bytes]:
        """Return the pieces of the answer, each for one send."""
        head, body = (self.head(), self.body) if self.exact is None else (b"", self.exact)
        if self.pace_seconds:
            return [head, *(bytes([byte]) for byte in body)]
        return [head + body]


Pages = Callable[[int, int], Page]
"""Choose the page from the song number and the count of requests for it, this one included."""


def songs_to(last: int) -> Pages:
    """Return a table where the numbers 1 to last are songs and all others are missing."""
    return lambda song_num, _nth: song(song_num) if 1 <= song_num <= last else missing()


def song(n: int) -> Page:
    """Return the JSON record of one song."""
    return Page(body=json.dumps({"id": n, "title": f"Song {n}"}).encode())


def missing() -> Page:
    """Return a 404."""
    return error(404)


def error(status: int) -> Page:
    """Return an error status with a JSON body."""
    return Page(status=status, body=json.dumps({"error": _phrase(status)}).encode())


def throttled(retry_after: str | None = None) -> Page:
    """Return a 429, with a Retry-After header when one is given."""
    return replace(error(429), headers={} if retry_after is None else {"Retry-After": retry_after})


def hang() -> Page:
    """Return a page that never comes."""
    return Page(delay_seconds=math.inf)


def reset() -> Page:
    """Return a TCP reset in place of an answer."""
    return Page(exact=b"", ending=Ending.RESET)


def cut(body: bytes, content_length: int) -> Page:
    """Return a body shorter than its declared length, then the end of the connection."""
    return raw(Page(body=body, headers={"Content-Length": str(content_length)}).head() + body)


def drip(body: bytes, seconds_between_bytes: float) -> Page:
    """Return a body that arrives byte by byte."""
    return Page(body=body, pace_seconds=seconds_between_bytes)


def html(body: bytes = b"<!doctype html><title>Sorry</title>") -> Page:
    """Return a web page with status 200 where a record was asked for."""
    return Page(body=body, headers={"Content-Type": "text/html; charset=utf-8"})


def raw(data: bytes) -> Page:
    """Return exactly these bytes, then the end of the connection."""
    return Page(exact=data, ending=Ending.CLOSE)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
