"""Speak as real APIs do: each dialect in the bytes that were seen of it, its times scaled to a test's.

A dialect is a table of pages: what it answers for a song number. `there` tells which numbers it has, `refused` counts
the answers that say "slow down".
"""

from __future__ import annotations

import gzip
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from servers.pages import Page

JSON = {"Content-Type": "application/json; charset=utf-8"}


class Window:
    """At most so many requests in any so many seconds; refused ones count too if `strict`."""

    def __init__(self, most: int, seconds: float, *, strict: bool = False) -> None:
        self._most, self._seconds, self._strict = most, seconds, strict
        self._times: deque[float] = deque()

    def take(self) -> bool:
        """Tell whether one more request is within the limit."""
        now = time.monotonic()
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        good = len(self._times) < self._most
        if good or self._strict:
            self._times.append(now)
        return good

    def left(self) -> int:
        """Return how many more would be taken now."""
        return max(0, self._most - len(self._times))


class Dialect:
    """The pages of one API, one at a time; `there` is every number but the multiples of `gap`."""

    gap = 7

    def __init__(self) -> None:
        self.refused = 0
        self._lock = threading.Lock()

    def __call__(self, song_num: int, nth: int) -> Page:
        """Answer one request."""
        with self._lock:
            return self.page(song_num, nth)

    def there(self, song_num: int) -> bool:
        """Tell whether there is a song of that number."""
        return song_num % self.gap != 0

    def page(self, song_num: int, nth: int) -> Page:
        """Return the answer to one request; others wait meanwhile."""
        raise NotImplementedError

    def refuse(self, page: Page) -> Page:
        """Count a refusal."""
        self.refused += 1
        return page


def _json(content: Any, status: int = 200, headers: Mapping[str, str] = JSON) -> Page:
    return Page(status, json.dumps(content).encode(), headers)


def _item(song_num: int) -> dict[str, Any]:
    return {"id": song_num, "name": f"item {song_num}"}


class Deezer(Dialect):
    """Every answer is a 200, good and refused ones are mixed; 10 in any second [50 in 5 s], refused ones count."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(10, 1.0, strict=True)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with an item, `no data`, `Service busy` or `Quota limit exceeded`."""
        if not self._window.take():
            return self.refuse(self._error("Exception", "Quota limit exceeded", 4))
        if not self.there(song_num):
            return self._error("DataException", "no data", 800)
        if song_num % 50 == 3 and nth == 1:
            return self._error("Exception", "Service busy", 700)
        return _json(_item(song_num))

    def _error(self, kind: str, message: str, code: int) -> Page:
        return _json({"error": {"type": kind, "message": message, "code": code}})


class ITunes(Dialect):
    """Three newlines before a body of JavaScript's type; an empty 403 says "slow down"; 20 in any second [a minute]."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(20, 1.0)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a list of one result or none."""
        if not self._window.take():
            return self.refuse(Page(403, b"", {"Cache-Control": "max-age=0, no-cache"}))
        results = [_item(song_num)] if self.there(song_num) else []
        body = f"\n\n\n{json.dumps({'resultCount': len(results), 'results': results})}\n\n\n".encode()
        return Page(200, body, {"Content-Type": "text/javascript; charset=utf-8"})


class HackerNews(Dialect):
    """A null for what is not there, deleted items among the others, no limit."""

    def there(self, song_num: int) -> bool:
        """Have the first 25."""
        return song_num <= 25

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with an item, a deleted one, or null."""
        if not self.there(song_num):
            return Page(200, b"null", JSON)
        if song_num % 9 == 0:
            return _json({"id": song_num, "deleted": True, "type": "comment", "time": 1})
        return _json(_item(song_num))


class StackExchange(Dialect):
    """A backoff in every fifth good answer, which a request in that time prolongs; 15 in any second; always gzip."""

    def __init__(self, backoff: int = 1) -> None:
        super().__init__()
        self._window = Window(15, 1.0)
        self._backoff, self._until, self._good = backoff, -math.inf, 0
        self.early = 0

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a list of one question or none, or a 400 that says "slow down"."""
        if time.monotonic() < self._until:
            self.early += 1
            self._until = time.monotonic() + self._backoff
            return self._throttled("Violation of backoff parameter")
        if not self._window.take():
            return self._throttled("too many requests from this IP, more requests available in 3 seconds")
        self._good += 1
        items = [{"question_id": song_num, "title": f"item {song_num}"}] if self.there(song_num) else []
        answer = {"items": items, "has_more": False, "quota_max": 300, "quota_remaining": 300 - self._good}
        if self._good % 5 == 0:
            answer["backoff"] = self._backoff
            self._until = time.monotonic() + self._backoff
        return self._zipped(200, answer)

    def _throttled(self, message: str) -> Page:
        error = {"error_id": 502, "error_name": "throttle_violation", "error_message": message}
        return self.refuse(self._zipped(400, error))

    def _zipped(self, status: int, content: Any) -> Page:
        return Page(status, gzip.compress(json.dumps(content).encode()), {**JSON, "Content-Encoding": "gzip"})


