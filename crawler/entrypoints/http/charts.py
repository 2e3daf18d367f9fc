"""The charts of a report as SVG images, light and dark, with no script: data: addresses for an <img>."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import PathFinder
from typing import Any

# The page's colours (html/style.css): found, missing, failed, still open; ink and lines; each light and dark.
COLOURS = {"found": ("#1f8a67", "#41ab86"), "missing": ("#b07d10", "#d8a43a"), "failed": ("#b3261e", "#f2877f")}
OPEN = ("#d9d5cb", "#4a4942")
INK, LINE = ("#5e5a52", "#aaa598"), ("#e4e0d6", "#34332e")


def bar_chart(labels: Sequence[str], values: Sequence[float]) -> str:
    """Draw one bar for each value."""
    chart = _chart("Bar", [COLOURS["found"]], labels)
    chart.add("", [{"value": value} for value in values])
    return _image(chart)


def stacked_chart(labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Draw bars of found, missing, failed and other songs, one upon the other."""
    chart = _chart("StackedBar", [COLOURS.get(name, OPEN) for name in series], labels)
    for name, values in series.items():
        chart.add(name, list(values))
    return _image(chart)


def _chart(kind: str, colours: Sequence[tuple[str, str]], labels: Sequence[str]) -> Any:
    pygal = load_pygal()
    chart = getattr(pygal, kind)(
        style=pygal.style.Style(
            background="transparent",
            plot_background="transparent",
            foreground=INK[0],
            foreground_strong=INK[0],
            foreground_subtle=LINE[0],
            guide_stroke_color=LINE[0],
            major_guide_stroke_color=LINE[0],
            guide_stroke_dasharray="none",
            major_guide_stroke_dasharray="none",
            transition="0s",  # an image is drawn once: it would stay where the change to dark colours begins
            colors=[light for light, _ in colours],
            opacity="1",
            opacity_hover="1",
            font_family="system-ui, sans-serif",
            label_font_size=13,
            major_label_font_size=13,
        ),
        css=["file://style.css", "file://graph.css", f"inline:{_dark(colours)}"],
        js=[],
        width=900,
        height=260,
        margin=4,
        no_prefix=True,
        disable_xml_declaration=True,
        show_legend=False,
        show_minor_x_labels=False,
        x_labels_major_every=-(-len(labels) // 7),
        y_labels_major_every=2,
        show_minor_y_labels=False,
        truncate_label=-1,
        zero=0,
        include_x_axis=True,
    )
    chart.x_labels = list(labels)
    chart.add_xml_filter(_without_scripts)
    return chart


@cache
def load_pygal() -> Any:
    """Import pygal, at first use, without what its backport of importlib.metadata does to Python's own.

    That hooks a finder into every later import, and takes from Python's what finds installed packages: a library that
    asks for its own version would learn that it is not there.
    """
    finders, find_distributions = list(sys.meta_path), vars(PathFinder)["find_distributions"]
    import pygal

    sys.meta_path[:] = finders
    PathFinder.find_distributions = find_distributions  # type: ignore[method-assign]
    return pygal


def _dark(colours: Sequence[tuple[str, str]]) -> str:
    bars = "".join(f".color-{index}{{fill:{dark};stroke:{dark}}}" for index, (_, dark) in enumerate(colours))
    text = f".axis text,.axis text.major{{fill:{INK[1]}}}.axis .guide.line,.axis .major.guide.line{{stroke:{LINE[1]}}}"
    return f"@media (prefers-color-scheme: dark){{{bars}{text}.axis .line{{stroke:{INK[1]}}}}}"


def _without_scripts(root: Any) -> Any:
    for parent in root.iter():
        for script in [child for child in parent if child.tag == "script"]:
            parent.remove(script)
    return root


def _image(chart: Any) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(chart.render(is_unicode=True).encode()).decode()
