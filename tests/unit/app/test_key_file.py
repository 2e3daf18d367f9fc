"""Check the file that KEYS names: when it is read, and what is said of one that can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import deployment_from
from crawler.app.key_file import KeyFile
from crawler.core.errors import BadSetting
from crawler.core.ports import Store

URL = "https://api.example.com/songs/{song_key}"


def no_store(bucket: str) -> Store:
    """Open no bucket."""
    raise AssertionError(bucket)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file of two keys."""
    path = tmp_path / "ids.txt"
    path.write_text("a\nb\n")
    return path


def sentence_for(path: Path, url: str = URL) -> str:
    """Return what is said of a file that can't be used."""
    with pytest.raises(BadSetting) as bad:
        KeyFile(str(path), no_store, url).load()
    return str(bad.value)


def test_a_file_is_kept_while_it_is_the_same(path: Path) -> None:
    """Read it again only once it has changed."""
    key_file = KeyFile(str(path), no_store)
    first = key_file.load()
    again = key_file.load()
    path.write_text("a\nb\nc\n")
    os.utime(path, (1.0, 1.0))
    grown = key_file.load()

    assert again is first
    assert (len(first), len(grown)) == (2, 3)


def test_an_object_is_kept_while_it_is_the_same(tmp_path: Path) -> None:
    """Read gs://bucket/object through the store, and again when there is another of the name."""
    opened: list[str] = []

    def open_store(bucket: str) -> Store:
        opened.append(bucket)
        return FolderStore(tmp_path)

    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/ids.txt").write_text("a\nb\n")
    key_file = KeyFile("gs://bucket/lists/ids.txt", open_store)
    first = key_file.load()
    again = key_file.load()
    (tmp_path / "lists/ids.txt").write_text("a\nb\nc\n")

    assert again is first
    assert len(key_file.load()) == 3
    assert opened == ["gs://bucket"]


def test_an_object_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Name the object in a sentence."""
    with pytest.raises(BadSetting, match=r"^KEYS is 'gs://bucket/ids.txt', which is not there; allowed: a text file"):
        KeyFile("gs://bucket/ids.txt", lambda _: FolderStore(tmp_path)).load()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "which can't be read: No such file or directory; allowed: a text file in UTF-8"),
        (b"", "which holds no key; allowed:"),
        (b"a\n\nb\n", "which has a blank line: line 2; allowed:"),
        (b"a\na\n", "which has the same key twice: lines 1 and 2; allowed:"),
        (b"\xff", "which is no text in UTF-8: line 1; allowed:"),
        (b"a\n..\n", "which has . or .. as a segment of SONG_URL's path: line 2; allowed:"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: bytes | None, reason: str) -> None:
    """Name the file, what is wrong with it and what is allowed."""
    path = tmp_path / "keys.txt"
    if text is not None:
        path.write_bytes(text)

    assert f"KEYS is {str(path)!r}, {reason}" in sentence_for(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Say that it is none."""
    assert "which is no file; allowed:" in sentence_for(tmp_path)


@pytest.mark.parametrize("key", ["..", "a/../b", "./a", "a/."])
def test_dots_are_no_segments_of_a_path(path: Path, key: str) -> None:
    """Refuse keys that would ask for another path; in a query they are what they are."""
    path.write_text(f"fine/a..b\n{key}\n")

    assert "line 2;" in sentence_for(path, "https://api.example.com/{song_key:path}")
    assert len(KeyFile(str(path), no_store, "https://api.example.com/?id={song_key:path}").load()) == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"SONG_URL": URL}, "SONG_URL has {song_key}, and KEYS is not set; allowed: both, or {song_num} alone."),
        (
            {"SONG_URL": "https://a.example/{song_num}", "KEYS": "ids.txt"},
            "KEYS is set, and SONG_URL has no {song_key}; allowed: both, or neither.",
        ),
        (
            {"SONG_URL": URL, "KEYS": "ids.txt", "K_SERVICE": "songs", "OUTPUT": "gs://bucket"},
            "KEYS is 'ids.txt'; allowed in the cloud: gs://bucket/object, since",
        ),
        (
            {"SONG_URL": URL, "KEYS": "gs://bucket/p/runs/ids.txt", "OUTPUT": "gs://bucket/p/"},
            "KEYS is 'gs://bucket/p/runs/ids.txt', which lies among the runs of OUTPUT; allowed: any other place.",
        ),
        (
            {"SONG_URL": URL, "KEYS": "songs/x/../runs/ids.txt"},
            "KEYS is 'songs/x/../runs/ids.txt', which lies among the runs of OUTPUT; allowed: any other place.",
        ),
    ],
)
def test_keys_and_their_place_go_together(settings: dict[str, str], sentence: str) -> None:
    """Refuse a deployment that has keys and no use for them, or the other way round, or where they can't be."""
    with pytest.raises(BadSetting) as bad:
        deployment_from(settings)

    assert str(bad.value).startswith(sentence)
