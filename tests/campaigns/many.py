"""Many: an output of 100,000 parts in one run and 10,000 runs beside it, and what it takes to look at them.

The objects are made cheaply, tiny and all alike, as calls would have stored them; what is measured is the function.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import requests
from servers import ServerProcess, Upstream

from campaigns.function import call, start
from campaigns.places import BUCKET, BucketPlace, Place, verify
from campaigns.processes import weigh
from crawler.core.records import StoredObject
from crawler.core.song_set import SongSet
from crawler.formats.checksum import crc32c
from crawler.runs.grid import PartKey
from crawler.runs.manifest import CommittedPart, encode_manifest
from crawler.runs.spec import RunSpec, Source
from crawler.runs.tally import Tally

LARGE = "large"
# Of the runs beside it, one a minute; the newest has these many songs like all others.
_SONGS_A_RUN = 1
_CREATED = "2026-01-02T03:04:05.678Z"
_EPOCH = 1_767_323_045.0
_LATEST = 9_999_999_999_999
_THREADS = 8

Object = tuple[str, bytes, dict[str, str]]


@dataclass
class Looked:
    """What it took to look at an output: seconds by what was asked, and the heaviest process in MiB."""

    parts: int
    runs: int
    seeded_seconds: float = 0.0
    idle_mib: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    mib: dict[str, float] = field(default_factory=dict)


def look_at_many(place: Place, parts: int, runs: int, *, most_seconds: float, most_mib: float) -> Looked:
    """Ask for pages of runs, for the large run, have it resumed, and verify it.

    Raises AssertionError for an answer that is wrong, takes longer, or for which the function grows more.
    """
    looked = Looked(parts, runs)
    with Upstream(last=parts) as upstream:
        began = time.monotonic()
        _seed(place, upstream.url, parts, runs)
        looked.seeded_seconds = time.monotonic() - began
        with start(upstream.url, place.output, part_songs=1, **place.settings) as server:
            _look(looked, server, f"1-{parts}")
        assert upstream.count() == 1
        begun = time.monotonic()
        assert verify(place, LARGE)["found"] == parts
        looked.seconds["verify"] = time.monotonic() - begun
    slow = {what: seconds for what, seconds in looked.seconds.items() if seconds > most_seconds}
    heavy = {what: mib for what, mib in looked.mib.items() if mib - looked.idle_mib > most_mib}
    assert not slow | heavy, f"too slow: {slow}, too heavy: {heavy}; {looked}"
    return looked


def _look(looked: Looked, server: ServerProcess, asked: str) -> None:
    def timed(what: str, act: Callable[[], Any]) -> Any:
        began = time.monotonic()
        answer = act()
        looked.seconds[what] = time.monotonic() - began
        looked.mib[what] = max(weight.peak for weight in weigh(server).values())  # so far
        return answer

    parts = looked.parts
    _get(server.url, "/runs/none")
    looked.idle_mib = max(weight.peak for weight in weigh(server).values())
    assert timed("GET /runs", lambda: _get(server.url, "/runs"))["next"]
    state = timed("GET /runs/RUN", lambda: _get(server.url, f"/runs/{LARGE}"))
    assert (state["found"], state["remaining"], state["parts"]) == (parts - 1, 1, parts - 1), state
    covered = timed("GET /runs/RUN?parts=1", lambda: _get(server.url, f"/runs/{LARGE}?parts=1"))
    assert covered["coverage"]["grid"] == parts
    for what in ("resume", "complete"):
        answered = timed(what, lambda: call(server, {"songs": asked, "run": LARGE}))
        assert (answered.status, answered["found"]) == (200, parts), answered


def _get(url: str, path: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url + path, timeout=3600).json()


def _seed(place: Place, url: str, parts: int, runs: int) -> None:
    """Store the large run but for its last part, and the runs beside it."""
    objects = _objects(url, parts, runs)
    if isinstance(place, BucketPlace):
        _upload(place, objects)
        return
    for name, data, metadata in objects:
        _write(Path(place.output), name, data, metadata)


def _objects(url: str, parts: int, runs: int) -> Iterator[Object]:
    large = _spec(url, LARGE, f"1-{parts}")
    yield f"index/all/{_LATEST - int(_EPOCH * 1000):013d}-{LARGE}", b"", {}
    yield f"index/begun/request-{large.request_digest}/{LARGE}", b"", {}
    yield f"runs/{LARGE}/run.json", large.encode(), {}
    for index in range(parts - 1):
        yield _part(large, large.grid[index])
    for number in range(runs):
        run = f"small-{number:06d}"
        spec = _spec(url, run, "1")
        yield f"index/all/{_LATEST - int(_EPOCH * 1000) - 60_000 * number:013d}-{run}", b"", {}
        for scope in ("begun", "ended"):
            yield f"index/{scope}/request-{spec.request_digest}/{run}", b"", {}
        yield f"runs/{run}/run.json", spec.encode(), {}
        name, data, metadata = _part(spec, spec.grid[0])
        yield name, data, metadata
        yield f"runs/{run}/manifest.json", _manifest(spec, data), {}


def _spec(url: str, run: str, songs: str) -> RunSpec:
    source = Source.of_url(url, "@", None)
    fixed = {"version": 2, "format": "jsonl", "part_songs": 1, "created_at": _CREATED}
    return RunSpec(run=run, asked=songs, songs=songs, source=source.text, source_digest=source.digest, **fixed)  # type: ignore[arg-type]


def _tally() -> Tally:
    # As many buckets as a thousand songs of a real API fall into.
    latencies = Counter(dict.fromkeys(range(40), 1))
    return Tally(1, 0, 0, SongSet(), SongSet(), requests=40, latencies=latencies, call_id="a" * 32)


_METADATA = _tally().to_metadata()


def _part(spec: RunSpec, key: PartKey) -> Object:
    number = key.songs.first
    row = {"song_num": number, "status": "found", "info": {"id": number, "title": f"Song {number}"}}
    data = gzip.compress(json.dumps(row, separators=(",", ":")).encode() + b"\n", 1, mtime=0)
    times = {"started_at": f"{_EPOCH + number:.3f}", "finished_at": f"{_EPOCH + number + 1.5:.3f}"}
    return f"runs/{spec.run}/{key.name}", data, _METADATA | times


def _manifest(spec: RunSpec, data: bytes) -> bytes:
    key = spec.grid[0]
    stored = StoredObject(key.name, len(data), crc32c(data), _EPOCH)
    return encode_manifest(spec, spec.grid, [CommittedPart(key, stored, _tally())])


def _write(root: Path, name: str, data: bytes, metadata: dict[str, str]) -> None:
    """Write an object and its metadata as the folder store does, but for the waiting until they are on the disk."""
    folder, _, file = name.rpartition("/")
    if not os.path.isdir(root / folder):
        os.makedirs(root / folder)
    (root / name).write_bytes(data)
    sidecar = {"size": len(data), "crc32c": crc32c(data), "metadata": {"attempt": "seed", **metadata}}
    (root / folder / f".{file}.meta").write_bytes(msgspec.json.encode(sidecar))


def _upload(place: BucketPlace, objects: Iterator[Object]) -> None:
    def send(share: list[Object]) -> None:
        connection = HTTPConnection(urlsplit(place.endpoint).netloc, timeout=60)
        for name, data, metadata in share:
            described = {"name": f"{place.prefix}/{name}", "metadata": {"attempt": "seed", **metadata}}
            body = b"\r\n".join(
                [
                    b"--x\r\nContent-Type: application/json\r\n",
                    json.dumps(described).encode(),
                    b"--x\r\nContent-Type: application/octet-stream\r\n",
                    data,
                    b"--x--",
                ]
            )
            path = f"/upload/storage/v1/b/{quote(BUCKET)}/o?uploadType=multipart"
            connection.request("POST", path, body, {"Content-Type": "multipart/related; boundary=x"})
            answer = connection.getresponse()
            told = answer.read()
            assert answer.status == 200, told
        connection.close()

    shares: list[list[Object]] = [[] for _ in range(_THREADS)]
    for index, each in enumerate(objects):
        shares[index % _THREADS].append(each)
    with ThreadPoolExecutor(_THREADS) as senders:
        list(senders.map(send, shares))
