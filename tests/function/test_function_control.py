"""Check the control over real sockets: the function on a quota, and through an outage; short forms of make control."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns.control import SCENARIOS, crawl, draw, write_page
from servers.quota import counts, quota_upstream


def test_quota_that_names_a_wait_rejects_little(tmp_path: Path) -> None:
    """Find all songs behind a quota at the price of few rejected requests, the next run of hardly any."""
    with quota_upstream(quota=[[0, 50]], retry_after="1", latency=0.02) as upstream:
        first = crawl(upstream, tmp_path, 150)
        rejected = sum(counts(upstream)["rejected"])
        second = crawl(upstream, tmp_path, 150)
        again = sum(counts(upstream)["rejected"]) - rejected

    assert (first["found"], second["found"]) == (150, 150)
    assert 0 < rejected <= 30
    assert again <= 5


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
def test_outage_fails_no_song(tmp_path: Path, status: str) -> None:
    """Ask little of an upstream that is down for a while, and fail no song for it."""
    with quota_upstream(latency=0.005, down=[0.5, 2.5], down_status=status) as upstream:
        answer = crawl(upstream, tmp_path, 600, max_per_second=200, max_at_once=10)
        counted = counts(upstream)

    assert (answer["found"], answer["failed"]) == (600, 0)
    assert 0 < sum(counted["failed"]) <= 30
    assert 600 <= sum(counted["accepted"]) <= 605


def test_playground_draws_what_the_upstream_saw(tmp_path: Path) -> None:
    """Show each scene's figures beside what was promised, and a chart where something was counted."""
    (scene,) = SCENARIOS["cost"](tmp_path)
    seen = scene._replace(counted={name: [1, 2, 3] for name in ("accepted", "rejected", "failed", "in_flight")})

    page = write_page([scene, seen])

    assert "microseconds a song" in page
    assert page.count("<svg") == 1
    assert draw(scene) == ""
