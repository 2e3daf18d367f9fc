"""The proof of a run: every object read again, and every way in which it could be wrong named.

A run is right if its parts tile what was asked for, each number stands in exactly one row, and names, metadata,
checksums and manifest say of the rows what the rows say themselves.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from crawler.core.errors import Damaged, StoreUnavailable
from crawler.core.records import STATUSES, Row, StoredObject
from crawler.core.song_set import SongSet
from crawler.formats.checksum import crc32c
from crawler.runs.ending.open_range import OpenRangeEnd
from crawler.runs.grid import Grid, PartKey
from crawler.runs.index import RunIndex
from crawler.runs.manifest import CommittedPart, ManifestParts, gaps
from crawler.runs.spec import RunSpec, check_version
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally

_OTHER_OBJECTS = ("run.json", "manifest.json", "held.json", "stop.json")
_OTHER_PREFIXES = ("rest/", "sweeps/", "tries/", "stop-", "resume-")


@dataclass
class Proof:
    """Hold what a run's objects came to: the counts over all rows, and a sentence for each of its `faults`.

    `held` says why the gate holds the run, if it does: then it needs no manifest to be right.
    """

    run: str
    found: int = 0
    missing: int = 0
    failed: int = 0
    parts: int = 0
    held: str | None = None
    faults: list[str] = field(default_factory=list)


class KeysProof:
    """The keys of a run's rows: none without KEYS, one in each row with them.

    A run of all lines is held against the digest of the keys that it was begun with; one of some of them can't be.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._keys = spec.keys
        self._whole = spec.keys is not None and len(spec.grid.songs) == spec.keys.lines
        self._hasher = hashlib.sha256()
        self._rows = 0

    def add(self, rows: Iterable[Row]) -> Iterator[str]:
        """Take the rows of the next part; yields what is wrong with their keys."""
        for row in rows:
            if (row.key is None) != (self._keys is None):
                yield f"the row of {row.song_num} has {'no' if row.key is None else 'a'} key"
            if self._whole:
                self._hasher.update(f"{chr(10) if self._rows else ''}{row.key}".encode())
                self._rows += 1

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with all keys together, where every row is there."""
        all_there = self._keys and self._whole and self._rows == self._keys.lines
        if self._keys and all_there and self._hasher.hexdigest()[:16] != self._keys.digest:
            yield "the keys of its rows are not those that run.json was written for"


def verify_run(run_index: RunIndex, run: str) -> Proof:
    """Read a run again, whole; one made of another run's numbers is held against that one's manifest too.

    Raises NewerVersion for a run that this release can't judge.
    """
    proof = Proof(run)
    run_store = run_index.run_store(run)
    spec = _verify_spec(run_store, proof)
    if spec is None:
        return proof
    keys = KeysProof(spec)
    end = OpenRangeEnd(spec.grid, spec.end_after_missing) if spec.end_after_missing else None
    parts, places = ManifestParts(), array("q")
    for part in _verify_objects(run_store, spec, proof, keys):
        if end is None or end.parts is None:  # what lies past an open range's end is not the run's
            parts.add(part)
            places.append(part.key.index)
        if end:
            end.add(part.key.index, part.tally)
    if end and end.parts is None:
        proof.faults.append("the open range has no end: no part edge has enough missing numbers before it")
        return proof
    grid = spec.grid.head(end.parts) if end and end.parts is not None else spec.grid
    proof.parts = len(parts)
    for status, songs in parts.counts.by_status().items():
        setattr(proof, status, songs)
    proof.faults += [*keys.faults(), *_gap_faults(grid, places)]
    if run_store.ended() == "held":
        _verify_held(run_store, spec, parts, proof)
    else:
        proof.faults += _manifest_faults(run_store, spec, grid, parts)
    proof.faults += _parent_faults(run_index, spec)
    return proof


def _verify_spec(run_store: RunStore, proof: Proof) -> RunSpec | None:
    data = run_store.spec_bytes()
    try:
        check_version(f"runs/{run_store.run}/run.json", data or b"")
        spec = RunSpec.decode(data or b"")
        spec.grid  # noqa: B018 - numbers that don't parse are damage too
    except ValueError as error:
        proof.faults.append("run.json is missing" if data is None else f"run.json can't be read: {error}")
        return None
    if spec.run != run_store.run or spec.encode() != data:
        proof.faults.append("run.json is not as it was written")
    return spec


def _verify_objects(run_store: RunStore, spec: RunSpec, proof: Proof, keys: KeysProof) -> Iterator[CommittedPart]:
    """Read every object of the run; yields the parts that could be read, tallied by their rows."""
    for stored in run_store.store.list(f"runs/{spec.run}/"):
        name = stored.name.removeprefix(f"runs/{spec.run}/")
        if name in _OTHER_OBJECTS or name.startswith(_OTHER_PREFIXES):
            continue
        key = spec.grid.find(name)
        if key is None:
            proof.faults.append(f"{name} does not belong to the run")
            continue
        try:
            part, faults = _verify_part(key, stored, run_store.store.read(stored.name) or b"", keys)
        except (StoreUnavailable, ValueError) as error:  # a store says of damaged bytes that it can't give them
            proof.faults.append(f"{name} can't be read: {error}")
            continue
        proof.faults += [f"{name}: {fault}" for fault in faults]
        yield part


def _verify_part(key: PartKey, stored: StoredObject, data: bytes, keys: KeysProof) -> tuple[CommittedPart, list[str]]:
    rows = key.format.decode(data)
    tally = Tally()
    tally.count_rows(rows)
    faults = [*_row_faults(key, rows), *keys.add(rows), *_metadata_faults(Tally.from_metadata(stored.metadata), tally)]
    really = msgspec.structs.replace(stored, size=len(data), crc32c=crc32c(data))
    if really != stored:
        faults.append(f"its bytes (CRC-32C {really.crc32c}) are not those that were stored ({stored.crc32c})")
    return CommittedPart(key, really, tally), faults


def _row_faults(key: PartKey, rows: list[Row]) -> Iterator[str]:
    """Hold a part's rows against the numbers it must cover: each once, ascending, in a state that makes sense."""
    numbers = [row.song_num for row in rows]
    held = SongSet.of_numbers(numbers)
    if numbers != sorted(numbers):
        yield "its rows are not ascending"
    if twice := [number for number, times in Counter(numbers).items() if times > 1]:
        yield f"it has more than one row for {SongSet.of_numbers(twice)}"
    if lacking := key.songs - held:
        yield f"it has no row for {lacking}"
    if strange := held - key.songs:
        yield f"it has rows for {strange}, which it must not cover"
    for row in rows:
        if (row.status == "failed") != (row.error is not None) or (row.status == "found") != (row.info is not None):
            yield f"the row of {row.song_num} contradicts itself"


