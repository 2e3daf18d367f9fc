"""The sweeps of a fanned-out run: what their tasks may do, and which tries at a part nobody lived to see the end of.

Object names, below the run:
    sweeps/NNNNNN.json              a sweep's plan; 000000 is what makes a run a fanned-out one
    tries/songs-FIRST-LAST.CALL.begun   a task that failed again and again begins this part alone
    tries/songs-FIRST-LAST.CALL.ended   and lived
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from crawler.core.errors import Damaged, ObjectExists
from crawler.core.ports import Store
from crawler.fan_out.plan import Plan
from crawler.runs.grid import PartKey


class Sweeps(msgspec.Struct, frozen=True):
    """The sweeps of one run, to be read and extended; `call_id` is the id of the call that does it."""

    store: Store
    run: str
    call_id: str = ""

    def plan(self, number: int) -> Plan | None:
        """Read a sweep's plan; None: there is no such sweep. Raises Damaged."""
        name = self._name(f"sweeps/{number:06d}.json")
        data = self.store.read(name)
        try:
            return None if data is None else msgspec.json.decode(data, type=Plan)
        except ValueError as error:
            raise Damaged(f"{name} is damaged: {error}.") from error

    def begin(self, number: int, plan: Plan) -> Plan:
        """Begin a sweep, or give the plan with which another call began it first."""
        with suppress(ObjectExists):
            self._create(f"sweeps/{number:06d}.json", msgspec.json.encode(plan) + b"\n")
            return plan
        return self.plan(number) or plan

    def begin_try(self, key: PartKey) -> None:
        """Note that this call begins a part of a task that failed again and again."""
        self._create(f"tries/{key.stem}.{self.call_id}.begun", b"")

    def end_try(self, key: PartKey) -> None:
        """Note that it lived."""
        self._create(f"tries/{key.stem}.{self.call_id}.ended", b"")

    def deaths(self, key: PartKey, before: float) -> int:
        """Count the tries at a part that began before an epoch second and never ended."""
        tries = list(self.store.list(self._name(f"tries/{key.stem}.")))
        ended = {stored.name.removesuffix(".ended") for stored in tries}
        return sum(
            stored.created_at < before and stored.name.removesuffix(".begun") not in ended
            for stored in tries
            if stored.name.endswith(".begun")
        )

    def _create(self, name: str, data: bytes) -> None:
        self.store.create(self._name(name), data, {"attempt": self.call_id})

    def _name(self, name: str) -> str:
        return f"runs/{self.run}/{name}"
