"""Serve songs.csv on 127.0.0.1 as a JSON web API keyed by an integer, with Datasette as the server."""

import argparse
import csv
import http.client
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SONGS_CSV = Path(__file__).with_name("songs.csv")
HOST = "127.0.0.1"
PAUSE_SECONDS = 0.1
START_TRIES = 300
BIND_TRIES = 5
REMOVE_TRIES = 20
STOP_SECONDS = 5.0

# Datasette prints every 404 with `rich`, where that is installed: half a second of CPU for each song that is missing.
DATASETTE = (
    sys.executable,
    "-c",
    "import sys; sys.modules['rich'] = None; from datasette.cli import cli; cli(prog_name='datasette')",
)


class SongApiError(Exception):
    """The songs cannot be served; the text is one sentence that says why."""


class PortTakenError(SongApiError):
    """Datasette could not bind its port."""


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    note: str

    @property
    def url_template(self) -> str:
        return f"http://{HOST}:{self.port}/songs/songs/{{song_num}}.json?_shape=objects"


@contextmanager
def song_api(port: int = 0) -> Iterator[str]:
    """Serve the songs while the block runs and yield the URL template of one record."""
    with _serving(port) as server:
        yield server.url_template


def build_database(path: Path) -> None:
    """Write the table of songs to a new SQLite database."""
    with SONGS_CSV.open(encoding="utf-8", newline="") as lines, closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE songs (song_num INTEGER PRIMARY KEY, title TEXT, artist TEXT, year INTEGER)")
        songs = csv.DictReader(lines)
        database.executemany("INSERT INTO songs VALUES (:song_num, :title, :artist, :year)", songs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the songs until a signal asks for the end."""
    port = _parse(arguments)
    received = _record_signals()
    try:
        with _serving(port) as server:
            _announce(server, received)
            _wait_for_signal(server, received)
    except SongApiError as error:
        if not received:  # Ctrl-C in a terminal ends Datasette too: that is no failure.
            print(error, file=sys.stderr)
            return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=_port_number, default=0, help="port to listen on; 0 (default) picks a free one")
    port: int = parser.parse_args(arguments).port
    return port


def _port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not between 0 and 65535")
    return port


def _record_signals() -> list[int]:
    # The handler only notes the signal: raising could strike between Datasette's start and its record
    # here and leave it running, and setting a threading.Event can deadlock with the wait it interrupts.
    received: list[int] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            continue  # Not known on this system, or started by nohup.
        signal.signal(number, lambda number, _frame: received.append(number))
    return received


def _announce(server: _Server, received: list[int]) -> None:
    if not received:
        print(f"SONG_URL={server.url_template}", flush=True)


def _wait_for_signal(server: _Server, received: list[int]) -> None:
    while not received:
        if server.process.poll() is not None:
            raise SongApiError(f"Datasette ended while it served the songs: {_last_words(server.log)}")
        time.sleep(PAUSE_SECONDS)


@contextmanager
def _serving(port: int) -> Iterator[_Server]:
    with _temporary_folder() as folder:
        build_database(folder / "songs.db")
        server = _start_on(folder, port) if port else _start_on_free_port(folder)
        try:
            yield server
        finally:
            _stop(server.process)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="songcrawl-songs-"))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    # Windows lets go of the files of an ended process only after a moment.
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(PAUSE_SECONDS)


def _start_on_free_port(folder: Path) -> _Server:
    for _ in range(BIND_TRIES - 1):
        with suppress(PortTakenError):
            return _start_on(folder, _free_port())
    return _start_on(folder, _free_port())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _start_on(folder: Path, port: int) -> _Server:
    server = _launch(folder, port)
    try:
        _wait_until_up(server)
    except BaseException:
        _stop(server.process)
        raise
    return server


def _launch(folder: Path, port: int) -> _Server:
    note = secrets.token_hex(16)
    command = [*DATASETTE, "serve", "--immutable", "songs.db"]
    command += ["--host", HOST, "--port", str(port), "--version-note", note]
    log = folder / "datasette.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
    return _Server(process, port, log, note)


def _wait_until_up(server: _Server) -> None:
    for _ in range(START_TRIES):
        if server.process.poll() is not None:
            raise _early_end(server)
        if _answers(server):
            return
        time.sleep(PAUSE_SECONDS)
    raise SongApiError(f"Datasette did not answer on {HOST}:{server.port} in {START_TRIES} tries.")


def _answers(server: _Server) -> bool:
    # Only our own Datasette knows the note: another program that holds the port must not count as ready.
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=1)) as connection:
        try:
            connection.request("GET", "/-/versions.json")
            return server.note.encode() in connection.getresponse().read(65536)
        except (OSError, http.client.HTTPException):
            return False


def _early_end(server: _Server) -> SongApiError:
    last = _last_words(server.log)
    kind = PortTakenError if "attempting to bind" in last else SongApiError
    return kind(f"Datasette ended before it answered on {HOST}:{server.port}: {last}")


def _last_words(log: Path) -> str:
    # Uvicorn still logs its shutdown (INFO) after the line that names the cause.
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    causes = [line.removeprefix("ERROR:").strip() for line in lines if line.strip() and not line.startswith("INFO")]
    return causes[-1] if causes else "it gave no reason"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
