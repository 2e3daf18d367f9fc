"""Check that the benchmark measures what it says it measures, on few songs and without its peers' environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.chart import draw
from bench.contestants import DECLARED, FUNCTION_FETCHER, RECIPE_HERE, Function, Job
from bench.instance import Instance, control_groups_available
from bench.meter import Measured
from bench.nginx import Upstream, nginx_available, nginx_upstream
from bench.report import rows_of, table, verdict_of
from bench.rounds import run_rounds
from bench.rows import check_rows
from bench.scenarios import SCENARIOS, Scenario, Target
from bench.song import info_of

SONGS = 60


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """Run the benchmark's upstream."""
    if reason := nginx_available():
        pytest.skip(reason)
    with nginx_upstream(tmp_path_factory.mktemp("nginx") / "prefix") as upstream:
        yield upstream


def job(nginx: Upstream, folder: Path, delay_ms: int = 0) -> Job:
    """Make a job of few songs."""
    return Job(nginx.url(delay_ms), SONGS, at_once=10, folder=folder / "crawled", upstream=nginx.server)


def lines(songs: int) -> list[bytes]:
    """Write the songs 1 to `songs` as a crawl would."""
    rows = ({"song_num": number, "info": info_of(number)} for number in range(1, songs + 1))
    return [json.dumps(row).encode() for row in rows]


def test_scenario_runs_end_to_end(nginx: Upstream, tmp_path: Path) -> None:
    """Crawl in both fetchers and with a peer, each checked and measured in every round, and put it in a table."""
    scenario = Scenario("few", "few songs", SONGS, 10, (DECLARED, FUNCTION_FETCHER, RECIPE_HERE), once=True)

    rounds = run_rounds(scenario, job(nginx, tmp_path), 1)
    rows = rows_of(rounds)

    assert [row.name for row in rows] == ["songcrawl, declared", "songcrawl, function", "the article's recipe"]
    assert all(row.songs == SONGS and row.songs_per_second > 0 and row.peak_mib > 5 for row in rows)
    assert rows[0].ratio == 1
    assert [line.split()[0] for line in table(scenario, rows)] == ["few:", "songs/s", "songcrawl,", "songcrawl,", "the"]
    assert b"<script" not in draw(rows, "few songs")


def test_upstream_takes_its_time(nginx: Upstream, tmp_path: Path) -> None:
    """Serve each song no earlier than the scenario says."""
    measured = RECIPE_HERE.crawl(job(nginx, tmp_path, delay_ms=50))

    assert measured.seconds > SONGS / 10 * 0.05


@pytest.mark.parametrize("fetcher", [DECLARED, FUNCTION_FETCHER], ids=["declared", "function"])
def test_upstream_is_trusted_over_tls(nginx: Upstream, tmp_path: Path, fetcher: Function) -> None:
    """Crawl over TLS with the one authority that SSL_CERT_FILE names."""
    fetcher.crawl(replace(job(nginx, tmp_path), url=nginx.url(tls=True), ca=nginx.ca))


def test_small_instance_is_held(nginx: Upstream, tmp_path: Path) -> None:
    """Hold the function to the CPU of its instance, where the machine has control groups to do that."""
    if reason := control_groups_available():
        pytest.skip(reason)
    measured = replace(DECLARED, instance=Instance(0.5, 256)).crawl(job(nginx, tmp_path))

    # A tick of 10 ms, and what one period of the quota lets through at once.
    assert measured.cpu_seconds <= measured.seconds * 0.5 + 0.1


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        pytest.param(lines(3)[:2], "2 songs were written, 3 asked for", id="one too few"),
        pytest.param([*lines(3), lines(3)[0]], "song 1 was not asked for, or comes twice", id="one twice"),
        pytest.param(lines(4), "song 4 was not asked for, or comes twice", id="one too many"),
        pytest.param(
            [*lines(2), b'{"song_num":3,"info":{}}'], "song 3 is not what the upstream serves", id="other info"
        ),
        pytest.param(
            [*lines(2), b'{"song_num":3,"status":"failed","info":null}'],
            "song 3 is not what the upstream serves",
            id="failed",
        ),
    ],
)
def test_faulty_rows_do_not_count(written: list[bytes], fault: str) -> None:
    """Refuse the time of a crawl that did not write every song, once, as it was served."""
    with pytest.raises(ValueError, match=fault):
        check_rows(written, 3)


def test_whole_rows_count() -> None:
    """Take the songs in any order."""
    check_rows(reversed(lines(3)), 3)


@pytest.mark.parametrize(
    ("most", "figure", "says"),
    [
        (False, 0.9, "FALLS SHORT"),
        (False, 1.0, "holds"),
        (False, 2.0, "holds, and goes beyond"),
        (True, 1.1, "FALLS SHORT"),
        (True, 1.0, "holds"),
    ],
)
def test_figures_are_held_to_their_targets(most: bool, figure: float, says: str) -> None:
    """Tell a target that was reached from one that was not, whichever side is good."""
    target = Target("", lambda _: figure, 1.0, None if most else 2.0, most)

    assert verdict_of(target, figure).says == says


def test_every_target_can_be_figured_out() -> None:
    """Take each target's figure from rounds of its own scenario."""
    for scenario in SCENARIOS:
        rounds = {contestant.name: [Measured(100, 1.0, 0.01, 50.0)] for contestant in scenario.contestants}
        assert all(target.figure(rounds) > 0 for target in scenario.targets(scenario))
