"""Check on real sockets that limit headers reach the control, from declared songs and from functions."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from servers.pages import Page, song, throttled
from servers.upstream import Upstream
from support.fetchers import request_title

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.session.fetchers import DeclaredFetcher, FunctionFetcher, open_session
from crawler.app.composition import deployment_from
from crawler.app.parameters import parse_crawl
from crawler.core.ports import Fetcher
from crawler.core.quota import Quota
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.rate_headers import RateHeaders

LIMIT, SECONDS = 20, 1.0


class Window:
    """Pages of which 20 are served in each second, and which say so."""

    def __init__(self) -> None:
        self.refused = 0
        self._lock = threading.Lock()
        self._begins, self._served = 0.0, 0

    def __call__(self, song_num: int, _nth: int) -> Page:
        """Return the page of a song, or a refusal."""
        with self._lock:
            now = time.monotonic()
            if now >= self._begins + SECONDS:
                self._begins, self._served = now, 0
            self._served += 1
            left = LIMIT - self._served
            self.refused += left < 0
            told = {"X-RateLimit-Remaining": str(max(0, left)), "X-RateLimit-Reset": f"{self._begins + 1 - now:.3f}"}
        page = song(song_num) if left >= 0 else throttled()
        return replace(page, headers={**page.headers, **told})


def test_announced_quota_is_kept_without_a_refusal(tmp_path: Path) -> None:
    """Find 60 songs behind 20 a second, which headers tell, in three windows, with none refused."""
    window = Window()
    with Upstream(window) as upstream:
        settings = {"OUTPUT": str(tmp_path), "ALLOW_PRIVATE_UPSTREAM": "1", "SONG_URL": upstream.url}
        deployment = deployment_from(settings)
        result = deployment.crawl(parse_crawl([("songs", "1-60")], b"", deployment.bounds))

    assert result.summary.state == "complete"
    assert window.refused == 0


def quota_of(fetcher: Fetcher) -> Quota | None:
    """Return what the answer for one song announces."""
    return fetcher.attempt(1, 5.0).quota


@pytest.mark.parametrize("kind", ["curl", "requests", "function"])
@pytest.mark.parametrize("ignored", [False, True], ids=["auto", "ignore"])
def test_every_fetcher_reads_limit_headers(kind: str, ignored: bool) -> None:
    """Tell with the verdict what is announced, unless limit headers are ignored."""
    reader = None if ignored else RateHeaders()
    page = replace(song(1), headers={"RateLimit": '"a";r=7;t=3'})
    with (
        Upstream(lambda _song_num, _nth: page) as upstream,
        open_session(2, "songcrawl/test", allow_private=True) as session,
    ):
        fetcher: Fetcher
        if kind == "curl":
            fetcher = CurlFetcher(
                upstream.url, DeclaredSong(), 1 << 20, "songcrawl/test", allow_private=True, rate_headers=reader
            )
        elif kind == "requests":
            fetcher = DeclaredFetcher(session, upstream.url, DeclaredSong(), 1 << 20, reader)
        else:
            fetcher = FunctionFetcher(session, request_title(upstream.url), reader)

        assert quota_of(fetcher) == (None if ignored else Quota(None, 7, 3, policy="a"))
