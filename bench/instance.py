"""An instance as small as the platform sells it: a control group that holds a server to its CPU and memory (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from campaigns.processes import Group, members

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


@dataclass(frozen=True)
class Instance:
    """How much CPU and memory an instance has."""

    vcpus: float
    mib: int


class ControlGroup:
    """A bound that holds processes to a share of the CPU and so much memory, all of them together."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def hold(self, group: Group) -> None:
        """Take in a server's processes; those they start are in by themselves."""
        for folder in self._folders:
            for pid in members(group):
                (folder / "cgroup.procs").write_text(str(pid))


def control_groups_available() -> str | None:
    """Return why there can be no control group here, or None when there can."""
    try:
        with control_group(Instance(1, 64)):
            return None
    except OSError as error:
        return f"no control group can be made here: {error}"


@contextmanager
def control_group(instance: Instance) -> Iterator[ControlGroup]:
    """Make a control group, and remove it; what it held must have ended by then. Raises OSError where it can't."""
    name = f"songcrawl-bench-{os.getpid()}"
    quota, limit = int(instance.vcpus * _PERIOD_US), instance.mib << 20
    if (_ROOT / "cgroup.controllers").exists():  # version 2: one tree
        limits = [(_ROOT / name / "cpu.max", f"{quota} {_PERIOD_US}"), (_ROOT / name / "memory.max", f"{limit}")]
    else:
        limits = [
            (_ROOT / "cpu" / name / "cpu.cfs_quota_us", f"{quota}"),
            (_ROOT / "memory" / name / "memory.limit_in_bytes", f"{limit}"),
        ]
    folders = sorted({file.parent for file, _ in limits})
    try:
        for folder in folders:
            folder.mkdir()
        for file, text in limits:
            file.write_text(text)
        yield ControlGroup(folders)
    finally:
        for folder in folders:
            with suppress(FileNotFoundError):
                folder.rmdir()
