"""Check why songs failed: counted by error with the first numbers, kept small, added up, told by every answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.fakes import FakeFetcher
from support.runs import committed, run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.core.records import Counts, Row
from crawler.core.song_set import SongSet
from crawler.core.verdict import MISSING, Verdict, failed, found
from crawler.engine.part_writer import PartWriter
from crawler.formats.jsonl_rows import Line, encode_row
from crawler.runs.ending.failures import (
    MOST_CHARACTERS,
    MOST_KINDS,
    OTHER,
    UNKNOWN,
    Failure,
    Failures,
    add_failures,
    failures_from_metadata,
    failures_of,
    failures_to_metadata,
)
from crawler.runs.ending.gate import Gate
from crawler.runs.index import RunIndex
from crawler.runs.manifest import add_up
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_summary
from crawler.runs.store import RunStore
from crawler.runs.summary import RunSummary, make_summary, make_warnings
from crawler.runs.tally import Tally
from crawler.runs.verify import verify_run

SPEC = run_spec("1-10", version=3)


def judge(number: int) -> Verdict:
    """Give 2, 6 and 9 timed out, 4 an HTTP 500, 5 missing."""
    errors = {2: "timeout", 4: "http_500", 6: "timeout", 9: "timeout"}
    return MISSING if number == 5 else failed(errors[number]) if number in errors else found({"id": number})


def test_songs_are_counted_by_their_error() -> None:
    """Name the most frequent error first, each with its first three numbers, ascending."""
    failures = failures_of({"http_500": [4], "timeout": [9, 2, 6, 11]})

    assert list(failures.items()) == [("timeout", Failure(4, (2, 6, 9))), ("http_500", Failure(1, (4,)))]


def test_parts_add_up() -> None:
    """Add the songs of each error, and keep the lowest numbers, in whatever order the parts come."""
    parts: list[Failures] = [failures_of({"timeout": [21, 22], "b": [23]}), failures_of({"timeout": [1, 5]}), {}]

    for order in (parts, parts[::-1]):
        assert add_failures(order) == {"timeout": Failure(4, (1, 5, 21)), "b": Failure(1, (23,))}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([f"error_{number}" for number in range(500)], id="many"),
        pytest.param([f"{number}" * 300 for number in range(30)], id="long"),
        pytest.param(["é" * 2000, "short"], id="one that is longer than all"),
        pytest.param([OTHER, *(f"error_{number}" for number in range(30))], id="its own other"),
    ],
)
def test_many_kinds_have_room(words: list[str]) -> None:
    """Tell the most frequent ones and the rest together: no song is left out, and the text stays small and ASCII."""
    numbers = {word: range(1000 * index, 1000 * index + 40 - min(index, 39)) for index, word in enumerate(words)}
    failures = failures_of(numbers)
    metadata = failures_to_metadata(failures)

    assert sum(failure.songs for failure in failures.values()) == sum(map(len, numbers.values()))
    assert len(failures) <= MOST_KINDS + 1
    assert len(metadata["errors"]) <= MOST_CHARACTERS
    assert metadata["errors"].isascii()
    assert failures_from_metadata(metadata, failed=1) == failures


def test_largest_numbers_fit_beside_all_else() -> None:
    """Keep all of a part's metadata below the 8 KiB that Cloud Storage allows."""
    numbers = list(range(999_999_990_000, 999_999_999_999, 5))
    tally = Tally(
        found=1, known_songs=(10**12 - 1,) * 3, failures=failures_of({f"http_{n}": numbers for n in range(99)})
    )
    tally.missing_songs = tally.failed_songs = SongSet.of_numbers(numbers)
    tally.latencies.update(dict.fromkeys(range(-54, 214), 10**5))

    assert sum(len(name) + len(value) for name, value in tally.to_metadata().items()) < 8192


@pytest.mark.parametrize("text", ["{", "[]", '{"a":1}', '{"a":[]}', '{"a":["x"]}'])
def test_metadata_of_others_are_not_believed(text: str) -> None:
    """Count the rows where what stands there is none of ours."""
    metadata = {**Tally(failed=1).to_metadata(), "errors": text}

    assert Tally.from_metadata(metadata) is None


def test_a_part_of_an_earlier_release_is_unknown() -> None:
    """Say unknown, with the first numbers if they are known, where the metadata does not tell the errors."""
    old = Tally.from_metadata(Tally(failed=4, failed_songs=SongSet.parse("3,5-7")).to_metadata())

    assert old is not None
    assert old.failures is None
    assert old.told_failures == {UNKNOWN: Failure(4, (3, 5, 6))}
    assert Tally().told_failures == {}


def write(kept: list[Line]) -> tuple[Tally, list[bytes]]:
    """Have a part written, of which some rows were kept."""
    (key,) = run_spec("1-10", part_songs=10).grid
    committed_data: list[bytes] = []
    part = PartWriter(key, FakeFetcher(), Tally(), lambda _part, data: committed_data.append(data), kept)
    outcomes = [(index, judge(part.item(index))) for index in part.pending]
    for outcome in outcomes:
        part.settle([outcome])
    part.advance()
    return part.tally, committed_data


