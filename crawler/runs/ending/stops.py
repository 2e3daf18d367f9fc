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
        """Look whether the run is stopped; the first look searches for its last stop, a later one asks for the next."""
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
        stored = self._store.stat(self._name("resume", self.taken_back)) if self.taken_back else None
        return stored.created_at if stored else None

    def _goes_on_stopped(self) -> bool:
        """Tell whether the next stop, which is there, stands; pass over those that were taken back meanwhile."""
        while self._is_there(self._next("resume")):
            self.taken_back += 1
            if not self._is_there(self._next("stop")):
                return False
        return True

    def _latest(self) -> int:
        """Search for the highest number of a stop: none is left out. A listing would be dearer."""
        there, beyond = 0, 1
        while self._is_stop(beyond):
            there, beyond = beyond, 2 * beyond
        while beyond - there > 1:
            middle = (there + beyond) // 2
            there, beyond = (middle, beyond) if self._is_stop(middle) else (there, middle)
        return there

    def _is_stop(self, number: int) -> bool:
        names = [self._name("stop", number), *([f"{self._folder}stop.json"] if number == 1 else [])]
        return any(self._is_there(name) for name in names)

    def _next(self, kind: str) -> str:
        return self._name(kind, self.taken_back + 1)

    def _name(self, kind: str, number: int) -> str:
        return f"{self._folder}{kind}-{number:06d}.json"

    def _is_there(self, name: str) -> bool:
        return self._store.stat(name) is not None

    def _create(self, name: str) -> None:
        with suppress(ObjectExists):
            self._store.create(name, b"{}\n", {"attempt": self._call_id})
