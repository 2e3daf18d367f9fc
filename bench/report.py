"""What a run of the benchmark says: tables to read, and what each target came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.meter import Measured
from bench.scenarios import Rounds, Scenario, Target


@dataclass(frozen=True)
class Row:
    """A contestant's medians; `least` and `most` are of its songs a second, `upstream_us` is CPU a song."""

    name: str
    songs: int
    songs_per_second: float
    least: float
    most: float
    cpu_us: float
    peak_mib: float
    upstream_us: float
    ratio: float


@dataclass(frozen=True)
class Verdict:
    """What a target came to."""

    text: str
    figure: float
    goal: float
    beyond: float | None
    most: bool
    says: str


def rows_of(rounds: Rounds) -> list[Row]:
    """Return the medians of each contestant, and the ratio of its rate to the first one's."""
    first = median(measured.songs_per_second for measured in next(iter(rounds.values())))
    return [_row(name, measured, first) for name, measured in rounds.items()]


def _row(name: str, rounds: Sequence[Measured], first: float) -> Row:
    rates = [measured.songs_per_second for measured in rounds]
    return Row(
        name=name,
        songs=rounds[0].songs,
        songs_per_second=median(rates),
        least=min(rates),
        most=max(rates),
        cpu_us=median(measured.cpu_us for measured in rounds),
        peak_mib=median(measured.peak_mib for measured in rounds),
        upstream_us=median(measured.upstream_cpu_seconds / measured.songs * 1e6 for measured in rounds),
        ratio=median(rates) / first,
    )


def verdict_of(target: Target, figure: float) -> Verdict:
    """Hold a figure to its target."""
    says = "holds" if target.met(figure, target.goal) else "FALLS SHORT"
    if target.beyond is not None and target.met(figure, target.beyond):
        says = "holds, and goes beyond"
    return Verdict(target.text, figure, target.goal, target.beyond, target.most, says)


def table(scenario: Scenario, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a scenario's table, line by line."""
    yield f"{scenario.name}: {scenario.title}"
    head = ("", "songs/s", "(least - most)", "CPU-us", "peak MiB", "ratio", "songs", "upstream CPU-us")
    yield "  {:<34}{:>9}{:>18}{:>8}{:>10}{:>7}{:>11}{:>17}".format(*head)
    for row in rows:
        span = f"({row.least:,.0f} - {row.most:,.0f})"
        yield (
            f"  {row.name:<34}{row.songs_per_second:>9,.0f}{span:>18}{row.cpu_us:>8,.0f}{row.peak_mib:>10.0f}"
            f"{row.ratio:>7.2f}{row.songs:>11,}{row.upstream_us:>17.1f}"
        )


def verdict_line(verdict: Verdict) -> str:
    """Say in a line what a target came to."""
    side = "at most" if verdict.most else "at least"
    beyond = "" if verdict.beyond is None else f", beyond it {verdict.beyond:g}"
    return f"  {verdict.figure:>9,.2f}  {verdict.text} ({side} {verdict.goal:g}{beyond}): {verdict.says}"
