"""The bodies that only HTTP has: a page of runs, a page of songs, a problem."""

from __future__ import annotations

import msgspec

from crawler.core.records import Row
from crawler.runs.summary import RunSummary


class RunsPage(msgspec.Struct, kw_only=True, frozen=True):
    """Hold a page of runs, newest first; `next`, if there are more, is the query of the page after."""

    runs: list[RunSummary]
    next: str | None


class SongsPage(msgspec.Struct, kw_only=True, frozen=True):
    """Hold a page of a run's rows, ascending; `next`, if there are more, is the query of the page after."""

    songs: list[Row]
    next: str | None


class Problem(msgspec.Struct, kw_only=True, frozen=True):
    """Tell what is wrong, as problem+json does (RFC 9457); `detail` is one sentence, with what is allowed."""

    title: str
    status: int
    detail: str
