"""A quota as an upstream announces it in the headers of an answer."""

from __future__ import annotations

import msgspec


class Quota(msgspec.Struct, frozen=True):
    """How many more requests an upstream says it takes, of how many, and in how many seconds that begins anew.

    `remaining` is None where only the limit and its window are told; `exact` says that the reset is no whole number,
    which may have been rounded by a second.
    """

    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None
    window_seconds: float | None = None
    policy: str = ""
    exact: bool = False
