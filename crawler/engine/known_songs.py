"""The songs known to be there, of each fetcher: found by this call, or by an earlier one as the store tells.

One of them is asked for where it is not known whose fault failures are: a canary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crawler.core.ports import Fetcher
from crawler.core.verdict import Verdict
from crawler.engine.backlog import Attempt, Chunk

# As many take turns, so that no cache and no deleted song decides alone.
TURNS = 3


class KnownSongs:
    """Songs that may be canaries; not thread-safe but for `load`.

    `stored` reads from the store which songs earlier calls found; `submit` runs it away from the workers, and
    `on_loaded` is called once it has.
    """

    def __init__(
        self,
        stored: Callable[[], Iterable[Any]] | None,
        submit: Callable[[Callable[[], None]], Any],
        on_loaded: Callable[[], None],
    ) -> None:
        self._stored = stored
        self._submit = submit
        self._on_loaded = on_loaded
        self._found: dict[Fetcher, deque[Attempt]] = {}  # by this call, the last ones
        self._of_store: deque[Any] = deque()
        self._turn = 0

    def add(self, attempt: Attempt) -> None:
        """Take a song that was found just now."""
        fetcher = attempt.chunk.fetcher
        if fetcher in self._found:
            self._found[fetcher].append(attempt)
        else:
            self._found[fetcher] = deque([attempt], TURNS)

    def has(self, fetcher: Fetcher) -> bool:
        """Tell whether a song is known."""
        return bool(self._found.get(fetcher) or self._of_store)

    def may_have(self, fetcher: Fetcher) -> bool:
        """Tell whether a song is known, or perhaps to the store, which was not asked yet."""
        return self._loading or self._stored is not None or self.has(fetcher)

    def found(self, fetcher: Fetcher) -> bool:
        """Tell whether this call found one."""
        return bool(self._found.get(fetcher))

    def pick(self, fetcher: Fetcher) -> Any:
        """Return the next song to be asked for, in turn; there must be one."""
        found = self._found.get(fetcher)
        self._turn += 1
        return found[-1 - self._turn % len(found)].item if found else self._of_store[self._turn % len(self._of_store)]

    def drop(self, fetcher: Fetcher, item: Any) -> None:
        """Forget a song that is not there any more, or that only a cache answers for."""
        found = [attempt for attempt in self._found.get(fetcher, ()) if attempt.item != item]
        self._found[fetcher] = deque(found, TURNS)
        self._of_store = deque(each for each in self._of_store if each != item)

    def load(self) -> bool:
        """Have the store's songs read, if they were not yet; True while that is to be waited for."""
        stored, self._stored = self._stored, None
        if stored:
            self._loading = True
            self._submit(lambda: self._load(stored))
        return self._loading

    _loading = False

    def _load(self, stored: Callable[[], Iterable[Any]]) -> None:
        try:
            self._of_store.extend(stored())
        finally:
            self._loading = False
            self._on_loaded()


class Canary:
    """The chunk of one known song; the request counts as one of the suspect, the chunk that failed last.

    Nothing else is kept of it.
    """

    is_canary = True
    buffered_bytes = 0
    held_bytes = 0

    def __init__(self, suspect: Chunk, item: Any) -> None:
        self.fetcher: Fetcher = suspect.fetcher
        self.suspect = suspect
        self.pending: deque[int] = deque()
        self._items = [item]

    def item(self, index: int) -> Any:
        """Return the song."""
        return self._items[index]

    def record(self, answers: Sequence[tuple[float, Verdict]]) -> None:
        """Count attempts as the suspect's."""
        self.suspect.record(answers)

    def settle(self, outcomes: Iterable[tuple[int, Verdict]]) -> bool:  # noqa: ARG002 - none is kept
        """Keep nothing."""
        return False

    def advance(self) -> bool:
        """Do nothing: it is never finished."""
        return False
