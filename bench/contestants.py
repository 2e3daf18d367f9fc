"""Those that crawl: the function, called over HTTP, and each peer in a process of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from campaigns.processes import Group
from servers import ServerProcess, function_server
from servers.process import HOST, clean_environment

from bench.instance import Instance, control_group
from bench.meter import Measured, cpu_seconds, peak_mib
from bench.rows import check_rows, read_lines, read_parts

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"

_MOST_SECONDS = 1800.0


@dataclass(frozen=True)
class Job:
    """What to crawl: songs 1 to `songs` at `url`, `at_once` in flight, into a folder of one's own.

    `ca` is the certificate to trust; `upstream` is weighed beside.
    """

    url: str
    songs: int
    at_once: int
    folder: Path
    ca: Path | None = None
    upstream: Group | None = None


class Contestant(Protocol):
    """Crawl a job, and have it measured."""

    @property
    def name(self) -> str:
        """Name it in tables."""

    def crawl(self, job: Job) -> Measured:
        """Crawl in fresh processes; raises ValueError unless what it wrote is what it was to write."""


@dataclass(frozen=True, eq=False)
class Function:
    """The function under its production server: from the HTTP call to the answer that all parts are committed.

    `instance` says to what it is held while it crawls; None: to nothing.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    instance: Instance | None = None

    def crawl(self, job: Job) -> Measured:
        """Start the server, call it once, and check the run."""
        shutil.rmtree(job.folder, ignore_errors=True)
        with ExitStack() as stack:
            held = stack.enter_context(control_group(self.instance)) if self.instance else None
            server = stack.enter_context(function_server(ROOT / "main.py", self._environment(job)))
            if held:
                held.hold(server)
            measured = measure(job, server, lambda: _call(server, job.songs))
        check_rows(read_parts(job.folder / "runs/bench"), job.songs)
        return measured

    def _environment(self, job: Job) -> dict[str, str]:
        """Set the function up to crawl a job; a user's own function is told of it by BENCH_URL."""
        song = {"BENCH_URL": job.url} if "SONG_FUNCTION" in self.settings else {"SONG_URL": job.url}
        trusted = {"SSL_CERT_FILE": str(job.ca)} if job.ca else {}
        limits = {"MAX_AT_ONCE": str(job.at_once), "MAX_PER_SECOND": "0", "DEADLINE_SECONDS": str(int(_MOST_SECONDS))}
        ours = {"OUTPUT": str(job.folder), "ALLOW_PRIVATE_UPSTREAM": "1", "PYTHONPATH": str(ROOT)}
        return {**ours, **limits, **song, **trusted, **self.settings}


@dataclass(frozen=True, eq=False)
class Peer:
    """A script of bench/peers, from the word to start until its file is written: its imports are not counted."""

    name: str
    script: str
    python: Path = PEERS_PYTHON

    def crawl(self, job: Job) -> Measured:
        """Start the script, have it crawl, and check its file."""
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        output = job.folder / "songs.jsonl"
        with ExitStack() as stack:
            process = self._start(job, output, stack)
            self._await(process, "ready")
            measured = measure(job, process, lambda: self._crawl(process))
        check_rows(read_lines(output), job.songs)
        return measured

    def _start(self, job: Job, output: Path, stack: ExitStack) -> subprocess.Popen[str]:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="songcrawl-peer-"))
        ca = str(job.ca) if job.ca else None
        facts = {"url": job.url, "songs": job.songs, "at_once": job.at_once, "output": str(output), "ca": ca}
        process = subprocess.Popen(
            [str(self.python), str(PEERS / self.script), json.dumps(facts)],
            cwd=job.folder,
            env=clean_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        stack.enter_context(process)  # closes its standard input, at which it ends, and waits for it
        stack.callback(process.kill)
        return process

    def _crawl(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
        self._await(process, "done")

    def _await(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout
        if (said := process.stdout.readline().strip()) != word:
            raise ValueError(f"{self.name} said {said!r} instead of {word!r}")


def measure(job: Job, group: Group, crawl: Callable[[], object]) -> Measured:
    """Measure what a group of processes, and the upstream, use while it crawls."""
    used, served = cpu_seconds(group), cpu_seconds(job.upstream) if job.upstream else 0.0
    started = time.perf_counter()
    crawl()
    seconds = time.perf_counter() - started
    used = cpu_seconds(group) - used
    served = cpu_seconds(job.upstream) - served if job.upstream else 0.0
    return Measured(job.songs, seconds, used, peak_mib(group), served)


def _call(server: ServerProcess, songs: int) -> None:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_MOST_SECONDS)
    call = json.dumps({"songs": f"1-{songs}", "run": "bench"})
    connection.request("POST", "/", call, {"Content-Type": "application/json", "Connection": "close"})
    response = connection.getresponse()
    body = response.read()
    if response.status != HTTPStatus.OK:
        raise ValueError(f"the function answered {response.status}: {body[:500]!r}")


DECLARED = Function("songcrawl, declared")
SMALL = Function("songcrawl, 0.167 vCPU, 256 MiB", instance=Instance(0.167, 256))
FUNCTION_FETCHER = Function("songcrawl, function", {"SONG_FUNCTION": "bench.song:request_song_info"})
RECIPE = Peer("the article's recipe", "recipe.py")
AIOHTTP = Peer("aiohttp", "aiohttp_loop.py")
HTTPX = Peer("httpx", "httpx_loop.py")
SCRAPY = Peer("Scrapy", "scrapy_spider.py")
CRAWLEE = Peer("Crawlee", "crawlee_crawler.py")
DLT = Peer("dlt", "dlt_pipeline.py")
CURL = Peer("bare curl multi", "curl_multi.py")

# What the small test runs where there is no .venv-peers: its libraries are the function's too.
RECIPE_HERE = Peer("the article's recipe", "recipe.py", Path(sys.executable))
