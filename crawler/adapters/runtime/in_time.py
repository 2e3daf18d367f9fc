"""Operations that are left when their time is over, whatever holds them: a name look-up, a drip, a lock."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import wait
from typing import TypeVar

from crawler.adapters.runtime.daemon_threads import DaemonThreads

T = TypeVar("T")


def in_time(operation: Callable[[], T], seconds: float) -> T:
    """Run an operation and return what it gives, or raise what it raises; raises TimeoutError after so many seconds.

    It runs in a daemon thread, which is left behind then, and ends whenever the operation does: `getaddrinfo`, which
    nothing can interrupt, waits some 30 s for name servers that say nothing. What comes of it is ignored.
    """
    if seconds == math.inf:
        return operation()
    running = DaemonThreads().submit(operation)
    wait([running], min(seconds, threading.TIMEOUT_MAX))
    if not running.done():
        raise TimeoutError(f"no end after {seconds:g} s")
    return running.result()
