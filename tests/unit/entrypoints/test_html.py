"""Check the HTML of the pages without a browser: what it allows itself, what it escapes, what it loads."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from typing import Any

import pytest
from support.runs import committed, run_spec

from crawler.core.records import Row
from crawler.entrypoints.http.charts import bar_chart, stacked_chart
from crawler.entrypoints.http.pages import Document, render_page, render_report
from crawler.reporting.report import Report, make_report
from crawler.runs.manifest import add_up
from crawler.runs.summary import make_coverage, make_summary

MARKUP = "<script>alert(1)</script>"


def policy(document: Document) -> dict[str, str]:
    """Read a page's Content-Security-Policy."""
    pieces = [piece.split(" ", 1) for piece in document.headers["Content-Security-Policy"].split("; ")]
    return {pair[0]: pair[1] for pair in pieces}


def hash_of(text: str) -> str:
    """Give the source with which a policy allows an inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def report_of(songs: str = "1-12", parts: tuple[int, ...] = (0, 2), **fields: Any) -> Report:
    """Make the report of a run of which some parts are there, one of them with a failed song."""
    spec = run_spec(songs, **fields)
    there = [committed(spec.grid[place], failed=[9] if place == 2 else [], finished_at=2.0) for place in parts]
    run_parts = add_up(there)
    coverage = make_coverage(spec, spec.grid, run_parts, [])
    answer = make_summary(spec, "partial", "/out", grid=spec.grid, parts=run_parts, coverage=coverage, detail=MARKUP)
    return make_report(spec, answer, spec.grid, run_parts, [Row(9, "failed", None, MARKUP)] if there else [])


PAGES = {
    "page": render_page([]),
    "page, filled in": render_page([("songs", f'"{MARKUP}'), ("run", MARKUP), ("watch", "trial")]),
    "report": render_report(report_of(source=MARKUP)),
    "report, saved": render_report(report_of(), download=True),
    "report, empty": render_report(report_of(parts=())),
}


@pytest.mark.parametrize("document", PAGES.values(), ids=PAGES)
def test_a_page_allows_itself_only_its_own_script_and_style(document: Document) -> None:
    """Name the one script and the one style by their hashes, and forbid everything that is not needed."""
    html = document.body.decode()
    rules = policy(document)

    assert set(re.findall(r"<(?:script|style).*?>", html)) <= {"<script>", "<style>"}
    assert [hash_of(text) for text in re.findall(r"<script>(.*?)</script>", html, re.DOTALL)] == [
        source for source in rules["script-src"].split() if source != "'none'"
    ]
    assert [hash_of(text) for text in re.findall(r"<style>(.*?)</style>", html, re.DOTALL)] == [rules["style-src"]]
    assert (rules["default-src"], rules["frame-ancestors"], rules["base-uri"]) == ("'none'",) * 3
    assert rules["connect-src"] == rules["form-action"] == "'self'"
    assert "unsafe" not in document.headers["Content-Security-Policy"]
    assert document.headers["X-Content-Type-Options"] == "nosniff"
    assert document.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("document", PAGES.values(), ids=PAGES)
def test_a_page_needs_nothing_from_elsewhere(document: Document) -> None:
    """Load images from the page itself, and nothing by an address or an inline style or handler."""
    html = re.sub(r"<(script|style)>.*?</\1>", "", document.body.decode(), flags=re.DOTALL)
    loaded = re.findall(r"<(?:img|link|script|iframe|object)[^>]*?(?:src|href)=\"([^\"]*)", html)

    assert loaded
    assert all(address.startswith("data:image/svg+xml;base64,") for address in loaded)
    assert not re.search(r"\s(style|on[a-z]+)=", html)
    assert not re.search(r"url\(|@import", document.body.decode())


@pytest.mark.parametrize("document", PAGES.values(), ids=PAGES)
def test_whatever_comes_from_outside_is_escaped(document: Document) -> None:
    """Write query, source, error and detail as text."""
    assert MARKUP.encode() not in document.body


def test_the_form_is_filled_in_from_the_query() -> None:
    """Put each parameter into its field; a watched run must have a run's name."""
    html = render_page([("songs", "1-9"), ("max_per_second", "5"), ("run", "a"), ("watch", "b"), ("x", "y")]).body
    strange = render_page([("watch", "../x")]).body

    assert re.findall(rb'name="(\w+)" value="([^"]*)"', html) == [
        *((b"songs", b"1-9"), (b"max_per_second", b"5"), (b"run", b"a"))
    ]
    assert (b'data-run="b"' in html, b'data-run=""' in strange) == (True, True)


def test_an_unfinished_report_says_so() -> None:
    """Tell that more may come, and why it does not now."""
    html = render_report(report_of()).body.decode()

    assert "The run is not complete" in html
    assert "&lt;script&gt;alert(1)" in html
    assert 'aria-label="2 of 3 parts are stored"' in html


def test_a_saved_report_leads_nowhere() -> None:
    """Leave out the links that only lead somewhere beside the function."""
    saved = render_report(report_of(), download=True)

    assert saved.headers["Content-Disposition"] == 'attachment; filename="trial.html"'
    assert b"<a " not in saved.body
    assert b"<a " in render_report(report_of()).body


@pytest.mark.parametrize(
    "chart",
    [bar_chart(["a", "b"], [1, 2.5]), bar_chart(["a"], [0]), stacked_chart(["a"], {"found": [1], "open": [3]})],
    ids=["bars", "nothing", "stacked"],
)
def test_a_chart_is_an_image_and_no_program(chart: str) -> None:
    """Draw an SVG without a script and without anything from elsewhere, with colours for the dark."""
    svg = base64.b64decode(chart.removeprefix("data:image/svg+xml;base64,")).decode()

    assert svg.startswith("<svg")
    assert "<script" not in svg
    assert not re.search(r"(href|src)=|@import|url\(", svg)
    assert "prefers-color-scheme:dark" in svg


FIRST_CHART = """
import importlib.metadata, sys
before = list(sys.meta_path)
from crawler.entrypoints.http.charts import bar_chart
bar_chart(["a", "b"], [1.0, 2.0])
print(importlib.metadata.version("requests") != "", sys.meta_path == before)
"""


def test_a_chart_leaves_imports_as_they_were() -> None:
    """Let a process that has drawn a chart find installed packages as before: libraries ask for their own version."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_CHART], capture_output=True, text=True, check=False
    )

    assert (done.stderr, done.stdout) == ("", "True True\n")
