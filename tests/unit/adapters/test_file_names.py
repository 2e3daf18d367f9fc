"""Check the folder store on file systems that lack a call: what is left of its promises, and that it is said once.

A file system is what its system calls answer: here some of them answer as FAT, a network share or FUSE do.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crawler.adapters.storage.folder import FolderStore
from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable

OURS = {"attempt": "ours"}
THEIRS = {"attempt": "theirs"}

posix = pytest.mark.skipif(os.name != "posix", reason="Windows renames onto nothing, and syncs by itself")


def refusing(number: int) -> Callable[..., Any]:
    """Give a system call that the file system does not have."""

    def call(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS], ids=["FAT", "share", "FUSE"])
def unlinked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FolderStore:
    """Open a folder without hard links."""
    monkeypatch.setattr(os, "link", refusing(request.param))
    return FolderStore(tmp_path / "songs")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """List what was said of a file system."""
    return [record.getMessage() for record in caplog.records if "The file system of" in record.getMessage()]


def hidden(folder: Path) -> list[str]:
    """List what lies where objects are made."""
    return [path.name for path in folder.glob(".tmp/*")]


def test_objects_are_kept_without_hard_links(
    unlinked: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Store, read, describe and list objects as ever, and say once what is lacking."""
    with caplog.at_level(logging.WARNING, "crawler"):
        for name in ("runs/a/run.json", "runs/a/songs-1", "runs/a/songs-2"):
            unlinked.until(Deadline()).create(name, name.encode(), OURS)

    assert unlinked.read("runs/a/songs-2") == b"runs/a/songs-2"
    assert [stored.name for stored in unlinked.list("runs/a/songs-")] == ["runs/a/songs-1", "runs/a/songs-2"]
    assert [stored.metadata for stored in unlinked.list("")] == [OURS] * 3
    assert hidden(tmp_path / "songs") == []
    (said,) = warnings(caplog)
    assert "no hard links" in said
    assert str(tmp_path / "songs") in said


def test_a_name_is_given_once_without_hard_links(unlinked: FolderStore, tmp_path: Path) -> None:
    """Refuse a name that another call has taken, whatever else sees the folder; find the own object."""
    unlinked.create("part", b"first", OURS)

    for store in (unlinked, FolderStore(tmp_path / "songs")):
        with pytest.raises(ObjectExists):
            store.create("part", b"second", THEIRS)
        assert store.create("part", b"first", OURS).metadata == OURS
    assert unlinked.read("part") == b"first"
    assert hidden(tmp_path / "songs") == []


def test_one_of_many_racers_wins_without_hard_links(unlinked: FolderStore, tmp_path: Path) -> None:
    """Let exactly one of many create each object, whole, and the others find it."""
    start = threading.Barrier(8)

    def race(attempt: int) -> list[bool]:
        own = FolderStore(tmp_path / "songs")
        won = []
        for number in range(20):
            start.wait()
            try:
                own.create(f"prize-{number}", f"attempt {attempt}".encode() * 100, {"attempt": str(attempt)})
                won.append(True)
            except ObjectExists:
                won.append(False)
        return won

    with ThreadPoolExecutor(8) as racers:
        outcomes = list(racers.map(race, range(8)))

    for number, won in enumerate(zip(*outcomes, strict=True)):
        assert won.count(True) == 1
        assert unlinked.read(f"prize-{number}") == f"attempt {won.index(True)}".encode() * 100


@posix
def test_who_dies_between_taking_a_name_and_giving_it_is_finished_by_the_next(
    unlinked: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have the first one's bytes stand, whole, where it dies half-way; nothing is seen of them before."""
    rename: Callable[..., None] = os.rename

    def die(source: object, target: object) -> None:
        if str(source).endswith(".part.taken/object"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        unlinked.create("part", b"first", OURS)
    assert (unlinked.read("part"), list(unlinked.list(""))) == (None, [])

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(ObjectExists):
        FolderStore(tmp_path / "songs").create("part", b"second", THEIRS)
    assert unlinked.read("part") == b"first"


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("files_too", [False, True], ids=["folders", "folders and files"])
def test_what_can_not_be_synced_is_left_out(
    number: int, files_too: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Store objects on a file system that syncs no folder, or nothing, and say once what may be lost."""
    sync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if files_too or os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    store = FolderStore(tmp_path / "songs")
    with caplog.at_level(logging.WARNING, "crawler"):
        store.create("runs/a", b"first", OURS)
        store.create("runs/b", b"second", OURS)

    assert [stored.name for stored in store.list("")] == ["runs/a", "runs/b"]
    (said,) = warnings(caplog)
    assert "power cut" in said


@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [
        ("fsync", errno.EIO, "Input/output error"),
        ("fsync", errno.ENOSPC, "No space left on device"),
        ("link", errno.ENOSPC, "No space left on device"),
        ("link", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_failure_is_no_lack(
    call: str, number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say that an object can't be stored where a system call fails that the file system has."""
    monkeypatch.setattr(os, call, refusing(number))

    with pytest.raises(StoreUnavailable, match=f"can't be written: {reason}"):
        FolderStore(tmp_path / "songs").create("part", b"", OURS)
    assert hidden(tmp_path / "songs") == []


def test_a_folder_that_may_not_be_written_is_no_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Say so, and nothing of hard links, where renaming is refused as well."""
    monkeypatch.setattr(os, "link", refusing(errno.EACCES))
    monkeypatch.setattr(os, "rename", refusing(errno.EACCES))

    with pytest.raises(StoreUnavailable, match="can't be written: Permission denied"):
        FolderStore(tmp_path / "songs").create("part", b"", OURS)
    assert warnings(caplog) == []
    assert hidden(tmp_path / "songs") == []


def test_a_folder_that_says_nothing_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """End by the deadline where a network share is gone and its system calls wait for it."""
    over = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: over.wait(10))
    store = FolderStore(tmp_path / "songs")
    with pytest.raises(StoreUnavailable, match="no answer before the call's time was over"):
        store.until(Deadline.after(time.monotonic(), 0.1)).create("part", b"", OURS)
    over.set()

    with pytest.raises(StoreUnavailable, match="The time of this call is over"):
        store.until(Deadline(time.monotonic())).stat("part")


def test_a_listing_follows_no_links_to_folders(tmp_path: Path) -> None:
    """Name each object once, though a link leads back to a folder above."""
    store = FolderStore(tmp_path / "songs")
    store.create("runs/a", b"", OURS)
    try:
        (tmp_path / "songs" / "runs" / "again").symlink_to(tmp_path / "songs", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")

    assert [stored.name for stored in store.list("")] == ["runs/a"]
    shutil.rmtree(tmp_path / "songs" / "runs")
    assert list(store.list("runs/")) == []
