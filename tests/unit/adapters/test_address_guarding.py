"""Check where fetchers go: to addresses that are allowed, by no proxy, to no other origin, with nobody's password."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import Page, Upstream
from support.addresses import ALWAYS
from support.fetchers import FETCHERS, Opening, every_fetcher

from crawler.adapters.session.fetchers import FunctionFetcher, open_session
from crawler.adapters.session.sockets import LimitedSocket
from crawler.core.errors import BadSetting
from crawler.core.ports import Fetcher
from crawler.core.verdict import Kind, failed, found, retry

OpenFetcher = Callable[[Opening], AbstractContextManager[Fetcher]]

TIMEOUT = 5.0

NEVER = {
    "the metadata server": "169.254.169.254",
    "the same, decimal": "2852039166",
    "the same, hexadecimal": "0xA9FEA9FE",
    "the same, hexadecimal bytes": "0xa9.0xfe.0xa9.0xfe",
    "the same, octal": "0251.0376.0251.0376",
    "the same, short": "169.254.43518",
    "the same, shorter": "169.16689662",
    "the same, mapped": "[::ffff:169.254.169.254]",
    "the same, mapped, hexadecimal": "[::ffff:a9fe:a9fe]",
    "the same, NAT64": "[64:ff9b::a9fe:a9fe]",
    "the same, local NAT64": "[64:ff9b:1::a9fe:a9fe]",
    "the same, 6to4": "[2002:a9fe:a9fe::1]",
    "the same, Teredo": "[2001:0:4136:e378:8000:63bf:5601:5601]",
    "Google's over IPv6": "[fd20:ce::254]",
    "Amazon's over IPv6": "[fd00:ec2::254]",
    "Alibaba's": "100.100.100.200",
    "Azure's": "168.63.129.16",
    "link-local": "169.254.1.1",
    "link-local IPv6": "[fe80::1]",
    "unspecified": "0.0.0.0",
    "unspecified, short": "0",
    "unspecified IPv6": "[::]",
    "multicast": "224.0.0.1",
    "multicast IPv6": "[ff02::1]",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
}

ONLY_IF_ALLOWED = {
    "loopback": "127.0.0.1",
    "loopback, by name": "localhost",
    "loopback, short": "127.1",
    "loopback, decimal": "2130706433",
    "loopback, hexadecimal": "0x7f000001",
    "loopback, octal": "017700000001",
    "loopback, mapped": "[::ffff:127.0.0.1]",
    "loopback IPv6": "[::1]",
    "private 10/8": "10.0.0.1",
    "private, short": "10.1",
    "private 172.16/12": "172.16.0.1",
    "private 192.168/16": "192.168.1.1",
    "private, decimal": "3232235777",
    "private, 6to4": "[2002:c0a8:101::1]",
    "shared by carriers": "100.64.0.1",
    "unique local": "[fc00::1]",
    "benchmarks": "198.18.0.1",
}

# getaddrinfo would take these for the metadata server; requests does not pass them on, SONG_URL takes ASCII only.
UNICODE = {"full-width": "１６９.２５４.１６９.２５４", "circled": "①⑥⑨.②⑤④.①⑥⑨.②⑤④"}


@pytest.mark.parametrize("allow_private", [False, True], ids=["nothing allowed", "private allowed"])
@pytest.mark.parametrize("host", NEVER.values(), ids=NEVER)
@every_fetcher
def test_some_addresses_are_never_connected_to(open_fetcher: OpenFetcher, host: str, allow_private: bool) -> None:
    """Refuse a metadata server in all its forms, and what is no server's address, whatever the setting."""
    opening = Opening(f"http://{host}/{{song_num}}", allow_private=allow_private)
    with open_fetcher(opening) as fetcher, pytest.raises(BadSetting, match=r"never allowed|no address of a server"):
        fetcher.attempt(1, TIMEOUT)


@pytest.mark.parametrize("host", ONLY_IF_ALLOWED.values(), ids=ONLY_IF_ALLOWED)
@every_fetcher
def test_private_addresses_are_not_connected_to(open_fetcher: OpenFetcher, host: str) -> None:
    """Refuse loopback and private addresses in all their forms, and name the setting that allows them."""
    opening = Opening(f"http://{host}/{{song_num}}", allow_private=False)
    with open_fetcher(opening) as fetcher, pytest.raises(BadSetting, match="ALLOW_PRIVATE_UPSTREAM=1"):
        fetcher.attempt(1, TIMEOUT)


@pytest.mark.parametrize("host", UNICODE.values(), ids=UNICODE)
def test_digits_of_other_scripts_are_no_address(host: str) -> None:
    """Connect nowhere for an address that a single-request function writes in other digits."""
    with FETCHERS["function"](Opening(f"http://{host}/{{song_num}}")) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == retry("connection")


@every_fetcher
def test_refused_address_is_not_even_knocked_at(open_fetcher: OpenFetcher) -> None:
    """Open no connection to find out that its address is refused."""
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.0)
        opening = Opening(f"http://127.0.0.1:{canary.getsockname()[1]}/{{song_num}}", allow_private=False)
        with open_fetcher(opening) as fetcher, pytest.raises(BadSetting):
            fetcher.attempt(1, TIMEOUT)
        with pytest.raises(BlockingIOError):
            canary.accept()


