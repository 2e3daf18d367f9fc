"""The fetchers, each opened alike: what a test holds them to, it holds all of them to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, FunctionFetcher, open_session
from crawler.core.ports import Fetcher, MultiFetcher, Transfers
from crawler.core.verdict import Verdict
from crawler.upstream.classify import DeclaredSong

MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Opening:
    """Say how to open a fetcher: the SONG_URL, what picks the info, and what a deployment sets beside."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    allow_private: bool = True
    authority: Path | None = None


def request_title(url: str) -> Callable[[requests.Session, Any], Any]:
    """Give the function that a user would write for the titles of the songs at a URL."""

    def request_song_info(session: requests.Session, song_num: Any) -> Any:
        response = session.get(url.replace("{song_num}", str(song_num)))
        response.raise_for_status()
        return response.json()["title"]

    return request_song_info


@contextmanager
def _session(opening: Opening) -> Iterator[requests.Session]:
    options: dict[str, Any] = {"max_song_bytes": MOST_BYTES, "allow_private": opening.allow_private}
    with open_session(8, "songcrawl/test", opening.headers, **options) as session:
        if opening.authority:
            session.verify = str(opening.authority)
        yield session


@contextmanager
def _declared(opening: Opening) -> Iterator[Fetcher]:
    with _session(opening) as session:
        yield DeclaredFetcher(session, opening.url, DeclaredSong("title"), MOST_BYTES)


@contextmanager
def _function(opening: Opening) -> Iterator[Fetcher]:
    with _session(opening) as session:
        yield FunctionFetcher(session, request_title(opening.url))


class _Kept:
    """Try one song after the other in each thread, on transfers that are kept: a fetcher's own would be new ones."""

    def __init__(self, fetcher: MultiFetcher) -> None:
        self._fetcher = fetcher
        self._of_thread = threading.local()
        self._opened: list[Transfers] = []

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Try one item in the calling thread."""
        transfers: Transfers | None = getattr(self._of_thread, "transfers", None)
        if transfers is None:
            transfers = self._of_thread.transfers = self._fetcher.open_transfers(1)
            self._opened.append(transfers)
        transfers.start(None, item, timeout)
        while not (ended := transfers.perform(timeout)):
            pass
        return ended[0][1]

    def close(self) -> None:
        """Close all that were kept."""
        for transfers in self._opened:
            transfers.close()


@contextmanager
def _curl(opening: Opening) -> Iterator[Fetcher]:
    authorities = str(opening.authority) if opening.authority else None
    options: dict[str, Any] = {"allow_private": opening.allow_private, "authorities": authorities}
    fetcher = CurlFetcher(opening.url, DeclaredSong("title"), MOST_BYTES, "songcrawl/test", opening.headers, **options)
    kept = _Kept(fetcher)
    try:
        yield kept
    finally:
        kept.close()


FETCHERS: dict[str, Callable[[Opening], AbstractContextManager[Fetcher]]] = {
    "declared": _declared,
    "function": _function,
    "curl": _curl,
}

every_fetcher = pytest.mark.parametrize("open_fetcher", FETCHERS.values(), ids=FETCHERS)
