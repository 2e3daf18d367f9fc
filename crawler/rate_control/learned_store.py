"""Rates that runs learned of an upstream, in the store: rates/ORIGIN/RUN.json, one for each run, never changed."""

from __future__ import annotations

from contextlib import suppress

from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.ports import Store
from crawler.core.timestamps import day_of
from crawler.rate_control.learned import MOST_AGE_SECONDS, LearnedRate, origin_name


class LearnedRates:
    """What runs learned of one upstream. It is help, not data: a store that fails costs no call."""

    def __init__(self, store: Store, source: str, call_id: str) -> None:
        self._store = store
        self._prefix = f"rates/{origin_name(source)}/"
        self._call_id = call_id

    def latest(self, epoch: float) -> LearnedRate | None:
        """Read what was learned last, if that is not too long ago.

        Runs that are named by their day are passed over by it, so that a year of them is one listing.
        """
        oldest = epoch - MOST_AGE_SECONDS
        with suppress(StoreUnavailable, ValueError):
            kept = list(self._store.list(self._prefix, self._prefix + day_of(oldest)))
            newest = max(kept, key=lambda stored: stored.created_at, default=None)
            if newest and newest.created_at >= oldest:
                return LearnedRate.decode(self._store.read(newest.name) or b"")
        return None

    def keep(self, run: str, learned: LearnedRate) -> None:
        """Store what a run learned; the first of its calls that ends does so."""
        with suppress(ObjectExists, StoreUnavailable):
            self._store.create(f"{self._prefix}{run}.json", learned.encode(), {"attempt": self._call_id})
