"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from servers.hostile import tricks

from crawler.core.settings import SETTINGS

ROOT = Path(__file__).parents[2]
PACKAGES = "|".join(path.name for path in (ROOT / "crawler").iterdir() if path.is_dir())


def test_readme_lists_every_setting() -> None:
    """The README's table of settings is the table in the code: names, defaults, meanings, in order."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)

    assert rows == [(s.name, f"`{s.default}`" if s.default else "none", s.help) for s in SETTINGS]


def test_readme_activates_what_it_calls() -> None:
    """Every block of the README that calls the command line activates the virtual environment of `make run` first."""
    blocks = re.findall(r"(?:^    .*\n)+", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    calling = [block for block in blocks if "python -m crawler" in block]

    assert calling
    assert [block for block in calling if not block.lstrip().startswith(". .venv/bin/activate")] == []


def test_every_hostile_page_is_in_its_table() -> None:
    """The table of hostile pages has each page, with what it does; `make hostile` measures it anew."""
    text = (ROOT / "docs/hostile.md").read_text("utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|", text, re.MULTILINE)

    assert rows == [(name, trick.does) for name, trick in tricks(0, "").items()]


def test_documents_name_only_files_that_exist() -> None:
    """Every path that a document puts in backticks is there."""
    named = set()
    for document in ("README.md", "ARCHITECTURE.md", "docs/deploy.md", "docs/hostile.md", "docs/control.md"):
        text = (ROOT / document).read_text("utf-8")
        named |= set(re.findall(r"`((?:crawler|tests|examples|docs)/[\w./]*)`", text))
        named |= {f"crawler/{path}" for path in re.findall(rf"`((?:{PACKAGES})/[\w/]+\.py)`", text)}

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
