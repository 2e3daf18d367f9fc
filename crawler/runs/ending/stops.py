"""The stops of a run, each of which may be taken back.

Object names, below the run:
    stop-NNNNNN.json     start no new part; the first is 000001, or the stop.json of an earlier release
    resume-NNNNNN.json   the stop of that number is taken back

A run is stopped while its last stop is not taken back. Whoever stops a stopped run, or resumes one that goes on, stores
nothing: any number may do either at once.
"""

from __future__ import annotations

from contextlib import suppress

from crawler.core.errors import ObjectExists
from crawler.core.ports import Store

_FIRST_OF_EARLIER_RELEASES = "stop.json"


class Stops:
    """Look at the stops of one run again and again, and add to them."""

    def __init__(self, store: Store, run: str, call_id: str) -> None:
        self._store = store
        self._folder = f"runs/{run}/"
        self._call_id = call_id
        self._looked = False
        self.taken_back = 0
        """How many stops were taken back, as far as was looked."""

    def stopped(self) -> bool:
        """Look whether the run is stopped; the first look lists its stops, a later one asks for the next stop only."""
        if not self._looked:
            self._looked = True
            latest = self._latest()
            self.taken_back = max(0, latest - 1)
            return latest > 0 and self._goes_on_stopped()
        return self._is_there(self._next("stop")) and self._goes_on_stopped()

    def stop(self) -> None:
        """Stop the run, unless it is stopped."""
        if not self.stopped():
            self._create(self._next("stop"))

    def resume(self) -> None:
        """Take the stop back that the last look found."""
        self._create(self._next("resume"))

    def resumed_at(self) -> float | None:
        """Give when the last stop that is known to be taken back was, in epoch seconds; None: there is none."""
        stored = self._store.stat(f"{self._folder}resume-{self.taken_back:06d}.json")
        return stored.created_at if stored else None

    def _goes_on_stopped(self) -> bool:
        """Tell whether the next stop, which is there, stands; pass over those that were taken back meanwhile."""
        while self._is_there(self._next("resume")):
            self.taken_back += 1
            if not self._is_there(self._next("stop")):
                return False
        return True

    def _latest(self) -> int:
        names = [stored.name.removeprefix(self._folder) for stored in self._store.list(f"{self._folder}stop")]
        numbers = [name.removeprefix("stop-").removesuffix(".json") for name in names]
        known = [int(number) for number in numbers if number.isascii() and number.isdigit()]
        return max([*known, int(_FIRST_OF_EARLIER_RELEASES in names)])

    def _next(self, kind: str) -> str:
        return f"{self._folder}{kind}-{self.taken_back + 1:06d}.json"

    def _is_there(self, name: str) -> bool:
        return self._store.stat(name) is not None

    def _create(self, name: str) -> None:
        with suppress(ObjectExists):
            self._store.create(name, b"{}\n", {"attempt": self._call_id})
