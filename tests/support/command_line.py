"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from servers.process import clean_environment

import crawler

ROOT = Path(crawler.__file__).parent.parent


class CommandLine:
    """Run the command line in a folder, with settings from an environment of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        """Keep both."""
        self.folder = folder
        self.environ = environ

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m crawler`, warnings being errors, to its end."""
        env = clean_environment(str(self.folder), {"PYTHONPATH": str(ROOT), **self.environ})
        argv = [sys.executable, "-W", "error", "-m", "crawler", *arguments]
        return subprocess.run(argv, env=env, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
