"""Run a server as a child process that never outlives the test."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"
_POLL_SECONDS = 0.02
_TAIL_LINES = 30
# The guard reads a pipe that only the test process holds open: it sees the end of it however the
# test process dies (SIGKILL too), and takes the server's process group and its folder with it.
# PR_SET_PDEATHSIG would miss grandchildren such as gunicorn's workers, exists on Linux alone, and
# needs a preexec_fn, which Python warns about as soon as the test process has threads.
_GUARD = 'read -r _; kill -s KILL -- "-$1"; rm -rf -- "$2"'


class ServerFailedError(RuntimeError):
    """Tell that a server ended or stayed silent when the test needed it."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nothing listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def clean_environment(home: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's PATH and LANG, the given HOME and the given variables."""
    standard = {"PATH": os.environ.get("PATH", os.defpath), "LANG": os.environ.get("LANG", "C.UTF-8")}
    return {**standard, "HOME": home, **(extra or {})}


def accepts(port: int) -> bool:
    """Say whether a server accepts TCP connections on the port."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as sock:
            # A connection to a closed ephemeral port can, by chance, be a connection to itself.
            return bool(sock.getsockname() != sock.getpeername())
    except OSError:
        return False


def answers(port: int, path: str) -> bool:
    """Say whether a server answers a GET of the path with status 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class ServerProcess:
    """Run one server, its own children included, and keep its logs and home folder until it is closed."""

    def __init__(
        self,
        argv: Sequence[str],
        port: int,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[], bool] | None = None,
        timeout: float = 20.0,
    ) -> None:
        """Start the server with a clean environment and the given variables, and wait until it is ready."""
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._name = " ".join(argv[:4])
        self._folder = tempfile.TemporaryDirectory(prefix="songcrawl-server-")
        # gunicorn writes to HOME and cloud libraries read credentials there: it must not be the developer's.
        self._start(argv, clean_environment(self._folder.name, env), cwd)
        try:
            self._wait_until(ready or (lambda: accepts(port)), timeout, "become ready")
        except BaseException:
            self.close(grace=0)
            raise

    def __enter__(self) -> ServerProcess:
        """Return this running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server and delete its logs and home folder."""
        self.close()

    @property
    def pid(self) -> int:
        """Return the process id of the server, which is its process group's id too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the server's exit code, or None while it runs."""
        return self._process.poll()

    def stdout_lines(self) -> list[str]:
        """Return the lines that the server has written to standard output."""
        return _lines(self._read("stdout"))

    def stderr_lines(self) -> list[str]:
        """Return the lines that the server has written to standard error."""
        return _lines(self._read("stderr"))

    def wait_for_line(self, text: str, timeout: float = 10.0) -> str:
        """Wait for a finished line holding the text on either output and return that line."""
        self._wait_until(lambda: self._line_with(text) is not None, timeout, f"write {text!r}")
        return self._line_with(text) or ""

    def pause(self) -> None:
        """Freeze the server with SIGSTOP."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on with SIGCONT."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """End the server at once with SIGKILL."""
        self.stop(grace=0)

    def stop(self, grace: float = 5.0) -> int:
        """End the server with SIGTERM, then after the grace with SIGKILL, and return its exit code."""
        if self._process.poll() is None and grace > 0:
            self._terminate(grace)
        # What is left of the group when its first process has ended is killed as well.
        self._signal_group(signal.SIGKILL)
        code = self._process.wait()
        self._dismiss_guard()
        self._await_group_end()
        return code

    def close(self, grace: float = 2.0) -> None:
        """End the server and delete its logs and home folder."""
        try:
            self.stop(grace)
        finally:
            self._folder.cleanup()

    def _start(self, argv: Sequence[str], env: dict[str, str], cwd: Path | None) -> None:
        # Every process of the group inherits the write end: its end of file is the group's end.
        self._group, held = os.pipe()
        try:
            with self._log("stdout").open("wb") as out, self._log("stderr").open("wb") as err:
                self._process = subprocess.Popen(
                    argv,
                    env=env,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    pass_fds=(held,),
                )
        except BaseException:
            os.close(self._group)
            self._folder.cleanup()
            raise
        finally:
            os.close(held)
        self._guard = _guard(self._process.pid, self._folder.name)

    def _terminate(self, grace: float) -> None:
        # A stopped process does not see SIGTERM before it goes on.
        self._signal_group(signal.SIGCONT)
        self._process.terminate()
        self._ended_within(grace)

    def _signal_group(self, number: signal.Signals) -> None:
        # Darwin answers EPERM for a group of which only zombies are left.
        if self._group >= 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _await_group_end(self, timeout: float = 5.0) -> None:
        if self._group < 0:
            return
        poll = select.poll()
        poll.register(self._group, select.POLLIN)
        ended = poll.poll(timeout * 1000)
        os.close(self._group)
        self._group = -1
        if not ended:
            raise ServerFailedError(f"{self._name} left a process behind")

    def _dismiss_guard(self) -> None:
        with self._guard:
            self._guard.kill()

    def _ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _wait_until(self, state: Callable[[], bool], timeout: float, verb: str) -> None:
        deadline = time.monotonic() + timeout
        while not state():
            if self._ended_within(_POLL_SECONDS) and not state():
                raise self._failure(f"ended with code {self._process.returncode} and did not {verb}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not {verb} within {timeout:g} s")

    def _failure(self, what: str) -> ServerFailedError:
        tail = "\n".join(self.stderr_lines()[-_TAIL_LINES:])
        return ServerFailedError(f"{self._name} {what}; its last standard error lines:\n{tail}")

    def _line_with(self, text: str) -> str | None:
        finished = (self._read(name).rpartition("\n")[0] for name in ("stdout", "stderr"))
        return next((line for log in finished for line in _lines(log) if text in line), None)

    def _log(self, name: str) -> Path:
        return Path(self._folder.name, name)

    def _read(self, name: str) -> str:
        return self._log(name).read_text(encoding="utf-8", errors="replace")


def _guard(group: int, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(group), folder],
        env={"PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _lines(text: str) -> list[str]:
    # str.splitlines would also cut at the form feeds and Unicode separators inside a log line.
    return text.removesuffix("\n").split("\n") if text else []
