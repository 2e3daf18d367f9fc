"""Obeying the upstream's robots.txt: asked for, kept for an hour, and heeded song by song."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from crawler.core.errors import BadSetting, UpstreamUnavailable
from crawler.core.ports import Fetcher, MultiFetcher, Page, Transfers
from crawler.core.verdict import FORBIDDEN, Kind, Verdict
from crawler.upstream.robots_rules import MOST_ROBOTS_BYTES, Robots, judge_robots, robots_url
from crawler.upstream.song_requests.redirects import Redirected
from crawler.upstream.song_requests.template import Fill, compile_template

# What asks for a page: see PageFetcher.fetch.
Fetch = Callable[[str, int, float], Page | Verdict]

# RFC 9309, 2.4: not longer than a day. An instance seldom lives as long; a changed mind is heard within the hour.
FRESH_SECONDS = 3600.0
_TRIES = 3

_OVERRIDE = "set ROBOTS=ignore if the API is yours"


class RobotsFile:
    """The robots.txt of the origin of SONG_URL, kept for an hour, for all calls of an instance."""

    def __init__(self, song_url: str, user_agent: str) -> None:
        self._song_url = song_url
        self._url = robots_url(song_url)
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._robots: Robots | None = None
        self._stale_at = 0.0

    def obey(self, fetch: Fetch, seconds: float) -> Robots:
        """Return what robots.txt asks for; where it is not known its host has so many seconds to say it.

        Raises BadSetting where SONG_URL is disallowed for every number, UpstreamUnavailable where it can't be read.
        """
        robots = self._known(fetch, time.monotonic() + seconds)
        if robots.allows and not robots.allows(self._song_url):
            raise BadSetting(
                f"SONG_URL is disallowed by {self._url} for {self._user_agent.split()[0]!r}; "
                f"allowed: a URL that it does not disallow, or {_OVERRIDE}."
            )
        return robots

    def fetcher(self, robots: Robots, fetcher: Fetcher, key_of: Callable[[int], str] | None = None) -> Fetcher:
        """Return a fetcher that fails the songs whose URL is disallowed, and asks for the others as `fetcher` does.

        `key_of` gives the key of a number; None: an item is its own key.
        """
        if robots.allows is None:
            return fetcher
        kind = _PoliteMultiFetcher if isinstance(fetcher, MultiFetcher) else _PoliteFetcher
        return kind(fetcher, compile_template(self._song_url, key_of=key_of), robots)

    def _known(self, fetch: Fetch, until: float) -> Robots:
        """Return what is known, asking for it where it is not; another call may be asking, and have more time."""
        if not self._lock.acquire(timeout=max(0.0, min(until - time.monotonic(), threading.TIMEOUT_MAX))):
            raise self._unreadable("timeout")
        try:
            if self._robots is None or time.monotonic() >= self._stale_at:
                self._robots = self._fetch(fetch, until)
                self._stale_at = time.monotonic() + FRESH_SECONDS
            return self._robots
        finally:
            self._lock.release()

    def _fetch(self, fetch: Fetch, until: float) -> Robots:
        reason = ""
        for _ in range(_TRIES):
            robots, reason = self._judge(fetch(self._url, MOST_ROBOTS_BYTES, max(0.0, until - time.monotonic())))
            if robots:
                return robots
        raise self._unreadable(reason)

    def _unreadable(self, reason: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"{self._url} can't be read ({reason}), so nothing may be asked for; {_OVERRIDE}.")

    def _judge(self, answer: Page | Verdict) -> tuple[Robots | None, str]:
        if isinstance(answer, Page):
            return judge_robots(answer.status, answer.body, self._user_agent), f"http_{answer.status}"
        if answer.kind is Kind.REFUSED:
            raise UpstreamUnavailable(answer.reason)
        # Redirected off the origin, or too often: as good as none (RFC 9309, 2.3.1.2).
        return Robots("", self._user_agent) if answer.error == "redirect" else None, answer.error or "failed"


class _PoliteFetcher:
    def __init__(self, fetcher: Any, url_of: Fill, robots: Robots) -> None:
        self._fetcher = fetcher
        self._url_of = url_of
        self._robots = robots
        self.gives_json = getattr(fetcher, "gives_json", False)

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Try one item, if its URL may be asked for."""
        verdict: Verdict = self._fetcher.attempt(item, timeout) if self.allows(item) else FORBIDDEN
        return verdict

    def attempt_fresh(self, item: Any, timeout: float) -> Verdict:
        """Try one item past caches, if its URL may be asked for."""
        fresh = getattr(self._fetcher, "attempt_fresh", self._fetcher.attempt)
        verdict: Verdict = fresh(item, timeout) if self.allows(item) else FORBIDDEN
        return verdict

    def allows(self, item: Any) -> bool:
        """Tell whether an item's URL may be asked for."""
        allows = self._robots.allows
        return allows is None or allows(item.urls[-1] if isinstance(item, Redirected) else self._url_of(item))


class _PoliteMultiFetcher(_PoliteFetcher):
    def open_transfers(self, most: int) -> Transfers:
        """Open what tries many at once."""
        return _PoliteTransfers(self._fetcher.open_transfers(most), self)


class _PoliteTransfers:
    def __init__(self, transfers: Transfers, fetcher: _PoliteFetcher) -> None:
        self._transfers = transfers
        self._fetcher = fetcher
        self._forbidden: list[tuple[Any, Verdict]] = []

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt, if the item's URL may be asked for."""
        if self._fetcher.allows(item):
            self._transfers.start(token, item, timeout)
        else:
            self._forbidden.append((token, FORBIDDEN))

    def start_fresh(self, token: Any, item: Any, timeout: float) -> None:
        """Begin one attempt past caches: a song that was found may be asked for."""
        getattr(self._transfers, "start_fresh", self._transfers.start)(token, item, timeout)

    def perform(self, seconds: float) -> Sequence[tuple[Any, Verdict]]:
        """Move all transfers on; those that are forbidden end at once."""
        forbidden, self._forbidden = self._forbidden, []
        return [*forbidden, *self._transfers.perform(0.0 if forbidden else seconds)]

    def close(self) -> None:
        """Cut what is on its way."""
        self._transfers.close()
