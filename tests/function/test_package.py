"""Check the package as its users have it: built, installed outside the clone, and run there on old and new Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from servers import datasette_available
from servers.process import clean_environment

from crawler.core.settings import VERSION
from examples.song_api import song_api

ROOT = Path(__file__).parents[2]
UV = (sys.executable, "-m", "uv", "--quiet")
MINORS = range(10, 15)
CRAWL = """
import json

import crawler
from crawler import crawl

def request_song_info(session, song_num):
    response = session.get({url!r}.format(song_num=song_num))
    response.raise_for_status()
    return response.json()["rows"][0]["title"]

if __name__ == "__main__":
    songs = crawl(request_song_info, range(1, 21))
    counts = [len(songs), len(songs.missing), len(songs.failed)]
    print(json.dumps([crawler.__version__, crawler.__file__, *counts]))
"""


def uv(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run uv with the environment as it is: that says where packages come from."""
    argv = [*UV, *map(str, arguments)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def minor_of(interpreter: Path) -> int | None:
    """Ask an interpreter which Python 3 it is; None where it doesn't start, as a shim of pyenv's may not."""
    argv = [str(interpreter), "-I", "-c", "import ssl, sys; print(sys.version_info[1])"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)
    return int(done.stdout) if done.returncode == 0 else None


@cache
def interpreters() -> dict[int, Path]:
    """Find an interpreter of each version that the package is for: on PATH, and where pyenv keeps its own."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = [Path(found) for minor in MINORS if (found := shutil.which(f"python3.{minor}"))]
    kept = [found for minor in MINORS for found in sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
    asked = [(minor_of(interpreter), interpreter) for interpreter in [*on_path, *kept, Path(sys.executable)]]
    return {minor: interpreter for minor, interpreter in asked if minor is not None and minor in MINORS}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, in an environment of its own; skip where no package can be had for that."""
    folder = tmp_path_factory.mktemp("wheel")
    reached = uv("pip", "install", "--dry-run", "--target", folder / "probe", "hatchling", check=False)
    if reached.returncode:
        pytest.skip(f"no package can be installed here: {(reached.stderr.strip() or '?').splitlines()[-1]}")
    uv("build", "--wheel", "--out-dir", folder, "--python", sys.executable, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def song_url() -> Iterator[str]:
    """Serve the sample API from the clone."""
    if reason := datasette_available():
        pytest.skip(reason)
    with song_api() as url:
        yield url


class Installed:
    """The package in a virtual environment, run from a folder outside the clone."""

    def __init__(self, interpreter: Path, wheel: Path, folder: Path, *options: str) -> None:
        """Make the environment and install the wheel."""
        self.scripts = folder / "venv" / "bin"
        self.folder = folder / "work"
        self.folder.mkdir()
        uv("venv", "--python", interpreter, folder / "venv")
        uv("pip", "install", "--python", self.scripts / "python", *options, wheel)

    def run(self, program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs to its end."""
        env = clean_environment(str(self.folder), {"ALLOW_PRIVATE_UPSTREAM": "1", **settings})
        argv = [str(self.scripts / program), *arguments]
        return subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, encoding="utf-8", check=False)


def files_of_the_package() -> set[str]:
    """List the files of crawler/, compiled ones apart."""
    files = {path for path in (ROOT / "crawler").rglob("*") if path.is_file()}
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Pack every file of crawler/, its pages and py.typed too, under the project's version; no test and no example."""
    about = f"songcrawl-{VERSION}.dist-info/"
    with ZipFile(wheel) as packed:
        names = set(packed.namelist())
        entry_points = packed.read(f"{about}entry_points.txt").decode()
    files = files_of_the_package()

    assert {"crawler/py.typed", "crawler/entrypoints/http/html/page.html"} <= files
    assert {name for name in names if not name.startswith(about)} == files
    assert f"{about}licenses/LICENSE" in names
    assert entry_points.splitlines() == ["[console_scripts]", "songcrawl = crawler.__main__:songcrawl"]


@pytest.mark.parametrize("age", ["oldest", "newest"])
def test_crawls_outside_the_clone(wheel: Path, song_url: str, tmp_path: Path, age: str) -> None:
    """Give the command, with the working folder's own function too, and the import, in an environment of their own."""
    found = interpreters()
    if age == "newest" and len(found) == 1:
        pytest.skip("there is one Python here between 3.10 and 3.14, which is the oldest too")
    installed = Installed(found[(min if age == "oldest" else max)(found)], wheel, tmp_path)
    (installed.folder / "mine.py").write_text(CRAWL.format(url=song_url))
    declared = installed.run("songcrawl", "crawl", "1-20", SONG_URL=song_url, SONG_INFO="rows[0].title")
    own = installed.run("songcrawl", "crawl", "1-20", "--run=own", SONG_FUNCTION="mine:request_song_info")
    imported = installed.run("python", "mine.py")

    assert [(figures(done), done.stderr) for done in (declared, own)] == [(("complete", 18, 2, 0), "")] * 2
    version, place, *counts = json.loads(imported.stdout)
    assert (version, counts) == (VERSION, [18, 2, 0])
    assert Path(place).is_relative_to(tmp_path / "venv")


def test_command_tells_its_own_name(wheel: Path, tmp_path: Path) -> None:
    """Call itself in the help what it was called by: songcrawl here, `python -m crawler` there."""
    installed = Installed(Path(sys.executable), wheel, tmp_path)
    command, module = installed.run("songcrawl", "--help"), installed.run("python", "-m", "crawler", "--help")

    assert command.stdout.startswith("usage: songcrawl ")
    assert "\n  songcrawl crawl 1-10000 --run first\n" in command.stdout
    assert command.stdout.replace("songcrawl", "python -m crawler") == module.stdout


def test_command_alone_says_what_it_lacks(wheel: Path, tmp_path: Path) -> None:
    """Say in one sentence what to do where the package came without what it needs."""
    installed = Installed(Path(sys.executable), wheel, tmp_path, "--no-deps")
    done = installed.run("songcrawl", "settings")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("songcrawl: msgspec is not installed in this Python; activate ")
    assert done.stderr.count("\n") == 1


def figures(done: subprocess.CompletedProcess[str]) -> tuple[Any, ...]:
    """Read the state and the counts of the answer that a crawl printed."""
    answer = json.loads(done.stdout or "{}")
    return tuple(answer.get(name) for name in ("state", "found", "missing", "failed"))