class GitHub(Dialect):
    """A quota of 60 in 3 s [an hour], told in headers; 4 in flight, or a secondary limit; 301, 451, true 403."""

    gap = 13
    answer_seconds = 0.02

    def __init__(self) -> None:
        super().__init__()
        self._reset, self._left, self._began = 0, 0, deque[float]()
        self._secondary, self._quiet_until = 0, -math.inf

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a repository or one of the refusals."""
        now = time.time()
        if now >= self._reset:
            self._reset, self._left = math.ceil(now) + 2, 60
        if (secondary := self._too_many()) is not None:
            return secondary.after(self.answer_seconds)
        if not self._left:
            return self.refuse(self._said(403, {"message": "API rate limit exceeded for 127.0.0.1."}))
        self._left -= 1
        return self._repository(song_num).after(self.answer_seconds)

    def _too_many(self) -> Page | None:
        now = time.monotonic()
        while self._began and self._began[0] <= now - self.answer_seconds:
            self._began.popleft()
        if len(self._began) < 4 and now >= self._quiet_until:
            self._began.append(now)
            return None
        self._secondary += 1
        self._quiet_until = now + 1.0
        told = {"Retry-After": "1"} if self._secondary % 2 else {}
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return self.refuse(self._said(403, {"message": message}, told))

    def _repository(self, song_num: int) -> Page:
        if not self.there(song_num):
            return self._said(404, {"message": "Not Found"})
        if song_num % 17 == 0:
            block = {"reason": "dmca"}
            return self._said(451, {"message": "Repository access blocked", "block": block})
        if song_num % 19 == 0:
            place = f"/songs/{song_num + 1}"
            return self._said(301, {"message": "Moved Permanently", "url": place}, {"Location": place})
        if song_num % 23 == 0:
            return self._said(403, {"message": "Resource not accessible by integration"})
        return self._said(200, _item(song_num))

    def _said(self, status: int, content: Any, more: Mapping[str, str] = JSON) -> Page:
        told = {
            "X-RateLimit-Limit": "60",
            "X-RateLimit-Remaining": str(self._left),
            "X-RateLimit-Reset": str(self._reset),
            "ETag": '"1"',
        }
        return _json(content, status, {**JSON, **told, **more})


class Wikidata(Dialect):
    """A map by the id asked for, `missing` in the entry; maxlag is a 200 with Retry-After; a merged one."""

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a map of one entry, or an error that is a 200."""
        if song_num == 14 and nth == 1:
            error = {"code": "maxlag", "info": "Waiting for db1: 5.5 seconds lagged", "lag": 5.5}
            told = {"Retry-After": "1", "X-Database-Lag": "5", "MediaWiki-API-Error": "maxlag"}
            return self.refuse(_json({"error": error, "servedby": "mw1"}, headers={**JSON, **told}))
        asked = f"Q{song_num}"
        if not self.there(song_num):
            return _json({"entities": {asked: {"id": asked, "missing": ""}}, "success": 1})
        own = "Q1" if song_num == 11 else asked
        return _json({"entities": {asked: {"id": own, "type": "item", "labels": {}}}, "success": 1})


