"""The upstream: a real nginx of its own, without root and on free ports, that answers at once or after a while."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme
from servers.process import HOST, ServerProcess, free_port

from bench.song import TEMPLATE

DELAYS_MS = (50, 100, 200)

# nginx itself has no delay: Debian's nginx-light brings the echo module, which sleeps without holding a worker.
_ECHO = "ngx_http_echo_module.so"

# One worker answers some 200,000 requests a second, five times what any client here asks for; the keep-alive limits
# are lifted because a crawl's connections should end when it does.
_CONFIGURATION = """
load_module {echo};
daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ssl_certificate server.pem;
    ssl_certificate_key server.pem;
    server {{
        listen {host}:{port} backlog=4096;
        listen {host}:{tls_port} ssl http2 backlog=4096;
        location ~ ^/songs/(?<song>[0-9]+)$ {{ return 200 '{song}'; }}
{delays}
    }}
}}
"""
_DELAY = "        location ~ ^/after-{ms}ms(?<rest>/.*)$ {{ echo_sleep {seconds}; echo_exec $rest; }}"


@dataclass(frozen=True)
class Upstream:
    """A running nginx: over TLS it offers HTTP/2, with a certificate of the authority in the file `ca`."""

    server: ServerProcess
    tls_port: int
    ca: Path

    def url(self, delay_ms: int = 0, *, tls: bool = False) -> str:
        """Return the URL template of the songs that come after so many milliseconds, one of DELAYS_MS or 0."""
        origin = f"https://{HOST}:{self.tls_port}" if tls else self.server.url
        return f"{origin}{f'/after-{delay_ms}ms' if delay_ms else ''}/songs/{{song_num}}"


def nginx_available() -> str | None:
    """Return why there can be no upstream here, or None when there can."""
    program = _program()
    if program is None:
        return "nginx is not installed"
    return None if _echo_module(program).exists() else f"nginx has no {_ECHO}: install Debian's nginx-light"


@contextmanager
def nginx_upstream(folder: Path) -> Iterator[Upstream]:
    """Run nginx on a folder of its own, emptied before."""
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port, tls_port = free_port(), free_port()
    _write_certificates(folder)
    program = _program()
    assert program, nginx_available()
    configuration = _CONFIGURATION.format(
        echo=_echo_module(program),
        host=HOST,
        port=port,
        tls_port=tls_port,
        song=TEMPLATE,
        delays="\n".join(_DELAY.format(ms=ms, seconds=ms / 1000) for ms in DELAYS_MS),
    )
    (folder / "nginx.conf").write_text(configuration, encoding="utf-8")
    argv = [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with ServerProcess(argv, port) as server:
        yield Upstream(server, tls_port, folder / "ca.pem")


def _write_certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))


@cache
def _program() -> str | None:
    # Debian keeps it where only root's PATH leads.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@cache
def _echo_module(program: str) -> Path:
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"--modules-path=(\S+)", said)
    return Path(found[1] if found else "/usr/lib/nginx/modules", _ECHO)
