"""Check which scheduled call of a Scheduler job a call's headers tell of, and what the run that it begins is called."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.runs.scheduled import ScheduledCall, parse_scheduled_call
from crawler.runs.spec import RUN_NAME

JOB = "projects/p/locations/us-central1/jobs/nightly"
NOW = datetime(2026, 11, 23, 2, 0, 5, tzinfo=timezone.utc).timestamp()


def scheduled_call(
    time: str | None = "2026-11-23T02:00:00Z", job: str | None = JOB, epoch: float = NOW
) -> ScheduledCall | None:
    """Read the headers of a call; None: the header is not there."""
    given = {"x-cloudscheduler-jobname": job, "x-cloudscheduler-scheduletime": time}
    headers = {name: value for name, value in given.items() if value is not None}
    return parse_scheduled_call({"user-agent": "Google-Cloud-Scheduler", "x-cloudscheduler": "true", **headers}, epoch)


@pytest.mark.parametrize(
    ("time", "read"),
    [
        pytest.param("2026-11-23T02:00:00Z", "20261123t020000z", id="UTC"),
        pytest.param("2026-11-23T02:00:00+00:00", "20261123t020000z", id="UTC as an offset"),
        pytest.param("2026-11-23T03:30:00+01:30", "20261123t020000z", id="a zone ahead"),
        pytest.param("2026-11-22T18:00:00-08:00", "20261123t020000z", id="a zone behind, the day before"),
        # The form that the service's own documentation shows.
        pytest.param("2019-10-12T07:20:50.52Z", "20191012t072050z", id="two decimals"),
        pytest.param("2019-10-12T07:20:50.123456Z", "20191012t072050z", id="microseconds"),
        pytest.param("2019-10-12T07:20:50.123456789Z", "20191012t072050z", id="nanoseconds"),
        pytest.param("2019-10-12T09:20:50.5+02:00", "20191012t072050z", id="a decimal and a zone"),
        pytest.param("1970-01-01T00:00:00Z", "19700101t000000z", id="1970"),
        pytest.param("2026-11-23T02:00:05Z", "20261123t020005z", id="this very second"),
    ],
)
def test_a_schedule_time_is_an_instant(time: str, read: str) -> None:
    """Read RFC 3339 in any zone, to the second, so that one instant is one scheduled call however it is written."""
    assert scheduled_call(time) == ScheduledCall(JOB, read)


@pytest.mark.parametrize(
    "time",
    [
        pytest.param("2026-11-23T02:00:06Z", id="a second ahead"),
        pytest.param("2026-11-24T02:00:00Z", id="tomorrow"),
        pytest.param("2026-11-23T02:00:00-01:00", id="ahead by its zone"),
        pytest.param("9999-12-31T23:59:59Z", id="the last second there is"),
        pytest.param("9999-12-31T23:59:59-23:59", id="past the last"),
        pytest.param("1969-12-31T23:59:59Z", id="before 1970"),
        pytest.param("1970-01-01T00:30:00+01:00", id="before 1970 by its zone"),
        pytest.param("0001-01-01T00:00:00+23:59", id="before the first"),
    ],
)
def test_a_time_that_can_not_be_is_not_trusted(time: str) -> None:
    """Take a call for unscheduled whose time is in the future, as a forced run's may be, or before 1970."""
    assert scheduled_call(time) is None


@pytest.mark.parametrize(
    "time",
    [
        *(None, "", "Z", "soon", "0", "1795399200", "2026-11-23", "2026-11-23T02:00:00", "2026-11-23T02:00:00.5"),
        *("2026-02-30T02:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T02:00:60Z", "2026-11-23T02:00:00+25:00"),
        *("２026-11-23T02:00:00Z", "2026-11-23T02:00:00Z ", "2026-11-23T02:00:00Z\n", "2026-11-23T02:00:00.Z"),
        *("2026-11-23T02:00:00Z, 2026-11-23T02:00:00Z", "Mon, 23 Nov 2026 02:00:00 GMT", "\0", "Z" * 10_000),
        *("2026-11-23T02Z", "20261123T020000Z", "2026-W48-1T02:00:00Z"),
    ],
    ids=lambda time: repr(time)[:30],
)
def test_anything_else_is_no_time(time: str | None) -> None:
    """Take a call for unscheduled that has no schedule time, or one that is not RFC 3339, on every Python alike."""
    assert scheduled_call(time) is None


@pytest.mark.parametrize("job", [None, "", "j" * 501], ids=["none", "empty", "too long"])
def test_a_scheduled_call_names_its_job(job: str | None) -> None:
    """Take a call for unscheduled that names no job, or one longer than any."""
    assert scheduled_call(job=job) is None


TIME_SHAPE = r"[0-9]{4}-[0-2][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|[+-][0-2][0-9]:[0-9]{2})"


@given(st.text(max_size=40), st.text(max_size=40) | st.from_regex(TIME_SHAPE, fullmatch=True))
def test_headers_never_raise(job: str, time: str) -> None:
    """Read whatever anybody sends, be it a day or a zone that does not exist: these headers are hints."""
    read = scheduled_call(time, job)

    assert read is None or RUN_NAME.fullmatch(read.run_name)


@pytest.mark.parametrize(
    ("job", "name"),
    [
        pytest.param(JOB, "nightly", id="a full name"),
        pytest.param("nightly", "nightly", id="a bare name"),
        pytest.param("projects/p/jobs/Songs_of_the-Day", "songs-of-the-day", id="capitals and underscores"),
        pytest.param("-nightly-", "nightly", id="dashes at the ends"),
        pytest.param("ä🎵ö", "job", id="nothing that a name may hold"),
        pytest.param("projects/p/jobs/", "job", id="an empty name"),
        pytest.param("../../etc", "etc", id="a path"),
        pytest.param("n" * 500, "n" * 30, id="a long name"),
    ],
)
def test_a_run_is_called_by_its_job_and_time(job: str, name: str) -> None:
    """Name the run by what the job is called and when it fired."""
    read = scheduled_call(job=job)

    assert read is not None
    assert read.run_name == f"{name}-20261123t020000z"


@given(st.text(min_size=1, max_size=500), st.integers(0, int(NOW)), st.integers(-1439, 1439))
def test_a_runs_name_is_always_valid(job: str, epoch: int, zone_minutes: int) -> None:
    """Give a name that is a run's, whatever the job is called and whenever it fires, with room for what follows it."""
    zone = timezone(timedelta(minutes=zone_minutes))
    read = scheduled_call(datetime.fromtimestamp(epoch, zone).isoformat(), job)

    assert read is not None
    assert RUN_NAME.fullmatch(f"{read.run_name}-01234567-999")
