"""docs/cost.md says what the code reckons."""

from __future__ import annotations

import re
from pathlib import Path

from crawler.runs.cost import cost_usd

TEXT = (Path(__file__).parents[2] / "docs/cost.md").read_text("utf-8")
SONGS, PART_SONGS = 1_000_000, 1_000
# What `make bench` measured (docs/speed.txt): a declared song takes no more CPU than this, everything included, where
# the upstream answers after 50 ms or later; where it answers at once, half of it.
SONG_CPU_SECONDS = 0.0001
INSTANCES = ((0.167, 256), (0.333, 512), (0.583, 1024), (1.0, 512), (2.0, 1024))
RATES = (10, 100, 500, 1_000, 2_000, 5_000, 10_000)


def row(vcpus: float, mib: int) -> str:
    """Reckon a row of the table: dollars, or a dash where the CPU is too little."""
    prices = [
        f"${cost_usd(SONGS / rate, SONGS // PART_SONGS, vcpus, mib / 1024):.3f}"
        if rate <= vcpus / SONG_CPU_SECONDS
        else "–"
        for rate in RATES
    ]
    return f"| {vcpus:g} vCPU, {mib} MiB | {' | '.join(prices)} |"


def test_table_is_what_the_code_reckons() -> None:
    """Hold every price, and every dash, to the prices and the measured CPU of a song."""
    rows = re.findall(r"^\| [0-9.]+ vCPU.*$", TEXT, re.MULTILINE)

    assert rows == [row(*instance) for instance in INSTANCES]


def test_head_names_the_rates() -> None:
    """Put the prices under the rates they are reckoned for."""
    head = re.search(r"^\| instance \|(.*)\|$", TEXT, re.MULTILINE)

    assert head
    assert [int(rate.replace(",", "").removesuffix(" a second")) for rate in re.split(r" *\| *", head[1].strip())] == [
        *RATES
    ]
