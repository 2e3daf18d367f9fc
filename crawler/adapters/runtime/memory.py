"""Memory: the C library's allocator and large songs, the garbage collector and large imports."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_MMAP_THRESHOLD = -3  # malloc.h of the GNU C library
_LARGE_BLOCK_BYTES = 64 << 10


def return_large_blocks() -> None:
    """Have blocks of 64 KiB or more go back to the system as soon as they are free, where the GNU C library is used.

    It raises that size by itself to the largest block ever freed, and keeps what a hundred threads free below it: with
    songs of 100 KiB a process grew to 210 MiB, and stays at 110 so. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


@contextmanager
def without_collection() -> Iterator[None]:
    """Leave garbage alone for a while: a large import makes none, and looking for it takes a quarter of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
