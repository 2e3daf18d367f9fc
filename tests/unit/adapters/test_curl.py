"""Check the fetcher on libcurl: many songs at once in one thread, and the verdicts of the function fetcher."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pycurl
import pytest
import trustme
from servers import Page, Upstream, drip, error, hang, missing, nginx, nginx_available, raw, song, throttled
from support.answers import ANSWERS, BODY, MOST_BYTES, SHORT, TIMEOUT, always, declared, gzipped
from support.wire import HOST, Wire

from crawler.adapters.curl.fetcher import CurlFetcher, CurlTransfers
from crawler.adapters.curl.head import parse_head
from crawler.adapters.curl.sockets import CurlSockets
from crawler.adapters.session.fetchers import open_session
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.fetchers import declared_fetcher, session_of
from crawler.app.parameters import parse_crawl
from crawler.core.errors import BadSetting
from crawler.core.ports import MultiFetcher
from crawler.core.verdict import Kind, Verdict, found, refused, retry
from crawler.runs.summary import Reason
from crawler.upstream.classify import DeclaredSong

ROOT = Path(__file__).parents[3]


def curl(url: str, **options: Any) -> CurlFetcher:
    """Open the fetcher of a declared song, which may reach loopback addresses."""
    return CurlFetcher(url, DeclaredSong(), MOST_BYTES, "songcrawl/test", **{"allow_private": True, **options})


@contextmanager
def transfers_of(fetcher: CurlFetcher, most: int = 8) -> Iterator[CurlTransfers]:
    """Open transfers for the block."""
    transfers = fetcher.open_transfers(most)
    assert isinstance(transfers, CurlTransfers)  # no access token is wanted
    try:
        yield transfers
    finally:
        transfers.close()


def fetch(transfers: CurlTransfers, numbers: range, most: int = 8, timeout: float = TIMEOUT) -> dict[int, Verdict]:
    """Try songs, so many at once, until all have a verdict."""
    waiting = list(reversed(numbers))
    verdicts: dict[int, Verdict] = {}
    on_the_way = 0
    while waiting or on_the_way:
        while waiting and on_the_way < most:
            number = waiting.pop()
            transfers.start(("token", number), number, timeout)
            on_the_way += 1
        for (_, number), verdict in transfers.perform(0.05):
            assert number not in verdicts
            verdicts[number] = verdict
            on_the_way -= 1
    return verdicts


@pytest.mark.parametrize("page", [page for page, _ in ANSWERS.values()], ids=ANSWERS.keys())
def test_verdict_is_that_of_the_function_fetcher(page: Page) -> None:
    """Judge every answer as the function fetcher does."""
    with Upstream(always(page)) as upstream, open_session(1, "test", allow_private=True) as session:
        assert curl(upstream.url).attempt(1, TIMEOUT) == declared(session, upstream.url).attempt(1, TIMEOUT)


def test_every_song_has_its_own_verdict() -> None:
    """Give each token what its song was answered with, among good and bad answers, many at once."""

    def pages(song_num: int, _nth: int) -> Page:
        kinds = [song(song_num), missing(), error(500), throttled("2"), raw(b""), gzipped(BODY), drip(BODY, 0.001)]
        return kinds[song_num % len(kinds)]

    with Upstream(pages) as upstream, transfers_of(curl(upstream.url)) as transfers:
        verdicts = fetch(transfers, range(700))

    kinds = [Kind.FOUND, Kind.MISSING, Kind.RETRY, Kind.THROTTLED, Kind.RETRY, Kind.FOUND, Kind.FOUND]
    assert [verdicts[number].kind for number in range(700)] == kinds * 100
    assert [verdicts[number].info["id"] for number in range(0, 700, 7)] == list(range(0, 700, 7))
    assert {verdicts[number].retry_after for number in range(3, 700, 7)} == {2.0}
    assert {verdicts[number].error for number in range(4, 700, 7)} == {"connection"}


def test_fetcher_is_one_that_can_do_many() -> None:
    """Be known to the engine for what it is."""
    assert isinstance(curl("http://songs.example/{song_num}"), MultiFetcher)


@pytest.mark.parametrize(
    "page",
    [song(1), missing(), error(500), throttled("0"), gzipped(BODY), Page(status=302)],
    ids=["found", "missing", "error", "throttled", "gzip", "redirect"],
)
def test_connections_are_used_again(page: Page) -> None:
    """Open no more connections than songs are on their way, but for those of the first, and drop none between two."""
    connections: set[threading.Thread] = set()

    def pages(_song_num: int, _nth: int) -> Page:
        connections.add(threading.current_thread())
        return page

    with Upstream(pages) as upstream, transfers_of(curl(upstream.url)) as transfers:
        fetch(transfers, range(400))

        assert len(connections) <= 2 * 8
        assert upstream.most_at_once <= 8


def test_many_are_on_their_way_at_once() -> None:
    """Send everything that was started before anything is answered."""
    with Upstream(lambda n, _nth: song(n).after(0.2)) as upstream, transfers_of(curl(upstream.url), 100) as transfers:
        started = time.monotonic()
        verdicts = fetch(transfers, range(100), most=100)
        seconds = time.monotonic() - started

    assert {verdict.kind for verdict in verdicts.values()} == {Kind.FOUND}
    assert seconds < 2.0


def test_answer_that_comes_late_is_not_the_next_songs() -> None:
    """Ask on another connection where something came unasked on the idle one."""
    unasked = song(99)
    with Upstream(lambda n, _nth: song(n)) as upstream, transfers_of(curl(upstream.url)) as transfers:
        verdicts = fetch(transfers, range(1, 2))
        (client,) = upstream._clients.values()
        client.send(unasked.head() + unasked.body)
        verdicts |= fetch(transfers, range(2, 12), most=1)

    assert [verdicts[number].info["id"] for number in range(1, 12)] == list(range(1, 12))


def test_no_request_goes_out_uncounted() -> None:
    """Count what is sent again, once and at once, where a connection that was used before ends without an answer."""
    with (
        Upstream(lambda n, _nth: raw(b"") if n % 4 == 3 else song(n)) as upstream,
        transfers_of(curl(upstream.url)) as transfers,
    ):
        verdicts = fetch(transfers, range(80), most=2)

        assert upstream.count() == sum(verdict.requests for verdict in verdicts.values()) <= 80 + 20
    assert [verdicts[number].error for number in range(80)] == [None, None, None, "connection"] * 20


@pytest.mark.parametrize("page", [hang(), drip(BODY, 0.1), song(1).after(60)], ids=["hang", "drip", "late"])
def test_timeout_is_a_songs_own(page: Page) -> None:
    """Time out the slow songs, and find the others meanwhile."""
    with (
        Upstream(lambda n, _nth: page if n % 2 else song(n)) as upstream,
        transfers_of(curl(upstream.url)) as transfers,
    ):
        started = time.monotonic()
        verdicts = fetch(transfers, range(8), timeout=SHORT)
        seconds = time.monotonic() - started

    assert [verdicts[number].error for number in range(8)] == [None, "timeout"] * 4
    assert seconds < SHORT + 1.0


def test_waiting_ends_when_it_should() -> None:
    """Come back after the seconds given, with nothing, while nothing ends."""
    with Upstream(always(hang())) as upstream, transfers_of(curl(upstream.url)) as transfers:
        transfers.start(1, 1, TIMEOUT)
        started = time.monotonic()
        ended = transfers.perform(0.1)
        seconds = time.monotonic() - started

    assert ended == []
    assert 0.09 < seconds < 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which is Linux's")
def test_closing_is_prompt_and_leaves_nothing() -> None:
    """Cut what is on its way, and leave no socket and no thread."""
    with Upstream(lambda n, _nth: hang() if n % 2 else song(n)) as upstream:
        before = (len(os.listdir("/proc/self/fd")), threading.active_count() + 4)
        transfers = curl(upstream.url).open_transfers(8)
        for number in range(8):
            transfers.start(number, number, TIMEOUT)
        while not transfers.perform(TIMEOUT):
            pass
        started = time.monotonic()
        transfers.close()
        seconds = time.monotonic() - started
        upstream.wait_until_idle()
        upstream.close()

        assert seconds < 0.5
        assert len(os.listdir("/proc/self/fd")) <= before[0]
        assert threading.active_count() <= before[1]


def test_cookies_are_kept_within_a_run() -> None:
    """Send back the cookies of an upstream on every connection of a run, and forget them with it."""
    with Upstream(always(replace(song(1), headers={"Set-Cookie": "visitor=7"}))) as upstream:
        for _ in range(2):
            fetcher = curl(upstream.url)
            for _ in range(2):
                with transfers_of(fetcher) as transfers:
                    fetch(transfers, range(1, 2))
        cookies = [request.headers.get("cookie") for request in upstream.requests]

    assert cookies == [None, "visitor=7", None, "visitor=7"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Api-Key": "secret", "accept": "application/json", "USER-AGENT": "mine/1", "X-Empty": ""},
        {"Cookie": "session=1"},
        {"user-agent": "", "Accept-Encoding": ""},
    ],
    ids=["none", "several", "cookie", "empty"],
)
def test_request_is_that_of_the_function_fetcher(headers: dict[str, str]) -> None:
    """Send the same headers and the same path, also where the URL holds what must be escaped."""
    page = replace(song(1), headers={"Set-Cookie": "visitor=7"})
    with Upstream(always(page)) as upstream:
        url = upstream.url + '?q="a|b"&n={song_num}&z={song_num:010}&b={x}&e=%7B#part'
        with open_session(1, "songcrawl/test", headers, allow_private=True) as session:
            for number in (1, 2):
                declared(session, url).attempt(number, TIMEOUT)
        with transfers_of(curl(url, headers=headers)) as transfers:
            fetch(transfers, range(1, 3), most=1)
        sent = [(request.path, without_connection(request.headers)) for request in upstream.requests]

    assert sent[2:] == sent[:2]
    assert sent[1][0] == "/songs/2?q=%22a%7Cb%22&n=2&z=0000000002&b=%7Bx%7D&e=%7B"


def without_connection(headers: dict[str, str]) -> dict[str, str]:
    """Leave out the header by which requests asks for what HTTP/1.1 does anyway."""
    return {name: value for name, value in headers.items() if name != "connection"}


def test_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use no proxy and no password that the environment names."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Upstream() as proxy, Upstream() as upstream:
        for name in ("http_proxy", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        verdict = curl(upstream.url).attempt(1, TIMEOUT)

        assert verdict.kind is Kind.FOUND
        assert proxy.count() == 0
        assert "authorization" not in upstream.requests[0].headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_private_address_is_refused(host: str) -> None:
    """Raise BadSetting, which names what to change, and send nothing to a loopback address that was not allowed."""
    with Upstream() as upstream:
        fetcher = curl(upstream.url.replace(HOST, host), allow_private=False)
        with pytest.raises(BadSetting, match=r"loopback and private addresses .* ALLOW_PRIVATE_UPSTREAM=1"):
            fetcher.attempt(1, TIMEOUT)

        assert upstream.count() == 0


def test_link_local_address_is_always_refused() -> None:
    """Send nothing to a metadata server, also where private addresses are allowed."""
    with pytest.raises(
        BadSetting, match=r"169\.254\.169\.254: link-local addresses and metadata servers are never allowed"
    ):
        curl("http://169.254.169.254/{song_num}").attempt(1, TIMEOUT)


def test_name_that_can_not_be_resolved_refuses() -> None:
    """Blame no song for a host name that does not exist."""
    verdict = curl(f"http://{'x' * 64}.example/{{song_num}}").attempt(1, TIMEOUT)

    assert verdict == refused("The upstream's host name can't be resolved.", "dns")


SLOW_LOOK_UP = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) { sleep(30); return 0; }
"""
LOOKING_UP = """
import time
from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.upstream.classify import DeclaredSong
from crawler.app.parameters import parse_crawl
transfers = CurlFetcher("http://songs.example/{song_num}", DeclaredSong(), 1000, "test").open_transfers(2)
started = time.monotonic()
transfers.start(1, 1, 0.2)
transfers.start(2, 2, 30.0)
print(transfers.perform(5.0)[0][1].error)
transfers.close()
print(time.monotonic() - started < 5)
"""


