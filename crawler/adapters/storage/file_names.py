"""The names of files in a folder: each is given once, to a whole file, and survives a power cut where that can be had.

Most file systems have hard links, and a link fails if its name is taken. FAT, exFAT, some network shares and some that
run in user space have none. There a folder takes the name first: `.NAME.taken/`, which holds the file and is made
elsewhere; renaming a folder onto one that is not empty fails (POSIX, rename). Then the file moves out of it to its
name, by whoever finds it there: the one that put it, or after its death the next that wants the name.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# What a system call says of itself that a file system has not; a link is also refused by EPERM (link(2)) or, on
# Android, EACCES.
_LACKING = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EISDIR, errno.EBADF})
_NO_LINKS = _LACKING | {errno.EPERM, errno.EACCES}
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)

_UNSYNCED = (
    "The file system of %s can't be told to write at once: what was stored just before a power cut may be lost, "
    "and is fetched again then."
)
_UNLINKED = (
    "The file system of %s has no hard links: objects get their names by renames, each once as before, as long as all "
    "who write there see it as it is seen here."
)


class FileNames:
    """What gives the files below a folder their names; it says once what the file system lacks."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._said: set[str] = set()

    def give(self, temporary: Path, path: Path) -> bool:
        """Give a file its name and take its temporary one; False: the name is taken."""
        try:
            return self._linked(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def sync(self, descriptor: int) -> None:
        """Have the system write what it holds of a file or a folder, if it can."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _LACKING:
                raise
            self._say(_UNSYNCED)

    def sync_folder(self, folder: Path) -> None:
        """Make new names in a folder survive a power cut, where the system can (Windows does so by itself)."""
        if os.name == "posix":
            handle = os.open(folder, os.O_RDONLY)
            try:
                self.sync(handle)
            finally:
                os.close(handle)

    def _linked(self, temporary: Path, path: Path) -> bool:
        if _UNLINKED not in self._said:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
            else:
                return True
        renamed = _rename_once(temporary, path)
        self._say(_UNLINKED)  # not where renaming is refused too: then it is a matter of permissions
        return renamed

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logging.getLogger("crawler").warning(sentence, self._root)


def _rename_once(temporary: Path, path: Path) -> bool:
    """Give a file its name by renames; False: the name is taken."""
    if os.name != "posix":
        return _done(lambda: os.rename(temporary, path), (errno.EEXIST,))  # Windows renames onto nothing
    if path.exists():
        return False
    taken = path.with_name(f".{path.name}.taken")
    first = _take(temporary, taken)
    with suppress(FileNotFoundError):  # it has its name already
        os.rename(taken / "object", path)
    return first


def _take(temporary: Path, taken: Path) -> bool:
    """Put a file into the folder that takes its name; False: another is in it, or was."""
    folder = temporary.with_name(f"{temporary.name}.taken")
    folder.mkdir()
    try:
        (folder / "taken").touch()  # or it would be empty, and free to be taken, once the file has moved out
        os.rename(temporary, folder / "object")
        return _done(lambda: os.rename(folder, taken), _NOT_EMPTY)
    finally:
        for name in ("object", "taken"):
            (folder / name).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            folder.rmdir()


def _done(rename: Callable[[], None], taken: tuple[int, ...]) -> bool:
    try:
        rename()
    except OSError as error:
        if error.errno not in taken:
            raise
        return False
    return True
