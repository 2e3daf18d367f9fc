"""Check the proof of a run: a sound one has no fault, and each way to spoil it is named in a sentence of its own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.runs import run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.errors import NewerVersion
from crawler.core.records import Row
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.formats.checksum import crc32c
from crawler.formats.jsonl_rows import Compressor, encode_row
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex
from crawler.runs.manifest import encode_manifest
from crawler.runs.spec import RunSpec
from crawler.runs.store import RunStore
from crawler.runs.tally import Tally
from crawler.runs.verify import Proof, verify_run

SPEC = run_spec("1-10")
PARTS = [
    "songs-000000000001-000000000004.jsonl.gz",
    "songs-000000000005-000000000008.jsonl.gz",
    "songs-000000000009-000000000010.jsonl.gz",
]
SECOND = PARTS[1]


def judge(number: int) -> Verdict:
    """Have 3 and 6 missing, 7 failed."""
    if number in (3, 6):
        return MISSING
    return failed("timeout") if number == 7 else found({"id": number})


def write_run(folder: Path, spec: RunSpec = SPEC, judge: Callable[[int], Verdict] = judge) -> Path:
    """Store a finished run; gives its folder."""
    run_store = RunStore(FolderStore(folder), spec.run, "one")
    run_store.begin(spec)
    for key in spec.grid:
        rows = [encode_row(number, judge(number)) for number in key.songs]
        compressor = Compressor()
        compressor.feed(rows)
        tally = Tally(call_id="one", started_at=1.0, finished_at=2.0)
        tally.count_rows(msgspec.json.decode(row, type=Row) for row in rows)
        run_store.commit(key, compressor.finish(), tally)
    parts = run_store.parts(spec)
    grid = run_store.end(spec, parts)
    assert grid is not None
    assert run_store.finish(spec, grid, parts, Gate())
    return folder / "runs" / spec.run


def verify(run: Path) -> Proof:
    """Read a run again."""
    return verify_run(RunIndex(FolderStore(run.parent.parent)), run.name)


def faults(run: Path) -> list[str]:
    """Give what is wrong with a run, but for the objects by name of which the manifest then says something else."""
    also = ("is not as manifest.json describes it", "is not the one that manifest.json was written for")
    return [fault for fault in verify(run).faults if not fault.endswith(also)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Store a sound run."""
    return write_run(tmp_path)


def rewrite(run: Path, name: str, change: Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]]) -> None:
    """Change the rows of a part, and let its metadata go with them, as whoever copies objects does."""
    rows = [json.loads(line) for line in gzip.decompress((run / name).read_bytes()).splitlines()]
    replace(run / name, gzip.compress("".join(json.dumps(row) + "\n" for row in change(rows)).encode(), mtime=0))


def replace(path: Path, data: bytes) -> None:
    """Put other bytes in an object's place, without its metadata."""
    path.write_bytes(data)
    path.with_name(f".{path.name}.meta").unlink(missing_ok=True)


def edit(path: Path, **fields: Any) -> None:
    """Change fields of a JSON object."""
    content = json.loads(path.read_bytes()) | fields
    replace(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def test_a_sound_run_has_no_fault(run: Path) -> None:
    """Count all rows and find nothing wrong."""
    assert verify(run) == Proof("trial", found=7, missing=2, failed=1, parts=3)


@pytest.mark.parametrize("name", ["rest/songs-000000000001-000000000004.a.jsonl.gz", "stop.json"])
def test_what_a_call_left_behind_is_no_fault(run: Path, name: str) -> None:
    """Pass over rows kept aside and a stop marker."""
    FolderStore(run.parent.parent).create(f"runs/trial/{name}", b"anything", {})

    assert faults(run) == []


def test_lost_metadata_is_no_fault(run: Path) -> None:
    """Take a run for sound that was copied without its objects' metadata."""
    for sidecar in run.glob(".*.meta"):
        sidecar.unlink()

    assert faults(run) == []


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        pytest.param(lambda path: path.unlink(), "run.json is missing", id="missing"),
        pytest.param(lambda path: replace(path, b""), "run.json can't be read: ", id="empty"),
        pytest.param(lambda path: replace(path, b"[]"), "run.json can't be read: ", id="no object"),
        pytest.param(lambda path: edit(path, songs="10-1"), "run.json can't be read: ", id="numbers reversed"),
        pytest.param(lambda path: edit(path, part_songs="4"), "run.json can't be read: ", id="a number as text"),
        pytest.param(lambda path: edit(path, part_songs=0), "run.json can't be read: ", id="parts of nothing"),
        pytest.param(lambda path: edit(path, part_songs=-4), "run.json can't be read: ", id="parts of less"),
    ],
)
def test_a_run_json_that_tells_nothing_is_the_only_fault(run: Path, spoil: Callable[[Path], None], fault: str) -> None:
    """Say what is wrong with run.json, and nothing of parts that nobody can judge without it."""
    spoil(run / "run.json")

    proof = verify(run)

    assert [sentence.startswith(fault) for sentence in proof.faults] == [True]
    assert (proof.parts, proof.found) == (0, 0)


