"""Check which figures of a run are shown while this instance is at work on it."""

from __future__ import annotations

from typing import Any

import msgspec
from support.runs import of_tallies, run_spec

from crawler.app.live_runs import LiveRuns
from crawler.engine.run_progress import Progress
from crawler.runs.summary import RunSummary, make_summary
from crawler.runs.tally import Tally

SPEC = run_spec("1-100")


def stored(state: str = "partial", found: int = 10) -> RunSummary:
    """Say what the store knows: so many found, of a hundred."""
    summary = make_summary(SPEC, "partial", "songs", grid=SPEC.grid, parts=of_tallies([Tally(found=found)]))
    return msgspec.structs.replace(summary, state=state)


def progress(at: float, **counts: Any) -> Progress:
    """Say how far a call is, of a hundred songs."""
    return Progress(**{"at": at, "songs": 100, **counts})


def test_a_call_under_way_knows_more_than_the_store() -> None:
    """Show its counts and its rate, and that the run is running; afterwards the store's own."""
    looks = iter([progress(0.0, before=10, found=10), progress(4.0, before=10, found=28, missing=2, throttled=3)])
    live = LiveRuns()

    with live.shown("trial", lambda: next(looks)):
        shown = live.update(stored())
    after = live.update(stored())

    assert (shown.state, shown.found, shown.missing, shown.remaining) == ("running", 28, 2, 70)
    assert (shown.songs_per_second, shown.throttled) == (5.0, 3)
    assert after == stored()


def test_a_stopped_run_keeps_its_state() -> None:
    """Show the figures of what is still being stored, and that it is stopped."""
    live = LiveRuns()

    with live.shown("trial", lambda: progress(1.0, found=20)):
        shown = live.update(stored("stopped"))

    assert (shown.state, shown.found, shown.remaining) == ("stopped", 20, 80)


def test_what_knows_less_is_not_shown() -> None:
    """Keep to the store where a call is behind it, counts a share of the run, works on another, or all is done."""
    live = LiveRuns()
    cases = [
        ("trial", progress(1.0, found=5), stored()),
        ("trial", progress(1.0, songs=40, found=20), stored()),
        ("other", progress(1.0, found=20), stored()),
        ("trial", progress(1.0, found=100), stored("complete", 100)),
    ]

    for run, now, summary in cases:
        with live.shown(run, lambda now=now: now):  # type: ignore[misc]
            assert live.update(summary) == summary


def test_of_two_calls_on_a_run_the_furthest_is_shown() -> None:
    """Show the call that has more songs accounted for."""
    live = LiveRuns()

    with live.shown("trial", lambda: progress(1.0, found=20)), live.shown("trial", lambda: progress(1.0, found=30)):
        assert live.update(stored()).found == 30
