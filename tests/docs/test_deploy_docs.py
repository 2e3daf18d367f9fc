"""docs/deploy.md says what deploy.sh does and what it costs."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import pytest
from support.deploying import ROOT, Copy, flags, settings_passed

from crawler.core.settings import Settings
from crawler.runs.cost import USD_PER_CREATE, USD_PER_READ, USD_PER_REQUEST, cost_usd

TEXT = (ROOT / "docs" / "deploy.md").read_text("utf-8")
NIGHTS = 30

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def number(text: str) -> float:
    """Read 1,000,000 or 50 s or $0.04."""
    return float(re.sub(r"[^0-9.]", "", text))


def test_costs_are_the_codes() -> None:
    """Price each row of the table anew: its time, its parts and its dollars."""
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+ s) \| ([\d,]+) \| (\$[\d.]+) \|$", TEXT, re.MULTILINE)

    assert len(rows) == 5
    assert f"{rows[0][0]} songs a night cost {rows[0][4][3:]} cents" in (ROOT / "README.md").read_text("utf-8")
    for songs, rate, seconds, parts, usd in (map(number, row) for row in rows):
        part_songs = Settings.from_environ({"MAX_PER_SECOND": f"{rate:g}"}).songs_per_part()
        assert (seconds, parts) == (songs / rate, math.ceil(songs / part_songs))
        assert usd == round(NIGHTS * cost_usd(seconds, int(parts)), 2)


def test_single_prices_are_the_codes() -> None:
    """Give the price of a second, an object and a call as the code has them."""
    second = cost_usd(1, 0) - USD_PER_REQUEST
    prices = [f"${price:.10f}".rstrip("0") for price in (second, USD_PER_CREATE + USD_PER_READ, USD_PER_REQUEST)]

    assert [price for price in prices if price not in TEXT] == []


@needs_bash
def test_the_env_file_of_the_page_deploys(tmp_path: Path) -> None:
    """Take the page's .env as it stands there, into settings that the function reads as they were meant."""
    copy = Copy.make(tmp_path)
    (written,) = re.findall(r"^cat > \.env <<'END'\n(.*?)^END$", TEXT, re.MULTILINE | re.DOTALL)
    (copy.folder / ".env").write_text(written)

    outcome = copy.run(GCLOUD_PROJECT="my-project-123")

    settings = Settings.from_environ(settings_passed(outcome.command("functions", "deploy")))
    assert (settings.song_missing, settings.song_retry) == ("error.code == `800`", "error.code == `4`")
    assert (settings.max_per_second, settings.output) == (10, "gs://my-project-123-songs")
    assert flags(outcome.command("scheduler", "jobs", "create"))["schedule"] == "0 3 * * *"


@needs_bash
def test_roles_are_the_scripts(tmp_path: Path) -> None:
    """List each role that the script binds, and no other."""
    everything = {"FAN_OUT": "1", "HEADERS_SECRET": "keys", "SONG_HEADERS": "{}", "SONG_URL": "https://a.b/{song_num}"}
    outcome = Copy.make(tmp_path).run(PROJECT="fake-project", **everything)

    bound = [flags(c) for c in outcome.commands if any(word.endswith("policy-binding") for word in c)]
    made = sorted((f["member"].split(":")[1].split("@")[0], f.get("role", "roles/run.invoker")) for f in bound)
    assert sorted(re.findall(r"^\| (songcrawl-\w+) \| [^|]+ \| `([^`]+)` \|", TEXT, re.MULTILINE)) == made
