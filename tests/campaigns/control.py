"""The control's playground: the function on upstreams with quotas, knees and outages, over real sockets.

`python -m campaigns.control` runs all scenarios, or those that it is given, prints what each came to beside what was
promised, and draws what the upstream saw into build/control.html: one page to look at. What all of them came to goes
into docs/control.md too.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from servers.process import ServerProcess
from servers.quota import counts, quota_upstream

from campaigns.function import call, start
from crawler.core.verdict import found
from crawler.entrypoints.http.charts import load_pygal
from crawler.rate_control.controller import RateController

_ROOT = Path(__file__).parents[2]
PAGE = _ROOT / "build/control.html"
DOCUMENT, CHART = _ROOT / "docs/control.md", _ROOT / "docs/control.svg"
_BEGINNING, _END = "<!-- measured: make control -->", "<!-- end -->"
_DRAWN = "a quota of 100, 20, 100"
_COLOURS = {"accepted": "#1f8a67", "rejected": "#b3261e", "failed": "#b07d10", "in flight": "#5e5a52"}


class Criterion(NamedTuple):
    """One figure, and between what it must lie."""

    name: str
    value: float
    least: float = 0.0
    most: float = float("inf")

    @property
    def kept(self) -> bool:
        """Tell whether it does."""
        return self.least <= self.value <= self.most

    @property
    def promise(self) -> str:
        """Say what it must be."""
        least = f"at least {self.least:g}" if self.least else ""
        return least or f"at most {self.most:g}"


class Scene(NamedTuple):
    """What an upstream saw in each second, and what that came to."""

    title: str
    counted: Mapping[str, list[int]]
    criteria: list[Criterion]


def crawl(upstream: ServerProcess, output: Path, songs: int, seconds: float = 60, **settings: object) -> dict[str, Any]:
    """Crawl so many songs in one call of a fresh function, which may take so long; gives the answer."""
    own = {"max_attempts": 4, "robots": "ignore", **settings}
    with start(f"{upstream.url}/songs/{{song_num}}", output, **own) as function:
        answered = call(function, {"songs": f"1-{songs}", "deadline_seconds": seconds, "run": f"r{time.time_ns()}"})
    return dict(answered.answer) | {"status": answered.status, "seconds": answered.seconds}


def _named_wait(output: Path) -> Iterator[Scene]:
    with quota_upstream(quota=[[0, 50]], retry_after="1", latency=0.02) as upstream:
        for title, most in (("50 a second, Retry-After: 1", 20), ("the same, the next run", 3)):
            before = len(counts(upstream)["accepted"])
            answer = crawl(upstream, output, 1000)
            counted = {name: values[before:] for name, values in counts(upstream).items()}
            yield Scene(
                title,
                counted,
                [
                    Criterion("songs found", answer.get("found", 0), least=1000),
                    Criterion("seconds, ideal 19", answer.get("elapsed_seconds", 0), most=22),
                    Criterion("rejected", sum(counted["rejected"]), most=most),
                ],
            )
            time.sleep(1)  # the bucket is full again


def _hidden(output: Path, quota: int, rejected: float) -> Iterator[Scene]:
    seconds = 120
    with quota_upstream(quota=[[0, quota]], latency=0.02) as upstream:
        answer = crawl(upstream, output, quota * 200, seconds + 20)
        counted = _first(counts(upstream), seconds)
    yield Scene(
        f"hidden quota of {quota} a second",
        counted,
        [*_goodput(counted, quota * seconds, rejected), Criterion("songs failed", answer.get("failed", -1), most=0)],
    )


def _changing(output: Path) -> Iterator[Scene]:
    with quota_upstream(quota=[[0, 100], [40, 20], [80, 100]], latency=0.02) as upstream:
        crawl(upstream, output, 20_000, 140)
        counted = _first(counts(upstream), 120)
    yield Scene(_DRAWN, counted, _goodput(counted, 220 * 40, 0.05, least=0.9))


def _processes(output: Path) -> Iterator[Scene]:
    """Have four functions crawl, each into a place of its own: they know nothing of each other."""
    with quota_upstream(quota=[[0, 100]], latency=0.02) as upstream, ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda n: crawl(upstream, output / str(n), 10_000, 140), range(4)))
        counted = _first(counts(upstream), 120)
    found_by = [answer.get("found", 0) for answer in answers]
    least = Criterion("the least instance's share of an even one", round(min(found_by) / mean(found_by), 2), least=0.3)
    yield Scene("four instances, a quota of 100", counted, [*_goodput(counted, 100 * 120, 0.05), least])


def _knee(output: Path) -> Iterator[Scene]:
    workers, latency, seconds = 20, 0.05, 40
    fixed = {}
    for at_once in (10, 20, 30, 60):
        with quota_upstream(workers=workers, latency=latency) as upstream:
            # So many can't be more than at once, and at less than half of this latency none are held back.
            crawl(upstream, output, 100_000, 12, max_at_once=at_once)
            fixed[at_once] = max(counts(upstream)["accepted"])
    with quota_upstream(workers=workers, latency=latency) as upstream:
        answer = crawl(upstream, output, 100_000, seconds + 12)
        counted = _first(counts(upstream), seconds)
    best = max(fixed.values())
    yield Scene(
        f"latency that grows past {workers} in flight",
        counted,
        [
            Criterion(f"songs a second beside {best} of the best setting", _share(counted, best * seconds), least=0.9),
            Criterion("median latency beside the unloaded one", (answer["p50_ms"] or 0) / 1000 / latency, most=1.5),
        ],
    )


def _outage(output: Path, status: str) -> Iterator[Scene]:
    with quota_upstream(latency=0.02, down=[20, 80], down_status=status) as upstream:
        answer = crawl(upstream, output, 4500, 140, max_per_second=100)
        counted = counts(upstream)
    yield Scene(
        f"an outage of 60 s, told by {status}",
        counted,
        [
            Criterion("requests during it", sum(counted["failed"]), most=30),
            Criterion("songs a second, 10 s after it", counted["accepted"][89], least=90),
            Criterion("songs failed", answer.get("failed", -1), most=0),
        ],
    )


def _at_once(output: Path) -> Iterator[Scene]:
    with quota_upstream(latency=0.1) as upstream:
        crawl(upstream, output, 20_000, 30)
        counted = _first(counts(upstream), 10)
    steady = mean(counted["accepted"][6:9])
    share = round(counted["accepted"][3] / steady, 3)
    yield Scene("no limit", counted, [Criterion(f"share of {steady:.0f} a second after 3 s", share, least=0.9)])


def _cost(_: Path) -> Iterator[Scene]:
    """Time what the control does for a song, without what the engine does around it."""
    control, songs, verdict = RateController(0.0, 100), 200_000, found(1)
    started = time.process_time()
    for song in range(songs):
        now = 1000 + song / 2000
        if control.ready(now)[0]:
            control.send(now)
            control.observe(now - 0.02, now, verdict)
    microseconds = (time.process_time() - started) / songs * 1e6
    yield Scene("what it costs", {}, [Criterion("microseconds a song", round(microseconds, 2), most=3)])


SCENARIOS: dict[str, Callable[[Path], Iterator[Scene]]] = {
    "wait": _named_wait,
    "hidden-5": lambda output: _hidden(output, 5, 0.05),
    "hidden-100": lambda output: _hidden(output, 100, 0.01),
    "hidden-1000": lambda output: _hidden(output, 1000, 0.01),
    "changing": _changing,
    "processes": _processes,
    "knee": _knee,
    "outage": lambda output: _outage(output, "503 Service Unavailable"),
    "outage-500": lambda output: _outage(output, "500 Internal Server Error"),
    "at-once": _at_once,
    "cost": _cost,
}


def _goodput(
    counted: Mapping[str, list[int]], capacity: float, rejected: float, least: float = 0.95
) -> list[Criterion]:
    requests = sum(counted["accepted"]) + sum(counted["rejected"])
    return [
        Criterion("share of the quota", _share(counted, capacity), least=least),
        Criterion("rejected share", round(sum(counted["rejected"]) / requests, 4), most=rejected),
    ]


def _share(counted: Mapping[str, list[int]], capacity: float) -> float:
    return round(sum(counted["accepted"]) / capacity, 3)


def _first(counted: Mapping[str, list[int]], seconds: int) -> dict[str, list[int]]:
    return {name: values[:seconds] for name, values in counted.items()}


def draw(scene: Scene) -> str:
    """Draw what came in each second."""
    if not scene.counted:
        return ""
    library = load_pygal()
    style = library.style.Style(background="white", plot_background="white", colors=list(_COLOURS.values()))
    chart = library.Line(
        style=style,
        js=[],
        width=900,
        height=300,
        dots_size=1,
        x_title="seconds",
        y_title="a second",
        x_labels_major_every=10,
        show_minor_x_labels=False,
        disable_xml_declaration=True,
    )
    chart.x_labels = [str(second) for second in range(len(scene.counted["accepted"]))]
    for name in ("accepted", "rejected", "failed"):
        chart.add(name, scene.counted[name])
    chart.add("in flight", scene.counted["in_flight"])
    return str(chart.render(is_unicode=True))


def write_page(scenes: list[Scene]) -> str:
    """Write one page of all."""
    parts = [
        f"<h2>{escape(scene.title)}</h2><ul>"
        + "".join(f"<li>{escape(_told(criterion))}</li>" for criterion in scene.criteria)
        + f"</ul>{draw(scene)}"
        for scene in scenes
    ]
    return f"<!doctype html><meta charset=utf-8><title>Control</title><h1>What the upstream saw</h1>{''.join(parts)}"


def _told(criterion: Criterion) -> str:
    kept = "kept" if criterion.kept else "NOT KEPT"
    return f"{criterion.name}: {criterion.value:g} ({criterion.promise}): {kept}"


def write_table(scenes: list[Scene]) -> str:
    """Write all as a table in Markdown."""
    heads = ["upstream", "figure", "came to", "promised"]
    rows = [
        [
            scene.title,
            criterion.name,
            f"{criterion.value:g}",
            criterion.promise + ("" if criterion.kept else ": **not kept**"),
        ]
        for scene in scenes
        for criterion in scene.criteria
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows])


def write_document(scenes: list[Scene]) -> None:
    """Write the table, and the chart of one scene, into the document."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(_BEGINNING)
    today = datetime.now(timezone.utc).date()
    measured = (
        f"{_BEGINNING}\n{today}, {os.cpu_count()} cores, Python {platform.python_version()}.\n\n{write_table(scenes)}\n"
    )
    DOCUMENT.write_text(before + measured + _END + rest.partition(_END)[2], "utf-8")
    CHART.write_text(next(draw(scene) for scene in scenes if scene.title == _DRAWN), "utf-8")


def main() -> int:
    """Run scenarios; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser("python -m campaigns.control", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCENARIOS)}; none: all")
    asked = parser.parse_args().names
    names = asked or list(SCENARIOS)
    scenes = []
    with ExitStack() as stack:
        for name in names:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="songcrawl-control-")))
            for scene in SCENARIOS[name](folder):
                scenes.append(scene)
                for criterion in scene.criteria:
                    print(f"{name:<12} {scene.title:<34} {_told(criterion)}", flush=True)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(write_page(scenes), "utf-8")
    print(f"drawn: {PAGE}")
    if not asked:
        write_document(scenes)
    return int(any(not criterion.kept for scene in scenes for criterion in scene.criteria))


if __name__ == "__main__":
    sys.exit(main())
