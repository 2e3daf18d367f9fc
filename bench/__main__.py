"""The benchmark's command line: `python -m bench at-once --rounds 3`, from the project's folder and its `tests`.

Prints a table for each scenario, and what each target came to; writes all of it to build/bench/results.json, and from
a whole run the chart of the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.chart import draw
from bench.cold import measure_cold
from bench.contestants import PEERS_PYTHON, ROOT, Job
from bench.instance import control_groups_available
from bench.meter import Measured
from bench.nginx import Upstream, nginx_available, nginx_upstream
from bench.report import Row, Verdict, plain, rows_of, table, verdict_line, verdict_of
from bench.rounds import run_rounds
from bench.scenarios import SCENARIOS, Scenario

_FOLDER = ROOT / "build/bench"
_CHART = ROOT / "docs/speed.svg"
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
    results: dict[str, Any] = {"machine": _machine(), "rounds": options.rounds}
    verdicts: list[Verdict] = []
    with nginx_upstream(_FOLDER / "nginx") as upstream:
        for scenario in [scenario for scenario in SCENARIOS if scenario.name in names]:
            rows, reached = _run(scenario, upstream, options.rounds)
            verdicts += reached
            results[scenario.name] = plain(rows, reached)
            _draw(scenario, rows, whole=not options.scenarios and options.rounds >= _ROUNDS)
        if _COLD in names:
            results[_COLD], reached = measure_cold(upstream.url(), 2 * options.rounds)
            verdicts += reached
    (_FOLDER / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    print("\nTargets", *map(verdict_line, verdicts), sep="\n")
    return 1 if any("SHORT" in verdict.says for verdict in verdicts) else 0


def _run(scenario: Scenario, upstream: Upstream, rounds: int) -> tuple[list[Row], list[Verdict]]:
    """Run a scenario, telling each measurement on standard error, and print its table."""
    if scenario.confined and (reason := control_groups_available()):
        print(f"\n{scenario.name}: left out, {reason}")
        return [], []
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
    print("", *table(scenario, rows), sep="\n", flush=True)
    reached = [verdict_of(target, target.figure(measured)) for target in scenario.targets(scenario)]
    print(*map(verdict_line, reached), sep="\n", flush=True)
    return rows, reached


def _tell(name: str, measured: Measured) -> None:
    line = f"  {name}: {measured.songs:,} songs, {measured.songs_per_second:,.0f}/s, {measured.cpu_us:.0f} CPU-us"
    print(line, file=sys.stderr, flush=True)


def _draw(scenario: Scenario, rows: list[Row], *, whole: bool) -> None:
    """Draw the first scenario's chart: the README's own from a whole run only, a quick look's beside its results."""
    if scenario is SCENARIOS[0]:
        chart = draw(rows, f"Songs a second: {scenario.title}")
        for file in [_FOLDER / _CHART.name, *([_CHART] if whole else [])]:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(chart)


def _machine() -> dict[str, str | int | None]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


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
