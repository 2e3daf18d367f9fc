"""HTTP without a web framework: which call does what, and how answers and errors look on the wire."""

from __future__ import annotations

import http
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from crawler.app.deployment import Deployment
from crawler.app.json_log import LOGGER
from crawler.app.parameters import (
    parse_crawl,
    parse_look,
    parse_page,
    parse_rows,
    parse_run_name,
    parse_snapshot,
    parse_snapshot_name,
    parse_snapshots_page,
    parse_song_num,
    parse_task,
)
from crawler.core.errors import Forbidden, MethodNotAllowed, SongcrawlError, UnknownRun
from crawler.entrypoints.http.bodies import Problem, RunsPage, SongsPage
from crawler.fan_out.plan import TaskReport
from crawler.runs.scheduled import parse_scheduled_call
from crawler.runs.summary import CallResult, Reason

_PATHS = (
    "/, /runs, /runs/RUN and below it /songs, /songs/SONG_NUM, /stop, /resume, /accept, /parts, "
    "/snapshots, /snapshots/SNAPSHOT, /sweep, /openapi.json"
)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)

if TYPE_CHECKING:
    from crawler.entrypoints.http.pages import Document

# When to send the same call again: a call that ran out of time continues at once, an upstream or a store that is down
# gets a while.
_CONTINUE_SECONDS = 1
_UNAVAILABLE_SECONDS = 30

# The status that a crawl's answer has, and after how many seconds the same call may be sent again.
_CRAWLED = {
    Reason.COMPLETE: (200, None),
    Reason.HELD: (200, None),
    Reason.QUEUED: (202, None),
    Reason.STOPPED: (503, _UNAVAILABLE_SECONDS),
    Reason.DEADLINE: (503, _CONTINUE_SECONDS),
    Reason.UPSTREAM: (503, _UNAVAILABLE_SECONDS),
    Reason.BUSY: (503, _UNAVAILABLE_SECONDS),
}


class HttpRequest(msgspec.Struct, frozen=True):
    """A request as the framework read it; `query` keeps repeated names, header names are in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]] = msgspec.field(default_factory=list)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""


class HttpResponse(msgspec.Struct, frozen=True):
    """A response for the framework to send."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


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
    pieces = [piece for piece in request.path.split("/") if piece]
    match pieces:
        case []:
            _allow(request, "/", "GET", "POST")
            return _crawl(open_deployment, request)
        case ["runs"]:
            _allow(request, "/runs", "GET")
            return _runs(open_deployment(), request)
        case ["runs", run]:
            _allow(request, "/runs/RUN", "GET")
            return _run(open_deployment(), parse_run_name("run", run), request)
        case ["runs", run, "songs", *song_nums] if len(song_nums) < 2:
            _allow(request, f"/runs/RUN/songs{'/SONG_NUM' * len(song_nums)}", "GET")
            return _songs(open_deployment(), parse_run_name("run", run), song_nums, request)
        case ["runs", run, "stop" | "resume" | "accept" as deed]:
            _allow(request, f"/runs/RUN/{deed}", "POST")
            _refuse_other_sites(request)
            return _json(200, getattr(open_deployment(), deed)(parse_run_name("run", run)))
        case ["runs", run, "parts"]:
            _allow(request, "/runs/RUN/parts", "POST")
            _refuse_other_sites(request)
            return _json(200, _carry_out(open_deployment(), parse_run_name("run", run), request))
        case ["snapshots", *names] if len(names) < 2:
            return _snapshots(open_deployment, names, request)
        case ["sweep"]:
            _allow(request, "/sweep", "POST")
            _refuse_other_sites(request)
            return _json(200, open_deployment().sweep())
        case ["openapi.json"]:
            _allow(request, "/openapi.json", "GET")
            return _openapi(open_deployment())
    raise UnknownRun(f"There is nothing at {request.path[:100]}; allowed: {_PATHS}.")


def _crawl(open_deployment: Callable[[], Deployment], request: HttpRequest) -> HttpResponse:
    if request.method == "GET" and _from_browser(request):
        return _page(request)
    _refuse_other_sites(request)
    deployment = open_deployment()
    crawl = parse_crawl(request.query, request.body, deployment.bounds)
    seconds = crawl.deadline_seconds or deployment.bounds.deadline_seconds
    if crawl.dry_run:
        return _json(200, deployment.plan(crawl))
    return respond_crawled(deployment.crawl(crawl, seconds, parse_scheduled_call(request.headers, time.time())))


