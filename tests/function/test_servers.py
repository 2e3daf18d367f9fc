"""Check that the servers of the test suite behave as the tests take for granted."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests
from servers import (
    OTHER_PATH,
    Page,
    ServerFailedError,
    ServerProcess,
    Upstream,
    cut,
    datasette,
    datasette_available,
    drip,
    error,
    fake_gcs,
    fake_gcs_available,
    free_port,
    function_server,
    hang,
    html,
    missing,
    raw,
    reset,
    song,
    throttled,
)

FUNCTION = """
import os
import sys


def crawl(request):
    print("crawling", request.args.get("song"))
    return {"environment": dict(os.environ), "python": sys.version, "worker": os.getpid()}
"""

# Answers one connection, which a forked child of its own holds open as well.
FORKING_SERVER = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
listener.accept()
connection, _ = listener.accept()
connection.sendall(b"x" if os.fork() else b"y")
signal.pause()
"""

DEAF_SERVER = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
signal.pause()
"""

STARTER = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from servers import ServerProcess
server = ServerProcess([sys.executable, "-c", sys.argv[3], sys.argv[2]], int(sys.argv[2]))
print("started", flush=True)
signal.pause()
"""


def only(page: Page) -> Upstream:
    """Serve one page for every number."""
    return Upstream(lambda _song_num, _nth: page)


def get(upstream: Upstream, song_num: int = 1, timeout: float = 5.0) -> requests.Response:
    """Ask for one song with requests."""
    return requests.get(upstream.url_of(song_num), timeout=timeout)


