"""The file that KEYS names, in a folder or a bucket: read once for a call, and kept while it is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from crawler.core.deadline import Deadline
from crawler.core.errors import BadSetting
from crawler.core.key_list import MOST_TEXT_BYTES, KeyList
from crawler.core.ports import Store
from crawler.core.setting_types import PLACEHOLDER

_ALLOWED = "a text file in UTF-8, or gs://bucket/object, with a key a line, each once"

# Such a segment of a path means another one to whoever reads a URL (RFC 3986, 5.2.4), also percent-encoded.
_DOTS = {
    "song_key": re.compile(rb"(?m)^\.\.?$"),
    "song_key:path": re.compile(rb"(?m)(?:^|/)\.\.?(?:/|$)"),
}


class KeyFile:
    """The file, for all calls of an instance; `name` is KEYS, `song_url` the template that its keys go into."""

    def __init__(self, name: str, open_store: Callable[[str], Store], song_url: str | None = None) -> None:
        self._name = name
        self._open_store = open_store
        self._placeholders = PLACEHOLDER.findall(urlsplit(song_url).path) if song_url else []
        self._lock = Lock()
        self._store: Store | None = None
        self._mark: Any = None
        self._keys: KeyList | None = None

    def load(self, deadline: Deadline | None = None) -> KeyList:
        """Return the keys as they are now; raises BadSetting, and StoreUnavailable if a bucket can't be reached."""
        with self._lock:
            read, mark, size = self._look(deadline or Deadline())
            if self._keys is None or mark != self._mark:
                self._keys = None  # before the new ones come: both may not fit into memory
                self._keys, self._mark = self._parse(read, size), mark
            return self._keys

    def _look(self, deadline: Deadline) -> tuple[Callable[[], bytes], Any, int]:
        """Return how to read the file, what changes when it does, and its size in bytes."""
        if self._name.startswith("gs://"):
            return self._look_in_bucket(deadline)
        path = Path(self._name)
        try:
            facts = path.stat()
        except (OSError, ValueError) as error:
            raise self._refused(f"can't be read: {getattr(error, 'strerror', error)}") from None
        if not path.is_file():
            raise self._refused("is no file")
        return path.read_bytes, (facts.st_mtime_ns, facts.st_size, facts.st_ino), facts.st_size

    def _look_in_bucket(self, deadline: Deadline) -> tuple[Callable[[], bytes], Any, int]:
        bucket, _, name = self._name.removeprefix("gs://").partition("/")
        self._store = self._store or self._open_store(f"gs://{bucket}")
        store = self._store.until(deadline)
        stored = store.stat(name)
        if stored is None:
            raise self._refused("is not there")
        return lambda: store.read(name) or b"", (stored.created_at, stored.size, stored.crc32c), stored.size

    def _parse(self, read: Callable[[], bytes], size: int) -> KeyList:
        if size > MOST_TEXT_BYTES:
            raise self._refused(f"is larger than {MOST_TEXT_BYTES} bytes")
        try:
            keys = KeyList.parse(read())
        except OSError as error:
            raise self._refused(f"can't be read: {error.strerror}") from None
        except ValueError as error:
            raise self._refused(str(error)) from None
        for placeholder in self._placeholders:
            if (pattern := _DOTS.get(placeholder)) and (line := keys.find(pattern)):
                raise self._refused(f"has . or .. as a segment of SONG_URL's path: line {line}")
        return keys

    def _refused(self, reason: str) -> BadSetting:
        return BadSetting(f"KEYS is {self._name[:200]!r}, which {reason}; allowed: {_ALLOWED}.")
