"""Reckon what a run of any size takes, by the project's own rules and prices: run as a program it prints the tables.

docs/scale.md holds them word for word. What depends on the code (a task's operations, a part's weight in memory and in
the manifest) is measured by tests/docs/test_scale_docs.py, which fails when it is not as told here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from crawler.adapters.queue.cloud_tasks import CONNECTIONS
from crawler.core.deadline import CallTime
from crawler.core.song_set import SongSet
from crawler.fan_out.plan import MOST_TASKS, Plan, cut_tasks, share, task_parts
from crawler.runs.cost import GIB, USD_PER_CREATE, USD_PER_READ, cost_usd
from crawler.runs.grid import Grid

DEADLINE_SECONDS = 540.0
SWEEP_EVERY_SECONDS = 600.0
PAGE_OBJECTS = 1000  # of a listing
STORED_BYTES_A_SONG = 30  # compressed, of the sample catalogue

# Beside run.json, manifest.json and one sweep: the index, where the run begins and ends for its request and its queue.
OTHER_OBJECTS = 3 + 5

# What one delivery of a task asks of the store, and for each of its parts.
TASK_LISTINGS, TASK_READS = 4, 6
PART_CREATES, PART_READS = 1, 2
# What a sweep lists beside the parts of a run: which runs there are, the run's sweeps, what was kept aside.
SWEEP_LISTINGS, SWEEP_READS = 5, 6

# A part in the memory of whoever adds up a run or finishes it, and in the manifest.
PART_MEMORY_BYTES = 900
PART_MANIFEST_BYTES = 200
# The same of a part where 200 of its thousand numbers are missing, one here and one there.
SCATTERED_MEMORY_BYTES = 11_000
INSTANCE_BYTES = GIB * 2**30
IDLE_BYTES = 100 * 2**20  # what an instance weighs that holds no run

# https://cloud.google.com/tasks/pricing, https://cloud.google.com/storage/pricing
USD_PER_TASK_OPERATION = 0.40 / 1_000_000
USD_PER_GB_MONTH = 0.020

# https://cloud.google.com/storage/docs/request-rate: what a bucket takes before it has grown to more.
BUCKET_WRITES_PER_SECOND = 1000
CREATE_TASK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """Be a fanned-out run: so many songs, at a ceiling for all instances, so many deliveries at once."""

    songs: int
    max_per_second: int
    at_once: int
    part_songs: int

    @property
    def grid(self) -> Grid:
        """Cut it."""
        return Grid(SongSet.of([(1, self.songs)]), self.part_songs)

    @property
    def seconds(self) -> float:
        """Give how long it takes at its ceiling."""
        return self.songs / (share(self.max_per_second, self.at_once) * self.at_once)

    @property
    def tasks(self) -> int:
        """Count the tasks of its first sweep."""
        parts = len(self.grid)
        size = task_parts(parts, self.part_songs, self.max_per_second, self.at_once, DEADLINE_SECONDS)
        plan = Plan(task_parts=size, max_per_second=0, max_at_once=1, deadline_seconds=DEADLINE_SECONDS)
        return len(cut_tasks(range(parts), 0, plan, parts))

    @property
    def deliveries(self) -> int:
        """Count them with all their continuations."""
        working = CallTime(0.0, DEADLINE_SECONDS).working_seconds
        songs_each = share(self.max_per_second, self.at_once) * working
        return self.tasks * math.ceil(self.songs / self.tasks / songs_each)

    @property
    def sweeps(self) -> int:
        """Count how often it is looked at by sweeps."""
        return math.ceil(self.seconds / SWEEP_EVERY_SECONDS)

    @property
    def listings(self) -> int:
        """Count pages of listings: of its tasks, its sweeps, and of the one who finishes it."""
        pages = math.ceil(len(self.grid) / PAGE_OBJECTS)
        return TASK_LISTINGS * self.deliveries + (SWEEP_LISTINGS + pages) * self.sweeps + 2 * pages

    @property
    def reads(self) -> int:
        """Count reads of objects and of their metadata."""
        return TASK_READS * self.deliveries + PART_READS * len(self.grid) + SWEEP_READS * self.sweeps

    @property
    def stored_bytes(self) -> int:
        """Weigh its parts."""
        return self.songs * STORED_BYTES_A_SONG

    @property
    def usd(self) -> tuple[float, float, float]:
        """Give the price of its instances, of what they ask of the store, and of its tasks."""
        instances = cost_usd(self.at_once * self.seconds, 0)
        store = (len(self.grid) + OTHER_OBJECTS + self.listings) * USD_PER_CREATE + self.reads * USD_PER_READ
        return instances, store, 2 * self.deliveries * USD_PER_TASK_OPERATION


RUNS = (
    Run(10_000_000, 100, 5, 1000),
    Run(10_000_000, 1000, 10, 1000),
    Run(1_000_000_000, 1000, 10, 100_000),
    Run(1_000_000_000, 20_000, 40, 100_000),
)

_ROWS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("songs", lambda run: f"{run.songs:,}"),
    ("`MAX_PER_SECOND`, of all instances", lambda run: f"{run.max_per_second:,}"),
    ("deliveries at once: instances", lambda run: f"{run.at_once:,}"),
    ("requests a second of each", lambda run: f"{share(run.max_per_second, run.at_once):,.0f}"),
    ("hours", lambda run: f"{run.seconds / 3600:,.1f}"),
    ("`PART_SONGS`", lambda run: f"{run.part_songs:,}"),
    ("parts", lambda run: f"{len(run.grid):,}"),
    ("objects", lambda run: f"{len(run.grid) + OTHER_OBJECTS:,}"),
    ("objects created a second", lambda run: f"{len(run.grid) / run.seconds:.3g}"),
    ("KB a part", lambda run: f"{run.part_songs * STORED_BYTES_A_SONG / 1000:,.0f}"),
    ("GB stored", lambda run: f"{run.stored_bytes / 1e9:,.1f}"),
    ("MB of manifest", lambda run: f"{len(run.grid) * PART_MANIFEST_BYTES / 1e6:,.1f}"),
    ("MiB of memory to finish it", lambda run: f"{len(run.grid) * PART_MEMORY_BYTES / 2**20:,.0f}"),
    ("tasks enqueued at first", lambda run: f"{run.tasks:,}"),
    ("deliveries, continuations included", lambda run: f"{run.deliveries:,}"),
    ("list operations", lambda run: f"{run.listings:,}"),
    ("read operations", lambda run: f"{run.reads:,}"),
    ("US$ for instances", lambda run: f"{run.usd[0]:,.2f}"),
    ("US$ for operations of the store", lambda run: f"{run.usd[1]:,.2f}"),
    ("US$ for tasks", lambda run: f"{run.usd[2]:,.2f}"),
    ("US$ a month to keep it", lambda run: f"{run.stored_bytes / 1e9 * USD_PER_GB_MONTH:,.2f}"),
)


def table_of_runs() -> str:
    """Write the table of what the runs take."""
    lines = [f"| {name} | {' | '.join(tell(run) for run in RUNS)} |" for name, tell in _ROWS]
    return "\n".join([lines[0], f"|---|{'---:|' * len(RUNS)}", *lines[1:]])


def table_of_limits() -> str:
    """Write the table of what breaks first, and where."""
    free = INSTANCE_BYTES - IDLE_BYTES
    sweep_seconds = MOST_TASKS / CONNECTIONS * CREATE_TASK_SECONDS
    million = len(Run(1_000_000_000, 1000, 10, 1000).grid)
    rows = (
        ("memory of whoever finishes a run", f"{free / PART_MEMORY_BYTES:,.0f} parts"),
        ("the same, every fifth number missing", f"{free / SCATTERED_MEMORY_BYTES:,.0f} parts of 1,000"),
        ("manifest of a billion songs in parts of 1,000", f"{million * PART_MANIFEST_BYTES / 1e6:,.0f} MB"),
        ("one look at such a run", f"{math.ceil(million / PAGE_OBJECTS):,} list operations"),
        ("a bucket's writes", f"{BUCKET_WRITES_PER_SECOND * 1000:,} songs a second in parts of 1,000"),
        ("creating tasks", f"{sweep_seconds:.1f} s for the {MOST_TASKS} of a sweep"),
    )
    return "\n".join(["| limit | reached at |", "|---|---|", *(f"| {what} | {where} |" for what, where in rows)])


if __name__ == "__main__":
    print(table_of_runs(), table_of_limits(), sep="\n\n")