@pytest.mark.parametrize("kept", [[], [2], [2, 4, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], ids=str)
def test_a_part_counts_what_it_writes(kept: list[int]) -> None:
    """Count each failed row once, whether this call fetched it or an earlier one kept it aside."""
    rows = {number: encode_row(number, judge(number)) for number in kept}
    statuses = {2: "failed", 4: "failed", 5: "missing", 6: "failed", 9: "failed"}
    lines = [Line(number, statuses.get(number, "found"), row) for number, row in rows.items()]  # type: ignore[arg-type]
    tally, (data,) = write(lines)
    counted = Tally()
    counted.count_rows(run_spec("1-10").grid.format.decode(data))

    assert tally.failures == counted.failures == {"timeout": Failure(3, (2, 6, 9)), "http_500": Failure(1, (4,))}
    assert list(tally.failures or {}) == ["timeout", "http_500"]


def test_what_can_not_be_written_counts_too() -> None:
    """Count a song whose info JSON has no room for as not_json."""
    (key,) = run_spec("1-10", part_songs=10).grid
    part = PartWriter(key, FakeFetcher(), Tally(), lambda _part, _data: None)
    part.settle([(index, found(object() if index == 3 else 1)) for index in range(10)])
    part.advance()

    assert part.tally.failures == {"not_json": Failure(1, (4,))}


def store_run(folder: Path, spec: RunSpec = SPEC) -> RunStore:
    """Store a run whose parts were all fetched, and finish it."""
    run_store = RunIndex(FolderStore(folder), "one").run_store(spec.run)
    run_store.begin(spec)
    for key in spec.grid:

        def commit(part: PartWriter, data: bytes) -> None:
            run_store.commit(part.key, data, part.tally)

        part = PartWriter(key, FakeFetcher(), Tally(call_id="one", started_at=1.0, finished_at=2.0), commit)
        part.settle([(index, judge(part.item(index))) for index in range(len(key.songs))])
        part.advance()
    run_summary(run_store, spec, time.time(), gate=Gate())
    return run_store


def test_answer_and_manifest_tell_the_errors(tmp_path: Path) -> None:
    """Carry them in the run's answer with examples, and in the manifest, which is proved by the rows."""
    run_store = store_run(tmp_path)
    answer = run_summary(run_store, SPEC, time.time())

    assert answer.errors == {"timeout": 3, "http_500": 1}
    assert answer.error_examples == {"timeout": [2, 6, 9], "http_500": [4]}
    assert json.loads(run_store.manifest() or b"")["errors"] == answer.errors
    assert verify_run(RunIndex(FolderStore(tmp_path)), SPEC.run).faults == []


def test_a_run_of_an_earlier_version_keeps_its_manifest(tmp_path: Path) -> None:
    """Leave the errors out of a manifest that an earlier release may write too."""
    run_store = store_run(tmp_path, run_spec("1-10"))

    assert "errors" not in json.loads(run_store.manifest() or b"")


def test_rows_kept_aside_tell_theirs(tmp_path: Path) -> None:
    """Add the errors of rows that calls were cut off with, of one object by its metadata, of several by their rows."""
    run_store = RunIndex(FolderStore(tmp_path), "one").run_store("trial")
    run_store.begin(SPEC)
    (key, *_) = SPEC.grid
    answers: list[RunSummary] = []
    for call, numbers in (("one", [2]), ("two", [2, 3, 4])):
        part = PartWriter(key, FakeFetcher(), Tally(call_id=call, started_at=1.0), lambda _part, _data: None)
        part.settle([(number - 1, judge(number)) for number in numbers])
        rest = part.cut_off()
        assert rest is not None
        RunStore(run_store.store, "trial", call).keep(key, *rest, part.tally)
        answers.append(run_summary(run_store, SPEC, time.time()))

    assert [answer.errors for answer in answers] == [{"timeout": 1}, {"http_500": 1, "timeout": 1}]


@pytest.mark.parametrize(
    ("spec", "counts", "words"),
    [
        pytest.param(SPEC, Counts(missing=10), ["Nothing was found: 10 songs are missing, 0 failed."], id="nothing"),
        pytest.param(
            SPEC, Counts(found=1, failed=9), ["Most songs failed: 9 of 10, most often with timeout"], id="most"
        ),
        pytest.param(SPEC, Counts(found=5, failed=5), [], id="half"),
        pytest.param(SPEC, Counts(), [], id="no song yet"),
        pytest.param(run_spec("1-5", asked="next:5"), Counts(missing=5), ["Nothing was found"], id="the first next:"),
        pytest.param(run_spec("6-10", asked="next:5"), Counts(missing=5), [], id="songs that are not born"),
        pytest.param(run_spec("6", asked="missing:a", parent="a"), Counts(missing=1), [], id="missing again"),
        pytest.param(
            run_spec("6", asked="failed:a", parent="a"), Counts(failed=1), ["Most songs failed"], id="failed again"
        ),
    ],
)
def test_what_looks_wrong_is_said(spec: RunSpec, counts: Counts, words: list[str]) -> None:
    """Warn where nothing was found or most failed, and not where that is no surprise."""
    failures = {"timeout": Failure(counts.failed, (1, 2))} if counts.failed else {}
    warnings = make_warnings(spec, counts, failures)

    assert len(warnings) == len(words)
    assert all(warning.startswith(word) for warning, word in zip(warnings, words, strict=True))


def test_old_parts_are_in_the_answer() -> None:
    """Count what nobody knows the error of, so that the errors add up to the failed songs."""
    parts = [committed(key, failed=[key.songs.first]) for key in SPEC.grid]
    counted = Tally()
    counted.count_rows([Row(11, "failed", None, "timeout")])
    answer = make_summary(SPEC, "partial", "songs", grid=SPEC.grid, parts=add_up(parts), kept=[counted])

    assert answer.errors == {"unknown": 3, "timeout": 1}
    assert answer.error_examples == {"unknown": [1, 5, 9], "timeout": [11]}
