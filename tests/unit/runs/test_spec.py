"""Check what run.json holds: names without secrets, digests that tell requests apart, and the grid."""

from __future__ import annotations

import json

import pytest
from support.runs import run_spec

from crawler.core.errors import NewerVersion
from crawler.core.timestamps import utc_text
from crawler.runs.spec import RunSpec, Source, check_version, request_digest

CANARY = "canary-7Qf"
URL = "https://example.com/songs/{song_num}"


def test_a_source_holds_no_secret() -> None:
    """Name a source without the key in its URL."""
    source = Source.of_url(f"{URL}?key={CANARY}", "@", None)

    assert CANARY not in repr(source)
    assert source.text == f"{URL}?key=…"


def test_a_digest_tells_sources_apart() -> None:
    """Digest what decides what is data: the whole URL and the expressions, and for a function its name."""
    sources = [
        Source.of_url(URL, "@", None),
        Source.of_url(f"{URL}?key=a", "@", None),
        Source.of_url(f"{URL}?key=b", "@", None),
        Source.of_url(URL, "data", None),
        Source.of_url(URL, "@", "error"),
        Source.of_url(URL, "@", ""),
        Source.of_url(URL, "@", None, ""),
        Source.of_url(URL, "@", None, "{}"),
        Source.of_function("songs:one"),
        Source.of_function("songs:two"),
    ]

    assert len({source.digest for source in sources}) == len(sources)
    assert all(len(source.digest) == 16 and int(source.digest, 16) >= 0 for source in sources)


def test_a_digest_never_changes() -> None:
    """Give the same digests for ever: a call must know the runs stored long ago."""
    assert Source.of_url(URL, "@", None).digest == "a1386e119b652365"
    assert request_digest("1-10", "0123456789abcdef", "jsonl") == "b5be1be37b4bc264"


def test_a_request_is_its_songs_source_and_format() -> None:
    """Tell requests apart by what they ask for, never by name, time or grid."""
    spec = run_spec()
    same = [run_spec(run="other"), run_spec(created_at="2027"), run_spec(part_songs=9), run_spec(parent="p")]
    others = [run_spec("1-11"), run_spec(source_digest="f" * 16), run_spec(format="csv")]

    assert {other.request_digest for other in same} == {spec.request_digest}
    assert len({other.request_digest for other in [spec, *others]}) == 4
    assert request_digest(spec.songs, spec.source_digest, spec.format) == spec.request_digest


def test_run_json_comes_back_as_it_was() -> None:
    """Write and read run.json without loss, as a text that people can read."""
    spec = run_spec("1-6,20", parent="yesterday")

    assert RunSpec.decode(spec.encode()) == spec
    assert spec.encode().startswith(
        b'{\n "version": 2,\n "run": "trial",\n "parent": "yesterday",\n "asked": "1-6,20",\n'
    )
    assert list(json.loads(spec.encode())) == [
        *("version", "run", "parent", "asked", "songs", "source", "source_digest", "format", "part_songs"),
        *("end_after_missing", "job", "created_at"),
    ]


def test_a_run_json_without_a_version_stays_without_one() -> None:
    """Take a run.json that names no version for version 1, and write it back as it was."""
    data = b'{\n "run": "trial",\n' + run_spec("1-6,20").encode().partition(b'"trial",\n')[2]

    assert RunSpec.decode(data) == run_spec("1-6,20", version=1)
    assert RunSpec.decode(data).encode() == data


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"null", b"{}", b'{"run": 7}', b"\xff", b"{"),
        *(run_spec(part_songs=part_songs).encode() for part_songs in (0, -4)),
        *(run_spec(version=version).encode() for version in (0, "2")),
    ],
    ids=lambda data: repr(data)[-24:],
)
def test_anything_else_is_no_run_json(data: bytes) -> None:
    """Raise ValueError for bytes that are no run.json."""
    with pytest.raises(ValueError, match=r"."):
        RunSpec.decode(data)


@pytest.mark.parametrize("data", [b"{}", b'{"version": 1}', b'{"version": 2, "run": 7}'])
def test_known_versions_are_taken(data: bytes) -> None:
    """Take an object without a version, and those up to today's, whatever else it says."""
    check_version("runs/trial/run.json", data)


@pytest.mark.parametrize("version", [4, 10**6])
def test_a_newer_version_is_refused(version: int) -> None:
    """Name the object, its version, and what is allowed, without a look at what else it says."""
    with pytest.raises(NewerVersion) as refusal:
        check_version("runs/trial/run.json", b'{"run": {"changed": true}, "version": %d}' % version)

    assert str(refusal.value) == (
        f"runs/trial/run.json has version {version}; this release reads 1 to 3: "
        "use the release that stored it, or a newer one."
    )


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"version": "2"}', b'{"version": 0}', b'{"version": null}'])
def test_anything_else_is_no_version(data: bytes) -> None:
    """Raise ValueError for bytes that are no JSON object, or a version that is none."""
    with pytest.raises(ValueError, match=r"."):
        check_version("runs/trial/run.json", data)


def test_the_grid_is_that_of_the_songs() -> None:
    """Cut the songs by the part size that run.json fixed."""
    grid = run_spec("1-10", part_songs=4).grid

    assert [str(key.songs) for key in grid] == ["1-4", "5-8", "9-10"]


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_000_000_000.25, "2001-09-09T01:46:40.250Z"),
        (1_767_225_599.9996, "2025-12-31T23:59:59.999Z"),
    ],
    ids=["the epoch", "a fraction", "never rounded up"],
)
def test_instants_are_rfc_3339_in_utc(epoch: float, text: str) -> None:
    """Write UTC to the millisecond, with a Z."""
    assert utc_text(epoch) == text
