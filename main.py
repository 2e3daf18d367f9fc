"""The Cloud Function: one HTTP entry point, `crawl`, for every path. It alone knows the web framework.

Nothing is created at import: the server imports this module before it forks.
"""

from __future__ import annotations

import gc
import os
from functools import cache
from threading import Lock

import flask
import functions_framework

from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.json_log import log_json
from crawler.app.parameters import MOST_BODY_BYTES
from crawler.entrypoints.http.routes import HttpRequest, respond

# What the imports made is no garbage: it need not be looked through again, nor be copied into each process that the
# server forks (https://docs.python.org/3/library/gc.html#gc.freeze).
gc.freeze()

_building = Lock()


@cache
def _built() -> Deployment:
    return deployment_from(os.environ)


def _deployment() -> Deployment:
    """Build the deployment at the first call; a bad setting is said at every call, until it is mended.

    Calls that come at once to a cold instance wait for one and the same: its ceilings hold for all of them together.
    """
    with _building:
        return _built()


@functions_framework.http
def crawl(request: flask.Request) -> flask.Response:
    """Answer one HTTP request."""
    log_json()
    response = respond(
        _deployment,
        HttpRequest(
            method=request.method,
            path=request.path,
            query=list(request.args.items(multi=True)),
            headers={name.lower(): value for name, value in request.headers.items()},
            # One byte more than allowed, so that a longer body is seen without being read.
            body=request.stream.read(MOST_BODY_BYTES + 1),
        ),
    )
    return flask.Response(
        response.body, response.status, headers=dict(response.headers), content_type=response.content_type
    )
