"""A transfer whose songs are asked for by POST, or followed where they are redirected, as settings may have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pycurl

from crawler.adapters.curl.transfer import Transfer
from crawler.core.verdict import Verdict
from crawler.upstream.song_requests.redirects import Redirects, item_of
from crawler.upstream.song_requests.template import RequestBody


class DeclaredTransfer(Transfer):
    """What carries one song after the other, each with a body of its own, or to where it is now; None: it does not."""

    def __init__(self, body: RequestBody | None, redirects: Redirects | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_body = body
        self._redirects = redirects
        self._item: Any = None
        self._lines_of_all: list[bytes] = []

    def set_options(self, options: Mapping[int, Any]) -> None:
        """Set libcurl's options, and the header lines that a body needs."""
        super().set_options(options)
        self._lines_of_all = [*options[pycurl.HTTPHEADER]]
        if self._request_body is None:
            return
        self._lines_of_all += [f"{name}: {value}".encode() for name, value in self._request_body.headers.items()]
        # Without these libcurl waits for leave to send a large body, and calls one without a type a form.
        self._lines_of_all.append(b"Expect:")
        if not any(line.lower().startswith(b"content-type") for line in self._lines_of_all):
            self._lines_of_all.append(b"Content-Type:")
        self._setopt(pycurl.HTTPHEADER, self._lines_of_all)

    def begin(self, token: Any, item: Any, timeout: float) -> None:
        """Get ready for a song."""
        super().begin(token, item, timeout)
        self._item = item
        if self._request_body:
            body = self._request_body.of(item_of(item))
            self._length += len(body)
            self._setopt(pycurl.POSTFIELDS, body)

    def _judge_song(self, status: int, fields: Mapping[str, str], *, cut: bool) -> Verdict:
        verdict = super()._judge_song(status, fields, cut=cut)
        if self._redirects is None:
            return verdict
        return self._redirects.judge(verdict, self._item, status, fields.get("location"))