def run_with_look_up(program: str, look_up: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of Python with a getaddrinfo of our own, in C."""
    source, library = folder / "look_up.c", folder / "look_up.so"
    source.write_text(look_up)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=20
    )


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler, and LD_PRELOAD")
def test_name_server_that_is_silent_holds_nothing_up(tmp_path: Path) -> None:
    """Time out, and close at once, while a name is looked up that no server answers for."""
    done = run_with_look_up(LOOKING_UP, SLOW_LOOK_UP, tmp_path)

    assert done.stdout.split() == ["timeout", "True"]


LATE_LOOK_UP = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
    usleep(500000);
    return EAI_NONAME;
}
"""
LOOKING_UP_LATE = """
import select
from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.upstream.classify import DeclaredSong
transfers = CurlFetcher("http://songs.example/{song_num}", DeclaredSong(), 1000, "test").open_transfers(2)
transfers.start(1, 1, 0.1)
print(transfers.perform(5.0)[0][1].error)
select.select([transfers._sockets._epoll], [], [], 10)  # the look-up has ended, for nobody
transfers.start(2, 2, 5.0)
print(transfers.perform(5.0)[0][1].kind)
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler, and LD_PRELOAD")
def test_name_that_is_looked_up_too_late_troubles_no_other_song(tmp_path: Path) -> None:
    """Go on where a look-up ends only after the song that it was for has timed out."""
    done = run_with_look_up(LOOKING_UP_LATE, LATE_LOOK_UP, tmp_path)

    assert done.stdout.split() == ["timeout", "Kind.REFUSED"]


class FakeMulti:
    """Take down for which sockets something is to be done."""

    def __init__(self) -> None:
        """Begin with none."""
        self.attended: list[int] = []

    def setopt(self, option: int, value: object) -> None:
        """Take any option."""

    def socket_action(self, descriptor: int, events: int) -> None:
        """Take a socket down."""
        self.attended.append(descriptor)


@pytest.mark.parametrize("noted", ["opened", "looks_up"])
def test_number_of_a_closed_socket_is_watched_anew(noted: str) -> None:
    """Hear of what comes on a socket that has the number of one watched before."""
    multi = FakeMulti()
    sockets = CurlSockets(multi)
    with ExitStack() as opened:
        opened.callback(sockets.close)
        old, _, new, other = (opened.enter_context(sock) for sock in (*socket.socketpair(), *socket.socketpair()))
        number = old.fileno()
        sockets._watch(pycurl.POLL_IN, number, None, None)
        os.dup2(new.fileno(), number)  # which closes the old one
        sockets.looks_up() if noted == "looks_up" else sockets.opened(number)
        sockets._watch(pycurl.POLL_IN, number, None, None)
        other.send(b"x")

        assert sockets.hear(10.0)
        assert multi.attended == [number]


def test_head_of_interim_answers_alone_is_read_to_its_end() -> None:
    """Take the fields of an interim answer where no other follows, and none where its head is cut short."""
    assert parse_head(b"HTTP/1.1 103 Early Hints\r\nRetry-After: 5\r\n\r\n") == {"retry-after": "5"}
    assert parse_head(b"HTTP/1.1 200 OK\r\nRetry-After: 5\r\n") is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Issue a certificate for the loopback address; gives its file, and that of the authority."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return folder / "server.pem", folder / "authority.pem"


@pytest.mark.parametrize(
    ("scheme", "hangs", "alone"), [("http", "answer", 60.0), ("https", "answer", 60.0), ("https", "handshake", 0.5)]
)
def test_first_song_holds_up_no_other(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, scheme: str, hangs: str, alone: float
) -> None:
    """Find the other songs soon while the first one hangs, though over TLS it connects alone for a moment."""
    monkeypatch.setattr("crawler.adapters.curl.fetcher._SCOUT_SECONDS", alone)
    server_file, authorities = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    first, over = threading.Lock(), threading.Event()

    def hang(*_: object) -> None:
        if first.acquire(blocking=False):
            over.wait()

    if hangs == "handshake":
        context.sni_callback = hang

    def talk(sock: socket.socket) -> None:
        if first.acquire(blocking=False):
            sock.recv(1)  # until the client leaves
        else:
            sock.sendall(song(1).head() + song(1).body)

    with ExitStack() as opened:
        wire = opened.enter_context(Wire(talk, context if scheme == "https" else None))
        opened.callback(over.set)
        transfers = opened.enter_context(transfers_of(curl(wire.url, authorities=str(authorities))))
        started = time.monotonic()
        for number in range(8):
            transfers.start(number, number, TIMEOUT)
        ended: list[tuple[Any, Verdict]] = []
        while len(ended) < 7:
            ended += transfers.perform(TIMEOUT)
        seconds = time.monotonic() - started

    assert [verdict.error for _, verdict in ended] == [None] * 7
    assert seconds < 3.0


needs_nginx = pytest.mark.skipif(nginx_available() is not None, reason=str(nginx_available()))


@needs_nginx
@pytest.mark.parametrize(("http2", "most_connections"), [(True, 2), (False, 16)], ids=["HTTP/2", "HTTP/1.1"])
def test_tls_takes_http2_where_it_is_offered(
    certificate: tuple[Path, Path], tmp_path: Path, http2: bool, most_connections: int
) -> None:
    """Carry all songs on a connection or two where the upstream speaks HTTP/2, each on its own where it does not."""
    server_file, authorities = certificate
    with nginx(tmp_path, server_file, http2=http2) as server:
        fetcher = curl(f"{server.url}/songs/{{song_num}}", authorities=str(authorities))
        with transfers_of(fetcher, 16) as transfers:
            infos = [verdict.info for verdict in fetch(transfers, range(500), most=16).values()]

    assert sorted(info["id"] for info in infos) == list(range(500))
    assert {info["protocol"] for info in infos} == {"HTTP/2.0" if http2 else "HTTP/1.1"}
    assert len({info["connection"] for info in infos}) <= most_connections


@needs_nginx
@pytest.mark.parametrize("http2", [True, False], ids=["HTTP/2", "HTTP/1.1"])
def test_connections_that_the_upstream_ends_cost_no_song(
    certificate: tuple[Path, Path], tmp_path: Path, http2: bool
) -> None:
    """Go on with another connection where the upstream closes each after some requests, as nginx does."""
    server_file, authorities = certificate
    with nginx(tmp_path, server_file, http2=http2, keepalive_requests=20) as server:
        fetcher = curl(f"{server.url}/songs/{{song_num}}", authorities=str(authorities))
        with transfers_of(fetcher, 16) as transfers:
            verdicts = fetch(transfers, range(1000), most=16)

    assert {verdict.kind for verdict in verdicts.values()} == {Kind.FOUND}
    assert len({verdict.info["connection"] for verdict in verdicts.values()}) <= 100


@needs_nginx
def test_certificate_that_nobody_signed_refuses(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """Trust the authorities that requests trusts, and blame no song for a certificate of another."""
    server_file, _ = certificate
    with nginx(tmp_path, server_file, http2=True) as server:
        verdict = curl(f"{server.url}/songs/{{song_num}}").attempt(1, TIMEOUT)

    assert verdict == refused("The upstream's TLS certificate can't be trusted, or it speaks no TLS we do.", "tls")


def test_connection_that_breaks_in_the_handshake_is_an_attempt() -> None:
    """Try again where the other side hangs up before there is any TLS: it may be on its way back."""
    with Upstream(always(raw(b""))) as upstream:
        assert curl(upstream.url.replace("http:", "https:")).attempt(1, SHORT).kind is Kind.RETRY


def test_song_of_several_pieces_is_whole() -> None:
    """Join a body that comes in many pieces, and let go of it."""
    body = b'{"title": "' + b"x" * (MOST_BYTES - 20) + b'"}'
    with Upstream(always(Page(body=body))) as upstream, transfers_of(curl(upstream.url)) as transfers:
        verdicts = fetch(transfers, range(40))

    assert {verdict.kind for verdict in verdicts.values()} == {Kind.FOUND}
    assert verdicts[7] == found({"title": "x" * (MOST_BYTES - 20)})


def test_timeout_of_nothing_is_a_timeout() -> None:
    """End an attempt whose time is over before it begins."""
    with Upstream(always(hang())) as upstream:
        assert curl(upstream.url).attempt(1, 0.0) == retry("timeout")


def crawled(folder: Path, url: str, fetcher_of: Callable[[Deployment], Any] | None = None) -> dict[str, bytes]:
    """Crawl the songs 1 to 300 into a folder, and give their parts."""
    environ = {
        "SONG_URL": url,
        "SONG_INFO": "title",
        "OUTPUT": str(folder),
        "PART_SONGS": "100",
        "MAX_PER_SECOND": "0",
        "MAX_AT_ONCE": "16",
        "MAX_SONG_BYTES": str(MOST_BYTES),
        "ALLOW_PRIVATE_UPSTREAM": "1",
    }
    deployment = deployment_from(environ)
    if fetcher_of:
        deployment = msgspec.structs.replace(deployment, make_fetcher=fetcher_of(deployment))
    request = parse_crawl([("songs", "1-300"), ("run", "r")], b"", deployment.bounds)
    assert deployment.crawl(request).reason is Reason.COMPLETE
    return {file.name: file.read_bytes() for file in folder.glob("runs/r/songs-*")}


def test_both_fetchers_store_the_same_bytes(tmp_path: Path) -> None:
    """Store the same parts whichever fetcher crawled them, from an upstream that answers well and badly in turns."""
    # One that asks for patience would cost the test all of it; which provisional ones are asked for again is chance.
    waits = {"unavailable for a while", "throttled for a while"}
    bad = [
        page
        for name, (page, verdict) in ANSWERS.items()
        if verdict.kind is not Kind.FOUND and name not in waits and page.status in (200, 404, 410, 500)
    ]

    asked: set[int] = set()

    def pages(song_num: int, _nth: int) -> Page:
        if song_num % 10 == 0 and song_num not in asked:
            asked.add(song_num)
            return bad[song_num // 10 % len(bad)]
        return [song(song_num), gzipped(song(song_num).body), missing(), error(403), Page(body=b"{}")][song_num % 5]

    def function_fetcher(deployment: Deployment) -> Callable[[Any], Any]:
        settings = deployment.settings
        return lambda opened: declared_fetcher(settings, opened.enter_context(session_of(settings)))

    with Upstream(pages) as upstream:
        fast = crawled(tmp_path / "fast", upstream.url)
        asked.clear()
        slow = crawled(tmp_path / "slow", upstream.url, function_fetcher)

    assert len(fast) == 3
    assert fast == slow


def test_without_pycurl_the_function_fetcher_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Crawl all the same where pycurl is not installed, and say so once."""
    for name in ("crawler.adapters.curl.fetcher", "crawler.adapters.curl.transfer"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycurl", None)
    caplog.set_level("WARNING")
    with Upstream(last=250) as upstream:
        stored = crawled(tmp_path, upstream.url)

    assert len(stored) == 3
    assert [record.message for record in caplog.records] == [
        "declared songs are requested by the slower function fetcher: import of pycurl halted; None in sys.modules"
    ]
