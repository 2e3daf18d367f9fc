"""The description of the HTTP interface as OpenAPI 3.1, made from the definitions that read requests and write answers.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from crawler.app.crawl_request import RequestBounds
from crawler.app.parameters import (
    CRAWL_PARAMETERS,
    LOOK_PARAMETERS,
    PAGE_PARAMETERS,
    ROWS_PARAMETERS,
    RUN_PARAMETER,
    SNAPSHOT_PARAMETERS,
    SNAPSHOTS_PAGE_PARAMETERS,
    SONG_PARAMETER,
    TASK_PARAMETERS,
    Parameter,
)
from crawler.app.stored.snapshots import SnapshotSummary
from crawler.core.records import Row
from crawler.core.settings import VERSION
from crawler.entrypoints.http.bodies import Problem, RunsPage, SongsPage
from crawler.entrypoints.http.snapshot_bodies import SnapshotsPage
from crawler.fan_out.plan import SweepReport, TaskReport
from crawler.runs.summary import RunSummary

_SCHEMAS = "#/components/schemas/{name}"
_HTML = {"text/html": {"schema": {"type": "string"}}}
# The web framework answers a path with a line break in it by itself.
_UNROUTED = {404: _HTML}
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}, "required": True}}

_MEANINGS = {
    400: "The request is wrong; the sentence names the field, its value and what is allowed.",
    403: "Another web site sent this through somebody's browser.",
    404: "There is no such run or snapshot, no row of this song in it, or no queue.",
    409: "The name of the run or snapshot belongs to another request, or the run's state does not allow this.",
    413: "The body is over 64 KiB.",
    500: "The deployment is wrong; the sentence names what to change.",
    503: "The store, the queue or the upstream can't be reached. Send the same call again.",
}


def describe(bounds: RequestBounds) -> dict[str, Any]:
    """Return the document; `bounds` are those of this deployment's parameters."""
    kinds = [RunSummary, RunsPage, Row, SongsPage, SnapshotSummary, SnapshotsPage, TaskReport, SweepReport, Problem]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Songcrawl",
            "version": VERSION,
            "description": "Name a range of song numbers; every one of them is stored as found, missing or failed. "
            "Another method than those described is answered 405, another path 404.",
        },
        "paths": _paths(bounds),
        "components": {"schemas": schemas, "responses": {"MethodNotAllowed": _method_not_allowed()}},
    }
    return _renamed(document)


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """Give schemas the names that clients know them by, wherever they are referred to."""
    text = msgspec.json.encode(document).replace(RunSummary.__name__.encode(), b"Answer")
    renamed: dict[str, Any] = msgspec.json.decode(text)
    return renamed


def _paths(bounds: RequestBounds) -> dict[str, Any]:
    run = {**_parameter("run", RUN_PARAMETER, bounds, "path"), "required": True}
    look = [run, *_query(LOOK_PARAMETERS, bounds)]
    return {
        "/": {
            "post": {
                "operationId": "crawl",
                "summary": "Crawl; the same call again continues",
                "description": "The parameters may also stand in the query, each once.",
                "requestBody": _request_body(CRAWL_PARAMETERS, bounds),
                "responses": _crawled(),
            },
            "get": {
                "operationId": "crawlByGet",
                "summary": "Crawl, for callers that can't send a body; a browser gets a page and starts nothing",
                "parameters": _query(CRAWL_PARAMETERS, bounds),
                "responses": _crawled(page=True),
            },
        },
        "/sweep": {
            "post": {
                "operationId": "sweep",
                "summary": "Enqueue again what the queue lost of runs that are fanned out",
                "responses": _responses("What became of each unfinished one.", SweepReport, 403, 404, 500, 503),
            }
        },
        "/runs": {
            "get": {
                "operationId": "runs",
                "summary": "List runs, newest first",
                "parameters": _query(PAGE_PARAMETERS, bounds),
                "responses": _responses("A page of runs.", RunsPage, 400, 500, 503),
            }
        },
        "/runs/{run}": {
            "get": {
                "operationId": "run",
                "summary": "Say how a run stands; a browser gets the report",
                "parameters": look,
                "responses": _responses("How the run stands.", RunSummary, 400, 404, 500, 503, page=True),
            }
        },
        "/runs/{run}/songs": {
            "get": {
                "operationId": "songs",
                "summary": "List a run's rows by song number, all or those of a status",
                "parameters": [run, *_query(ROWS_PARAMETERS, bounds)],
                "responses": _responses("A page of rows.", SongsPage, 400, 404, 500, 503),
            }
        },
        "/runs/{run}/songs/{song_num}": {
            "get": {
                "operationId": "song",
                "summary": "Return one song's row",
                "parameters": [run, {**_parameter("song_num", SONG_PARAMETER, bounds, "path"), "required": True}],
                "responses": _responses("The row.", Row, 400, 404, 500, 503),
            }
        },
        "/runs/{run}/stop": {
            "post": {
                "operationId": "stop",
                "summary": "Stop a run on every instance; what is committed stays",
                "parameters": [run],
                "responses": _responses("How the run stands.", RunSummary, 400, 403, 404, 500, 503),
            }
        },
        "/runs/{run}/resume": {
            "post": {
                "operationId": "resume",
                "summary": "Take a stop back: the same call goes on with the run",
                "parameters": [run],
                "responses": _responses("How the run stands.", RunSummary, 400, 403, 404, 500, 503),
            }
        },
        "/runs/{run}/accept": {
            "post": {
                "operationId": "accept",
                "summary": "Complete a run that is held (MAX_FAILED, MIN_FOUND), as it is",
                "parameters": [run],
                "responses": _responses("How the run stands.", RunSummary, 400, 403, 404, 409, 500, 503),
            }
        },
        "/runs/{run}/parts": {
            "post": {
                "operationId": "carryOut",
                "summary": "Do some parts of a run that is fanned out: the queue sends this",
                "parameters": [run],
                "requestBody": _request_body(TASK_PARAMETERS, bounds),
                "responses": _responses(
                    "The parts are there, or another task continues them.",
                    TaskReport,
                    *(400, 403, 404, 409, 413, 500, 503),
                ),
            }
        },
        **_snapshot_paths(bounds),
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "responses": {
                    "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {}}}},
                    "500": _problem(500),
                },
            }
        },
    }


