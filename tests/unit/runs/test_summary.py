"""Check the answer: every song accounted for, and time, latency and cost as they were."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import committed, run_spec

from crawler.core.records import STATUSES, Counts
from crawler.runs.cost import ASSUMED_PER_SECOND, cost_usd
from crawler.runs.manifest import CommittedPart, add_up
from crawler.runs.summary import RunSummary, make_plan, make_summary
from crawler.runs.tally import RunParts
from crawler.runs.verify import Proof

SPEC = run_spec("1-12")

CONTRACT = (
    "run, state, songs, found, missing, failed, remaining, parts, output, requests, throttled, songs_per_second, "
    "p50_ms, p95_ms, elapsed_seconds, cost_usd, started_at, finished_at, errors, warnings"
)


def answer(parts: list[CommittedPart], state: Any = "complete") -> RunSummary:
    """Answer for a run of twelve songs in parts of four."""
    return make_summary(SPEC, state, "gs://bucket/runs/trial", grid=SPEC.grid, parts=add_up(parts))


def worked(spans: list[tuple[float, float, str]]) -> list[CommittedPart]:
    """Make the run's first parts: when each was started and finished, and by which attempt."""
    return [
        committed(SPEC.grid[index], started_at=start, finished_at=finish, call_id=attempt)
        for index, (start, finish, attempt) in enumerate(spans)
    ]


def test_adds_up_the_parts() -> None:
    """Sum what the parts' tallies say, and count the songs that no part has yet."""
    first, second, _ = SPEC.grid
    parts = [
        committed(first, missing=[2], failed=[3, 4], requests=12, throttled=2, started_at=100.0, finished_at=104.0),
        committed(second, missing=[8], requests=4, throttled=1, started_at=102.0, finished_at=106.0),
    ]
    given = answer(parts, "partial")

    assert (given.found, given.missing, given.failed, given.remaining) == (4, 2, 2, 4)
    assert (given.requests, given.throttled, given.parts) == (16, 3, 2)
    assert (given.run, given.state, given.songs) == ("trial", "partial", "1-12")
    assert given.output == "gs://bucket/runs/trial"


@given(st.data())
def test_every_song_is_accounted_for(data: st.DataObject) -> None:
    """Give counts that add up to the number of songs asked for, whichever parts are there."""
    keys = data.draw(st.lists(st.sampled_from(list(SPEC.grid)), unique_by=lambda key: key.index))
    parts = [committed(key, missing=sorted(data.draw(st.sets(st.sampled_from(list(key.songs)))))) for key in keys]
    given = answer(parts, "partial")

    assert given.found + given.missing + given.failed + (given.remaining or 0) == 12


def test_a_run_without_parts_has_no_time_yet() -> None:
    """Answer with zeros and nulls before the first part is there."""
    given = answer([], "partial")

    assert (given.found, given.remaining, given.parts, given.elapsed_seconds) == (0, 12, 0, 0.0)
    assert (given.songs_per_second, given.p50_ms, given.p95_ms) == (None, None, None)
    assert (given.started_at, given.finished_at) == (SPEC.created_at, None)


def test_is_written_in_the_contracts_words() -> None:
    """Write the contract's fields in its order, null included; `detail` only where there is one."""
    plain = msgspec.json.decode(msgspec.json.encode(answer(worked([(1.0, 2.0, "a")]))))
    with_detail = make_summary(SPEC, "partial", "songs", grid=SPEC.grid, parts=RunParts(), detail="Send it again.")

    assert list(plain) == CONTRACT.split(", ")
    assert msgspec.json.decode(msgspec.json.encode(with_detail))["detail"] == "Send it again."


@pytest.mark.parametrize(
    ("spans", "elapsed"),
    [
        pytest.param([(100.0, 110.0, "a")], 10.0, id="one part"),
        pytest.param([(100.0, 110.0, "a"), (105.0, 120.0, "a")], 20.0, id="overlapping"),
        pytest.param([(100.0, 110.0, "a"), (110.0, 120.0, "a")], 20.0, id="one after the other"),
        pytest.param([(100.0, 110.0, "a"), (500.0, 505.0, "b")], 15.0, id="a break between two calls"),
        pytest.param([(100.0, 130.0, "a"), (105.0, 110.0, "b"), (120.0, 125.0, "b")], 30.0, id="one inside another"),
        pytest.param([(100.0, 130.0, "a"), (100.0, 130.0, "b")], 30.0, id="two instances at once"),
        pytest.param([(100.0, 90.0, "a")], 0.0, id="a clock set back"),
        pytest.param([(100.0, 110.0, "a"), (105.0, 90.0, "b"), (112.0, 113.0, "a")], 11.0, id="one clock set back"),
    ],
)
def test_elapsed_is_the_time_at_work(spans: list[tuple[float, float, str]], elapsed: float) -> None:
    """Count the time in which at least one instance was at work, in whatever order the parts come."""
    for order in permutations(spans):
        given = answer(worked(list(order)), "partial")

        assert given.elapsed_seconds == elapsed
        assert given.songs_per_second == (round(4 * len(spans) / elapsed, 1) if elapsed else None)


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        pytest.param([(0.0, 10.0, "a"), (5.0, 20.0, "a")], 20.0, id="one instance: its parts overlap"),
        pytest.param([(0.0, 10.0, "a"), (5.0, 20.0, "b")], 25.0, id="two instances: each its own"),
        pytest.param([(0.0, 10.0, "a"), (5.0, 20.0, "b"), (8.0, 12.0, "a")], 27.0, id="three parts of two instances"),
    ],
)
def test_every_instance_costs_its_own_time(spans: list[tuple[float, float, str]], seconds: float) -> None:
    """Price the seconds of all instances, though they worked at the same time."""
    given = answer(worked(spans), "partial")

    assert given.cost_usd == round(cost_usd(seconds, len(spans)), 6)