def _metadata_faults(said: Tally | None, counted: Tally) -> Iterator[str]:
    """Hold the metadata against the rows, if there is any: an object copied without it is still a part."""
    for name in (*STATUSES, "missing_songs", "failed_songs", "failures") if said else ():
        if getattr(said, name) not in (None, getattr(counted, name)):
            yield f"its metadata says {name}: {getattr(said, name)}, its rows say {getattr(counted, name)}"


def _gap_faults(grid: Grid, places: Iterable[int]) -> Iterator[str]:
    if missing := gaps(grid, places):
        yield f"no part covers the numbers {missing}"


def _manifest_faults(run_store: RunStore, spec: RunSpec, grid: Grid, parts: ManifestParts) -> Iterator[str]:
    """Hold the manifest against what the parts say; names the fields that differ.

    A release before versions, at work on a run of ours during a deployment, finishes it in the form that it knows.
    """
    right = parts.encode(spec, grid)
    try:
        data = run_store.manifest()
        if data == right:
            return
        said = _decode_manifest(data)
    except (StoreUnavailable, ValueError) as error:
        yield f"manifest.json can't be read: {error}"
        return
    if said is None:
        yield "manifest.json is missing"
    elif data != parts.encode(msgspec.structs.replace(spec, version=1), grid):
        expected = msgspec.json.decode(right)
        differing = [name for name in {**expected, **said} if said.get(name) != expected.get(name)]
        for name in differing or ["its layout"]:
            yield f"manifest.json: {name} differs from what the parts say"
        yield from _named_faults(said, expected)


def _verify_held(run_store: RunStore, spec: RunSpec, parts: ManifestParts, proof: Proof) -> None:
    """Hold held.json against what the parts say."""
    try:
        held = run_store.held()
    except (StoreUnavailable, Damaged) as error:
        proof.faults.append(f"held.json can't be read: {error}")
        return
    if held and held == held.gate.hold(spec, parts.counts):
        proof.held = held.detail
    else:
        proof.faults.append("held.json differs from what the parts say")


def _named_faults(said: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    """Name the objects of which the manifest says something else."""
    if said.get("run_json_crc32c") != expected["run_json_crc32c"]:
        yield "run.json is not the one that manifest.json was written for"
    entries = said.get("parts")
    for entry in expected["parts"]:
        if not isinstance(entries, list) or entry not in entries:
            yield f"{entry['name']} is not as manifest.json describes it"


def _parent_faults(run_index: RunIndex, spec: RunSpec) -> Iterator[str]:
    """Follow a failed: or missing: run to the run that its numbers come from."""
    if spec.parent is None:
        return
    status, parent = spec.asked.partition(":")[0], run_index.run_store(spec.parent)
    try:
        parent_spec = parent.spec()
        manifest = _decode_manifest(parent.due_manifest(parent_spec) if parent_spec else parent.manifest())
    except (StoreUnavailable, Damaged, ValueError) as error:
        yield f"the manifest of its parent, the run {spec.parent}, can't be read: {error}"
        return
    if manifest is None:
        yield f"its parent, the run {spec.parent}, has no manifest"
    elif manifest.get(f"{status}_songs") != spec.songs:
        yield f"its numbers are not those that its parent, the run {spec.parent}, calls {status}"


def _decode_manifest(data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else msgspec.json.decode(data, type=dict[str, Any])
