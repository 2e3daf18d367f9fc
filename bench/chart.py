"""The README's chart: songs a second, of everybody on one upstream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bench.report import Row

OURS, THEIRS = "#1f8a67", "#b9b4a7"


def draw(rows: Sequence[Row], title: str) -> bytes:
    """Draw a bar for each row, the longest on top, its figure beside its name, as an SVG without scripts."""
    pygal = _pygal()
    chart = pygal.HorizontalBar(
        style=_style(pygal),
        title=title,
        width=820,
        height=90 + 34 * len(rows),
        show_legend=False,
        show_x_labels=False,
        show_x_guides=False,
        js=(),
        no_prefix=True,
        truncate_label=-1,
    )
    ascending = sorted(rows, key=lambda row: row.songs_per_second)
    chart.x_labels = [f"{row.name}  {row.songs_per_second:,.0f}" for row in ascending]
    chart.add("", [{"value": row.songs_per_second, "color": _colour(row)} for row in ascending])
    chart.add_xml_filter(_without_scripts)
    return bytes(chart.render())


def _colour(row: Row) -> str:
    return OURS if row.name.startswith("songcrawl") else THEIRS


def _without_scripts(root: Any) -> Any:
    for parent in list(root.iter()):
        for script in [child for child in parent if child.tag == "script"]:
            parent.remove(script)
    return root


def _style(pygal: Any) -> Any:
    return pygal.style.Style(
        background="white",
        plot_background="white",
        font_family="sans-serif",
        label_font_size=13,
        title_font_size=15,
        opacity="1",
    )


def _pygal() -> Any:
    """Import pygal without the finder that it adds to Python's imports, which every import after would warn of."""
    finders = list(sys.meta_path)
    import pygal

    sys.meta_path[:] = finders
    return pygal
