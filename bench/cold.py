"""Cold start: from starting a server's process to the whole of its first answer, against a function that says Hello."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from statistics import median

from servers import fake_gcs, fake_gcs_available
from servers.process import HOST, clean_environment, free_port

from bench.contestants import ROOT
from bench.report import Verdict, verdict_of
from bench.scenarios import Target

_LOOK_SECONDS = 0.002
_MOST_SECONDS = 60.0
_BUCKET = "songs"

_HELLO = "hello world"
_RUNS = "GET /runs"
_FOLDER = "one song to a folder"
_STORED = "one song to gs://"

# How often the time of a hello world each may take; with luck.
_GOALS = {_RUNS: (1.15, 1.05), _FOLDER: (1.3, 1.2), _STORED: (1.6, 1.4)}


@dataclass(frozen=True)
class FirstCall:
    """Which function is started, and what it is asked first."""

    name: str
    source: Path
    target: str = "crawl"
    method: str = "GET"
    path: str = "/"
    body: Mapping[str, object] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def measure_cold(song_url: str, rounds: int) -> tuple[list[str], list[Verdict]]:
    """Start each function `rounds` times in turn, after one time that only warms up; gives a table of the medians."""
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="songcrawl-cold-")))
        emulator = None if fake_gcs_available() else stack.enter_context(fake_gcs(_BUCKET)).url
        for number in range(rounds + 1):
            for call in _first_calls(song_url, folder, emulator, number):
                first_answer = seconds_to_first_answer(call)
                if number:
                    seconds.setdefault(call.name, []).append(first_answer)
    medians = {name: median(took) for name, took in seconds.items()}
    ratios = {name: medians[name] / medians[_HELLO] for name in medians}
    lines = [f"cold: from the start of a server to its first answer ({rounds} rounds)"]
    for name, took in seconds.items():
        best = f"({min(took) * 1000:.0f} at best)"
        lines.append(f"  {name:<34}{medians[name] * 1000:>7.0f} ms{best:>18}{ratios[name]:>8.2f}")
    reached = [verdict_of(_target(name), ratios[name]) for name in ratios if name != _HELLO]
    return lines, reached


def seconds_to_first_answer(call: FirstCall) -> float:
    """Start a server, ask it once, and end it; raises RuntimeError unless it answers 200."""
    port = free_port()
    arguments = ["--target", call.target, "--source", str(call.source), "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="songcrawl-cold-") as home:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "functions_framework", *arguments],
            cwd=call.source.parent,
            env=clean_environment(home, call.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            _ask(call, port, started)
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait()


def _ask(call: FirstCall, port: int, started: float) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=_MOST_SECONDS)
    while connection.sock is None:
        with suppress(ConnectionRefusedError):
            connection.connect()
        if time.perf_counter() - started > _MOST_SECONDS:
            raise RuntimeError(f"{call.name}: nothing listens")
        time.sleep(_LOOK_SECONDS)
    connection.request(call.method, call.path, json.dumps(call.body) if call.body else None, {"Connection": "close"})
    response = connection.getresponse()
    body = response.read()
    if response.status != HTTPStatus.OK:
        raise RuntimeError(f"{call.name}: HTTP {response.status}: {body[:500]!r}")


def _first_calls(song_url: str, folder: Path, emulator: str | None, number: int) -> Iterator[FirstCall]:
    """Yield what is measured in a round; without an emulator no bucket."""
    main, one_song = ROOT / "main.py", {"songs": "7"}
    settings = {"SONG_URL": song_url, "ALLOW_PRIVATE_UPSTREAM": "1"}
    own_folder = settings | {"OUTPUT": str(folder / str(number))}
    yield FirstCall(_HELLO, Path(__file__).parent / "hello.py", "hello")
    yield FirstCall(_RUNS, main, path="/runs", settings=settings | {"OUTPUT": str(folder / "empty")})
    yield FirstCall(_FOLDER, main, method="POST", body=one_song, settings=own_folder)
    if emulator:
        bucket = {"OUTPUT": f"gs://{_BUCKET}/{number}", "STORAGE_EMULATOR_HOST": emulator}
        yield FirstCall(_STORED, main, method="POST", body=one_song, settings=settings | bucket)


def _target(name: str) -> Target:
    goal, beyond = _GOALS[name]
    return Target(f"cold start, {name}: times a hello world", lambda _: 0.0, goal, beyond, most=True)
