"""Check that whoever looks on a crawl sees how far it is: by a bar, and by lines in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from support.fakes import FakeClock, FakeFetcher, wait_until
from support.runs import run_spec

from crawler import crawl
from crawler.adapters.storage.folder import FolderStore
from crawler.app import progress_bar as progress_module
from crawler.app.json_log import JsonLogFormatter
from crawler.app.progress_bar import bar, progress_log
from crawler.core.deadline import Deadline
from crawler.core.limits import Limits
from crawler.core.settings import SETTINGS
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, failed, found, throttled
from crawler.engine.part_writer import PartWriter
from crawler.engine.run_call import RunCall
from crawler.engine.run_progress import Progress, RunProgress
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter
from crawler.runs.grid import PartKey
from crawler.runs.index import RunIndex
from crawler.runs.tally import Tally

FIRST = Progress(at=100.0, songs=1000)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the developer's own settings."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_rate_and_time_left() -> None:
    """Give the rate since the last look, the time left by the mean, and leave out what was there before."""
    last = Progress(at=105.0, songs=1000, found=300, before=200)
    now = Progress(at=110.0, songs=1000, found=380, missing=15, failed=5, before=200, throttled=7)

    assert now.fields(last, FIRST) == {
        "found": 380,
        "missing": 15,
        "failed": 5,
        "remaining": 600,
        "throttled": 7,
        "songs_per_second": 20.0,
        "percent": 40.0,
        "eta_seconds": 30.0,
    }


@pytest.mark.parametrize(
    ("now", "known"),
    [
        pytest.param(FIRST, {"songs_per_second": 0.0, "percent": 0.0, "eta_seconds": None}, id="at once"),
        pytest.param(
            Progress(at=110.0, songs=None, found=50),
            {"songs_per_second": 5.0, "percent": None, "eta_seconds": None, "remaining": None},
            id="nobody knows how many",
        ),
        pytest.param(Progress(at=110.0, songs=1000), {"songs_per_second": 0.0, "eta_seconds": None}, id="stuck"),
        pytest.param(Progress(at=110.0, songs=0), {"percent": None, "remaining": 0}, id="nothing to do"),
        pytest.param(
            Progress(at=110.0, songs=1000, found=1000),
            {"percent": 100.0, "eta_seconds": 0.0, "remaining": 0},
            id="done",
        ),
    ],
)
def test_what_can_not_be_known_is_null(now: Progress, known: dict[str, Any]) -> None:
    """Divide by nothing, and guess nothing."""
    fields = now.fields(FIRST, FIRST)

    assert {name: fields[name] for name in known} == known


def test_parts_are_counted_while_they_are_open_and_after() -> None:
    """Add up what was there, what is open and what is committed, each song once."""
    count = RunProgress()
    count.was_there(Tally(found=8, missing=1, failed=1))
    part = PartWriter(
        PartKey(0, SongSet.parse("11-13")), FakeFetcher(), Tally(), lambda part, _data: count.committed(part)
    )
    count.opened(part, restored=0)
    seen = [count.progress(1.0, 20)]
    part.record([(0.1, throttled("http_429"))])
    for index, outcome in enumerate((found(1), MISSING, failed("timeout"))):
        part.settle([(index, outcome)])
        seen.append(count.progress(2.0, 20))
    part.advance()
    seen.append(count.progress(3.0, 20))

    assert [(p.found, p.missing, p.failed, p.throttled) for p in seen] == [
        (8, 1, 1, 0),
        (9, 1, 1, 1),
        (9, 2, 1, 1),
        (9, 2, 2, 1),
        (9, 2, 2, 1),
    ]
    assert {(p.before, p.songs) for p in seen} == {(10, 20)}


@pytest.mark.parametrize(
    ("part_range", "songs"), [(None, 25), (range(3), 25), (range(1, 2), 10), (range(2, 3), 5)], ids=str
)
def test_a_share_of_a_run_is_a_whole_to_its_call(part_range: range | None, songs: int, tmp_path: Path) -> None:
    """Count to the songs that a call may fetch, where others fetch the rest of the run."""
    spec = run_spec("1-25", part_songs=10)
    with ThreadPoolExecutor(1) as commits:
        call = RunCall(
            RunIndex(FolderStore(tmp_path)),
            spec,
            fetcher=FakeFetcher(),
            limits=Limits(),
            clock=FakeClock(),
            workers=commits,
            commits=commits,
            limiter=Limiter(RateController()),
            deadline=Deadline(0.0),
        )
        asyncio.run(call.fetch(part_range))

    assert call.progress() == Progress(at=1000.0, songs=songs)


def steps(*found: int) -> Callable[[], Progress]:
    """Give one count after the other, a second apart, and the last one for ever."""
    looks = iter(enumerate(found))
    last = FIRST

    def look() -> Progress:
        nonlocal last
        second, songs = next(looks, (0, None))
        last = last if songs is None else Progress(at=100.0 + second, songs=1000, found=songs)
        return last

    return look


def test_log_tells_every_few_seconds(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Log a line of JSON with counts and rate as long as the block runs, and none after."""
    monkeypatch.setattr(progress_module, "LOG_SECONDS", 0.01)
    with caplog.at_level(logging.INFO, "crawler"):
        with progress_log(steps(0, 10, 30), {"run": "trial"}):
            wait_until(lambda: len(caplog.records) >= 2)
        logged = len(caplog.records)
    lines = [json.loads(JsonLogFormatter().format(record)) for record in caplog.records]

    assert len(caplog.records) == logged
    assert lines[0] == {
        "severity": "INFO",
        "message": "crawl running",
        "run": "trial",
        "found": 10,
        "missing": 0,
        "failed": 0,
        "remaining": 990,
        "throttled": 0,
        "songs_per_second": 10.0,
        "percent": 1.0,
        "eta_seconds": 99.0,
    }
    assert (lines[1]["songs_per_second"], lines[1]["eta_seconds"]) == (20.0, 64.7)


