"""Check on real processes that nothing is lost and nothing stored twice: short versions of tests/campaigns."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from campaigns.deadline import chain_calls, check_quiet, warm
from campaigns.duplicates import deliver_duplicates
from campaigns.function import Answered, call, start
from campaigns.growth import crawl_to_the_end, follow_growth
from campaigns.kill import kill_runs
from campaigns.many import look_at_many
from campaigns.memory import weigh_run
from campaigns.places import BUCKET, BucketPlace, FolderPlace, Place, verify
from campaigns.processes import count_threads, proc_available
from campaigns.stores import Caller, crawl_through_faults, crawl_without_a_store
from campaigns.stuck import STUCK_SONG
from campaigns.troubles import call_in_trouble
from campaigns.zombie import wake_zombies
from servers import ServerProcess, Upstream, fake_gcs, fake_gcs_available
from servers.storage_faults import closing_store

from crawler.adapters.storage import gcs
from crawler.app.composition import deployment_from
from crawler.entrypoints.http.routes import HttpRequest, respond

TESTS = Path(__file__).parents[1]
needs_proc = pytest.mark.skipif(proc_available() is not None, reason=str(proc_available()))


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Serve a Cloud Storage emulator whose bucket keeps versions."""
    if reason := fake_gcs_available():
        pytest.skip(reason)
    with fake_gcs(BUCKET, versioned=True) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give an empty output of either kind."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "songs")
    server: ServerProcess = request.getfixturevalue("service")
    return BucketPlace(server, tmp_path.name, server.url)


@pytest.fixture
def folder(tmp_path: Path) -> FolderPlace:
    """Give an empty folder."""
    return FolderPlace(tmp_path / "songs")


def test_kill_9_loses_nothing(place: Place) -> None:
    """Finish a run, whole, whose server is killed at random moments, at no more than two parts' songs a kill."""
    killed = kill_runs(place, times=2, songs=300, part_songs=20, draw=random.Random())

    assert killed.kills == 2
    assert killed.songs_again <= 2 * 2 * 20


@pytest.mark.parametrize(
    "job", [None, "projects/p/locations/l/jobs/nightly"], ids=["unscheduled", "one scheduled call"]
)
def test_call_delivered_at_once_is_one_run(place: Place, job: str | None) -> None:
    """Store every object once when one call reaches two processes several times at once."""
    delivered = deliver_duplicates(place, rounds=1, deliveries=5 if job else 3, job=job)

    assert delivered.runs == 1
    assert delivered.answers >= (5 if job else 3)


def test_woken_instance_changes_nothing(place: Place) -> None:
    """Leave a run as it is that another instance finished while this one was frozen."""
    woken = wake_zombies(place, rounds=1, songs=300, part_songs=20, draw=random.Random())

    assert woken.objects == 300 / 20 + 2


def test_no_trouble_outside_outlasts_a_call_or_costs_a_song(service: ServerProcess) -> None:
    """End each call in time and say what was at fault, whatever falls silent or goes; then come to the whole run."""
    came = call_in_trouble(service, calls=3, draw=random.Random(), at_once=3)

    assert came.calls == 3


@needs_proc
def test_many_parts_and_runs_are_looked_at_in_no_time(folder: FolderPlace) -> None:
    """Answer for a page of runs and a run of many parts, resume that and verify it, quickly and in little memory."""
    looked = look_at_many(folder, parts=400, runs=40, most_seconds=10, most_mib=40)

    assert list(looked.seconds) == [*looked.mib, "verify"]


@needs_proc
def test_chained_calls_come_to_the_whole(folder: FolderPlace) -> None:
    """Finish, call by call, a run that no call has the time for; none is late, nothing runs on after one."""
    chained = chain_calls(folder, songs=1500, deadline=3, song_seconds=0.02, max_at_once=10)

    assert chained.remaining[-1] == 0
    assert chained.calls > 1
    assert chained.longest_seconds < 3


@needs_proc
def test_slow_calls_get_further(folder: FolderPlace) -> None:
    """Get further with every call, although none has the time for a part."""
    chained = chain_calls(folder, songs=1000, deadline=2, most=2, max_per_second=1, part_songs=1000)

    assert chained.remaining == sorted(set(chained.remaining), reverse=True)
    assert chained.songs_again == 0


