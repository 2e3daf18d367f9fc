"""Check that examples/songs.ipynb runs from a clean kernel, top to bottom, as a person runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from servers import datasette_available

from crawler.core.settings import SETTINGS

NOTEBOOK = Path(__file__).parents[2] / "examples" / "songs.ipynb"


@pytest.fixture
def notebook() -> Any:
    """Read the notebook."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the developer's own settings away."""
    for name in ["SAMPLE_SONG_URL", *(setting.name for setting in SETTINGS)]:
        monkeypatch.delenv(name, raising=False)


def execute(notebook: Any) -> list[tuple[str, str, str]]:
    """Run every cell; gives what each came to, for programs and for people, and what it printed to stderr."""
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=100, kernel_name="python3", resources=resources).execute()
    return [_told(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _told(outputs: list[Any]) -> tuple[str, str, str]:
    data = [output.data for output in outputs if "data" in output]
    plain, html = ("".join(each.get(kind, "") for each in data) for kind in ("text/plain", "text/html"))
    return plain, html, "".join(output.text for output in outputs if output.get("name") == "stderr")


@pytest.mark.skipif(datasette_available() is not None, reason=str(datasette_available()))
def test_notebook_runs_top_to_bottom(notebook: Any) -> None:
    """Execute every cell without an error, with the songs of the sample in what they show."""
    told = execute(notebook)
    shown = "\n".join(plain for plain, _, _ in told)

    assert any("songs found" in html and "What a Wonderful World" in html for _, html, _ in told)
    assert any("/50 [" in bar and "songs/s" in bar for bar in (plain + errors for plain, _, errors in told))
    assert not any("Warning" in errors for _, _, errors in told)
    assert "run catalogue complete: 106 songs found, 14 missing, 0 failed" in shown
    assert "('complete', True)" in shown
    assert "found      106" in shown
    assert "(1, 'What a Wonderful World')" in shown


def test_notebook_takes_an_api_that_runs(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve nothing where SAMPLE_SONG_URL names an API."""
    url = "http://127.0.0.1:9/{song_num}"
    monkeypatch.setenv("SAMPLE_SONG_URL", url)
    notebook.cells = notebook.cells[:3]

    assert execute(notebook)[-1][0] == repr(url)


def test_notebook_is_kept_clean(notebook: Any) -> None:
    """Keep no output and no count of somebody's own run in the repository."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []
