"""The benchmark's command line: `python -m bench at-once --rounds 3`, from the project's folder and its `tests`.

Prints a table for each scenario, and what each target came to; writes all of it to build/bench. What a whole run prints
and draws goes into the documents too: docs/speed.txt, docs/speed.svg.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.chart import draw
from bench.cold import measure_cold
from bench.contestants import PEERS_PYTHON, ROOT, Job
from bench.instance import control_groups_available
from bench.meter import Measured
from bench.nginx import Upstream, nginx_available, nginx_upstream
from bench.report import Row, Verdict, rows_of, table, verdict_line, verdict_of
from bench.rounds import run_rounds
from bench.scenarios import SCENARIOS, Scenario

_FOLDER = ROOT / "build/bench"
_DOCS = ROOT / "docs"
_TABLES, _CHART = "speed.txt", "speed.svg"
_COLD = "cold"
_ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names; gives 1 if a target of it was missed, 2 if it can't be run here."""
    options = _parser().parse_args(arguments)
    lacking = nginx_available() or (None if PEERS_PYTHON.exists() else "there is no .venv-peers: run make bench")
    if lacking:
        print(f"bench: {lacking}", file=sys.stderr)
        return 2
    names = options.scenarios or [*(scenario.name for scenario in SCENARIOS), _COLD]
    paper = _Paper()
    paper.say(_machine(), f"{options.rounds} rounds; medians, CPU and memory of all processes of whoever crawls")
    with nginx_upstream(_FOLDER / "nginx") as upstream:
        for scenario in [scenario for scenario in SCENARIOS if scenario.name in names]:
            _run(scenario, upstream, options.rounds, paper)
        if _COLD in names:
            paper.take(*measure_cold(upstream.url(), 2 * options.rounds))
    paper.say("", "Targets", *map(verdict_line, paper.verdicts))
    paper.write(_FOLDER)
    if not options.scenarios and options.rounds >= _ROUNDS:
        paper.write(_DOCS)
    return 1 if any("SHORT" in verdict.says for verdict in paper.verdicts) else 0


class _Paper:
    """Print what there is to say, and keep it for the documents."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self._lines: list[str] = []
        self._charts: list[bytes] = []

    def say(self, *lines: str) -> None:
        """Print lines."""
        print(*lines, sep="\n", flush=True)
        self._lines += lines

    def take(self, lines: Sequence[str], verdicts: Sequence[Verdict]) -> None:
        """Print a table and what its targets came to."""
        self.say("", *lines, *map(verdict_line, verdicts))
        self.verdicts += verdicts

    def draw(self, rows: Sequence[Row], title: str) -> None:
        """Draw the chart."""
        self._charts.append(draw(rows, title))

    def write(self, folder: Path) -> None:
        """Write what was said and drawn."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TABLES).write_text("\n".join([*self._lines, ""]), encoding="utf-8")
        for chart in self._charts:
            (folder / _CHART).write_bytes(chart)


def _run(scenario: Scenario, upstream: Upstream, rounds: int, paper: _Paper) -> None:
    """Run a scenario, telling each measurement on standard error; the first one is drawn too."""
    if scenario.confined and (reason := control_groups_available()):
        paper.say("", f"{scenario.name}: left out, {reason}")
        return
    job = Job(
        url=upstream.url(scenario.delay_ms, tls=scenario.tls),
        songs=scenario.songs,
        at_once=scenario.at_once,
        folder=_FOLDER / "crawled",
        ca=upstream.ca if scenario.tls else None,
        upstream=upstream.server,
    )
    measured = run_rounds(scenario, job, rounds, _tell)
    rows = rows_of(measured)
    reached = [verdict_of(target, target.figure(measured)) for target in scenario.targets(scenario)]
    paper.take(list(table(scenario, rows)), reached)
    if scenario is SCENARIOS[0]:
        paper.draw(rows, f"Songs a second: {scenario.title}")


def _tell(name: str, measured: Measured) -> None:
    line = f"  {name}: {measured.songs:,} songs, {measured.songs_per_second:,.0f}/s, {measured.cpu_us:.0f} CPU-us"
    print(line, file=sys.stderr, flush=True)


def _machine() -> str:
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"{at}: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _parser() -> argparse.ArgumentParser:
    text = "\n".join(f"{scenario.name:<15} {scenario.title}" for scenario in SCENARIOS)
    text += f"\n{_COLD:<15} from the start of a server to its first answer"
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench", description=text, formatter_class=formatter)
    names = [*(scenario.name for scenario in SCENARIOS), _COLD]
    parser.add_argument("scenarios", nargs="*", choices=[*names, []], metavar="SCENARIO", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"how often each is measured ({_ROUNDS})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
