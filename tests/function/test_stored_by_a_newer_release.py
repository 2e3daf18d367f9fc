"""Check that a run in a form that only a newer release knows is refused by a sentence, and harms no other."""

from __future__ import annotations

import json
import uuid

import pytest
from support.deployed import Deployed

from crawler.entrypoints.cli import main


def test_a_newer_run_is_refused_and_the_others_are_not(standing: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    """Answer whatever is asked of it with the sentence; list, read and continue the others."""
    newer, other = (f"run-{uuid.uuid4().hex}" for _ in range(2))
    for run in (newer, other):
        standing.crawl("1-3", run=run)
    folder = standing.output / "runs" / newer
    content = json.loads((folder / "run.json").read_bytes())
    (folder / ".run.json.meta").unlink()
    (folder / "run.json").write_text(json.dumps(content | {"version": 4}))
    sentence = (
        f"runs/{newer}/run.json has version 4; this release reads 1 to 3: "
        "use the release that stored it, or a newer one."
    )

    answers = [
        standing.send("GET", f"/runs/{newer}"),
        standing.call("1-3", run=newer),
        standing.call(f"failed:{newer}"),
        standing.send("POST", f"/runs/{newer}/stop"),
    ]
    assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [(500, sentence)] * len(answers)
    listed = [run["run"] for run in standing.send("GET", "/runs?limit=2").json()["runs"]]
    assert listed == [other]
    assert standing.crawl("1-3", run=other)["found"] == 3
    for command in ("status", "verify"):
        assert main([command, str(folder)]) == 1
        assert capsys.readouterr().err == f"songcrawl: {sentence}\n"
