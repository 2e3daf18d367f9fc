"""Start the real servers that the tests run against."""

from servers.catalogue import TRACKS, read_titles, title, write_catalogue
from servers.datasette import datasette, datasette_available
from servers.fake_gcs import fake_gcs, fake_gcs_available
from servers.function import function_server
from servers.nginx import nginx, nginx_available
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
    "TRACKS",
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
    "nginx",
    "nginx_available",
    "raw",
    "read_titles",
    "reset",
    "song",
    "songs_to",
    "throttled",
    "title",
    "write_catalogue",
]
