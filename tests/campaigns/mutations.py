"""Mutations: ways to damage one object of a finished run in a folder, each to be found and named by verify.

Most come twice: as they happen, and as a forger would do it, who mends what the store says of the object's bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.formats.checksum import crc32c

SONGS = 100
PART_SONGS = 20
FIRST, SECOND, MIDDLE, LAST = (f"songs-{first:012d}-{first + 19:012d}.jsonl.gz" for first in (1, 21, 41, 81))
MISSING_SONG, FAILED_SONG, FOUND_SONG = 42, 45, 50  # all in MIDDLE
"""What the run that is mutated must hold: SONGS songs in parts of PART_SONGS, these three as they are named."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Mutation:
    """Damage the run in a folder; `names` must stand in what verify says then."""

    title: str
    apply: Callable[[Path], object]
    names: tuple[str, ...]


def _forge(path: Path, data: bytes) -> None:
    """Write an object, and mend what the store says of its bytes."""
    path.write_bytes(data)
    sidecar = path.with_name(f".{path.name}.meta")
    said = json.loads(sidecar.read_bytes())
    sidecar.write_bytes(json.dumps({**said, "size": len(data), "crc32c": crc32c(data)}).encode())


def _bytes(title: str, change: Callable[[bytes], bytes]) -> list[Mutation]:
    """Change the bytes of a part."""

    def apply(write: Callable[[Path, bytes], object]) -> Callable[[Path], object]:
        return lambda run: write(run / MIDDLE, change((run / MIDDLE).read_bytes()))

    return [
        Mutation(title, apply(Path.write_bytes), (MIDDLE,)),
        Mutation(f"{title}, forged", apply(_forge), (MIDDLE,)),
    ]


def _lines(title: str, change: Callable[[list[bytes]], list[bytes]], *numbers: int) -> list[Mutation]:
    """Change the lines of a part; verify may be expected to name numbers too."""
    changed = _bytes(title, lambda data: _gzipped(change(gzip.decompress(data).splitlines(keepends=True))))
    return [Mutation(m.title, m.apply, (*m.names, *map(str, numbers))) for m in changed]


def _row(title: str, number: int, **fields: Any) -> list[Mutation]:
    """Change fields of one row; None takes a field away, but for info."""

    def change(row: Row) -> Row:
        return {name: value for name, value in {**row, **fields}.items() if value is not None or name == "info"}

    def changed(lines: list[bytes]) -> list[bytes]:
        rows = [json.loads(line) for line in lines]
        return [_line(change(row) if row["song_num"] == number else row) for row in rows]

    return _lines(title, changed)


