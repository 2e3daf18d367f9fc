"""Try the function on this machine as the cloud would run it, against the sample song API.

`run` makes one call, shows what came of it and ends; `serve` leaves both running until Ctrl-C. The songs lie in
build/run or build/serve, which is emptied at each start.
"""

import argparse
import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

from examples.song_api import HOST, SongApiError, song_api

MAIN = Path(__file__).resolve().parents[1] / "main.py"
CRAWL = '{"songs": "1-400"}'
SONG_INFO = "rows[0].{title: title, artist: artist, year: year}"
# What a program needs to run at all. The settings are the sample's alone, whatever the shell has exported.
INHERITED = ("PATH", "LANG", "TMPDIR", "SYSTEMROOT")
ROWS_SHOWN = 10
LOG_LINES_SHOWN = 10
PAUSE_SECONDS = 0.1
START_SECONDS = 60.0
CALL_SECONDS = 120.0
STOP_SECONDS = 3.0


class TryError(Exception):
    """The function could not be tried; the text is one sentence that says why."""


@dataclass(frozen=True)
class _Function:
    process: subprocess.Popen[bytes]
    port: int
    log: Path | None  # None: the terminal

    @property
    def curl(self) -> str:
        return f"curl -d '{CRAWL}' http://{HOST}:{self.port}/"

    def failure(self, what: str) -> TryError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log else []
        return TryError("\n  ".join([f"the function {what}", *lines[-LOG_LINES_SHOWN:]]))


class _Interrupts:
    """Turn a signal into KeyboardInterrupt where `allowed`: amid the start of a server it would leave one running."""

    def __init__(self) -> None:
        self.received = False
        self._raises = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP; nohup and & set some to be ignored.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a signal end the block, one that came before too."""
        self._raises = True
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0, 1 if it failed, 130 if a signal ended it before its time."""
    options = _parser().parse_args(arguments)
    interrupts = _Interrupts()
    try:
        options.command(options, interrupts)
    except KeyboardInterrupt:
        return 130
    except (TryError, SongApiError, OSError, http.client.HTTPException) as error:
        if interrupts.received:  # Ctrl-C in a terminal ends the sample song API too, in the midst of its start.
            return 130
        print(f"\nThis did not work: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m examples.try_function", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="make one call, show what came of it and end")
    run.set_defaults(command=_run)
    serve = commands.add_parser("serve", help="leave the sample song API and the function running until Ctrl-C")
    serve.add_argument("--port", type=int, default=8080, help="where the function listens (default: 8080)")
    serve.set_defaults(command=_serve)
    return parser


def _run(_: argparse.Namespace, interrupts: _Interrupts) -> None:
    folder = _emptied(Path("build", "run"))
    output = folder / "songs"
    with _servers(output, 0, folder / "function.log", interrupts) as function:
        _show("The call", [function.curl])
        status, body = _call(function)
        _show(f"The answer: {status.value} {status.phrase}", _pretty(body).splitlines())
        if status != http.HTTPStatus.OK:
            raise function.failure("did not answer 200 OK.")
    _show_rows(output, _show_objects(output))


def _serve(options: argparse.Namespace, interrupts: _Interrupts) -> None:
    output = _emptied(Path("build", "serve")) / "songs"
    with suppress(KeyboardInterrupt), _servers(output, options.port, None, interrupts) as function:
        _show("The function; try it in a second terminal", [function.curl])
        _show(f"The songs will lie in {output}. Ctrl-C ends both servers. The function's log:", [])
        raise function.failure(f"ended by itself, with code {function.process.wait()}.")


@contextmanager
def _servers(output: Path, port: int, log: Path | None, interrupts: _Interrupts) -> Iterator[_Function]:
    with song_api() as song_url, _function(song_url, output, port, log) as function, interrupts.allowed():
        _wait_until_up(function)
        _show("The sample song API", [song_url])
        yield function


def _emptied(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _function(song_url: str, output: Path, port: int, log: Path | None) -> Iterator[_Function]:
    port = _free_port(port)
    # gunicorn keeps a socket in its home, which is not to be the user's.
    with tempfile.TemporaryDirectory(prefix="songcrawl-home-") as home:
        process = _launch(port, _environment(song_url, output, home), log)
        try:
            yield _Function(process, port, log)
        finally:
            _stop(process)


def _free_port(wanted: int) -> int:
    """Return the port, or any free one for 0; raises TryError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except (OSError, OverflowError) as error:
            raise TryError(f"port {wanted} can't be used ({error}). Name another: PORT=8081 make serve") from error
        port: int = probe.getsockname()[1]
        return port


def _environment(song_url: str, output: Path, home: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    settings = {"SONG_URL": song_url, "SONG_INFO": SONG_INFO, "OUTPUT": str(output), "ALLOW_PRIVATE_UPSTREAM": "1"}
    # The sample song API is one process beside this one: a hundred requests at once would time out on a busy machine.
    return {**inherited, **settings, "MAX_AT_ONCE": "20", "HOME": home}


def _launch(port: int, environment: dict[str, str], log: Path | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-u", "-m", "functions_framework", "--target", "crawl", "--source", str(MAIN)]
    command += ["--host", HOST, "--port", str(port)]
    with log.open("wb") if log else nullcontext() as lines:
        # A session of its own, so that Ctrl-C is ours alone to pass on, and its workers can be ended with it.
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )


def _wait_until_up(function: _Function) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(function.port):
        if function.process.poll() is not None:
            raise function.failure(f"ended before it was up, with code {function.process.returncode}.")
        if time.monotonic() > deadline:
            raise function.failure(f"was not up after {START_SECONDS:g} seconds.")
        time.sleep(PAUSE_SECONDS)


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection(HOST, port, timeout=1)) as connection:
        try:
            connection.request("GET", "/", headers={"Accept": "text/html"})  # the page: nothing is crawled for it
            return bool(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):  # Nobody is left; macOS says EPERM where only zombies are.
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _call(function: _Function) -> tuple[http.HTTPStatus, str]:
    with closing(http.client.HTTPConnection(HOST, function.port, timeout=CALL_SECONDS)) as connection:
        connection.request("POST", "/", CRAWL, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return http.HTTPStatus(response.status), response.read().decode()


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


def _show_objects(output: Path) -> list[Path]:
    # A folder keeps each object's metadata beside it in a file whose name starts with a dot.
    objects = sorted(path for path in output.rglob("[!.]*") if path.is_file())
    lines = [f"{path.stat().st_size:>6,} bytes  {path.relative_to(output)}" for path in objects]
    _show(f"The objects in {output}", lines)
    return objects


def _show_rows(output: Path, objects: Iterable[Path]) -> None:
    first = next(path for path in objects if path.name.startswith("songs-"))
    with gzip.open(first, "rt", encoding="utf-8") as rows:
        title = f"The first rows: gunzip -c {output}/runs/*/songs-*.gz | head"
        _show(title, [row.rstrip("\n") for row in islice(rows, ROWS_SHOWN)])


def _show(title: str, lines: Iterable[str]) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{title}{plain}", *(f"  {line}" for line in lines), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
