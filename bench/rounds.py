"""Rounds: every contestant once, then every one again, so that what else the machine does meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bench.contestants import Contestant, Job
from bench.meter import Measured
from bench.scenarios import Scenario

ROUND_SECONDS = 9.0
_FIRST_SONGS = 1_000
_TELLING_SECONDS = 1.0


def run_rounds(
    scenario: Scenario, job: Job, rounds: int, tell: Callable[[str, Measured], None] = lambda _name, _measured: None
) -> dict[str, list[Measured]]:
    """Measure a scenario's contestants so many times, each on as many songs as it does in some ROUND_SECONDS.

    `job` says where; `tell` is told of everything that was measured.
    """
    jobs = {
        contestant: replace(job, songs=scenario.songs if scenario.whole else fitting_songs(contestant, job))
        for contestant in scenario.contestants
    }
    measured: dict[str, list[Measured]] = {contestant.name: [] for contestant in scenario.contestants}
    for number in range(1 if scenario.once else rounds):
        # Another one begins each round: nobody is always the one after the heaviest.
        start = number % len(scenario.contestants)
        for contestant in scenario.contestants[start:] + scenario.contestants[:start]:
            came_to = contestant.crawl(jobs[contestant])
            measured[contestant.name].append(came_to)
            tell(contestant.name, came_to)
    return measured


def fitting_songs(contestant: Contestant, job: Job) -> int:
    """Find how many songs a contestant crawls in ROUND_SECONDS, `job.songs` at most."""
    songs = min(_FIRST_SONGS, job.songs)
    while True:
        measured = contestant.crawl(replace(job, songs=songs))
        fitting = int(measured.songs_per_second * ROUND_SECONDS)
        if songs == job.songs or measured.seconds > _TELLING_SECONDS:
            return min(max(fitting, 1), job.songs)
        songs = min(songs * 10, job.songs)
