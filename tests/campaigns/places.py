"""The places where runs are stored, seen from outside: the files of a folder, the generations of a bucket.

Nothing here is the crawler's own code, but for `python -m crawler verify`, which is on trial with the rest.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests
from servers import ServerProcess
from servers.storage_faults import generations

from campaigns.function import MAIN

BUCKET = "campaigns"


@dataclass(frozen=True)
class Held:
    """What lies under a name: which creation it is (inode or generation) and its bytes."""

    identity: int
    data: bytes


class Place(Protocol):
    """An output of the function, read without its help."""

    @property
    def output(self) -> str:
        """Return the setting OUTPUT."""

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings that reach it."""

    def objects(self, run: str) -> dict[str, Held]:
        """Read all of a run's objects, by name; raises AssertionError if one of them was ever stored twice."""


@dataclass(frozen=True)
class FolderPlace:
    """A local folder."""

    folder: Path

    @property
    def output(self) -> str:
        """Return the setting OUTPUT."""
        return str(self.folder)

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings that reach it: none are needed."""
        return {}

    def objects(self, run: str) -> dict[str, Held]:
        """Read all of a run's files; what is hidden belongs to the store."""
        root = self.folder / "runs" / run
        files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(root)): Held(path.stat().st_ino, path.read_bytes()) for path in files}


@dataclass(frozen=True)
class BucketPlace:
    """A bucket of an emulator that keeps versions; `server` is where it is read, `endpoint` where it is written."""

    server: ServerProcess
    prefix: str
    endpoint: str

    @property
    def output(self) -> str:
        """Return the setting OUTPUT."""
        return f"gs://{BUCKET}/{self.prefix}"

    @property
    def settings(self) -> dict[str, str]:
        """Return the setting of the emulator."""
        return {"storage_emulator_host": self.endpoint}

    def objects(self, run: str) -> dict[str, Held]:
        """Read all of a run's objects."""
        root = f"{self.prefix}/runs/{run}/"
        stored = generations(self.server.url, BUCKET, root)
        twice = [name for name, numbers in stored.items() if len(numbers) > 1]
        assert not twice, f"stored more than once: {twice}"
        return {name.removeprefix(root): Held(numbers[0], self._read(name)) for name, numbers in stored.items()}

    def _read(self, name: str) -> bytes:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.server.url}/download/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media"
            response = session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10)
            response.raise_for_status()
            data: bytes = response.raw.read()
            return data


def verify(place: Place, run: str) -> dict[str, Any]:
    """Run `python -m crawler verify`; gives what it prints, raises AssertionError if it finds a fault."""
    environment = {name.upper(): value for name, value in place.settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "verify", f"{place.output}/runs/{run}"],
        env={"PATH": os.defpath, **environment},
        cwd=MAIN.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"verify of {run} exits {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    proof: dict[str, Any] = json.loads(done.stdout)
    return proof


def rows(objects: dict[str, Held]) -> Iterator[dict[str, Any]]:
    """Read the rows of the parts that a run's manifest names, as any reader would."""
    for part in json.loads(objects["manifest.json"].data)["parts"]:
        for line in gzip.decompress(objects[part["name"]].data).splitlines():
            yield json.loads(line)


def check_rows(objects: dict[str, Held], songs: Iterable[int]) -> None:
    """Raise AssertionError unless every number has exactly one row, with the info that the upstream gave."""
    expected = [{"song_num": n, "status": "found", "info": {"id": n, "title": f"Song {n}"}} for n in songs]
    actual = list(rows(objects))
    assert actual == expected, f"{len(actual)} rows for {len(expected)} songs, or other ones than the upstream gave"
