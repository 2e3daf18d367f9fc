"""The hostile upstream against every fetcher and three peers: what each makes of each page, as a table.

A page is passed if what its trick is for did not happen: nothing wrong was taken for a song, no song was lost that was
sent, the time and memory stayed bounded, nobody else was asked.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from servers import Upstream
from servers.hostile import Trick, pages_of, tricks
from support.fetchers import FETCHERS

ROOT = Path(__file__).parents[2]
_CLIENTS = Path(__file__).parent / "clients"
_PEERS = ROOT / ".venv-peers" / "bin" / "python"
_BEGINNING, _END = "<!-- measured: make hostile -->", "<!-- end -->"

# What each client is told to wait for one request, and how long we wait for what it makes of a page.
SECONDS = 1.0
PATIENCE_SECONDS = 20.0
# Retries and their pauses apart, what a page may take beyond the timeout, and of memory.
SLACK_SECONDS = 3.0
MOST_GROWTH = 8 << 20
MOST_REQUESTS = 10


@dataclass(frozen=True)
class Outcome:
    """What a client made of a page."""

    outcome: str
    seconds: float
    grown: int
    requests: int
    strayed: int

    def fault(self, trick: Trick) -> str | None:
        """Say by what the page got through; None: it did not."""
        right = trick.becomes.partition(" ")[0]
        found = self.outcome.startswith("found")
        faults = {
            "asks elsewhere": self.strayed > 0,
            f"+{self.grown >> 20} MB": self.grown > MOST_GROWTH,
            f"{self.seconds:.0f} s": self.seconds > SECONDS * max(1, self.requests) + SLACK_SECONDS,
            f"{self.requests} requests": self.requests > MOST_REQUESTS,
            "takes it": found and (right != "found" or self.outcome != "found"),
            f"loses it: {self.outcome}": not found and right == "found",
            f"gives up: {self.outcome}": right == "throttled" and self.requests == 1 and "Header" in self.outcome,
            self.outcome: self.outcome in ("hangs", "dies", "RecursionError", "UnicodeEncodeError"),
        }
        return next((fault for fault, true in faults.items() if true), None)


def contestants() -> Mapping[str, list[str]]:
    """Return the command of each client, by the head of its column."""
    ours = {f"our {name} fetcher": [sys.executable, str(_CLIENTS / "fetcher_client.py"), name] for name in FETCHERS}
    peers = {
        "requests + Retry": "requests_client.py",
        "Scrapy": "scrapy_client.py",
        "aiohttp": "aiohttp_client.py",
    }
    return ours | {head: [str(_PEERS), str(_CLIENTS / script)] for head, script in peers.items()}


def measure() -> tuple[Mapping[str, Trick], dict[str, list[Outcome]]]:
    """Try every trick on every client; gives the tricks, and a column for each client."""
    with Upstream() as canary, Upstream(lambda song_num, nth: pages(song_num, nth)) as server:
        # In place of the metadata server: some clients would ask it.
        table = tricks(server.port, canary.url_of(1), inside=canary.url_of(2))
        pages = pages_of(table)
        columns = {head: list(_column(argv, server, canary, len(table))) for head, argv in contestants().items()}
    return table, columns


def _column(argv: list[str], server: Upstream, canary: Upstream, count: int) -> Iterator[Outcome]:
    """Have one client try all pages; in a new process after each at which it hangs or dies."""
    number, whole = 1, False
    while number <= count:
        client = _Client(argv, server.url, range(number, count + 1))
        with client:
            whole = True
            while whole and number <= count:
                asked, strayed = server.per_song()[number], canary.count()
                whole, answer = client.answer()
                asked, strayed = server.per_song()[number] - asked, canary.count() - strayed
                yield Outcome(**answer, requests=asked, strayed=strayed)
                number += 1


class _Client:
    """Run one client's process."""

    def __init__(self, argv: list[str], url: str, numbers: range) -> None:
        job = {"url": url, "numbers": list(numbers), "headers": {"X-Api-Key": "canary"}, "seconds": SECONDS}
        pipe = subprocess.PIPE
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        self._process = subprocess.Popen(
            argv, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job))
        stdin.close()
        self._reader = threading.Thread(target=self._read, args=(stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def answer(self) -> tuple[bool, dict[str, Any]]:
        """Wait for what the client makes of the next page; False if it hangs or dies at it."""
        try:
            line = self._lines.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            return False, {"outcome": "hangs", "seconds": PATIENCE_SECONDS, "grown": 0}
        if not line:
            return False, {"outcome": "dies", "seconds": 0.0, "grown": 0}
        told = json.loads(line)
        return True, {name: told[name] for name in ("outcome", "seconds", "grown")}

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put("")


def write_table(table: Mapping[str, Trick], columns: Mapping[str, list[Outcome]]) -> str:
    """Write all as a table in Markdown, with how many pages each client stood."""
    heads = ["page", "what the upstream does", *columns]
    rows = [
        [f"`{name}`", trick.does, *(_cell(outcomes[place], trick) for outcomes in columns.values())]
        for place, (name, trick) in enumerate(table.items())
    ]
    stood = [
        f"**{sum(outcome.fault(trick) is None for outcome, trick in zip(outcomes, table.values(), strict=True))}**"
        for outcomes in columns.values()
    ]
    lines = [heads, ["---"] * len(heads), *rows, [f"**of {len(table)} pages stood**", "", *stood]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(outcome: Outcome, trick: Trick) -> str:
    fault = outcome.fault(trick)
    return f"**{fault}**" if fault else outcome.outcome.replace("retry", "tried again:")


def versions() -> str:
    """Name what was measured, and when."""
    code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    own = [sys.executable, "-c", code, "requests", "urllib3", "pycurl", "msgspec"]
    peers = [str(_PEERS), "-c", code, "requests", "urllib3", "scrapy", "aiohttp"]
    ours, theirs = (
        subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() for argv in (own, peers)
    )
    today = datetime.now(timezone.utc).date()
    return f"{today}, Python {platform.python_version()}. Ours: {ours}. The others: {theirs}."


def main() -> int:
    """Measure, print the table, and with an argument write it into that document; 1 if a page got through a fetcher."""
    if not _PEERS.exists():
        print("There is no .venv-peers; `make hostile` makes it.", file=sys.stderr)
        return 2
    table, columns = measure()
    text = f"{_BEGINNING}\n{versions()}\n\n{write_table(table, columns)}\n{_END}"
    print(text)
    if len(sys.argv) > 1:
        document = Path(sys.argv[1])
        before, _, rest = document.read_text("utf-8").partition(_BEGINNING)
        document.write_text(before + text + rest.partition(_END)[2], "utf-8")
    ours = [outcomes for head, outcomes in columns.items() if head.startswith("our ")]
    return int(any(o.fault(t) for outcomes in ours for o, t in zip(outcomes, table.values(), strict=True)))


if __name__ == "__main__":
    sys.exit(main())
