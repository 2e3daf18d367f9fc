"""The store in a local folder: the same create-only promise as a bucket's, also through a power cut.

An object is written to a temporary file, synced, and given its name by what fails if the name is taken (file_names.py).
Its metadata goes to a hidden file beside it just after; an object without one is whole all the same (whoever needs the
counts reads the rows).
"""

from __future__ import annotations

import builtins
import copy
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from crawler.adapters.runtime.in_time import in_time
from crawler.adapters.storage.file_names import FileNames
from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.records import StoredObject
from crawler.formats.checksum import crc32c

T = TypeVar("T")

# So many objects of a listing are described together, within the deadline.
_PAGE_OBJECTS = 1000


class _Sidecar(msgspec.Struct):
    size: int
    crc32c: str
    metadata: dict[str, str]


class FolderStore:
    """Objects kept as files below a folder, made if need be."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._temporary = folder / ".tmp"
        self._names = FileNames(folder)
        self._deadline = Deadline()

    @property
    def url(self) -> str:
        """Name the folder."""
        return str(self._root)

    def until(self, deadline: Deadline) -> FolderStore:
        """Return the same store, whose operations end by a deadline of time.monotonic: a network may lie between."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        return bounded

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, all of it or nothing; raises ObjectExists if the name is taken by another call."""
        try:
            return self._run(lambda: self._create(name, data, metadata))
        except OSError as error:
            raise StoreUnavailable(f"The folder {self._root} can't be written: {error.strerror}.") from error

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, their checksum verified; None if there is none."""
        path = self._root / name
        try:
            data, sidecar = self._run(lambda: _read(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{path} can't be read: {error.strerror}.") from error
        if sidecar.crc32c != crc32c(data):
            raise StoreUnavailable(f"{path} is damaged: its bytes are not those that were stored.")
        return data

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""
        return self._run(lambda: self._stat(name))

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe every object whose name starts with `prefix` and comes after `after`, by name, ascending."""
        names = self._run(lambda: self._listed(prefix, after))
        for start in range(0, len(names), _PAGE_OBJECTS):
            page = names[start : start + _PAGE_OBJECTS]
            yield from self._run(partial(self._described, page))

    def _run(self, operation: Callable[[], T]) -> T:
        left = self._deadline.remaining(time.monotonic())
        if not left:
            raise StoreUnavailable(
                f"The time of this call is over before {self._root} was asked for all that it needs."
            )
        try:
            return in_time(operation, left)
        except TimeoutError:
            sentence = f"The folder {self._root} can't be reached: no answer before the call's time was over."
            raise StoreUnavailable(sentence) from None

    def _create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        path = self._root / name
        sidecar = _Sidecar(len(data), crc32c(data), dict(metadata))
        self._make_folder(path.parent)
        if not self._names.give(self._write_temporary(data), path):
            return self._own(name, metadata)
        os.replace(self._write_temporary(msgspec.json.encode(sidecar)), _sidecar_path(path))
        self._names.sync_folder(path.parent)
        return StoredObject(name, sidecar.size, sidecar.crc32c, time.time(), metadata)

    def _stat(self, name: str) -> StoredObject | None:
        path = f"{self._root}/{name}"
        try:
            facts = os.stat(path)
            sidecar = _read_sidecar(path, facts.st_size)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{path} can't be read: {error.strerror}.") from error
        return StoredObject(name, facts.st_size, sidecar.crc32c, facts.st_mtime, sidecar.metadata)

    def _listed(self, prefix: str, after: str) -> builtins.list[str]:
        """Name the objects of a listing, sorted as texts, like a bucket's: paths would sort a/b before a-b."""
        folder = prefix.rpartition("/")[0]
        try:
            names = list(
                _files(f"{self._root}/{folder}" if folder else str(self._root), f"{folder}/" if folder else "")
            )
        except OSError as error:
            raise StoreUnavailable(f"The folder {self._root} can't be read: {error.strerror}.") from error
        return sorted(name for name in names if name.startswith(prefix) and name > after)

    def _described(self, names: builtins.list[str]) -> builtins.list[StoredObject]:
        return [stored for name in names if (stored := self._stat(name))]

    def _own(self, name: str, metadata: Mapping[str, str]) -> StoredObject:
        """Return the object that has a name if the same call stored it; raises ObjectExists if another did."""
        stored = self._stat(name)
        if stored is None or stored.metadata.get("attempt") != metadata.get("attempt"):
            raise ObjectExists(name)
        return stored

    def _write_temporary(self, data: bytes) -> Path:
        self._temporary.mkdir(parents=True, exist_ok=True)
        path = self._temporary / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                self._names.sync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each of which survives a power cut like what it is to hold."""
        if not folder.exists():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._names.sync_folder(folder.parent)


def _files(folder: str, prefix: str) -> Iterator[str]:
    """Name the files below a folder, each with `prefix` before it; what is hidden is none, nor is a folder's lack."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield f"{prefix}{entry.name}"


def _read(path: Path) -> tuple[bytes, _Sidecar]:
    data = path.read_bytes()
    return data, _read_sidecar(str(path), len(data))


def _sidecar_path(path: str | Path) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.meta")


def _read_sidecar(path: str, size: int) -> _Sidecar:
    """Read an object's metadata; none, one cut short or another object's counts as empty."""
    try:
        with open(_sidecar_path(path), "rb") as file:
            sidecar = msgspec.json.decode(file.read(), type=_Sidecar)
    except (FileNotFoundError, ValueError):
        sidecar = None
    if sidecar is None or sidecar.size != size:
        with open(path, "rb") as file:
            return _Sidecar(size, crc32c(file.read()), {})
    return sidecar