def test_latencies_of_all_parts_are_one_distribution() -> None:
    """Take percentiles over all requests, not over parts."""
    parts = [
        committed(SPEC.grid[0], latencies=Counter({40: 90})),
        committed(SPEC.grid[1], latencies=Counter({40: 4, 80: 6})),
    ]
    given = answer(parts)

    assert given.p50_ms == pytest.approx(2**5, rel=0.05)
    assert given.p95_ms == pytest.approx(2**10, rel=0.05)


def test_times_are_the_runs_beginning_and_the_last_finish() -> None:
    """Tell when the run began and, once it is complete, when its last part was finished."""
    parts = worked([(1_000_000_000.5, 1_000_000_005.0, "a"), (999_999_999.0, 1_000_000_001.25, "a")])

    assert answer(parts).started_at == SPEC.created_at
    assert answer(parts).finished_at == "2001-09-09T01:46:45.000Z"
    assert answer(parts, "partial").finished_at is None


def test_a_plan_is_an_answer_of_what_would_be() -> None:
    """Say in an answer's own words that all songs remain, in how many parts, how long they take and what they cost."""
    plan = make_plan(SPEC, "gs://bucket/runs/trial", max_per_second=0.5)

    assert (plan.run, plan.state, plan.songs, plan.output) == ("trial", "planned", "1-12", "gs://bucket/runs/trial")
    assert (plan.found, plan.missing, plan.failed, plan.remaining) == (0, 0, 0, 12)
    assert (plan.parts, plan.requests, plan.throttled) == (3, 0, 0)
    assert (plan.songs_per_second, plan.elapsed_seconds) == (0.5, 24.0)
    assert plan.cost_usd == round(cost_usd(24.0, 3), 6)
    assert (plan.p50_ms, plan.p95_ms, plan.finished_at) == (None, None, None)
    assert plan.detail == "Nothing was asked of the upstream and nothing was stored."
    assert list(msgspec.json.decode(msgspec.json.encode(plan))) == [*CONTRACT.split(", "), "detail"]


def test_a_plan_without_a_ceiling_assumes_a_rate() -> None:
    """Reckon with what was measured where nothing limits it."""
    plan = make_plan(run_spec("1-5000"), "songs", max_per_second=0.0)

    assert (plan.songs_per_second, plan.elapsed_seconds) == (ASSUMED_PER_SECOND, round(5000 / ASSUMED_PER_SECOND, 3))


def test_nobody_can_plan_an_open_range() -> None:
    """Give no time, no cost and no number of songs where the end is not known, but the rate all the same."""
    plan = make_plan(run_spec("1-1000", asked="1-", end_after_missing=3), "songs", max_per_second=10.0)

    assert (plan.songs, plan.remaining, plan.parts) == ("1-", None, 0)
    assert (plan.elapsed_seconds, plan.cost_usd, plan.songs_per_second) == (None, None, 10.0)


def test_a_plan_of_nothing_costs_a_call() -> None:
    """Take no time for the failed songs of a run that had none."""
    plan = make_plan(run_spec("", asked="failed:trial"), "songs", max_per_second=10.0)

    assert (plan.remaining, plan.parts, plan.elapsed_seconds) == (0, 0, 0.0)


def test_every_status_is_counted_in_the_answer_and_in_the_proof() -> None:
    """Give each status a field of its own wherever people read how a run stands."""
    assert set(STATUSES) <= set(RunSummary.__struct_fields__)
    assert set(STATUSES) <= set(Proof.__dataclass_fields__)


def test_a_summary_counts_the_songs_that_are_done() -> None:
    """Give the counts by status as one value too."""
    assert answer([committed(SPEC.grid[0], missing=[2])], "partial").counts == Counts(found=3, missing=1)
