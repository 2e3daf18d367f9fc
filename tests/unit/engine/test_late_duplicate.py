"""Check a duplicate of a call that looks for its run before that begins, and goes on looking when it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Upstream

from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.parameters import parse_crawl
from crawler.core.records import StoredObject
from crawler.runs.index import RunIndex
from crawler.runs.resolve import resolve_run


class FolderBefore(FolderStore):
    """Be a folder whose index was listed before any run was in it."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """List what was there then."""
        return iter(()) if prefix.startswith("index/") else super().list(prefix, after)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Open a deployment on a folder."""
    with Upstream() as upstream:
        environ = {"SONG_URL": upstream.url, "OUTPUT": str(tmp_path), "ALLOW_PRIVATE_UPSTREAM": "1"}
        yield deployment_from(environ)


def chosen_late(deployment: Deployment, folder: Path) -> str:
    """Give the run that a call for 1-5 means which looked into the index too early."""
    order = deployment._order(parse_crawl([("songs", "1-5")], b"", deployment.bounds), None, deployment.source)
    return resolve_run(RunIndex(FolderBefore(folder), "late"), order, time.time()).run


def test_late_duplicate_goes_to_the_run_that_has_finished(deployment: Deployment, tmp_path: Path) -> None:
    """Mean the run that another delivery began and finished meanwhile, and begin none."""
    first = deployment.crawl(parse_crawl([("songs", "1-5")], b"", deployment.bounds)).summary

    assert first.state == "complete"
    assert chosen_late(deployment, tmp_path) == first.run


def test_call_after_a_stopped_run_begins_another(deployment: Deployment, tmp_path: Path) -> None:
    """Begin a run of another name where today's was stopped."""
    first = chosen_late(deployment, tmp_path)
    deployment.stop(first)

    assert chosen_late(deployment, tmp_path) == f"{first}-2"
