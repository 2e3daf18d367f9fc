"""Serve songs with nginx, over TLS, in HTTP/2 or without it."""

from __future__ import annotations

import shutil
from pathlib import Path

from servers.process import HOST, ServerProcess, free_port

# Each song says how it was asked for: the protocol, and which of nginx's connections brought the request.
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port} ssl{http2};
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        keepalive_requests {keepalive_requests};
        default_type application/json;
        location ~ ^/songs/(?<song>\\d+)$ {{
            return 200 '{{"id": $song, "protocol": "$server_protocol", "connection": $connection}}';
        }}
    }}
}}
"""


def nginx_available() -> str | None:
    """Say why no nginx can be started, or return None when one can."""
    return None if shutil.which("nginx") else "needs nginx"


def nginx(folder: Path, certificate: Path, *, http2: bool, keepalive_requests: int = 1000) -> ServerProcess:
    """Serve a song for every number at /songs/NUMBER over TLS; `certificate` holds the private key too."""
    port = free_port()
    configuration = _CONFIGURATION.format(
        folder=folder,
        host=HOST,
        port=port,
        http2=" http2" if http2 else "",
        certificate=certificate,
        keepalive_requests=keepalive_requests,
    )
    file = folder / "nginx.conf"
    file.write_text(configuration)
    server = ServerProcess(["nginx", "-e", "stderr", "-p", str(folder), "-c", str(file)], port)
    server.url = server.url.replace("http:", "https:")
    return server