@needs_proc
def test_function_that_never_returns_is_abandoned(folder: FolderPlace) -> None:
    """Call a song failed whose function ignores its timeout; leave its threads, and no other, and say so on the log."""
    settings = {"song_function": "campaigns.stuck:request_song_info", "pythonpath": TESTS, "threads": 4}
    with (
        start("", folder.output, request_timeout_seconds=0.1, max_attempts=2, **settings) as server,
        Upstream() as none,
    ):
        idle = warm(server, 100)
        answered = call(server, {"songs": "1-20", "run": "stuck"})
        line = server.wait_for_line("2 requests were abandoned")
        # These songs take no time: the server may not have started all four threads that it answers in before.
        check_quiet(server, none, 0, idle + 2 + 3)

        assert idle + 2 <= count_threads(server) <= idle + 2 + 3
        assert '"severity":"WARNING"' in line
        assert (answered.status, answered["found"], answered["failed"]) == (200, 19, 1)
    assert verify(folder, "stuck")["failed"] == 1
    assert f'"failed_songs": "{STUCK_SONG}"' in folder.objects("stuck")["manifest.json"].data.decode()


def test_next_misses_no_song(folder: FolderPlace) -> None:
    """Find every song of a catalogue that grows between calls, some of them killed, and come to an end each time."""
    grown = follow_growth(folder, steps=[25, 8], count=20, draw=random.Random(), kill=0.2)

    assert grown.found == 33


def test_open_range_ends_right(folder: FolderPlace) -> None:
    """End past the last song, at the first edge after enough missing numbers, and in no shorter hole before it."""
    grown = crawl_to_the_end(folder, last=300, end_after_missing=60, part_songs=25, draw=random.Random(), kills=1)

    assert len(grown.runs) == 1


@contextmanager
def open_here(song_url: str, place: BucketPlace) -> Iterator[Caller]:
    """Open the function in this process, where its patience can be shortened."""
    environ = {"SONG_URL": song_url, "OUTPUT": place.output, "ALLOW_PRIVATE_UPSTREAM": "1", "MAX_PER_SECOND": "0"}
    environ |= {"PART_SONGS": "10", "STORAGE_EMULATOR_HOST": place.endpoint}
    deployment = deployment_from(environ)
    assert isinstance(deployment.store, gcs.GcsStore)

    def send(parameters: Mapping[str, object]) -> Answered:
        started = time.monotonic()
        response = respond(lambda: deployment, HttpRequest("POST", "/", body=msgspec.json.encode(parameters)))
        seconds = time.monotonic() - started
        answer = msgspec.json.decode(response.body)
        return Answered(response.status, answer, seconds, response.headers.get("Retry-After"))

    with closing_store(deployment.store):
        yield send


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give up and try again sooner than in the cloud; collect the garbage where its warnings are expected."""
    from google.cloud.storage import retry

    quick: Any = retry.DEFAULT_RETRY
    monkeypatch.setattr(gcs, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(retry, "DEFAULT_RETRY", quick.with_delay(initial=0.02))
    yield
    gc.collect()


# The storage library leaves the connection of a refused download to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning:google.api_core._python_version_support")
@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("may_delete", [True, False], ids=["412", "403"])
def test_failing_store_loses_nothing(service: ServerProcess, may_delete: bool) -> None:
    """Finish a run, whole, through lost acknowledgements, refusals, resets, stalls and damage of every kind."""
    weathered = crawl_through_faults(service, open_here, 500, f"faults-{int(may_delete)}", may_delete=may_delete)

    assert weathered.faults.keys() >= {"lose answer", "swallow answer", "stall", "damage", "reset", "refuse 503"}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning:google.api_core._python_version_support")
@pytest.mark.usefixtures("_impatient")
def test_store_that_is_gone_is_said(service: ServerProcess) -> None:
    """Answer 503 within the deadline, with the reason, while the store is gone, and go on once it is back."""
    weathered = crawl_without_a_store(service, open_here, 300, "gone", deadline=3)

    assert weathered.answers == {200: 1, 503: 2}


@needs_proc
def test_memory_does_not_depend_on_the_range(folder: FolderPlace) -> None:
    """Weigh no more after forty thousand songs than after ten thousand."""
    weighed = weigh_run(songs=40_000, early=10_000, output=folder.output)

    assert weighed.requests == 40_000
    assert weighed.growth < 10
    assert weighed.end.peak < 120
