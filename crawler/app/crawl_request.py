"""What a caller asks for, once it is read; app/parameters.py reads it."""

from __future__ import annotations

import msgspec

from crawler.core.records import Status
from crawler.runs.selection import Selection


class CrawlRequest(msgspec.Struct, frozen=True):
    """One call's parameters; None: the deployment's own."""

    selection: Selection
    run: str | None = None
    max_per_second: float | None = None
    max_at_once: int | None = None
    deadline_seconds: float | None = None
    dry_run: bool = False


class RequestBounds(msgspec.Struct, frozen=True):
    """The deployment's settings that a call may lower, never raise; `max_per_second` 0: no ceiling."""

    max_songs: int
    max_per_second: float
    max_at_once: int
    deadline_seconds: float


class Look(msgspec.Struct, frozen=True):
    """How one run is to be shown: with its `parts`, as a `download`."""

    parts: bool = False
    download: bool = False


class RowsWanted(msgspec.Struct, frozen=True):
    """Which rows of a run are wanted: so many after a number, of a status or of all."""

    limit: int
    status: Status | None = None
    after: int = -1


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a call asks for: a `name`, made up if there is none; the `source`'s name or digest; what it is `laid_on`.

    `deadline_seconds` is the time that it may take; None: the deployment's own.
    """

    name: str | None = None
    source: str | None = None
    laid_on: str | None = None
    deadline_seconds: float | None = None
