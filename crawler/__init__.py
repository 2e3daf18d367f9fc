"""Songcrawl: pull every record of an integer-keyed web API into a bucket or a folder, each accounted for exactly once.

What is here for users is imported when it is first asked for, so that the function starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.core.records import SongRecord
    from crawler.entrypoints.python.api import (
        crawl,
        execute_async_event_loop,
        get_data_asynchronously,
        request_song_info,
    )
    from crawler.entrypoints.python.stored_run import open_run

    __version__: str

__all__ = [
    "SongRecord",
    "crawl",
    "execute_async_event_loop",
    "get_data_asynchronously",
    "open_run",
    "request_song_info",
]


def __getattr__(name: str) -> Any:
    if name == "SongRecord":
        from crawler.core.records import SongRecord

        return SongRecord
    if name == "__version__":
        from crawler.core.settings import VERSION

        return VERSION
    if name == "open_run":
        from crawler.entrypoints.python.stored_run import open_run

        return open_run
    if name in __all__:
        from crawler.entrypoints.python import api as notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'crawler' has no attribute {name!r}")
