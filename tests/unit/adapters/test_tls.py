"""Check that no fetcher talks to an upstream over TLS that it can't trust, and that no song is blamed for it."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from servers.hostile import SONG
from support.fetchers import Opening, every_fetcher
from support.wire import HOST, Wire, dripping, saying

from crawler.core.ports import Fetcher
from crawler.core.verdict import Kind, found, retry

OpenFetcher = Callable[[Opening], AbstractContextManager[Fetcher]]

TIMEOUT = 5.0
SHORT = 0.3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SONG) + SONG
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


class Trust(NamedTuple):
    """Pair an authority with the file by which a fetcher trusts it."""

    authority: trustme.CA
    file: Path


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """Found a certificate authority."""
    authority, file = trustme.CA(), tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return Trust(authority, file)


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make a server's context of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusted(authority: trustme.CA) -> ssl.SSLContext:
    """Be the server that everything is right with."""
    return context_of(authority.issue_cert(HOST))


def old(authority: trustme.CA) -> ssl.SSLContext:
    """Speak no newer TLS than 1.1."""
    context = trusted(authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


UNTRUSTED: dict[str, Callable[[trustme.CA], ssl.SSLContext]] = {
    "expired": lambda authority: context_of(authority.issue_cert(HOST, not_after=LONG_AGO)),
    "wrong host": lambda authority: context_of(authority.issue_cert("songs.example")),
    "another authority": lambda _: trusted(trustme.CA()),
    "TLS 1.1": old,
}


@every_fetcher
def test_trusted_server_is_talked_to(open_fetcher: OpenFetcher, trust: Trust) -> None:
    """Fetch a song from a server whose certificate is right: the tests below differ in one thing only."""
    with ExitStack() as opened:
        wire = opened.enter_context(Wire(saying(ANSWER), trusted(trust.authority)))
        fetcher = opened.enter_context(open_fetcher(Opening(wire.url, authority=trust.file)))

        assert fetcher.attempt(1, TIMEOUT) == found("Song 1")


@pytest.mark.parametrize("context_for", UNTRUSTED.values(), ids=UNTRUSTED)
@every_fetcher
def test_untrusted_server_is_refused(
    open_fetcher: OpenFetcher, trust: Trust, context_for: Callable[[trustme.CA], ssl.SSLContext]
) -> None:
    """Refuse the upstream as a whole after one try, in one sentence, and send it nothing."""
    requests: list[bytes] = []
    with Wire(lambda sock: requests.append(sock.recv(1)), context_for(trust.authority)) as wire:
        with open_fetcher(Opening(wire.url, {"X-Api-Key": "canary"}, authority=trust.file)) as fetcher:
            verdict = fetcher.attempt(1, TIMEOUT)

        assert wire.connections == 1
    assert verdict.kind is Kind.REFUSED
    assert verdict.reason == "The upstream's TLS certificate can't be trusted, or it speaks no TLS we do."
    assert requests == []


@every_fetcher
def test_authority_that_nobody_named_is_not_trusted(open_fetcher: OpenFetcher, trust: Trust) -> None:
    """Trust no certificate by default but those that the public authorities signed."""
    with Wire(saying(ANSWER), trusted(trust.authority)) as wire, open_fetcher(Opening(wire.url)) as fetcher:
        assert fetcher.attempt(1, TIMEOUT).kind is Kind.REFUSED


def silent(sock: socket.socket) -> None:
    """Say nothing until the client leaves."""
    while sock.recv(65536):
        pass


HANDSHAKES = {
    "silent": silent,
    "dripping": dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + b"x" * 300, 0.05),
}


@pytest.mark.parametrize("talk", HANDSHAKES.values(), ids=HANDSHAKES)
@every_fetcher
def test_slow_handshake_ends_with_the_timeout(open_fetcher: OpenFetcher, talk: Callable[[socket.socket], None]) -> None:
    """Count the handshake into the time that a request may take."""
    with Wire(talk) as wire:
        started = time.monotonic()
        with open_fetcher(Opening(wire.url.replace("http:", "https:"))) as fetcher:
            verdict = fetcher.attempt(1, SHORT)
        seconds = time.monotonic() - started

    assert verdict == retry("timeout")
    assert seconds < SHORT + 1.0
