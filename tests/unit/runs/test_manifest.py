"""Check the manifest: it says what the parts say, as the same bytes whoever writes it, and no gap escapes."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.runs import committed, run_spec

from crawler.core.song_set import SongSet
from crawler.formats.checksum import crc32c
from crawler.runs.manifest import CommittedPart, encode_manifest, gaps

SPEC = run_spec("1-6,20,22-24", parent="yesterday")


def parts_of_spec() -> list[CommittedPart]:
    """Make the three parts of SPEC: 1-4; 5, 6, 20 and 22; 23 and 24."""
    first, second, third = SPEC.grid
    return [committed(first, missing=[2, 3]), committed(second, failed=[20, 22]), committed(third, missing=[23, 24])]


def test_says_what_the_parts_say() -> None:
    """Hold the request, the sums, the numbers as ranges and a line for every part, in the contract's words."""
    manifest = json.loads(encode_manifest(SPEC, SPEC.grid, parts_of_spec()))

    assert manifest == {
        "version": 2,
        "run": "trial",
        "parent": "yesterday",
        "asked": "1-6,20,22-24",
        "songs": "1-6,20,22-24",
        "run_json_crc32c": crc32c(SPEC.encode()),
        "source": "https://example.com/{song_num}",
        "source_digest": "0123456789abcdef",
        "format": "jsonl",
        "created_at": "2026-01-02T03:04:05.678Z",
        "found": 4,
        "missing": 4,
        "failed": 2,
        "missing_songs": "2-3,23-24",
        "failed_songs": "20,22",
        "parts": [
            {
                "name": "songs-000000000001-000000000004.jsonl.gz",
                "first": 1,
                "last": 4,
                "found": 2,
                "missing": 2,
                "failed": 0,
                "bytes": 100,
                "crc32c": "crc0==",
            },
            {
                "name": "songs-000000000005-000000000022.jsonl.gz",
                "first": 5,
                "last": 22,
                "found": 2,
                "missing": 0,
                "failed": 2,
                "bytes": 101,
                "crc32c": "crc1==",
            },
            {
                "name": "songs-000000000023-000000000024.jsonl.gz",
                "first": 23,
                "last": 24,
                "found": 0,
                "missing": 2,
                "failed": 0,
                "bytes": 102,
                "crc32c": "crc2==",
            },
        ],
    }


def test_every_finisher_writes_the_same_bytes() -> None:
    """Write nothing of when, by whom and with how many requests a part came about."""
    parts = parts_of_spec()
    others = [
        CommittedPart(
            part.key,
            msgspec.structs.replace(part.stored, created_at=2e9, metadata={"attempt": "other"}),
            msgspec.structs.replace(
                part.tally,
                requests=99,
                throttled=7,
                latencies=Counter({3: 4}),
                started_at=5.0,
                finished_at=6.0,
                call_id="other",
            ),
        )
        for part in parts
    ]

    assert encode_manifest(SPEC, SPEC.grid, others) == encode_manifest(SPEC, SPEC.grid, parts)


def test_is_a_text_that_people_can_read() -> None:
    """Break lines for people, end with a line break, and keep the order of names."""
    text = encode_manifest(SPEC, SPEC.grid, parts_of_spec()).decode()

    assert text.startswith('{\n "version": 2,\n "run": "trial",\n "parent": "yesterday",\n')
    assert text.endswith("\n}\n")


def test_a_run_of_version_1_has_a_manifest_of_version_1() -> None:
    """Write neither version nor time, as the release does that began the run and may yet finish it."""
    spec = msgspec.structs.replace(SPEC, version=1)
    one, two = (json.loads(encode_manifest(each, SPEC.grid, parts_of_spec())) for each in (spec, SPEC))

    assert one == {name: value for name, value in two.items() if name not in ("version", "created_at")} | {
        "run_json_crc32c": crc32c(spec.encode())
    }


def test_a_run_without_missing_songs_has_empty_sets() -> None:
    """Write the empty text where no song is missing or failed, and null without a parent."""
    spec = run_spec("7")
    manifest = json.loads(encode_manifest(spec, spec.grid, [committed(spec.grid[0])]))

    assert (manifest["missing_songs"], manifest["failed_songs"], manifest["parent"]) == ("", "", None)


@given(st.sets(st.integers(0, 80), min_size=1), st.integers(1, 9), st.data())
def test_gaps_are_what_no_part_covers(numbers: set[int], part_songs: int, data: st.DataObject) -> None:
    """Give exactly the numbers of the parts that are not there, in whatever order the others come."""
    grid = run_spec(str(SongSet.of_numbers(numbers)), part_songs=part_songs).grid
    there = data.draw(st.lists(st.sampled_from(list(grid)), unique_by=lambda key: key.index))
    covered = {number for key in there for number in key.songs}

    assert gaps(grid, [key.index for key in there]) == SongSet.of_numbers(numbers - covered)


def test_whole_parts_leave_no_gap() -> None:
    """Give the empty set where the parts tile the request."""
    assert not gaps(SPEC.grid, range(len(SPEC.grid)))
