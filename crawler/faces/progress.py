"""Progress: a bar that counts the songs accounted for."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from crawler.ground.records import Verdict


class Bar:
    """Show a bar in a terminal or a notebook while it is entered; `total` None: not known."""

    def __init__(self, total: int | None, *, shown: bool) -> None:
        self._bar: tqdm[Any] = tqdm(total=total, unit=" songs", disable=not shown)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.close()

    def tell(self, _: Verdict) -> None:
        """Count one song; called from every strand."""
        with self._bar.get_lock():  # type: ignore[no-untyped-call]
            self._bar.update()
