"""Fan-out: a run over three processes of the function, killed now and then, from a queue that loses tasks.

One process by itself is measured meanwhile, on a song API of its own: what the three come to is told in its terms, and
whatever else the machine does slows down both.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import requests
from servers import ServerProcess
from servers.fast_upstream import count_served, fast_upstream, peak_per_second
from servers.task_queue import NO_FAULTS, QueueFaults, TaskQueue

from campaigns.function import Answered, call, start
from campaigns.places import Place, rows, verify

INSTANCES = 3
_SWEEP_SECONDS = 2.0


@dataclass
class FannedOut:
    """Tell what three processes came to beside one: songs a second, and what was done to them meanwhile."""

    songs: int
    seconds: float
    per_second: float
    times_one: float | None = None
    one_per_second: float | None = None
    kills: int = 0
    tasks: int = 0
    lost: int = 0
    deliveries: int = 0
    failed_deliveries: int = 0
    sweeps: int = 0
    songs_again: int = 0
    peak_per_second: int = 0
    of_known_seconds: float = 0.0


class Instances:
    """Run some processes of the function; a killed one is replaced, as the platform does."""

    def __init__(self, song_url: str, place: Place, stack: ExitStack, **settings: object) -> None:
        """Start nothing yet."""
        self._song_url = song_url
        self._place = place
        self._stack = stack
        self._settings = settings
        self._servers: list[ServerProcess] = []

    def start(self, count: int) -> None:
        """Start so many more, at the same time."""
        with ThreadPoolExecutor(count) as starting:
            self._servers += starting.map(lambda _: self._start(), range(count))

    def urls(self) -> list[str]:
        """Return the addresses of those that run."""
        return [server.url for server in self._servers]

    def first(self) -> ServerProcess:
        """Return one that runs."""
        return self._servers[0]

    def last(self) -> ServerProcess:
        """Return another one, if there are several."""
        return self._servers[-1]

    def kill(self, place: int) -> None:
        """Kill one, and start another in its place."""
        server = self._servers.pop(place % len(self._servers))
        server.kill()
        self._servers.append(self._start())

    def _start(self) -> ServerProcess:
        settings = {**self._settings, **self._place.settings}
        return self._stack.enter_context(start(self._song_url, self._place.output, **settings))


def fan_out(
    place: Place,
    songs: int,
    draw: random.Random,
    *,
    beside_one: bool = False,
    song_seconds: float = 0.2,
    kill_seconds: float = 0.0,
    faults: QueueFaults = NO_FAULTS,
    deadline: float = 30.0,
    slack: float = 0.05,
    **settings: object,
) -> FannedOut:
    """Crawl 1 to `songs` over three processes, each of which is killed every 3 `kill_seconds` or so (0: never).

    With `beside_one`, one process alone crawls meanwhile. Raises AssertionError unless the run is whole, each part
    stored once, and the upstream never saw more than the ceiling and `slack`, a share of it.
    """
    alone = _crawling_alone(place, song_seconds, **settings) if beside_one else nullcontext(lambda: None)
    with fast_upstream(delay_seconds=song_seconds) as upstream:
        url = f"{upstream.url}/songs/{{song_num}}"
        with _fleet(url, place, faults, draw, **settings) as (queue, instances), alone as one_per_second:
            began = time.monotonic()
            answered = call(instances.first(), {"songs": f"1-{songs}", "run": "fleet", "deadline_seconds": deadline})
            assert answered.status == 202, answered
            with _killing(instances, kill_seconds, draw) as kills:
                sweeps = _sweep_until_complete(instances)
            seconds = time.monotonic() - began
            one = one_per_second()
        again = count_served(upstream) - songs
        peak, known_seconds = peak_per_second(upstream)
    _check(place, songs, peak, float(str(settings["max_per_second"])) * (1 + slack))
    return FannedOut(
        songs=songs,
        seconds=seconds,
        per_second=songs / seconds,
        one_per_second=one,
        times_one=songs / seconds / one if one else None,
        kills=len(kills),
        tasks=len(queue.created),
        lost=len(queue.lost),
        deliveries=len(queue.deliveries),
        failed_deliveries=sum(delivery.status != 200 for delivery in queue.deliveries),
        sweeps=sweeps,
        songs_again=again,
        peak_per_second=peak,
        of_known_seconds=known_seconds,
    )


@contextmanager
def _fleet(
    url: str, place: Place, faults: QueueFaults, draw: random.Random, **settings: object
) -> Iterator[tuple[TaskQueue, Instances]]:
    with ExitStack() as stack:
        instances: list[Instances] = []
        queue = stack.enter_context(
            TaskQueue(
                lambda: instances[0].urls(),
                at_once=INSTANCES,
                alone=True,
                faults=faults,
                draw=random.Random(draw.random()),
            )
        )
        reached = {name.lower(): value for name, value in queue.settings.items()}
        instances.append(Instances(url, place, stack, **settings, **reached))
        instances[0].start(INSTANCES)
        yield queue, instances[0]


@contextmanager
def _crawling_alone(place: Place, song_seconds: float, **settings: object) -> Iterator[Callable[[], float]]:
    """Have one process crawl meanwhile, without a queue; gives what tells its songs a second so far."""
    with fast_upstream(delay_seconds=song_seconds) as upstream, ThreadPoolExecutor(1) as caller:
        url = f"{upstream.url}/songs/{{song_num}}"
        with start(url, place.output, **settings, **place.settings) as server:
            began = time.monotonic()
            crawl = caller.submit(call, server, {"songs": "1-10000000", "run": "one"})

            def per_second() -> float:
                assert not crawl.done(), crawl.result()
                return count_served(upstream) / (time.monotonic() - began)

            yield per_second


@contextmanager
def _killing(instances: Instances, seconds: float, draw: random.Random) -> Iterator[list[float]]:
    """Kill one instance after the other meanwhile, after `seconds` on average; gives when."""
    over = threading.Event()
    kills: list[float] = []

    def kill() -> None:
        while seconds and not over.wait(draw.uniform(0.5, 1.5) * seconds):
            instances.kill(draw.randrange(INSTANCES))
            kills.append(time.monotonic())

    with ThreadPoolExecutor(1) as killer:
        killing = killer.submit(kill)
        try:
            yield kills
        finally:
            over.set()
            killing.result()


def _sweep_until_complete(instances: Instances) -> int:
    """Sweep every few seconds, as a Scheduler job does, until the run is complete; gives how many enqueued tasks."""
    sweeps = 0
    while True:
        answered = _post(instances, "/sweep")
        if answered.status != 200:
            continue  # whom we asked was just killed
        if not answered["runs"]:
            return sweeps
        sweeps += any(run["state"] == "enqueued" for run in answered["runs"])
        time.sleep(_SWEEP_SECONDS)


def _post(instances: Instances, path: str) -> Answered:
    began = time.monotonic()
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(instances.first().url + path, timeout=60)
            answer: dict[str, Any] = response.json()
            return Answered(response.status_code, answer, time.monotonic() - began)
    except (requests.RequestException, ValueError):
        return Answered(0, {}, time.monotonic() - began)


def _check(place: Place, songs: int, peak: int, most: float) -> None:
    proof = verify(place, "fleet")
    assert (proof["found"], proof["missing"], proof["failed"]) == (songs, 0, 0), proof
    told = [(row["song_num"], row["info"]["id"]) for row in rows(place.objects("fleet"))]
    assert told == [(number, number) for number in range(1, songs + 1)], (
        f"{len(told)} rows, or other ones than asked for"
    )
    assert peak <= most, f"{peak} requests in one second, {most:g} are allowed"
