"""Check that verify finds, and names, any one thing that is wrong in a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns.mutations import FAILED_SONG, MISSING_SONG, MUTATIONS, PART_SONGS, SONGS, Mutation
from servers import Page, Upstream, error, missing, song

from crawler.entrypoints.cli import main


def pages(song_num: int, _nth: int) -> Page:
    """Serve one missing and one failed song among the others."""
    others = {MISSING_SONG: missing(), FAILED_SONG: error(400)}
    return others.get(song_num) or song(song_num)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crawl a run into a folder, once."""
    output = tmp_path_factory.mktemp("songs")
    options = {"output": output, "part-songs": PART_SONGS, "max-per-second": 0, "allow-private-upstream": 1}
    with Upstream(pages) as upstream:
        arguments = [f"--{name}={value}" for name, value in {**options, "song-url": upstream.url}.items()]
        assert main(["crawl", f"1-{SONGS}", "--run=whole", *arguments]) == 0
    return output / "runs" / "whole"


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, str]]:
    """Verify a run; gives the exit code and all that was said."""

    def run_verify(run: Path) -> tuple[int, str]:
        code = main(["verify", str(run)])
        return code, "".join(capsys.readouterr())

    return run_verify


def test_whole_run_has_no_fault(whole_run: Path, verify: Callable[[Path], tuple[int, str]]) -> None:
    """Find nothing wrong in a run that nobody touched."""
    code, said = verify(whole_run)

    assert code == 0
    assert '"faults": []' in said


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.title)
def test_mutation_is_found_and_named(
    mutation: Mutation, whole_run: Path, tmp_path: Path, verify: Callable[[Path], tuple[int, str]]
) -> None:
    """Exit 1 and name the object, and the numbers where some are at fault, whatever was done to it."""
    run = tmp_path / "runs" / "whole"
    shutil.copytree(whole_run, run)
    mutation.apply(run)

    code, said = verify(run)
    assert code == 1
    assert [name for name in mutation.names if name not in said] == []
