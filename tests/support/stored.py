"""Read what a crawl stored without a line of the code that stored it."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import google_crc32c
import requests

Objects = dict[str, bytes]
Rows = list[dict[str, Any]]


def read_folder(folder: Path) -> Objects:
    """Read every object of a folder by its name; what is hidden is the store's own."""
    files = [(path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file()]
    return {name.as_posix(): path.read_bytes() for name, path in files if not any(p[0] == "." for p in name.parts)}


def read_bucket(url: str, bucket: str, prefix: str) -> Objects:
    """Read every object below a prefix of an emulated bucket, raw, through the JSON API."""
    with requests.Session() as session:
        session.trust_env = False
        listing = session.get(f"{url}/storage/v1/b/{bucket}/o", params={"prefix": prefix}, timeout=10).json()
        names = [item["name"] for item in listing.get("items", [])]
        return {name.removeprefix(prefix): _download(session, f"{url}/storage/v1/b/{bucket}/o", name) for name in names}


def _download(session: requests.Session, url: str, name: str) -> bytes:
    address = f"{url}/{quote(name, safe='')}?alt=media"
    with session.get(address, headers={"Accept-Encoding": "identity"}, stream=True, timeout=10) as answer:
        answer.raise_for_status()
        content: bytes = answer.raw.read(decode_content=False)
        return content


def read_rows(objects: Objects, run: str) -> Rows:
    """Read the rows of every part of a run, in the order of their names."""
    # Lines end at \n alone: str.splitlines would cut at separators inside a title too.
    lines = [
        line
        for name in _parts(objects, run)
        for line in gzip.decompress(objects[f"runs/{run}/{name}"]).split(b"\n")[:-1]
    ]
    return [json.loads(line) for line in lines]


def audit(objects: Objects, run: str) -> Rows:
    """Hold a finished run to all that a reader relies on, and give its rows.

    Each number asked for has exactly one row, ascending; the manifest's counts, sets, sizes and checksums are the
    parts' own.
    """
    rows = read_rows(objects, run)
    manifest = json.loads(objects[f"runs/{run}/manifest.json"])
    assert [row["song_num"] for row in rows] == numbers(manifest["songs"])
    moved = {"moved_to"} if manifest.get("follows_redirects") else set()
    assert all(set(row) - moved == _fields(row["status"]) for row in rows)
    assert all(row["status"] == "found" for row in rows if "moved_to" in row)
    assert all(row["info"] is None for row in rows if row["status"] != "found")
    for status in ("found", "missing", "failed"):
        named = [row["song_num"] for row in rows if row["status"] == status]
        assert manifest[status] == len(named)
        assert status == "found" or numbers(manifest[f"{status}_songs"]) == named
    for part in manifest["parts"]:
        data = objects[f"runs/{run}/{part['name']}"]
        assert (part["bytes"], part["crc32c"]) == (len(data), _crc32c(data))
    assert [part["name"] for part in manifest["parts"]] == _parts(objects, run)
    return rows


def numbers(text: str) -> list[int]:
    """Write out ranges such as 1-3,7."""
    pairs = [piece.partition("-") for piece in text.split(",") if piece]
    return [number for first, _, last in pairs for number in range(int(first), int(last or first) + 1)]


def _parts(objects: Objects, run: str) -> list[str]:
    prefix = f"runs/{run}/"
    return sorted(name.removeprefix(prefix) for name in objects if name.startswith(f"{prefix}songs-"))


def _fields(status: str) -> set[str]:
    return {"song_num", "status", "info"} | ({"error"} if status == "failed" else set())


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
