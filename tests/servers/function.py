"""Run the Cloud Function under functions-framework's production server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from servers.process import HOST, ServerProcess, free_port


def function_server(source: Path, env: Mapping[str, str], python: str = sys.executable) -> ServerProcess:
    """Serve the function `crawl` of the source file with gunicorn and only the given environment; `python` runs it."""
    port = free_port()
    arguments = ["--target", "crawl", "--source", str(source.resolve()), "--host", HOST, "--port", str(port)]
    # -u writes each log line at once, as PYTHONUNBUFFERED does on Cloud Run, and keeps the environment as given.
    argv = [python, "-u", "-m", "functions_framework", *arguments]
    return ServerProcess(argv, port, env=env, cwd=source.resolve().parent)
