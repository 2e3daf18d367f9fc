"""A deployed function as its callers know it: an address, a log, and what it stored."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import ServerProcess, function_server

from support.stored import Objects, Rows, audit, read_folder, read_rows

MAIN = Path(__file__).parents[2] / "main.py"

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, which is Linux's")

# A kept-alive connection would hold up the end of the server for two seconds.
_HEADERS = {"Connection": "close"}


@dataclass(frozen=True)
class Deployed:
    """Be one running function that stores to a folder."""

    server: ServerProcess
    output: Path

    def send(self, method: str = "POST", path: str = "/", **options: Any) -> requests.Response:
        """Send any request; the options are those of requests."""
        headers = {**_HEADERS, **options.pop("headers", {})}
        options.setdefault("timeout", 110)
        return requests.request(method, self.server.url + path, headers=headers, **options)

    def call(self, songs: Any, **parameters: Any) -> requests.Response:
        """Ask for a crawl, as a script would."""
        return self.send(json={"songs": songs, **parameters})

    def crawl(self, songs: Any, **parameters: Any) -> dict[str, Any]:
        """Crawl to the end and give the answer."""
        response = self.call(songs, **parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["state"] == "complete"
        return answer

    def objects(self) -> Objects:
        """Read all that is stored."""
        return read_folder(self.output)

    def rows(self, run: str) -> Rows:
        """Read a run's rows as they are, finished or not."""
        return read_rows(self.objects(), run)

    def audited(self, run: str) -> Rows:
        """Read a finished run's rows, once they were held to its manifest."""
        return audit(self.objects(), run)

    def log(self) -> list[dict[str, Any]]:
        """Read the log; raises ValueError for a line that is no JSON."""
        return [json.loads(line) for line in self.server.stdout_lines()]

    def worker(self) -> int:
        """Give the process id of the one gunicorn worker, where /proc tells (Linux)."""
        (pid,) = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return int(pid)


@contextmanager
def deployed(output: Path, source: Path = MAIN, /, **settings: str | None) -> Iterator[Deployed]:
    """Run the function, allowed to crawl loopback and without a ceiling on its rate; None unsets a setting."""
    defaults = {"OUTPUT": str(output), "ALLOW_PRIVATE_UPSTREAM": "1", "MAX_PER_SECOND": "0"}
    env = {name: value for name, value in {**defaults, **settings}.items() if value is not None}
    with function_server(source, env) as server:
        yield Deployed(server, output)


def open_files(pid: int) -> int:
    """Count a process's open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads_of(pid: int) -> int:
    """Count a process's threads."""
    return len(os.listdir(f"/proc/{pid}/task"))


def peak_bytes(pid: int) -> int:
    """Give the most memory that a process has ever held at once."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10