def _line(row: Row) -> bytes:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _gzipped(lines: list[bytes]) -> bytes:
    """Compress as the crawler does, so that only what was changed is."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    return deflate.compress(b"".join(lines)) + deflate.flush()


def _files(title: str, apply: Callable[[Path], object], *names: str) -> list[Mutation]:
    return [Mutation(title, apply, names)]


def _swap(run: Path) -> None:
    first, middle = (run / FIRST).read_bytes(), (run / MIDDLE).read_bytes()
    _forge(run / FIRST, middle)
    _forge(run / MIDDLE, first)


def _json(name: str, title: str, change: Callable[[Any], object]) -> list[Mutation]:
    """Change the content of run.json or manifest.json, which are written with an indentation of one blank."""

    def apply(run: Path) -> None:
        content = json.loads((run / name).read_bytes())
        change(content)
        _forge(run / name, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")

    return [Mutation(f"{name}: {title}", apply, (name,))]


def _fields(name: str, **fields: Any) -> list[Mutation]:
    """Change one field of a JSON object, each in a mutation of its own."""
    return [mutation for field, value in fields.items() for mutation in _json(name, field, _setter(field, value))]


def _setter(field: str, value: Any) -> Callable[[Any], object]:
    return lambda content: content.update({field: value})


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


MUTATIONS: tuple[Mutation, ...] = (
    # An object's bytes.
    *_bytes("last byte cut off", lambda data: data[:-1]),
    *_bytes("cut in half", lambda data: data[: len(data) // 2]),
    *_bytes("emptied", lambda _: b""),
    *_bytes("byte appended", lambda data: data + b"\0"),
    *_bytes("second gzip member appended", lambda data: data + gzip.compress(b"", mtime=0)),
    *_bytes("bit flipped in the middle", lambda data: _flip(data, len(data) // 2)),
    *_bytes("bit flipped in the header", lambda data: _flip(data, 8)),
    *_bytes("bit flipped in the checksum", lambda data: _flip(data, len(data) - 6)),
    *_bytes("compressed anew", lambda data: gzip.compress(gzip.decompress(data), 9, mtime=1)),
    *_bytes("stored uncompressed", gzip.decompress),
    # A part's rows.
    *_lines("first row dropped", lambda lines: lines[1:], 41),
    *_lines("row dropped", lambda lines: lines[:9] + lines[10:], 50),
    *_lines("last row dropped", lambda lines: lines[:-1], 60),
    *_lines("all rows dropped", lambda _: [], 41, 60),
    *_lines("row duplicated", lambda lines: [*lines[:10], *lines[9:]], 50),
    *_lines("first row again at the end", lambda lines: [*lines, lines[0]], 41),
    *_lines(
        "another part's row appended",
        lambda lines: [*lines, _line({"song_num": 61, "status": "missing", "info": None})],
        61,
    ),
    *_lines("two rows swapped", lambda lines: [lines[1], lines[0], *lines[2:]]),
    *_lines("rows reversed", lambda lines: lines[::-1]),
    *_lines("empty line put in", lambda lines: [*lines[:5], b"\n", *lines[5:]]),
    *_lines("row torn in two", lambda lines: [lines[0][:10] + b"\n" + lines[0][10:], *lines[1:]]),
    *_lines("row in Latin-1", lambda lines: [lines[0].replace(b"Song", b"S\xf6ng"), *lines[1:]]),
    # One row.
    *_row("info altered", FOUND_SONG, info={"id": 50, "title": "Song 51"}),
    *_row("found without info", FOUND_SONG, info=None),
    *_row("found called missing", FOUND_SONG, status="missing", info=None),
    *_row("missing called found", MISSING_SONG, status="found", info={"id": 42, "title": "Song 42"}),
    *_row("missing called failed", MISSING_SONG, status="failed", error="timeout"),
    *_row("failed called missing", FAILED_SONG, status="missing", error=None),
    *_row("error altered", FAILED_SONG, error="timeout"),
    *_row("error taken away", FAILED_SONG, error=None),
    *_row("field put in", FOUND_SONG, genre="rock"),
    *_row("renumbered as its neighbour", FOUND_SONG, song_num=51),
    *_row("renumbered out of the part", FOUND_SONG, song_num=250),
    *_row("number as text", FOUND_SONG, song_num="50"),
    # Whole objects.
    *_files("part deleted", lambda run: (run / MIDDLE).unlink(), "41-60"),
    *_files("first part deleted", lambda run: (run / FIRST).unlink(), "1-20"),
    *_files("last part deleted", lambda run: (run / LAST).unlink(), "81-100"),
    *_files("two parts swapped", _swap, FIRST, MIDDLE),
    *_files("part copied over another", lambda run: _forge(run / SECOND, (run / MIDDLE).read_bytes()), SECOND),
    *_files(
        "part under a name of no part",
        lambda run: (run / MIDDLE).rename(run / MIDDLE.replace("60.", "61.")),
        MIDDLE.replace("60.", "61."),
        "41-60",
    ),
    *_files(
        "part copied under a name of no part",
        lambda run: (run / "songs-000000000101-000000000120.jsonl.gz").write_bytes((run / MIDDLE).read_bytes()),
        "songs-000000000101-000000000120.jsonl.gz",
    ),
    *_files("strange object", lambda run: (run / "songs.csv").write_bytes(b""), "songs.csv"),
    # The two JSON objects.
    *_files("manifest.json deleted", lambda run: (run / "manifest.json").unlink(), "manifest.json"),
    *_files("manifest.json emptied", lambda run: _forge(run / "manifest.json", b""), "manifest.json"),
    *_files("manifest.json as a list", lambda run: _forge(run / "manifest.json", b"[]"), "manifest.json"),
    *_files(
        "manifest.json laid out anew",
        lambda run: _forge(
            run / "manifest.json", json.dumps(json.loads((run / "manifest.json").read_bytes())).encode()
        ),
        "manifest.json",
    ),
    *_fields("manifest.json", run="other", parent="other", songs="1-99", source="http://other/{song_num}"),
    *_fields("manifest.json", source_digest="0", format="csv", found=0, missing=0, failed=0),
    *_fields("manifest.json", missing_songs="", failed_songs="", asked="1-99", run_json_crc32c="AAAAAA=="),
    *_json("manifest.json", "field put in", lambda content: content.update(extra=1)),
    *_fields("manifest.json", version=1, created_at="2020-01-01T00:00:00.000Z"),
    *_json("manifest.json", "field taken away", lambda content: content.pop("found")),
    *_json("manifest.json", "version taken away", lambda content: content.pop("version")),
    *_json("manifest.json", "part dropped", lambda content: content["parts"].pop(1)),
    *_json("manifest.json", "part twice", lambda content: content["parts"].append(content["parts"][0])),
    *_json("manifest.json", "parts reversed", lambda content: content["parts"].reverse()),
    *_json("manifest.json", "part's checksum", lambda content: content["parts"][1].update(crc32c="AAAAAA==")),
    *_json("manifest.json", "part's size", lambda content: content["parts"][1].update(bytes=1)),
    *_json("manifest.json", "part's count", lambda content: content["parts"][1].update(found=1)),
    *_files("run.json deleted", lambda run: (run / "run.json").unlink(), "run.json"),
    *_files("run.json emptied", lambda run: _forge(run / "run.json", b""), "run.json"),
    *_fields("run.json", run="other", asked="1-99", songs="1-99", source="http://other/{song_num}", format="csv"),
    *_fields("run.json", source_digest="0", part_songs=10, created_at="2020-01-01T00:00:00.000Z", parent="other"),
    *_fields("run.json", end_after_missing=10, job="other", version=4),
    *_json("run.json", "version taken away", lambda content: content.pop("version")),
    *_json("run.json", "part_songs taken away", lambda content: content.pop("part_songs")),
    *_json("run.json", "numbers that are none", lambda content: content.update(songs="1-x")),
)
