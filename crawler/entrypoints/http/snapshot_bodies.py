"""The bodies of /snapshots that only HTTP has, apart so that no other call waits for what a snapshot needs."""

from __future__ import annotations

import msgspec

from crawler.app.stored.snapshots import SnapshotSummary


class SnapshotsPage(msgspec.Struct, kw_only=True, frozen=True):
    """Hold a page of snapshots, newest first; `next`, if there are more, is the query of the page after."""

    snapshots: list[SnapshotSummary]
    next: str | None
