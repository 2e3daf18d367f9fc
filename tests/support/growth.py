"""Read how much memory this process takes, from the system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which is Linux's")


@contextmanager
def growth() -> Iterator[Callable[[], int]]:
    """Measure by how many bytes this process has grown at most since the beginning of the block."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here (proc(5))
    before = _memory("VmRSS")
    yield lambda: _memory("VmHWM") - before


def _memory(name: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) << 10
