"""Start the real servers that the tests run against."""

from servers.datasette import datasette, datasette_available
from servers.fake_gcs import fake_gcs, fake_gcs_available
from servers.function import function_server
from servers.pages import (
    Page,
    Pages,
    cut,
    drip,
    error,
    hang,
    html,
    missing,
    raw,
    reset,
    song,
    songs_to,
    throttled,
)
from servers.process import ServerFailedError, ServerProcess, free_port
from servers.traffic import OTHER_PATH, Request
from servers.upstream import Upstream

__all__ = [
    "OTHER_PATH",
    "Page",
    "Pages",
    "Request",
    "ServerFailedError",
    "ServerProcess",
    "Upstream",
    "cut",
    "datasette",
    "datasette_available",
    "drip",
    "error",
    "fake_gcs",
    "fake_gcs_available",
    "free_port",
    "function_server",
    "hang",
    "html",
    "missing",
    "raw",
    "reset",
    "song",
    "songs_to",
    "throttled",
]
