"""What every client of the hostile upstream does alike: asks for page after page, and says what came of each.

Each runs in a process of its own, in the environment that has its library, and knows nothing of this project: it gets
{"url": ..., "numbers": [...], "headers": {...}, "seconds": ...} on standard input and writes a JSON object a page.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Fetch = Callable[[str], Any]


class Job(NamedTuple):
    """What is asked for: numbers to put into a URL, headers to send, the timeout to set."""

    url: str
    numbers: list[int]
    headers: dict[str, str]
    seconds: float

    def url_of(self, number: int) -> str:
        """Return the address of one page."""
        return self.url.replace("{song_num}", str(number))


def read_job() -> Job:
    """Read the job."""
    return Job(**json.load(sys.stdin))


class Watch:
    """Watch one page: how long it takes, by how much the process grows."""

    def __init__(self, number: int) -> None:
        self._number = number
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here (proc(5))
        self._before = _memory("VmRSS")
        self._started = time.monotonic()

    def tell(self, outcome: str) -> None:
        """Write what came of it."""
        seconds, grown = time.monotonic() - self._started, _memory("VmHWM") - self._before
        print(json.dumps({"number": self._number, "outcome": outcome, "seconds": seconds, "grown": grown}), flush=True)


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def stored(info: Any) -> str:
    """Write a row, as whoever crawls does with what was fetched, and tell so."""
    json.dumps({"info": info}, ensure_ascii=False).encode()
    return "found" if info == "Song 1" else "found otherwise"


def try_all(job: Job, fetch: Fetch) -> None:
    """Fetch page after page by a function that gives a song's title."""
    for number in job.numbers:
        watch = Watch(number)
        try:
            outcome = stored(fetch(job.url_of(number)))
        except BaseException as error:
            outcome = type(error).__name__
        watch.tell(outcome)
