"""Look at the processes of a server from outside, by /proc: what each weighs and how many threads it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PROC = Path("/proc")


class Group(Protocol):
    """The first process of a process group, such as a server's."""

    @property
    def pid(self) -> int:
        """Return its id, which is the group's too."""


@dataclass(frozen=True)
class Weight:
    """Weigh one process: resident memory now and at its highest, in MiB."""

    resident: float
    peak: float


def proc_available() -> str | None:
    """Return why processes can't be looked at here, or None when they can."""
    return None if Path("/proc/self/status").exists() else "there is no /proc here"


def weigh(server: Group) -> dict[int, Weight]:
    """Weigh every process of a server."""
    weights = {}
    for pid in members(server):
        status = _status(pid)
        if "VmRSS" in status:
            weights[pid] = Weight(_mib(status["VmRSS"]), _mib(status["VmHWM"]))
    return weights


def count_threads(server: Group) -> int:
    """Count the threads of all processes of a server."""
    return sum(int(_status(pid).get("Threads", 0)) for pid in members(server))


def members(server: Group) -> list[int]:
    """List the ids of a server's processes, its first one among them."""
    return [
        pid for pid in map(int, filter(str.isdigit, (p.name for p in _PROC.iterdir()))) if _group(pid) == server.pid
    ]


def _group(pid: int) -> int | None:
    try:
        # The name in parentheses may hold blanks; after it stand the state, the parent and the group.
        return int((_PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split(" ")[2])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _status(pid: int) -> dict[str, str]:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.partition(":")[::2] for line in lines)


def _mib(text: str) -> float:
    return int(text.split()[0]) / 1024
