"""Check that an interrupt ends a crawl at once, keeps what was fetched, and that the same call goes on from there."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from servers import Page, Upstream, hang, song
from servers.process import clean_environment

import crawler
from crawler.app.composition import open_store
from crawler.runs.index import RunIndex
from crawler.runs.verify import verify_run

ROOT = Path(crawler.__file__).parent.parent
# Generous to a busy machine; without the interrupt a crawl would wait for its requests' timeout.
PROMPTLY, REQUEST_TIMEOUT = 3.0, 60
AT_ONCE, ANSWERED, LAST = 8, 25, 50

posix = pytest.mark.skipif(os.name != "posix", reason="needs SIGINT for another process")


class StuckUpstream(Upstream):
    """Serve some songs, whichever are asked for first, and leave all other requests hanging as long as `stuck`."""

    def __init__(self) -> None:
        """Start serving."""
        self.stuck = True
        self._numbers = count(1)
        super().__init__(lambda n, _nth: self._answer(n))

    def _answer(self, n: int) -> Page:
        return hang() if self.stuck and next(self._numbers) > ANSWERED else song(n)

    def wait_until_stuck(self) -> None:
        """Wait until every song served has been taken in: as many requests hang as may be on their way."""
        self.wait_for(ANSWERED + AT_ONCE)


@pytest.fixture
def upstream() -> Iterator[StuckUpstream]:
    """Serve 25 songs."""
    running = StuckUpstream()
    with running:
        yield running


def settings(upstream: Upstream) -> dict[str, str]:
    """Give the settings of a crawl that gets stuck in the midst of a part."""
    given = {"PART_SONGS": 10, "MAX_AT_ONCE": AT_ONCE, "MAX_PER_SECOND": 0, "REQUEST_TIMEOUT_SECONDS": REQUEST_TIMEOUT}
    texts = {name: str(value) for name, value in given.items()}
    return {**texts, "SONG_URL": upstream.url, "ALLOW_PRIVATE_UPSTREAM": "1"}


def rows_kept(folder: Path) -> int:
    """Count the rows that the run holds after an interrupt, some of them in whole parts, some kept aside."""
    run = folder / "songs" / "runs" / "trial"
    parts, rest = list(run.glob("songs-*.jsonl.gz")), list(run.glob("rest/songs-*.jsonl.gz"))
    assert parts
    assert rest
    return sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in [*parts, *rest])


@posix
def test_ctrl_c_ends_the_command_line(upstream: StuckUpstream, tmp_path: Path) -> None:
    """Exit 130 promptly, with a sentence; the same command asks for what is left, and no song again."""
    env = clean_environment(str(tmp_path), {"PYTHONPATH": str(ROOT), **settings(upstream)})
    argv = [sys.executable, "-W", "error", "-m", "crawler", "crawl", f"1-{LAST}", "--run=trial"]
    options: dict[str, Any] = {"env": env, "cwd": tmp_path, "text": True}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        upstream.wait_until_stuck()
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = process.communicate(timeout=30)
        seconds = time.monotonic() - sent
    fetched = upstream.count()
    kept = rows_kept(tmp_path)
    upstream.stuck = False
    again = subprocess.run(argv, capture_output=True, check=False, timeout=60, **options)

    assert (process.returncode, out) == (130, "")
    assert err == "songcrawl: interrupted; the same command continues from what is committed\n"
    assert seconds < PROMPTLY
    assert kept == ANSWERED
    assert (again.returncode, json.loads(again.stdout)["found"]) == (0, LAST)
    assert upstream.count() - fetched == LAST - ANSWERED
    assert verify_run(RunIndex(open_store(str(tmp_path / "songs"), None)), "trial").faults == []


FETCH = """
import asyncio
from crawler import crawl
from crawler.adapters.runtime import event_loop as loop

def fetch(session, song_num):
    return session.get({url!r}.format(song_num=song_num)).json()

def run():
    try:
        crawl(fetch, range(1, 51), progress=False, max_at_once=8, max_per_second=0, request_timeout_seconds=60)
    except KeyboardInterrupt:
        print("interrupted")

async def cell():
    run()

"""
SCRIPTS = {
    "no loop": "run()",
    "nested in a loop": "asyncio.new_event_loop().run_until_complete(cell())",
    "no nesting": "loop._nestable = lambda _: False\nasyncio.new_event_loop().run_until_complete(cell())",
}


@posix
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_ctrl_c_ends_a_script(upstream: StuckUpstream, tmp_path: Path, script: str) -> None:
    """Raise KeyboardInterrupt out of `crawl` promptly, and let the script end, with requests still on their way."""
    env = clean_environment(str(tmp_path), {"PYTHONPATH": str(ROOT)})
    argv = [sys.executable, "-c", FETCH.format(url=upstream.url) + script]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        upstream.wait_until_stuck()
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    assert time.monotonic() - sent < PROMPTLY


FUNCTION_CELL = """
import threading, time
from crawler import crawl

def fetch(session, song_num):
    return session.get({url!r}.format(song_num=song_num)).json()

def run():
    return crawl(fetch, range(1, 51), output="songs", run="trial", progress=False,
                 part_songs=10, max_at_once=8, max_per_second=0, request_timeout_seconds=60)
"""


@asynccontextmanager
async def kernel(folder: Path) -> AsyncIterator[tuple[AsyncKernelManager, AsyncKernelClient]]:
    """Run a Jupyter kernel in a folder."""
    manager = AsyncKernelManager(kernel_name="python3")
    await manager.start_kernel(cwd=str(folder), env=clean_environment(str(folder), {"PYTHONPATH": str(ROOT)}))
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def run_cell(client: AsyncKernelClient, code: str) -> tuple[str, str]:
    """Run a cell to its end; gives how it ended and what it printed."""
    printed: list[str] = []
    reply = await client.execute_interactive(
        code, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
    )
    return reply["content"].get("ename", "ok"), "".join(printed)


@posix
def test_interrupting_the_kernel_ends_a_cell(upstream: StuckUpstream, tmp_path: Path) -> None:
    """Leave the cell promptly with KeyboardInterrupt, keep every row, ask for nothing more; the same cell continues."""

    async def session() -> None:
        async with kernel(tmp_path) as (manager, client):
            assert await run_cell(client, FUNCTION_CELL.format(url=upstream.url)) == ("ok", "")
            cell = asyncio.create_task(run_cell(client, "songs = run()"))
            await asyncio.to_thread(upstream.wait_until_stuck)
            sent = time.monotonic()
            await manager.interrupt_kernel()
            ended, _ = await cell
            assert ended == "KeyboardInterrupt"
            assert time.monotonic() - sent < PROMPTLY
            assert rows_kept(tmp_path) == ANSWERED
            fetched = upstream.count()
            upstream.stuck = False
            again = await run_cell(client, "songs = run(); print(len(songs), songs.answer.state)")
            assert again == ("ok", f"{LAST} complete\n")
            assert upstream.count() - fetched == LAST - ANSWERED

    asyncio.run(session())

    assert verify_run(RunIndex(open_store(str(tmp_path / "songs"), None)), "trial").faults == []