class PubMed(Dialect):
    """An error inside the entry for what is not there; a 429 without Retry-After past 3 in any second."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(3, 1.0)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a map by uid."""
        told = {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": str(self._window.left())}
        if not self._window.take():
            error = {"error": "API rate limit exceeded", "api-key": "127.0.0.1", "count": "4", "limit": "3"}
            return self.refuse(_json(error, 429, {**JSON, **told, "X-RateLimit-Remaining": "0"}))
        uid = str(song_num)
        entry = {"title": f"item {uid}"} if self.there(song_num) else {"error": "cannot get document summary"}
        result = {"uids": [uid], uid: {"uid": uid, **entry}}
        return _json({"header": {"type": "esummary", "version": "0.3"}, "result": result}, headers={**JSON, **told})


class OpenAlex(Dialect):
    """404 for what is not there, a redirect for what was merged, 403 or a page of HTML with a 429 for "slow down"."""

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a work; 12 and 15 are refused once."""
        if song_num == 12 and nth == 1:
            return self.refuse(_json({"error": "Forbidden", "message": "slow down"}, 403))
        if song_num == 15 and nth == 1:
            return self.refuse(Page(429, b"<html>429 Too Many Requests</html>", {"Content-Type": "text/html"}))
        if song_num == 11:
            return Page(301, b"", {"Location": "/songs/12"})
        told = {"X-RateLimit-Limit": "100000", "X-RateLimit-Remaining": "99000", "X-RateLimit-Reset": "11987"}
        told["X-RateLimit-Remaining-USD"] = "0.99"
        if not self.there(song_num):
            return Page(404, b"<!doctype html><title>404 Not Found</title>", {"Content-Type": "text/html", **told})
        work = {"id": f"https://openalex.org/W{song_num}", "title": f"item {song_num}"}
        return _json(work, headers={**JSON, **told})


class Discogs(Dialect):
    """A moving window told in headers without a reset; 15 in any second [25 in a minute]."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(15, 1.0)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a release."""
        good = self._window.take()
        left = self._window.left()
        told = {"X-Discogs-Ratelimit": "15", "X-Discogs-Ratelimit-Used": str(15 - left)}
        told["X-Discogs-Ratelimit-Remaining"] = str(left)
        if not good:
            return self.refuse(_json({"message": "You are making requests too quickly."}, 429, {**JSON, **told}))
        if not self.there(song_num):
            return _json({"message": "Release not found."}, 404, {**JSON, **told})
        return _json(_item(song_num), headers={**JSON, **told})


class Tmdb(Dialect):
    """Its own code in the body of every error; 20 in any second [about 40]."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(20, 1.0)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a movie."""
        if not self._window.take():
            return self.refuse(self._error(429, 25))
        if song_num % 10 == 6 and nth == 1:
            return self._error(503, 9)
        return _json(_item(song_num)) if self.there(song_num) else self._error(404, 34)

    def _error(self, status: int, code: int) -> Page:
        return _json({"success": False, "status_code": code, "status_message": "..."}, status)


class Steam(Dialect):
    """A map by the number asked for, `success` false in what is not there; 20 in any second [200 in 5 minutes]."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(20, 1.0)

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a map of one app."""
        if not self._window.take():
            return self.refuse(Page(429, b"null", JSON))
        if not self.there(song_num):
            return _json({str(song_num): {"success": False}})
        return _json({str(song_num): {"success": True, "data": {"steam_appid": song_num, "name": f"item {song_num}"}}})


class Edgar(Dialect):
    """A page of HTML with a 403 past 10 in any second, until it was quiet for a second [10 minutes]."""

    def __init__(self) -> None:
        super().__init__()
        self._window = Window(10, 1.0)
        self._blocked_until = -math.inf

    def page(self, song_num: int, nth: int) -> Page:
        """Answer with a company."""
        now = time.monotonic()
        if now < self._blocked_until or not self._window.take():
            self._blocked_until = now + 1.0
            body = b"<html><h1>Request Rate Threshold Exceeded</h1></html>"
            return self.refuse(Page(403, body, {"Content-Type": "text/html"}))
        if not self.there(song_num):
            return Page(
                404, b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "text/xml"}
            )
        return _json({"cik": f"{song_num:010}", "name": f"item {song_num}", "filings": {}})


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "deezer-tracks": Deezer,
    "discogs-releases": Discogs,
    "github-repositories": GitHub,
    "hacker-news-items": HackerNews,
    "itunes-lookup": ITunes,
    "openalex-works": OpenAlex,
    "pubmed-summaries": PubMed,
    "sec-edgar-companies": Edgar,
    "stack-exchange-questions": StackExchange,
    "steam-apps": Steam,
    "tmdb-movies": Tmdb,
    "wikidata-items": Wikidata,
}
"""The dialect that each bundled source is for."""