def test_a_run_json_of_other_bytes_is_named(run: Path) -> None:
    """Tell that run.json was written by hand, though it says the same."""
    replace(run / "run.json", (run / "run.json").read_bytes() + b"\n")

    assert faults(run) == ["run.json is not as it was written"]


def test_a_run_json_changed_after_the_fact_is_in_the_manifest_too(run: Path) -> None:
    """Hold the manifest's checksum of run.json against it."""
    edit(run / "run.json", created_at="2026-01-02T03:04:05.679Z")

    assert faults(run) == [
        "manifest.json: created_at differs from what the parts say",
        "manifest.json: run_json_crc32c differs from what the parts say",
    ]


def test_a_part_that_is_gone_is_named_by_its_numbers(run: Path) -> None:
    """Name the numbers that no part covers, and what the manifest then has too much."""
    (run / SECOND).unlink()

    assert faults(run)[0] == "no part covers the numbers 5-8"
    assert all(fault.startswith("manifest.json: ") for fault in faults(run)[1:])
    assert verify(run).parts == 2


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[:-1], id="cut short"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data + b"\0", id="something after it"),
        pytest.param(lambda _: gzip.compress(b"{}\n"), id="no rows"),
        pytest.param(lambda data: gzip.compress(gzip.decompress(data)[:-1]), id="no end of line"),
    ],
)
def test_a_part_that_can_not_be_read_is_named(run: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Say which part can't be read and why, and that nothing covers its numbers."""
    replace(run / SECOND, spoil((run / SECOND).read_bytes()))

    first, second, *_ = faults(run)

    assert first.startswith(f"{SECOND} can't be read: ")
    assert second == "no part covers the numbers 5-8"


@pytest.mark.parametrize("name", [SECOND, "manifest.json"])
def test_one_changed_byte_is_a_fault_like_any_other(run: Path, name: str) -> None:
    """Name an object whose bytes changed under its checksum, and go on to the others."""
    data = bytearray((run / name).read_bytes())
    data[len(data) // 2] ^= 1
    (run / name).write_bytes(data)
    (run / PARTS[2]).unlink()

    found_faults = faults(run)

    assert [fault for fault in found_faults if fault.startswith(f"{name} can't be read: ") and "is damaged" in fault]
    assert f"no part covers the numbers {'5-10' if name == SECOND else '9-10'}" in found_faults


class Trusting(FolderStore):
    """Give an object's bytes without a look at their checksum."""

    def read(self, name: str) -> bytes | None:
        """Read the file."""
        path = Path(self.url) / name
        return path.read_bytes() if path.exists() else None


def test_bytes_that_are_not_those_stored_are_a_fault(run: Path) -> None:
    """Hold the bytes themselves against the checksum that the store has of them."""
    before = crc32c((run / SECOND).read_bytes())
    data = bytearray((run / SECOND).read_bytes())
    data[8] ^= 2  # a flag of the gzip header that no reader looks at: the rows are what they were
    (run / SECOND).write_bytes(data)

    first, *rest = verify_run(RunIndex(Trusting(run.parent.parent)), "trial").faults

    assert first == f"{SECOND}: its bytes (CRC-32C {crc32c(bytes(data))}) are not those that were stored ({before})"
    assert rest == [
        "manifest.json: parts differs from what the parts say",
        f"{SECOND} is not as manifest.json describes it",
    ]


ROW_FAULTS: list[Any] = [
    pytest.param(lambda rows: rows[::-1], "its rows are not ascending", id="descending"),
    pytest.param(lambda rows: [*rows[:2], *rows[1:]], "it has more than one row for 6", id="a number twice"),
    pytest.param(lambda rows: rows[1:3], "it has no row for 5,8", id="numbers left out"),
    pytest.param(
        lambda rows: [*rows, {"song_num": 9, "status": "missing", "info": None}],
        "it has rows for 9, which it must not cover",
        id="a number too many",
    ),
    pytest.param(
        lambda rows: [rows[0] | {"info": None}, *rows[1:]], "the row of 5 contradicts itself", id="found without info"
    ),
    pytest.param(
        lambda rows: [rows[0] | {"error": "timeout"}, *rows[1:]], "the row of 5 contradicts itself", id="found, failed"
    ),
    pytest.param(
        lambda rows: [rows[0], rows[1] | {"info": 1}, *rows[2:]], "the row of 6 contradicts itself", id="missing, info"
    ),
    pytest.param(
        lambda rows: [*rows[:2], {"song_num": 7, "status": "failed", "info": None}, rows[3]],
        "the row of 7 contradicts itself",
        id="failed without an error",
    ),
]


@pytest.mark.parametrize(("change", "fault"), ROW_FAULTS)
def test_rows_that_are_not_the_parts_are_named(
    run: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], fault: str
) -> None:
    """Say of a part what is wrong with its rows; else only the manifest, which has another checksum, differs."""
    rewrite(run, SECOND, change)

    first, *rest = faults(run)

    assert first == f"{SECOND}: {fault}"
    assert "manifest.json: parts differs from what the parts say" in rest
    assert all(sentence.startswith("manifest.json: ") for sentence in rest)


def test_every_fault_is_named_at_once(run: Path) -> None:
    """Name all that is wrong in one reading, each with its part."""
    rewrite(run, PARTS[0], lambda rows: rows[1:])
    rewrite(run, SECOND, lambda rows: [*rows[1:], rows[0], rows[0]])
    sentences = faults(run)

    assert sentences[:3] == [
        f"{PARTS[0]}: it has no row for 1",
        f"{SECOND}: its rows are not ascending",
        f"{SECOND}: it has more than one row for 5",
    ]


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("found", "3", "its metadata says found: 3, its rows say 2"),
        ("missing", "0", "its metadata says missing: 0, its rows say 1"),
        ("failed", "2", "its metadata says failed: 2, its rows say 1"),
        ("missing_songs", "5", "its metadata says missing_songs: 5, its rows say 6"),
        ("failed_songs", "5,7", "its metadata says failed_songs: 5,7, its rows say 7"),
    ],
)
def test_metadata_that_says_otherwise_is_named(run: Path, name: str, value: str, fault: str) -> None:
    """Hold each count and set of the metadata against the rows; the rows are what counts."""
    sidecar = run / f".{SECOND}.meta"
    content = json.loads(sidecar.read_bytes())
    content["metadata"][name] = value
    sidecar.write_bytes(json.dumps(content).encode())

    assert faults(run) == [f"{SECOND}: {fault}"]