def test_log_tells_in_the_context_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look, and tell, where the call's context variables are set: a platform labels each line by them."""
    monkeypatch.setattr(progress_module, "LOG_SECONDS", 0.01)
    execution: ContextVar[str] = ContextVar("execution", default="none")
    seen: list[str] = []

    def look() -> Progress:
        seen.append(execution.get())
        return FIRST

    execution.set("mine")
    with progress_log(look, {}):
        wait_until(lambda: len(seen) >= 3)

    assert set(seen) == {"mine"}


def test_stored_crawl_logs_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Count in the log, while a crawl runs, what its workers have done, and nothing once it has ended."""
    monkeypatch.setattr(progress_module, "LOG_SECONDS", 0.01)
    go_on = threading.Event()

    def song(_session: object, song_num: int) -> int | None:
        if song_num == 30:
            go_on.wait(20)
        return None if song_num % 3 == 0 else song_num

    def look() -> None:
        wait_until(lambda: any(getattr(record, "fields", {}).get("remaining") == 1 for record in caplog.records))
        go_on.set()

    looking = threading.Thread(target=look)
    looking.start()
    with caplog.at_level(logging.INFO, "crawler"):
        crawl(song, range(1, 31), output="songs", run="trial", progress=False, part_songs=10)
    looking.join()
    running = [record for record in caplog.records if record.getMessage() == "crawl running"]
    (fields,) = [each for each in (vars(record)["fields"] for record in running) if each["remaining"] == 1][:1]

    assert (fields["run"], fields["found"], fields["missing"], fields["percent"]) == ("trial", 20, 9, 96.7)
    assert [record.getMessage() for record in caplog.records if record not in running] == [
        "crawl started",
        "crawl complete",
    ]
    assert caplog.records[-1].getMessage() == "crawl complete"


def test_bar_shows_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Show how many of how many, the time left, the rate, and what did not go well."""
    look = Progress(at=1.0, songs=1000, found=240, missing=9, failed=1, throttled=3)
    with bar(lambda: look, shown=True):
        pass
    text = capsys.readouterr().err

    assert re.search(r"25%.*250/1000 \[.*<.*songs/s, missing=9, failed=1, throttled=3\]", text)


def test_bar_of_a_complete_run_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    """Show every song accounted for where nothing is left to do."""
    for _ in range(2):
        capsys.readouterr()
        crawl(lambda _session, n: n, range(1, 31), output="songs", run="trial")

    assert "30/30" in capsys.readouterr().err


def test_bar_goes_on_from_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Start where an earlier call ended: its songs are done, and no part of the rate."""
    with bar(lambda: Progress(at=1.0, songs=1000, found=900, before=900), shown=True):
        pass
    text = capsys.readouterr().err

    assert "900/1000" in text
    assert "?songs/s" in text.replace(" ", "")
