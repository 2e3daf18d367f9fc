"""Run Datasette, a real JSON API over a SQLite file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from servers.process import HOST, ServerProcess, answers, free_port


def datasette_available() -> str | None:
    """Return why Datasette cannot run here, or None when it can."""
    return None if importlib.util.find_spec("datasette") else "datasette is not installed"


def datasette(database: Path) -> ServerProcess:
    """Serve the SQLite file with Datasette."""
    from examples.song_api import DATASETTE  # our own servers import this package without the repository in their path

    port, file = free_port(), database.resolve()
    argv = [*DATASETTE, "serve", str(file), "--host", HOST, "--port", str(port)]
    # Python looks in the working directory first, where this module would hide the real datasette.
    return ServerProcess(argv, port, cwd=file.parent, ready=lambda: answers(port, "/-/versions.json"))