def connected(port: int) -> socket.socket:
    """Open a TCP connection to the port."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def received(sock: socket.socket) -> bytes:
    """Read until the other side closes."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def ask(upstream: Upstream) -> bytes:
    """Ask for the first song over a raw socket and return every byte that comes."""
    with connected(upstream.port) as sock:
        sock.sendall(b"GET /songs/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        return received(sock)


def processes(*columns: str) -> list[list[str]]:
    """List all processes but the lister, the first column being the process id."""
    argv = ["ps", "-A", *(part for name in columns for part in ("-o", f"{name}="))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split() for line in ps.communicate()[0].splitlines()]
    return [row for row in rows if row[0] != str(ps.pid)]


def running(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    return any(row[0] == str(pid) and not row[1].startswith("Z") for row in processes("pid", "stat"))


def children() -> set[str]:
    """Return the process ids of this process's children."""
    return {pid for pid, parent in processes("pid", "ppid") if parent == str(os.getpid())}


def wait_until_empty(folder: Path, timeout: float = 5.0) -> None:
    """Look again and again until the folder is empty."""
    deadline = time.monotonic() + timeout
    while any(folder.iterdir()):
        assert time.monotonic() < deadline, f"{folder} still holds {list(folder.iterdir())}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a function that tells about its process."""
    file = tmp_path / "main.py"
    file.write_text(FUNCTION)
    return file


@pytest.fixture
def threads() -> Iterator[None]:
    """Fail a test that leaves a thread."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("page", "status", "body"),
    [
        (song(7), 200, b'{"id": 7, "title": "Song 7"}'),
        (missing(), 404, b'{"error": "Not Found"}'),
        (error(503), 503, b'{"error": "Service Unavailable"}'),
        (throttled("3"), 429, b'{"error": "Too Many Requests"}'),
        (Page(status=299, body=b"odd"), 299, b"odd"),
        (drip(b"slow", 0.001), 200, b"slow"),
    ],
)
def test_page_is_sent_with_its_status_and_body(page: Page, status: int, body: bytes) -> None:
    """Receive what the page describes."""
    with only(page) as upstream:
        response = get(upstream)
    assert (response.status_code, response.content) == (status, body)


def test_headers_of_pages() -> None:
    """Receive the headers that each kind of page promises."""
    pages = [html(), throttled("3"), throttled(None), Page(status=302, headers={"Location": "/x"})]
    with Upstream(lambda song_num, _nth: pages[song_num]) as upstream:
        answers = [requests.get(upstream.url_of(n), timeout=5, allow_redirects=False).headers for n in range(4)]
    assert answers[0]["Content-Type"] == "text/html; charset=utf-8"
    assert answers[1]["Retry-After"] == "3"
    assert "Retry-After" not in answers[2]
    assert answers[3]["Location"] == "/x"


def test_default_table_ends_at_the_last_song() -> None:
    """Find the numbers 1 to last and nothing else."""
    with Upstream(last=2) as upstream:
        found = [get(upstream, n).status_code for n in range(4)]
        other = requests.get(upstream.url_of(1).replace("songs", "users"), timeout=5)
        posted = requests.post(upstream.url_of(1), timeout=5)
    assert found == [404, 200, 200, 404]
    assert (other.status_code, posted.status_code) == (404, 405)
    assert upstream.per_song() == Counter({0: 1, 1: 2, 2: 1, 3: 1, OTHER_PATH: 1})


def test_table_sees_the_count_of_requests_for_a_song() -> None:
    """Answer the second request for a number otherwise than the first."""
    with Upstream(lambda song_num, nth: throttled("0") if nth == 1 else song(song_num)) as upstream:
        statuses = [get(upstream, n).status_code for n in (5, 5, 6, 5)]
    assert statuses == [429, 200, 429, 200]


def test_hang_lasts_until_the_client_leaves() -> None:
    """Give no answer, and see the client leave."""
    with only(hang()) as upstream:
        with pytest.raises(requests.ReadTimeout):
            get(upstream, timeout=0.1)
        upstream.wait_until_idle(timeout=1)


def test_reset_breaks_the_connection() -> None:
    """Receive a TCP reset in place of an answer."""
    with only(reset()) as upstream, pytest.raises(ConnectionResetError):
        ask(upstream)


def test_cut_sends_less_than_it_declares() -> None:
    """Fail to read a body that stops short of its declared length."""
    with only(cut(b"half", 8)) as upstream:
        assert ask(upstream).endswith(b"Content-Length: 8\r\n\r\nhalf")
        with pytest.raises(requests.RequestException, match="4 bytes read, 4 more expected"):
            get(upstream)


def test_raw_sends_exact_bytes() -> None:
    """Receive the given bytes and the end of the connection."""
    with only(raw(b"not HTTP at all")) as upstream:
        assert ask(upstream) == b"not HTTP at all"


@pytest.mark.parametrize("page", [song(1).after(0.2), drip(b"1234", 0.05)])
def test_slow_page_takes_its_time(page: Page) -> None:
    """Wait for the whole answer as long as the page says."""
    with only(page) as upstream:
        started = time.monotonic()
        get(upstream)
        assert 0.2 <= time.monotonic() - started < 2.0


def test_connection_is_kept_and_pipelined() -> None:
    """Answer two requests sent at once over one connection, then close it as the second asks."""
    two = b"GET /songs/1 HTTP/1.1\r\n\r\nGET /songs/2?x=y HTTP/1.1\r\nConnection: close\r\n\r\n"
    with only(song(1).after(0.01)) as upstream, connected(upstream.port) as sock:
        sock.sendall(two)
        assert received(sock).count(b"Song 1") == 2
        assert [(request.song_num, request.path) for request in upstream.requests] == [
            (1, "/songs/1"),
            (2, "/songs/2?x=y"),
        ]
        assert upstream.requests[1].headers == {"connection": "close"}


def test_requests_in_flight_are_counted() -> None:
    """Count the requests that hang together, and wait in vain for one more."""
    with only(hang()) as upstream, ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(ask, upstream) for _ in range(5)]
        upstream.wait_for(5)
        with pytest.raises(TimeoutError, match="5 of 6 requests"):
            upstream.wait_for(6, timeout=0.01)
        upstream.close()
        assert [answer.result() for answer in answers] == [b""] * 5
    assert (upstream.count(), upstream.most_at_once, upstream.peak_per_second()) == (5, 5, 5)


def test_requests_one_after_another_are_never_together() -> None:
    """Count at most one request in flight for a client that asks one at a time."""
    with Upstream() as upstream, requests.Session() as session:
        for n in range(200):
            session.get(upstream.url_of(n), timeout=5)
    assert upstream.most_at_once == 1


@pytest.mark.usefixtures("threads")
def test_close_leaves_no_thread() -> None:
    """End within a second with connections idle, hanging and dripping."""
    pages = [hang(), drip(b"x" * 100, 60.0), song(2).after(60)]
    with Upstream(lambda song_num, _nth: pages[song_num]) as upstream:
        clients = [connected(upstream.port) for _ in range(30)]
        for n, client in enumerate(clients[:15]):
            client.sendall(b"GET /songs/%d HTTP/1.1\r\n\r\n" % (n % 3))
        upstream.wait_for(15)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    for client in clients:
        client.close()


def test_function_server_runs_a_function_in_a_clean_environment(source: Path) -> None:
    """Serve a function in a gunicorn worker that sees only the variables given."""
    with function_server(source, {"BUCKET": "songs"}) as server:
        answer = requests.get(server.url, params={"song": 3}, timeout=5).json()
        line = server.wait_for_line("crawling")
        lines = server.stdout_lines()
    assert set(answer["environment"]) >= {"BUCKET", "PATH", "HOME", "LANG"}
    assert "PYTEST_CURRENT_TEST" not in answer["environment"]
    assert answer["environment"]["HOME"] != os.environ.get("HOME")
    assert answer["python"] == sys.version
    assert answer["worker"] != server.pid
    assert line == "crawling 3"
    assert line in lines


def test_function_server_pauses_and_dies_whole(source: Path) -> None:
    """Freeze, thaw and kill a function together with its worker."""
    with function_server(source, {}) as server, requests.Session() as session:
        server.pause()
        with pytest.raises(requests.ReadTimeout):
            session.get(server.url, timeout=0.2)
        server.resume()
        worker = session.get(server.url, timeout=5).json()["worker"]
        server.kill()
        assert server.returncode == -9
        assert not running(worker)
        with pytest.raises(requests.ConnectionError):
            session.get(server.url, timeout=1)


def test_server_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    """Raise an error that quotes standard error when the server ends at its start."""
    source = tmp_path / "main.py"
    source.write_text("import no_such_module")
    with pytest.raises(ServerFailedError, match="No module named 'no_such_module'"):
        function_server(source, {})


def test_server_that_stays_silent_is_ended() -> None:
    """Raise an error and end the server when it does not become ready in time."""
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    with pytest.raises(ServerFailedError, match=r"did not become ready within 0\.2 s"):
        ServerProcess(argv, free_port(), timeout=0.2)


def test_server_deaf_to_sigterm_is_killed() -> None:
    """Kill a server that outlasts the grace of its SIGTERM."""
    with ServerProcess([sys.executable, "-c", DEAF_SERVER], free_port(), ready=lambda: True) as server:
        server.wait_for_line("deaf")
        assert server.stop(grace=0.1) == -9
        assert server.stdout_lines() == ["deaf"]


def test_server_dies_with_a_killed_test_process(tmp_path: Path) -> None:
    """Lose the server and its child when SIGKILL ends the process that started them."""
    port = free_port()
    argv = [sys.executable, "-c", STARTER, str(Path(__file__).parents[1]), str(port), FORKING_SERVER]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        with connected(port) as sock:
            assert set(sock.recv(1) + sock.recv(1)) == set(b"xy")
            starter.kill()
            assert sock.recv(1) == b""
    wait_until_empty(tmp_path)


# google.api_core warns on import of Python versions that it will drop.
@pytest.mark.filterwarnings("ignore::FutureWarning:google.api_core._python_version_support")
@pytest.mark.skipif(fake_gcs_available() is not None, reason=str(fake_gcs_available()))
def test_fake_gcs_creates_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to create an object twice, and keep its metadata and its place in listings."""
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud import storage  # type: ignore[import-untyped, unused-ignore]

    with fake_gcs("songs") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with closing(storage.Client(project="test")) as client:
            blob = client.bucket("songs").blob("a/1.json")
            blob.metadata = {"etag": "abc"}
            blob.upload_from_string(b"first", if_generation_match=0)
            with pytest.raises(PreconditionFailed):
                client.bucket("songs").blob("a/1.json").upload_from_string(b"second", if_generation_match=0)
            client.bucket("songs").blob("b.json").upload_from_string(b"{}")
            stored = client.bucket("songs").get_blob("a/1.json")
            assert (stored.download_as_bytes(), stored.metadata) == (b"first", {"etag": "abc"})
            assert [item.name for item in client.list_blobs("songs", prefix="a/")] == ["a/1.json"]
            top = client.list_blobs("songs", delimiter="/")
            assert ([item.name for item in top], top.prefixes) == (["b.json"], {"a/"})


@pytest.mark.skipif(datasette_available() is not None, reason=str(datasette_available()))
def test_datasette_serves_rows(tmp_path: Path) -> None:
    """Read one row by its number, and a 404 for a number that has none."""
    file = tmp_path / "music.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table songs (id integer primary key, title text)")
        database.execute("insert into songs values (1, 'Song 1')")
    with datasette(file) as server:
        row = requests.get(f"{server.url}/music/songs/1.json?_shape=objects", timeout=5)
        assert row.json()["rows"] == [{"id": 1, "title": "Song 1"}]
        assert requests.get(f"{server.url}/music/songs/2.json", timeout=5).status_code == 404


def test_no_child_process_is_left() -> None:
    """Own no more child processes after a server has closed than before."""
    before = children()
    with ServerProcess([sys.executable, "-m", "http.server", str(port := free_port())], port) as server:
        assert str(server.pid) in children()
    assert children() == before