@pytest.fixture
def connected(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Lead every connection to a public address to the upstream of the test, and list those addresses."""
    addresses = []
    connect = socket.socket.connect

    def lead(sock: socket.socket, address: Any) -> None:
        addresses.append(address[0])
        connect(sock, ("127.0.0.1", upstream.port))

    monkeypatch.setattr(LimitedSocket, "connect", lead)
    return addresses


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let every name have the addresses of the turn, then those of the next."""

    def set_addresses(*turns: list[tuple[str, int]]) -> None:
        given = itertools.cycle(turns)

        def getaddrinfo(*_args: Any, **_kwargs: Any) -> list[Any]:
            stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*stream, address) for address in next(given)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return set_addresses


def by_name(name: str) -> Opening:
    """Ask for songs by a host's name, with nothing allowed."""
    return Opening(f"http://{name}/songs/{{song_num}}", allow_private=False)


@pytest.mark.parametrize("address", [address for address in ALWAYS if ":" not in address][:10])
def test_public_addresses_are_connected_to(connected: list[Any], resolve: Callable[..., None], address: str) -> None:
    """Refuse no address that upstreams have."""
    resolve([(address, 80)])
    with FETCHERS["declared"](by_name("songs.example")) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == found("Song 1")
    assert connected == [address]


def test_name_that_is_bound_anew_reaches_nothing_inside(connected: list[Any], resolve: Callable[..., None]) -> None:
    """Connect to the address that was checked, though the name has another one at every second look-up."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as canary:
        canary.settimeout(0.0)
        resolve([("93.184.216.34", 80)], [("127.0.0.1", canary.getsockname()[1])])
        outcomes = [ask_anew("songs.example") for _ in range(100)]
        with pytest.raises(BlockingIOError):
            canary.accept()

    assert outcomes == ["found", "refused"] * 50
    assert set(connected) == {"93.184.216.34"}


def ask_anew(name: str) -> str:
    """Ask for a song on a new connection, and say what came of it."""
    with FETCHERS["declared"](by_name(name)) as fetcher:
        try:
            return fetcher.attempt(1, TIMEOUT).kind.value
        except BadSetting:
            return "refused"


def test_only_the_allowed_of_a_names_addresses_are_tried(connected: list[Any], resolve: Callable[..., None]) -> None:
    """Pass over an address that is refused where the name has another."""
    resolve([("10.0.0.1", 80), ("169.254.169.254", 80), ("93.184.216.34", 80)])
    with FETCHERS["declared"](by_name("songs.example")) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == found("Song 1")

    assert connected == ["93.184.216.34"]


def test_name_of_the_metadata_server_is_refused(connected: list[Any], resolve: Callable[..., None]) -> None:
    """Refuse an allowed-looking name by the address that it has."""
    resolve([("169.254.169.254", 80)])
    with FETCHERS["declared"](by_name("songs.example")) as fetcher, pytest.raises(BadSetting, match=r"songs\.example"):
        fetcher.attempt(1, TIMEOUT)

    assert connected == []


@pytest.fixture
def away() -> Iterator[Upstream]:
    """Serve songs on another origin."""
    with Upstream() as server:
        yield server


@every_fetcher
def test_redirect_off_the_origin_is_not_followed(open_fetcher: OpenFetcher, away: Upstream) -> None:
    """Take nothing to another origin, least of all the deployment's headers."""
    page = Page(status=302, headers={"Location": away.url_of(1)})
    headers = {"Authorization": "Bearer canary", "X-Api-Key": "canary", "Cookie": "canary=1"}
    with Upstream(lambda _n, _nth: page) as here, open_fetcher(Opening(here.url, headers)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT) == failed("redirect")
        assert here.requests[0].headers["x-api-key"] == "canary"

    assert away.count() == 0


def test_function_may_be_redirected_within_its_origin() -> None:
    """Follow a redirect of a single-request function to another path, a few times."""

    def pages(song_num: int, _nth: int) -> Page:
        to = Page(status=301, headers={"Location": f"/songs/{song_num - 1}"})
        return to if song_num else Page(body=b'{"title": "Song 0"}')

    with Upstream(pages) as server, FETCHERS["function"](Opening(server.url)) as fetcher:
        assert fetcher.attempt(5, TIMEOUT) == found("Song 0")
        assert fetcher.attempt(6, TIMEOUT) == failed("redirect")


def test_address_that_a_function_asks_for_is_checked_too() -> None:
    """Refuse what a single-request function reaches for by itself."""

    def reach(session: requests.Session, _song_num: int) -> Any:
        return session.get("http://169.254.169.254/latest/meta-data/").text

    with open_session(1, "test", allow_private=True) as session, pytest.raises(BadSetting, match="never allowed"):
        FunctionFetcher(session, reach).attempt(1, TIMEOUT)


@every_fetcher
def test_environment_is_not_asked(open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use no proxy and no password that the environment names."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\ndefault login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Upstream() as proxy, Upstream() as upstream:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        with open_fetcher(Opening(upstream.url)) as fetcher:
            verdict = fetcher.attempt(1, TIMEOUT)

        assert verdict.kind is Kind.FOUND
        assert proxy.count() == 0
        assert "authorization" not in upstream.requests[0].headers