def _snapshot_paths(bounds: RequestBounds) -> dict[str, Any]:
    name = {**_parameter("snapshot", SNAPSHOT_PARAMETERS["name"], bounds, "path"), "required": True}
    partial = {
        "description": "Partial: out of time, or the store is down. Send the same call again, it continues.",
        "headers": _RETRY_AFTER,
        "content": {**_json(SnapshotSummary), **_problem_json()},
    }
    made = _responses("The snapshot is complete.", SnapshotSummary, 400, 403, 404, 409, 413, 500)
    return {
        "/snapshots": {
            "post": {
                "operationId": "snapshot",
                "summary": "Make one table of a source's runs; the same call again continues",
                "description": "The parameters may also stand in the query, each once.",
                "requestBody": {**_request_body(SNAPSHOT_PARAMETERS, bounds), "required": False},
                "responses": {**made, "503": partial},
            },
            "get": {
                "operationId": "snapshots",
                "summary": "List snapshots, newest first",
                "parameters": _query(SNAPSHOTS_PAGE_PARAMETERS, bounds),
                "responses": _responses("A page of snapshots.", SnapshotsPage, 400, 500, 503),
            },
        },
        "/snapshots/{snapshot}": {
            "get": {
                "operationId": "snapshotState",
                "summary": "Say how a snapshot stands",
                "parameters": [name],
                "responses": _responses("How it stands.", SnapshotSummary, 400, 404, 500, 503),
            }
        },
    }


def _crawled(*, page: bool = False) -> dict[str, Any]:
    """Describe what a crawl may be answered with."""
    partial = {
        "description": "Partial: out of time, stopped, or the upstream or the store is down. Send the same call again.",
        "headers": _RETRY_AFTER,
        "content": {**_json(RunSummary), **_problem_json()},
    }
    whole = _responses("The run is complete, held, or planned.", RunSummary, 400, 403, 404, 409, 413, 500, page=page)
    queued = {"description": "Tasks in the queue go on: GET /runs/RUN follows them.", "content": _json(RunSummary)}
    return {**whole, "202": queued, "503": partial}


def _responses(meaning: str, schema: type, *errors: int, page: bool = False) -> dict[str, Any]:
    content = {**_json(schema), **(_HTML if page else {})}
    return {
        "200": {"description": meaning, "content": content},
        **{str(status): _problem(status) for status in errors},
    }


def _problem(status: int) -> dict[str, Any]:
    headers = {"headers": _RETRY_AFTER} if status == 503 else {}
    return {
        "description": _MEANINGS[status],
        **headers,
        "content": {**_problem_json(), **_UNROUTED.get(status, {})},
    }


def _method_not_allowed() -> dict[str, Any]:
    allow = {"Allow": {"description": "the methods that the path takes", "schema": {"type": "string"}}}
    return {"description": "405: the path takes other methods.", "headers": allow, "content": _problem_json()}


def _problem_json() -> dict[str, Any]:
    return {"application/problem+json": {"schema": _reference(Problem)}}


def _json(schema: type) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(schema)}}


def _reference(schema: type) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=schema.__name__)}


def _query(parameters: Mapping[str, Parameter], bounds: RequestBounds) -> list[dict[str, Any]]:
    return [_parameter(name, parameter, bounds, "query") for name, parameter in parameters.items()]


def _parameter(name: str, parameter: Parameter, bounds: RequestBounds, where: str) -> dict[str, Any]:
    required = {"required": True} if name in _required(CRAWL_PARAMETERS) and where == "query" else {}
    schema = parameter.schema(bounds)
    return {"name": name, "in": where, "description": parameter.meaning, **required, "schema": schema}


def _request_body(parameters: Mapping[str, Parameter], bounds: RequestBounds) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _body(parameters, bounds)}}}


def _body(parameters: Mapping[str, Parameter], bounds: RequestBounds) -> dict[str, Any]:
    properties = {
        name: {"description": parameter.meaning, **parameter.schema(bounds)} for name, parameter in parameters.items()
    }
    return {
        "type": "object",
        "properties": properties,
        **({"required": names} if (names := _required(parameters)) else {}),
        "additionalProperties": False,
    }


def _required(parameters: Iterable[str]) -> list[str]:
    return [name for name in parameters if name in ("songs", *TASK_PARAMETERS)]
