"""The pages for people: HTML that needs nothing from elsewhere, and the headers that forbid it anything else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from crawler.core.records import STATUSES
from crawler.core.song_set import SongSet
from crawler.entrypoints.http.charts import bar_chart, stacked_chart
from crawler.reporting.report import Report
from crawler.runs.spec import RUN_NAME
from crawler.runs.summary import Coverage

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).with_name("html")
_NOTE = "M6 2v8.2A2.8 2.8 0 1 0 8 13V5l5-1V1z"
_ICON = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='{_NOTE}' fill='#1f8a67'/></svg>"


class Document(msgspec.Struct, frozen=True):
    """Hold a page and its headers."""

    body: bytes
    headers: Mapping[str, str]


def render_page(query: Iterable[tuple[str, str]]) -> Document:
    """Render the page that starts and shows crawls, filled in from the query; it does nothing by itself."""
    given = dict(query)
    watch = given.get("watch", "")
    fields = {name: given.get(name, "") for name in ("songs", "max_per_second", "run")}
    watched = watch if RUN_NAME.fullmatch(watch) else ""
    return _document("page.html", scripts=("songs.js", "page.js"), watch=watched, statuses=STATUSES, **fields)


def render_report(report: Report, *, download: bool = False) -> Document:
    """Render a run's report, which stands alone; as a `download` the browser saves it."""
    summary = report.summary
    strip = _strip(summary.coverage) if summary.coverage else []
    values: dict[str, Any] = {
        "report": report,
        "summary": summary,
        "download": download,
        "strip": strip,
        "charts": _charts(report),
    }
    document = _document("report.html", **values)
    saved = {"Content-Disposition": f'attachment; filename="{summary.run}.html"'} if download else {}
    return Document(document.body, {**document.headers, **saved})


def _charts(report: Report) -> dict[str, str]:
    """Draw what there is to draw; an empty address for the rest."""
    charts = dict.fromkeys(("range", "throughput", "latencies"), "")
    if report.throughput:
        ends, speeds = zip(*report.throughput, strict=True)
        charts["throughput"] = bar_chart([_duration(end) for end in ends], speeds)
    if report.latencies:
        ends, counts = zip(*report.latencies, strict=True)
        charts["latencies"] = bar_chart([_milliseconds(end) for end in ends], counts)
    if report.slices:
        series = {name: [getattr(each, name) for each in report.slices] for name in (*STATUSES, "open")}
        charts["range"] = stacked_chart([_number(each.first) for each in report.slices], series)
    return charts


def _document(template: str, scripts: Sequence[str] = (), **values: Any) -> Document:
    environment = _environment()
    html = environment.get_template(template).render(icon=_data(_ICON), **values)
    hashes = [_hash(environment.get_template(script).render()) for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(hashes) or "'none'",
        "style-src": _hash(environment.get_template("style.css").render()),
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return Document(
        html.encode(),
        {
            "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in policy.items()),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Vary": "Accept",
        },
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # at first use: a crawl needs no page

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=lambda name: name is None or name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "duration": _duration,
        "milliseconds": _milliseconds,
        "money": _money,
        "percent": _percent,
    }
    return environment


def _hash(text: str) -> str:
    """Allow one inline script or style by its SHA-256 (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _strip(coverage: Coverage) -> list[tuple[str, int, int]]:
    """Give the strip's bars: what they stand for, where they begin, and how many parts wide they are."""
    kinds = {"done": coverage.committed, "kept": coverage.kept, "failing": coverage.failing}
    return [
        (kind, first - 1, last - first + 1)
        for kind, text in kinds.items()
        for first, last in (SongSet.parse(text).ranges if text else ())
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "not known yet"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _money(dollars: float | None) -> str:
    if dollars is None:
        return "not known yet"
    return f"${dollars:,.2f}" if dollars >= 0.01 else f"${f'{dollars:.6f}'.rstrip('0').rstrip('.')}"


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f} %" if whole else "–"
