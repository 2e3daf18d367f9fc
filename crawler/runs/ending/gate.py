"""The gate: which share of the songs may have failed, and which must be found, for a run to be complete by itself.

A run that does not pass is held: its parts are all there, held.json says why, and its manifest is written once somebody
accepts it.
"""

from __future__ import annotations

import msgspec

from crawler.core.records import Counts
from crawler.runs.spec import RunSpec


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The content of held.json: what the gate asked for, what the run came to, and `why` that is not enough."""

    run: str
    max_failed: float | None
    min_found: float | None
    songs: int
    found: int
    missing: int
    failed: int
    why: str

    def encode(self) -> bytes:
        """Write held.json: the same bytes, whoever writes it by the same gate."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Held:
        """Read held.json; raises ValueError if it is none."""
        return msgspec.json.decode(data, type=cls)

    @property
    def gate(self) -> Gate:
        """Return the gate that held the run."""
        return Gate(self.max_failed, self.min_found)

    @property
    def detail(self) -> str:
        """Say why, and what can be done."""
        return (
            f"The run is held: {self.why} To complete it as it is: songcrawl accept {self.run}, "
            f"or POST /runs/{self.run}/accept. To try the failed songs again: songs=failed:{self.run}."
        )


class Gate(msgspec.Struct, frozen=True):
    """The settings MAX_FAILED and MIN_FOUND, shares of the songs asked for; None: any share will do."""

    max_failed: float | None = None
    min_found: float | None = None

    def hold(self, spec: RunSpec, counts: Counts) -> Held | None:
        """Say why a run whose parts are all there is to be held; None: it passes.

        Runs of `failed:` and `missing:` pass, since most of their songs may well fail again, and so do open ranges,
        which end in missing songs.
        """
        if spec.parent is not None or spec.end_after_missing is not None or not counts.songs_done:
            return None
        reasons = [*self._failed_too_many(counts), *self._found_too_few(counts)]
        if not reasons:
            return None
        return Held(
            run=spec.run,
            max_failed=self.max_failed,
            min_found=self.min_found,
            songs=counts.songs_done,
            **counts.by_status(),
            why=" ".join(reasons),
        )

    def _failed_too_many(self, counts: Counts) -> list[str]:
        # Divided, since 7 / 100 is 0.07 and 0.07 * 100 is not 7.
        if self.max_failed is None or counts.failed / counts.songs_done <= self.max_failed:
            return []
        share = f"MAX_FAILED allows a share of {self.max_failed:g}"
        return [f"{counts.failed} of {counts.songs_done} songs failed, and {share}."]

    def _found_too_few(self, counts: Counts) -> list[str]:
        if self.min_found is None or counts.found / counts.songs_done >= self.min_found:
            return []
        share = f"MIN_FOUND asks for a share of {self.min_found:g}"
        return [f"{counts.found} of {counts.songs_done} songs were found, and {share}."]
