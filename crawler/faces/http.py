"""HTTP without a web framework: which call does what, and how answers and errors look on the wire."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from crawler.faces.deployment import Deployment
from crawler.faces.log import LOGGER
from crawler.ground.errors import Forbidden, MethodNotAllowed, SongcrawlError, UnknownRun
from crawler.rules.answer import Answer
from crawler.rules.request import parse_crawl

# When to send the same call again: a call that ran out of time continues at once, an upstream or a store that is down
# gets a while.
_CONTINUE_SECONDS = 1
_UNAVAILABLE_SECONDS = 30

_BROWSER_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Songcrawl</title>
<h1>Songcrawl</h1>
<p>This function crawls when a program calls it: <code>curl -d '{"songs": "1-100"}' ADDRESS</code></p>
</html>
"""


@dataclass(frozen=True)
class HttpRequest:
    """Hold what a face was asked; `query` keeps repeated names, header names are in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class HttpResponse:
    """Hold what a face answers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def respond(open_deployment: Callable[[], Deployment], request: HttpRequest) -> HttpResponse:
    """Answer any request; an error becomes problem+json (RFC 9457), an unforeseen one without a word of its own."""
    try:
        return _route(open_deployment, request)
    except SongcrawlError as error:
        if error.http_status >= 500:
            LOGGER.error(str(error))
        return _problem(error)
    except Exception as error:
        LOGGER.exception(f"unforeseen {type(error).__name__}")
        return _problem(SongcrawlError("Something unforeseen went wrong; the function's log says where."))


def _route(open_deployment: Callable[[], Deployment], request: HttpRequest) -> HttpResponse:
    if request.path.rstrip("/"):
        raise UnknownRun(f"There is nothing at {request.path[:200]}; a crawl is POST / or GET /?songs=1-100.")
    if request.method not in ("GET", "POST"):
        raise MethodNotAllowed(request.method, "/", "GET", "POST")
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return HttpResponse(200, _BROWSER_PAGE, "text/html; charset=utf-8")
    # A browser says from where it calls; only the function's own page may start a crawl with somebody's login.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("A crawl can't be started from another site's page; allowed: the function's own page.")
    deployment = open_deployment()
    ceilings = deployment.ceilings
    crawl = parse_crawl(request.query, request.body, ceilings)
    return _answered(deployment.crawl(crawl, crawl.deadline_seconds or ceilings.deadline_seconds))


def _answered(answer: Answer) -> HttpResponse:
    body = msgspec.json.encode(answer) + b"\n"
    if answer.state == "complete":
        return HttpResponse(200, body)
    return HttpResponse(503, body, headers={"Retry-After": str(_CONTINUE_SECONDS)})


def _problem(error: SongcrawlError) -> HttpResponse:
    problem = {
        "title": http.HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": str(error),
    }
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if error.http_status == 503:
        headers["Retry-After"] = str(_UNAVAILABLE_SECONDS)
    body = msgspec.json.encode(problem) + b"\n"
    return HttpResponse(error.http_status, body, "application/problem+json", headers)
