"""The store in a local folder: the same create-only promise as a bucket's, also through a power cut.

An object is written to a temporary file, synced, and given its name by a hard link, which fails if the name is taken.
Its metadata goes to a hidden file beside it just after; an object without one is whole all the same (whoever needs the
counts reads the rows).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.records import StoredObject
from crawler.formats.checksum import crc32c


class _Sidecar(msgspec.Struct):
    size: int
    crc32c: str
    metadata: dict[str, str]


class FolderStore:
    """Objects kept as files below a folder, made if need be."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._temporary = folder / ".tmp"

    @property
    def url(self) -> str:
        """Name the folder."""
        return str(self._root)

    def until(self, deadline: Deadline) -> FolderStore:  # noqa: ARG002 - a folder's operations take no time to speak of
        """Return this store."""
        return self

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, all of it or nothing; raises ObjectExists if the name is taken by another call."""
        path = self._root / name
        sidecar = _Sidecar(len(data), crc32c(data), dict(metadata))
        try:
            _make_folder(path.parent)
            if not _link(self._write_temporary(data), path):
                return self._own(name, metadata)
            os.replace(self._write_temporary(msgspec.json.encode(sidecar)), _sidecar_path(path))
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"The folder {self._root} can't be written: {error.strerror}.") from error
        return StoredObject(name, sidecar.size, sidecar.crc32c, time.time(), metadata)

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, their checksum verified; None if there is none."""
        path = self._root / name
        try:
            data = path.read_bytes()
            sidecar = _read_sidecar(path, len(data))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{path} can't be read: {error.strerror}.") from error
        if sidecar.crc32c != crc32c(data):
            raise StoreUnavailable(f"{path} is damaged: its bytes are not those that were stored.")
        return data

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""
        path = self._root / name
        try:
            facts = path.stat()
            sidecar = _read_sidecar(path, facts.st_size)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{path} can't be read: {error.strerror}.") from error
        return StoredObject(name, facts.st_size, sidecar.crc32c, facts.st_mtime, sidecar.metadata)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe every object whose name starts with `prefix` and comes after `after`, by name, ascending."""
        folder = self._root / prefix.rpartition("/")[0]
        names = (path.relative_to(self._root).as_posix() for path in folder.rglob("*") if path.is_file())
        # Sorted as texts, like a bucket's names: paths would sort a/b before a-b.
        for name in sorted(name for name in names if name.startswith(prefix) and name > after and not _hidden(name)):
            if stored := self.stat(name):
                yield stored

    def _own(self, name: str, metadata: Mapping[str, str]) -> StoredObject:
        """Return the object that has a name if the same call stored it; raises ObjectExists if another did."""
        stored = self.stat(name)
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
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name; False: that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each of which survives a power cut like what it is to hold."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _hidden(name: str) -> bool:
    return any(piece.startswith(".") for piece in name.split("/"))


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.meta")


def _read_sidecar(path: Path, size: int) -> _Sidecar:
    """Read an object's metadata; none, one cut short or another object's counts as empty."""
    try:
        sidecar = msgspec.json.decode(_sidecar_path(path).read_bytes(), type=_Sidecar)
    except (FileNotFoundError, ValueError):
        sidecar = None
    if sidecar is None or sidecar.size != size:
        return _Sidecar(size, crc32c(path.read_bytes()), {})
    return sidecar


def _sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut, where the system can (Windows does so by itself)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
