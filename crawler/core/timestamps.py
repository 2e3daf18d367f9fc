"""Instants as texts: RFC 3339 in UTC for stored objects, the UTC day for names of runs."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_text(epoch: float) -> str:
    """Write an instant as RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(epoch, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def day_of(epoch: float) -> str:
    """Write the UTC day of an instant as 20261231."""
    return f"{datetime.fromtimestamp(epoch, timezone.utc):%Y%m%d}"


def midnight_of(epoch: float) -> float:
    """Return the epoch second at which the UTC day of an instant began."""
    return epoch - epoch % 86400
