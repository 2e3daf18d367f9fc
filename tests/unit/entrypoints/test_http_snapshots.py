"""Check snapshots over HTTP: making, going on, listing, and who may ask for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.stored_runs import store_run

from crawler.adapters.storage.folder import FolderStore
from crawler.app import deployment as deployment_module
from crawler.app.composition import limiter_of
from crawler.app.deployment import Deployment
from crawler.core.deadline import CallTime
from crawler.core.settings import Settings
from crawler.core.verdict import found
from crawler.entrypoints.http.routes import HttpRequest, HttpResponse, respond
from crawler.runs.spec import Source


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Deploy on a folder with a run of five songs."""
    settings = Settings.from_environ({"DEADLINE_SECONDS": "60"})
    store = FolderStore(tmp_path)
    store_run(store, "a", "1-5", lambda number: found({"n": number}))
    source = Source("sim://{song_num}", "0123456789abcdef")
    return Deployment(settings, store, source, lambda _: None, limiter_of(settings.limits))  # type: ignore[arg-type,return-value]


def send(
    deployment: Deployment, method: str, path: str, body: Any = None, query: str = "", **headers: str
) -> HttpResponse:
    """Send a request."""
    pairs = [(name, value) for name, _, value in (each.partition("=") for each in query.split("&") if each)]
    data = b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond(lambda: deployment, HttpRequest(method, path, pairs, named, data))


def test_a_snapshot_is_made_and_told(deployment: Deployment) -> None:
    """Answer 200 with how it stands; the list and its own path say the same."""
    response = send(deployment, "POST", "/snapshots", {"name": "now", "source": "0123456789abcdef"})
    summary = json.loads(response.body)

    assert (response.status, summary["state"], summary["songs"], summary["from"]) == (200, "complete", 5, None)
    assert json.loads(send(deployment, "GET", "/snapshots").body) == {"snapshots": [summary], "next": None}
    assert json.loads(send(deployment, "GET", "/snapshots/now").body) == summary
    laid_on = json.loads(send(deployment, "POST", "/snapshots", query="from=now").body)
    assert (laid_on["from"], laid_on["songs"]) == ("now", 5)


def test_one_without_time_is_503(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that the same call goes on, and when to send it; then it does."""
    with monkeypatch.context() as context:
        context.setattr(deployment_module, "CallTime", lambda now, _: CallTime(now - 993, 1000))
        partial = send(deployment, "POST", "/snapshots", {"name": "now"})
    assert (partial.status, partial.headers["Retry-After"]) == (503, "1")
    assert json.loads(partial.body)["state"] == "partial"
    assert send(deployment, "POST", "/snapshots", {"name": "now", "deadline_seconds": 30}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/snapshots", {"name": "NOW"}, {}, 400),
        ("POST", "/snapshots", {"runs": "a"}, {}, 400),
        ("POST", "/snapshots", {"deadline_seconds": 61}, {}, 400),
        ("POST", "/snapshots", {"source": "other"}, {}, 404),
        ("POST", "/snapshots", {"from": "never"}, {}, 404),
        ("POST", "/snapshots", {}, {"sec_fetch_site": "cross-site"}, 403),
        ("PUT", "/snapshots", None, {}, 405),
        ("POST", "/snapshots/now", None, {}, 405),
        ("GET", "/snapshots/now", None, {}, 404),
        ("GET", "/snapshots/now/parts", None, {}, 404),
    ],
)
def test_what_is_wrong_is_a_problem(
    deployment: Deployment, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    """Refuse with the status that fits, and make nothing."""
    response = send(deployment, method, path, body, **headers)

    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert list(deployment.store.list("snapshots/")) == []
