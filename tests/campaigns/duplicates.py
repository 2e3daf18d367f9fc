"""Duplicates: the same call delivered several times at once, to two processes of the function with one output.

Cloud Scheduler and Cloud Tasks deliver at least once. Every delivery must end well, and every object be stored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial

from servers import ServerProcess, Upstream

from campaigns.function import Answered, call, start, until_whole
from campaigns.places import Held, Place, check_rows, verify

SONGS = 120
PART_SONGS = 20
_SCHEDULED = datetime(2026, 1, 5, 2, 0, tzinfo=timezone.utc)


@dataclass
class Delivered:
    """Count the rounds, the answers by status, the runs that came of them, and requests beyond one a song."""

    rounds: int = 0
    answers: int = 0
    partial_answers: int = 0
    runs: int = 0
    requests_again: int = 0


def deliver_duplicates(place: Place, rounds: int, deliveries: int = 3, job: str | None = None) -> Delivered:
    """Deliver one call several times at once, round after round, each of its own songs; with `job`, as if scheduled.

    Raises AssertionError unless every round is one run, whole, its objects stored once and never changed.
    """
    total = Delivered()
    with Upstream(last=10**9) as upstream:
        settings = {"part_songs": PART_SONGS, "max_at_once": 10, **place.settings}
        with start(upstream.url, place.output, **settings) as one, start(upstream.url, place.output, **settings) as two:
            for number in range(rounds):
                first = 1 + number * SONGS
                before = upstream.count()
                headers = _scheduled(job, number) if job else {}
                songs = range(first, first + SONGS)
                _deliver_round(place, [one, two], deliveries, songs, headers, total)
                total.requests_again += upstream.count() - before - SONGS
    return total


def _scheduled(job: str, number: int) -> dict[str, str]:
    time = (_SCHEDULED + timedelta(hours=number)).isoformat().replace("+00:00", "Z")
    return {"X-CloudScheduler": "true", "X-CloudScheduler-JobName": job, "X-CloudScheduler-ScheduleTime": time}


def _deliver_round(
    place: Place,
    servers: Sequence[ServerProcess],
    deliveries: int,
    songs: range,
    headers: Mapping[str, str],
    total: Delivered,
) -> None:
    parameters = {"songs": f"{songs[0]}-{songs[-1]}"}
    early: dict[str, Held] = {}
    answers: list[Answered] = []
    with ThreadPoolExecutor(deliveries) as callers:
        calls = [
            callers.submit(until_whole, partial(call, servers[number % len(servers)], headers=headers), parameters)
            for number in range(deliveries)
        ]
        for delivered in as_completed(calls):
            answers += delivered.result()
            early = early or place.objects(answers[-1]["run"])
    runs = {answered["run"] for answered in answers}
    assert len(runs) == 1, f"one call came to the runs {sorted(runs)}"
    _check(place, runs.pop(), songs, early)
    total.rounds += 1
    total.runs += 1
    total.answers += len(answers)
    total.partial_answers += sum(answered.status == 503 for answered in answers)


def _check(place: Place, run: str, songs: range, early: Mapping[str, Held]) -> None:
    """Check a run, and that what lay there at the first 200 lies there still, created once and unchanged."""
    late = place.objects(run)
    changed = [name for name, held in early.items() if late.get(name) != held]
    assert not changed, f"{run}: changed after the first answer: {changed}"
    assert "manifest.json" in early, f"{run}: answered 200 before its manifest was there"
    proof = verify(place, run)
    assert (proof["found"], proof["missing"], proof["failed"]) == (len(songs), 0, 0)
    check_rows(late, songs)
