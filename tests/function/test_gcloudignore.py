"""Check that a deployment uploads the function and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = (
    ".env",
    ".git/config",
    ".venv/lib/python3.12/site-packages/crawler/main.py",
    "README.md",
    "build/run/function.log",
    "crawler/.DS_Store",
    "crawler/.env",
    "crawler/__pycache__/run.cpython-312.pyc",
    "crawler/engine/.run.py.swp",
    "crawler/engine/__pycache__/left.py",
    "crawler/engine/run.pyc",
    "crawler/key.json",
    "examples/main.py",
    "main.pyc",
    "requirements/requirements.txt",
    "songs/runs/trial/run.json",
    "tests/crawler/test_run.py",
)


def listed(argv: list[str], tree: Path, **environment: str) -> set[str]:
    """Run a command that lists files, one a line, in the tree."""
    done = subprocess.run(
        argv, cwd=tree, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return set(done.stdout.decode().splitlines())


def by_gcloud(tree: Path, scratch: Path) -> set[str]:
    """List what gcloud itself would upload."""
    return listed(["gcloud", "meta", "list-files-for-upload"], tree, CLOUDSDK_CONFIG=str(scratch))


def by_git(tree: Path, scratch: Path) -> set[str]:
    """List what git would not ignore if .gcloudignore, whose language is git's, were its only ignore file."""
    subprocess.run(["git", "init", "--quiet", "--bare", scratch], check=True)
    git = ["git", f"--git-dir={scratch}", f"--work-tree={tree}", "-c", "core.quotePath=off"]
    return listed([*git, "ls-files", "--others", "--exclude-from=.gcloudignore"], tree)


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy what is deployed and plant what must not be."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "crawler", tree / "crawler", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("main.py", "requirements.txt", ".gcloudignore"):
        shutil.copy(ROOT / name, tree)
    for name in PLANTED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("secret\n")
    return tree


@pytest.mark.parametrize(
    "upload_list",
    [pytest.param(by_gcloud, id="gcloud", marks=needs("gcloud")), pytest.param(by_git, id="git", marks=needs("git"))],
)
def test_only_the_function_is_uploaded(
    tree: Path, tmp_path: Path, upload_list: Callable[[Path, Path], set[str]]
) -> None:
    """Upload main.py, requirements.txt and every file of crawler/, and nothing that happens to lie beside them."""
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}

    assert upload_list(tree, tmp_path / "scratch") == files - {*PLANTED, ".gcloudignore"}
