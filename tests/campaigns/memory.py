"""Memory: a million songs through the function, and what each of its processes weighs on the way.

The peak (VmHWM) is what counts: it misses no moment between two looks.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from servers import ServerProcess
from servers.fast_upstream import count_served, fast_upstream

from campaigns.function import call_until_whole, start
from campaigns.processes import Weight, weigh

_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Weighed:
    """What the heaviest process of the function weighed early in a run and at its end."""

    songs: int
    requests: int
    calls: int
    seconds: float
    early: Weight
    end: Weight

    @property
    def growth(self) -> float:
        """Return by how much the peak grew from early to the end, in MiB."""
        return self.end.peak - self.early.peak


def weigh_run(songs: int, early: int, output: Path | str, song_bytes: int = 0, **settings: object) -> Weighed:
    """Crawl 1 to `songs`, weighing the function once `early` songs are served, and when all are done."""
    settings = {"deadline_seconds": 3600, **settings}
    with fast_upstream(song_bytes) as upstream:
        url = f"{upstream.url}/songs/{{song_num}}"
        with start(url, output, **settings) as server, _Scale(server, upstream, early) as scale:
            answers = call_until_whole(server, {"songs": f"1-{songs}", "run": "memory"})
            end = _heaviest(server)
        assert answers[-1]["found"] == songs
        assert scale.early, "the run was over before it could be weighed"
        seconds = sum(answered.seconds for answered in answers)
        return Weighed(songs, count_served(upstream), len(answers), seconds, scale.early, end)


class _Scale:
    """Weigh a server once its upstream has served so many songs."""

    def __init__(self, server: ServerProcess, upstream: ServerProcess, after: int) -> None:
        self._server, self._upstream, self._after = server, upstream, after
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="scale")
        self.early: Weight | None = None

    def __enter__(self) -> _Scale:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if count_served(self._upstream) >= self._after:
                self.early = _heaviest(self._server)
                return


def _heaviest(server: ServerProcess) -> Weight:
    return max(weigh(server).values(), key=lambda weight: weight.peak)


def report(weighed: Weighed) -> dict[str, object]:
    """Return the figures as they are printed."""
    return {**asdict(weighed), "growth": weighed.growth, "songs_per_second": weighed.songs / weighed.seconds}
