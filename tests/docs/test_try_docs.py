"""Hold what docs/sources.md shows of `songcrawl try` to what it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from servers import Upstream
from servers.dialects import GitHub

from crawler.app.source_file import settings_in, source_text
from crawler.entrypoints.cli import main

PAGE = (Path(__file__).parents[2] / "docs/sources.md").read_text("utf-8")
SHOWN = re.search(r"## Try one song first\n.*?```console\n\$ songcrawl (.*?)\n(.*?)```", PAGE, re.DOTALL)

# What is of the moment: how long it took, when the quota begins anew.
MOMENTS = (r"in [0-9.]+ s$", r"reset: [0-9]{10}", r"anew in [0-9]+ s")


def timeless(text: str) -> str:
    """Leave out what is of the moment."""
    for moment in MOMENTS:
        text = re.sub(moment, "...", text, flags=re.MULTILINE)
    return text


def test_output_of_try_is_a_real_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Show what the command prints, of a server that answers as the source's API does."""
    assert SHOWN
    command, text = shlex.split(SHOWN[1]), SHOWN[2]
    real = settings_in(source_text("github-repositories"), "")["SONG_URL"]
    with Upstream(GitHub()) as upstream:
        monkeypatch.setenv("SONG_URL", upstream.url)
        monkeypatch.setenv("ALLOW_PRIVATE_UPSTREAM", "1")
        code = main(command)
        printed = capsys.readouterr().out.replace(upstream.url_of(77), real.replace("{song_num}", "77"))
        printed = printed.replace(f"127.0.0.1:{upstream.port}", "api.github.com")

    assert code == 0
    assert timeless(printed) == timeless(text)
