"""Backoff: how long a song waits before it is tried again."""

from __future__ import annotations

from collections.abc import Callable

# Equal jitter for throttling: full jitter can collapse to nearly nothing, and spend every retry before a quota refills
# (https://github.com/aws/aws-sdk-net/issues/4341). Full jitter for the rest: the cause is not that we ask too fast.
THROTTLE_BASE_SECONDS = 1.0
RETRY_BASE_SECONDS = 0.05
MOST_SECONDS = 20.0


def backoff(attempt: int, throttles: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait before the next attempt at a song.

    `attempt` counts tries that failed, `throttles` those that were throttled since the last of the others; both are
    doubled up to 20 s. `random` gives a float from 0 to 1. Source of the two kinds of jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if throttles:
        most = _doubled(THROTTLE_BASE_SECONDS, throttles)
        return most / 2 + random() * most / 2
    return random() * _doubled(RETRY_BASE_SECONDS, attempt)


def _doubled(base: float, times: int) -> float:
    return min(MOST_SECONDS, base * 2.0 ** min(times - 1, 30))
