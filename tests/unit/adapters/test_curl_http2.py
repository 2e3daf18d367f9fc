"""Check what an upstream over HTTP/2 says of requests that it did not look at, and connections that fall mute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from h2.errors import ErrorCodes
from servers.http2 import SONG, Answer, Asked, GoAway, Http2Upstream, Reset, Status

from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.core.verdict import Kind, Verdict
from crawler.upstream.classify import DeclaredSong

SONGS, AT_ONCE = 60, 16


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Issue a certificate for the loopback address, in `server.pem` of the folder; the authority is `authority.pem`."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return folder


def fetch(upstream: Http2Upstream, certificate: Path, timeout: float = 10.0, songs: int = SONGS) -> dict[int, Verdict]:
    """Try each song once, many at once."""
    authorities = str(certificate / "authority.pem")
    fetcher = CurlFetcher(
        upstream.url, DeclaredSong("title"), 1 << 20, "songcrawl/test", allow_private=True, authorities=authorities
    )
    transfers = fetcher.open_transfers(AT_ONCE)
    waiting, verdicts, on_the_way = list(range(songs, 0, -1)), {}, 0
    try:
        while waiting or on_the_way:
            while waiting and on_the_way < AT_ONCE:
                number = waiting.pop()
                transfers.start(number, number, timeout)
                on_the_way += 1
            for number, verdict in transfers.perform(0.05):
                verdicts[number] = verdict
                on_the_way -= 1
    finally:
        transfers.close()
    return verdicts


def of_every_fifth(answer: Answer) -> Callable[[Asked], Answer]:
    """Give this answer to every fifth song, the first time that it is asked for."""
    seen: set[int] = set()

    def respond(asked: Asked) -> Answer:
        first = asked.song_num not in seen
        seen.add(asked.song_num)
        return answer if first and asked.song_num % 5 == 0 else SONG

    return respond


def of_every_twentieth(answer: Answer) -> Callable[[Asked], Answer]:
    """Give this answer to the twentieth request of each connection."""
    return lambda asked: answer if asked.nth == 20 else SONG


def demands_http1(asked: Asked) -> Answer:
    """Demand HTTP/1.1 for one song."""
    return Reset(ErrorCodes.HTTP_1_1_REQUIRED) if asked.http2 and asked.song_num == 3 else SONG


@pytest.mark.parametrize(
    "respond",
    [
        demands_http1,
        lambda asked: Reset(ErrorCodes.HTTP_1_1_REQUIRED) if asked.http2 else SONG,
        of_every_fifth(Reset(ErrorCodes.REFUSED_STREAM)),
        of_every_fifth(Status(421)),
        of_every_twentieth(GoAway(ErrorCodes.NO_ERROR)),
        of_every_twentieth(GoAway(ErrorCodes.INTERNAL_ERROR)),
    ],
    ids=["HTTP/1.1 for one", "HTTP/1.1 for all", "refused stream", "421", "GOAWAY", "GOAWAY with an error"],
)
def test_request_that_was_not_looked_at_is_sent_again(certificate: Path, respond: Callable[[Asked], Answer]) -> None:
    """Find every song with its first attempt, and count each request that the upstream knows of."""
    with Http2Upstream(respond, certificate / "server.pem") as upstream:
        verdicts = fetch(upstream, certificate)

    assert Counter(verdict.info for verdict in verdicts.values()) == Counter(f"Song {n}" for n in range(1, SONGS + 1))
    # Requests that the server no longer read, after its GOAWAY, went out all the same.
    sent = sum(verdict.requests for verdict in verdicts.values())
    assert len(upstream.requests) <= sent <= len(upstream.requests) + 3 * AT_ONCE


def test_refusing_for_ever_ends(certificate: Path) -> None:
    """Count an attempt of a song whose stream is refused however often it is sent."""

    def respond(asked: Asked) -> Answer:
        return Reset(ErrorCodes.REFUSED_STREAM) if asked.song_num == 3 else SONG

    with Http2Upstream(respond, certificate / "server.pem") as upstream:
        verdicts = fetch(upstream, certificate, songs=10)

    assert verdicts[3].error == "connection"
    assert verdicts[3].requests <= 20
    assert Counter(verdict.kind for verdict in verdicts.values()) == {Kind.FOUND: 9, Kind.RETRY: 1}


@pytest.mark.parametrize(
    "respond",
    [of_every_fifth(Reset(ErrorCodes.ENHANCE_YOUR_CALM)), of_every_twentieth(GoAway(ErrorCodes.ENHANCE_YOUR_CALM))],
    ids=["RST_STREAM", "GOAWAY"],
)
def test_enhance_your_calm_is_throttling(certificate: Path, respond: Callable[[Asked], Answer]) -> None:
    """Take ENHANCE_YOUR_CALM (RFC 9113, 7) for what 429 says."""
    with Http2Upstream(respond, certificate / "server.pem") as upstream:
        verdicts = fetch(upstream, certificate)

    kinds = Counter((verdict.kind, verdict.error) for verdict in verdicts.values())
    assert set(kinds) == {(Kind.FOUND, None), (Kind.THROTTLED, "enhance_your_calm")}


def test_mute_connection_is_left(certificate: Path) -> None:
    """Ask on another connection once requests time out on one that answers none."""

    def respond(asked: Asked) -> Answer:
        return None if asked.connection == 0 and asked.nth >= 20 else SONG

    with Http2Upstream(respond, certificate / "server.pem") as upstream:
        verdicts = fetch(upstream, certificate, timeout=0.5)

    errors = Counter(verdict.error for verdict in verdicts.values())
    assert errors["timeout"] <= AT_ONCE
    assert errors[None] == SONGS - errors["timeout"]


def test_slow_song_ends_no_connection(certificate: Path) -> None:
    """Stay on a connection that answers others while one song times out."""

    def respond(asked: Asked) -> Answer:
        return None if asked.song_num == 3 else SONG

    with Http2Upstream(respond, certificate / "server.pem") as upstream:
        verdicts = fetch(upstream, certificate, timeout=0.3, songs=3 * SONGS)

        assert upstream.connections <= 2
    assert [number for number, verdict in verdicts.items() if verdict.error] == [3]