@pytest.mark.parametrize(
    "name", ["songs-000000000001-000000000003.jsonl.gz", "songs-000000000011-000000000014.jsonl.gz", "notes.txt", "a/b"]
)
def test_a_stray_object_is_named(run: Path, name: str) -> None:
    """Name what lies in the run's place and has none in its grid."""
    FolderStore(run.parent.parent).create(f"runs/trial/{name}", b"", {})

    assert faults(run) == [f"{name} does not belong to the run"]


def test_a_run_of_version_1_is_sound(tmp_path: Path) -> None:
    """Find nothing wrong in a run that names no version, in run.json and manifest alike."""
    run = write_run(tmp_path, run_spec("1-10", version=1))

    assert "version" not in json.loads((run / "run.json").read_bytes())
    assert verify(run) == Proof("trial", found=7, missing=2, failed=1, parts=3)


def test_a_run_that_an_earlier_release_finished_is_sound(run: Path) -> None:
    """Take the manifest of a release that knew no versions, which read run.json as one of its own."""
    run_store = RunStore(FolderStore(run.parent.parent), "trial")
    as_it_read = msgspec.structs.replace(SPEC, version=1)
    replace(run / "manifest.json", encode_manifest(as_it_read, SPEC.grid, run_store.parts(SPEC)))

    assert faults(run) == []


