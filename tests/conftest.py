"""Settle what every test shares: examples, and real servers started once where tests don't get in each other's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from servers import (
    ServerProcess,
    Upstream,
    datasette,
    datasette_available,
    fake_gcs,
    fake_gcs_available,
    write_catalogue,
)
from support.deployed import Deployed, deployed

# The same examples in every run, and no limit on how long one takes: a busy machine must not fail a test.
settings.register_profile("songcrawl", derandomize=True, database=None, deadline=None)
settings.load_profile("songcrawl")


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the music catalogue once."""
    file = tmp_path_factory.mktemp("catalogue") / "music.db"
    write_catalogue(file)
    return file


@pytest.fixture(scope="session")
def song_url(catalogue: Path) -> Iterator[str]:
    """Serve the catalogue with Datasette, and give the URL template of a track."""
    if reason := datasette_available():
        pytest.skip(reason)
    with datasette(catalogue) as server:
        yield f"{server.url}/music/tracks/{{song_num}}.json?_shape=objects"


@pytest.fixture(scope="session")
def gcs() -> Iterator[ServerProcess]:
    """Serve an emulated Cloud Storage that holds the bucket `songs`."""
    if reason := fake_gcs_available():
        pytest.skip(reason)
    with fake_gcs("songs") as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Serve the songs 1 to 100."""
    with Upstream() as server:
        yield server


@pytest.fixture
def function(upstream: Upstream, tmp_path: Path) -> Iterator[Deployed]:
    """Run the function on the upstream of this test."""
    with deployed(tmp_path / "songs", SONG_URL=upstream.url) as running:
        yield running


@pytest.fixture(scope="session")
def standing_upstream() -> Iterator[Upstream]:
    """Serve the songs 1 to 100 to the function that stands for a whole session."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="session")
def standing(standing_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Run one function for all tests that need no function of their own."""
    with deployed(tmp_path_factory.mktemp("standing"), SONG_URL=standing_upstream.url) as running:
        yield running
