"""What processes use, by /proc: CPU and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from campaigns.processes import Group, members, weigh

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What one crawl came to: `cpu_seconds` of all its processes, `peak_mib` of the heaviest."""

    songs: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    upstream_cpu_seconds: float = 0.0

    @property
    def songs_per_second(self) -> float:
        """Return the rate from the call to the answer."""
        return self.songs / self.seconds

    @property
    def cpu_us(self) -> float:
        """Return the microseconds of CPU that a song took."""
        return self.cpu_seconds / self.songs * 1e6


def cpu_seconds(group: Group) -> float:
    """Add up the CPU that a group's processes have used, with that of children they have waited for."""
    return sum(tick for pid in members(group) for tick in _ticks(pid)) * _TICK_SECONDS


def peak_mib(group: Group) -> float:
    """Return the most that any one process of a group has ever weighed."""
    return max(weight.peak for weight in weigh(group).values())


def _ticks(pid: int) -> list[int]:
    # After the name in parentheses: utime, stime, cutime and cstime are fields 14 to 17 (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return [int(field) for field in fields[11:15]]
