"""Which scheduled call of a Cloud Scheduler job this is, by the headers of the service.

https://cloud.google.com/scheduler/docs/configuring/deduplicate-job-requests
Anybody who may call the function may send them too: they are hints that at worst choose a run's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone

import msgspec

# RFC 3339 to the second: how many decimals datetime.fromisoformat reads depends on the Python, and the service sends
# any number of them.
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")


class ScheduledCall(msgspec.Struct, frozen=True):
    """Name one scheduled call: the `job`, and its scheduled `time` as 20261123t020000z."""

    job: str
    time: str

    @property
    def run_name(self) -> str:
        """Give the name of the run that the call begins, short enough for more to follow."""
        slug = re.sub(r"[^a-z0-9-]+", "-", self.job.rpartition("/")[2].lower()).strip("-")[:30]
        return f"{slug or 'job'}-{self.time}"


def parse_scheduled_call(headers: Mapping[str, str], epoch: float) -> ScheduledCall | None:
    """Return the scheduled call that headers (names in lower case) tell of; None: it is none, or not a credible one.

    A forced run may carry the time of the next call: a time in the future is not trusted, nor is one before 1970.
    """
    job = headers.get("x-cloudscheduler-jobname", "")
    time = _parse_time(headers.get("x-cloudscheduler-scheduletime", ""))
    if not job or len(job) > 500 or time is None or not 0 <= time.timestamp() <= epoch:
        return None
    return ScheduledCall(job, f"{time.astimezone(timezone.utc):%Y%m%dt%H%M%Sz}")


def _parse_time(text: str) -> datetime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00"))
    except ValueError:
        return None
