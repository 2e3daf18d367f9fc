"""Check what the function asks for where a number stands elsewhere than bare in a URL's path."""

from __future__ import annotations

from pathlib import Path

from servers import Upstream
from support.deployed import deployed


def test_numbers_with_zeros_in_front_are_crawled(tmp_path: Path) -> None:
    """Ask for padded numbers, and store rows under the numbers themselves."""
    with Upstream() as upstream:
        url = upstream.url.replace("{song_num}", "{song_num:010}") + "?n={song_num}"
        with deployed(tmp_path, SONG_URL=url) as running:
            running.crawl("7,99-101", run="padded")
            rows = [(row["song_num"], row["status"]) for row in running.audited("padded")]
            source = running.send("GET", "/runs/padded").json()
        paths = {request.path for request in upstream.requests}

    assert rows == [(7, "found"), (99, "found"), (100, "found"), (101, "missing")]
    assert paths == {f"/songs/{n:010}?n={n}" for n in (7, 99, 100, 101)}
    assert source["state"] == "complete"


def test_songs_are_asked_for_by_post(tmp_path: Path) -> None:
    """Send each number in the body of a POST to one address, and tell the run from that of another body."""
    with Upstream(method="POST") as upstream:
        url = upstream.url.replace("/songs/{song_num}", "/graphql")
        settings = {"SONG_URL": url, "SONG_METHOD": "POST"}
        with deployed(tmp_path, **settings, SONG_BODY='{"query": "{ song(id: {song_num}) }"}') as running:
            running.crawl("99-101", run="posted")
            rows = [(row["song_num"], row["status"]) for row in running.audited("posted")]
        bodies = {request.body for request in upstream.requests}
        with deployed(tmp_path, **settings, SONG_BODY='["{song_num:04}"]') as running:
            answer = running.call("99-101", run="posted")

    assert rows == [(99, "found"), (100, "found"), (101, "missing")]
    assert bodies == {b'{"query": "{ song(id: %d) }"}' % n for n in (99, 100, 101)}
    assert answer.status_code == 409