def respond_crawled(result: CallResult) -> HttpResponse:
    """Return the response to a crawl: how the run stands, with the status that the call's reason has."""
    status, again = _CRAWLED[result.reason]
    headers = {} if again is None else {"Retry-After": str(result.summary.retry_after or again)}
    return _json(status, result.summary, headers)


def _carry_out(deployment: Deployment, run: str, request: HttpRequest) -> TaskReport:
    """Do a task. How often it has failed is a hint that anybody may send: it makes the task careful, no more."""
    retries = request.headers.get("x-cloudtasks-taskretrycount", "")
    return deployment.carry_out(run, parse_task(request.body), int(retries) if _COUNT.fullmatch(retries) else 0)


def _runs(deployment: Deployment, request: HttpRequest) -> HttpResponse:
    limit, after = parse_page(request.query)
    runs, last = deployment.runs(limit, after)
    return _json(200, RunsPage(runs=runs, next=f"after={last}" if last else None))


def _run(deployment: Deployment, run: str, request: HttpRequest) -> HttpResponse:
    look = parse_look(request.query)
    if _from_browser(request):
        return _report(deployment, run, download=look.download)
    return _json(200, deployment.state(run, coverage=look.parts))


def _songs(deployment: Deployment, run: str, song_nums: list[str], request: HttpRequest) -> HttpResponse:
    rows = deployment.rows(run)
    if song_nums:
        return _json(200, rows.row(parse_song_num(song_nums[0])))
    wanted = parse_rows(request.query)
    songs, last = rows.page(wanted.limit, wanted.status, wanted.after)
    return _json(200, SongsPage(songs=songs, next=None if last is None else f"after={last}"))


def _snapshots(open_deployment: Callable[[], Deployment], names: list[str], request: HttpRequest) -> HttpResponse:
    from crawler.entrypoints.http.snapshot_bodies import SnapshotsPage

    if names:
        _allow(request, "/snapshots/SNAPSHOT", "GET")
        return _json(200, open_deployment().snapshots().state(parse_snapshot_name(names[0])))
    _allow(request, "/snapshots", "GET", "POST")
    if request.method == "GET":
        snapshots, last = open_deployment().snapshots().page(*parse_snapshots_page(request.query))
        return _json(200, SnapshotsPage(snapshots=snapshots, next=f"after={last}" if last else None))
    _refuse_other_sites(request)
    deployment = open_deployment()
    summary = deployment.snapshot(parse_snapshot(request.query, request.body, deployment.bounds))
    if summary.state == "complete":
        return _json(200, summary)
    return _json(503, summary, {"Retry-After": str(_CONTINUE_SECONDS)})


def _page(request: HttpRequest) -> HttpResponse:
    from crawler.entrypoints.http.pages import render_page  # at first use, as are the report and the description

    return _html(render_page(request.query))


def _report(deployment: Deployment, run: str, *, download: bool) -> HttpResponse:
    from crawler.entrypoints.http.pages import render_report

    return _html(render_report(deployment.report(run), download=download))


def _openapi(deployment: Deployment) -> HttpResponse:
    from crawler.entrypoints.http.openapi import describe

    return _json(200, describe(deployment.bounds))


def _from_browser(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _allow(request: HttpRequest, path: str, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(request.method, path, *methods)


def _refuse_other_sites(request: HttpRequest) -> None:
    """Refuse what another site's page sends through somebody's browser: only the browser itself sets this header."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Forbidden("Another site's page can't do this; allowed: the function's own page.")


def _json(status: int, content: object, headers: Mapping[str, str] = MappingProxyType({})) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(content) + b"\n", headers=headers)


def _html(document: Document) -> HttpResponse:
    return HttpResponse(200, document.body, "text/html; charset=utf-8", document.headers)


def _problem(error: SongcrawlError) -> HttpResponse:
    title = http.HTTPStatus(error.http_status).phrase
    problem = Problem(title=title, status=error.http_status, detail=str(error))
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if error.http_status == 503:
        headers["Retry-After"] = str(getattr(error, "retry_after", None) or _UNAVAILABLE_SECONDS)
    body = msgspec.json.encode(problem) + b"\n"
    return HttpResponse(error.http_status, body, "application/problem+json", headers)