@pytest.mark.parametrize("name", ["run.json", "manifest.json"])
def test_a_version_that_is_gone_is_noticed(run: Path, name: str) -> None:
    """Tell that one of the two says it is of version 1 where the other is not."""
    content = json.loads((run / name).read_bytes())
    del content["version"]
    replace(run / name, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")

    assert "manifest.json: version differs from what the parts say" in faults(run)


def test_a_newer_run_is_not_judged(run: Path) -> None:
    """Refuse to judge a run whose form is not known, rather than call it damaged."""
    edit(run / "run.json", version=4)

    with pytest.raises(NewerVersion, match=r"runs/trial/run\.json has version 4"):
        verify(run)


def test_a_missing_manifest_is_named(run: Path) -> None:
    """Tell that the run is not finished, though its parts are whole."""
    (run / "manifest.json").unlink()

    assert faults(run) == ["manifest.json is missing"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null"])
def test_a_manifest_that_can_not_be_read_is_named(run: Path, data: bytes) -> None:
    """Say so where manifest.json is no JSON object."""
    replace(run / "manifest.json", data)

    (fault,) = faults(run)

    assert fault.startswith("manifest.json can't be read: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("found", 8), ("missing_songs", "3"), ("failed_songs", ""), ("songs", "1-11"), ("run", "other")),
        *(("parent", "other"), ("source", "elsewhere"), ("format", "csv"), ("parts", []), ("extra", 1)),
        *(("version", 1), ("version", 3), ("created_at", "2026-01-02T03:04:05.679Z")),
    ],
)
def test_a_manifest_that_says_otherwise_is_named_by_its_field(run: Path, field: str, value: Any) -> None:
    """Name the field that differs, one that does not belong there included."""
    edit(run / "manifest.json", **{field: value})

    assert faults(run) == [f"manifest.json: {field} differs from what the parts say"]


def test_a_manifest_laid_out_otherwise_is_named(run: Path) -> None:
    """Tell that manifest.json is not the bytes that a finisher writes, though it says the same."""
    replace(run / "manifest.json", json.dumps(json.loads((run / "manifest.json").read_bytes())).encode())

    assert faults(run) == ["manifest.json: its layout differs from what the parts say"]


OPEN = run_spec("1-12", asked="1-", end_after_missing=2)


def test_an_open_range_is_proved_up_to_its_end(tmp_path: Path) -> None:
    """Count the parts up to the end, and take one past it for what it is: fetched too early."""
    run = write_run(tmp_path, OPEN, lambda n: found(n) if n < 7 else MISSING)

    assert verify(run) == Proof("trial", found=6, missing=2, failed=0, parts=2)


def test_an_open_range_without_an_end_is_named(tmp_path: Path) -> None:
    """Tell that the committed parts do not reach an end."""
    run = write_run(tmp_path, OPEN, lambda n: found(n) if n < 7 else MISSING)
    (run / SECOND).unlink()

    assert faults(run) == ["the open range has no end: no part edge has enough missing numbers before it"]


def test_an_open_ranges_end_survives_a_row_too_many(tmp_path: Path) -> None:
    """Name the number that a part of missing songs alone has twice, and take the range's end from its numbers."""
    run = write_run(tmp_path, OPEN, lambda n: found(n) if n < 5 else MISSING)
    rewrite(run, SECOND, lambda rows: [rows[0], *rows])

    first, *rest = faults(run)

    assert first == f"{SECOND}: it has more than one row for 5"
    assert not [sentence for sentence in rest if not sentence.startswith("manifest.json: ")]


def child(folder: Path, songs: str = "3,6") -> Path:
    """Store a run of the trial's missing numbers, or of others that pass for them."""
    return write_run(folder, run_spec(songs, run="child", asked="missing:trial", parent="trial"), found)


def test_a_run_of_another_ones_numbers_is_held_against_it(run: Path) -> None:
    """Find the numbers that the parent's manifest names, and no fault."""
    assert faults(child(run.parent.parent)) == []


def test_numbers_that_are_not_the_parents_are_named(run: Path) -> None:
    """Tell that the run asked for other numbers than its parent calls missing."""
    sentences = faults(child(run.parent.parent, "3,7"))

    assert sentences == ["its numbers are not those that its parent, the run trial, calls missing"]


def test_a_parent_without_a_manifest_is_named(run: Path) -> None:
    """Tell that nobody can say any more where the numbers came from."""
    made = child(run.parent.parent)
    (run / "manifest.json").unlink()

    assert faults(made) == ["its parent, the run trial, has no manifest"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null"])
def test_a_parents_manifest_that_can_not_be_read_is_named(run: Path, data: bytes) -> None:
    """Say so where the parent's manifest.json is no JSON object."""
    made = child(run.parent.parent)
    replace(run / "manifest.json", data)

    (fault,) = faults(made)

    assert fault.startswith("the manifest of its parent, the run trial, can't be read: ")
