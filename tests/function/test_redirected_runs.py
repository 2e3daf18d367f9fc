"""Crawl songs that were merged into others: what is stored of them, in every format, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, missing, song
from support.stored import audit, read_folder

from crawler import execute_async_event_loop
from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.parameters import parse_crawl
from crawler.core.errors import RunConflict
from crawler.core.records import FormatName
from crawler.entrypoints.python.songs import StoredSongs
from crawler.runs.index import RunIndex
from crawler.runs.summary import RunSummary
from crawler.runs.verify import verify_run

ROBOTS = Page(body=b"User-agent: *\nDisallow: /songs/40\n", headers={"Content-Type": "text/plain"})


def pages(song_num: int, _nth: int) -> Page:
    """Merge 5 into 6, 10 into 11, ..., 30 into a song that robots.txt hides, 35 into itself; 20 is missing."""
    if song_num == 20:
        return missing()
    if song_num % 5 == 0 and song_num < 40:
        return Page(status=301, headers={"Location": f"/songs/{ {30: 40, 35: 35}.get(song_num, song_num + 1) }"})
    return song(song_num)


def deployment(folder: Path, upstream: Upstream, **settings: str) -> Deployment:
    """Deploy a crawler of the songs into a folder."""
    own = {"SONG_URL": upstream.url, "OUTPUT": str(folder), "ALLOW_PRIVATE_UPSTREAM": "1", "REDIRECTS": "follow"}
    return deployment_from({**own, **settings})


def crawl(deployed: Deployment, songs: str = "1-36", run: str = "merged") -> RunSummary:
    """Crawl songs."""
    return deployed.crawl(parse_crawl([("songs", songs), ("run", run)], b"", deployed.bounds), 60.0).summary


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_rows_say_where_songs_are_now(tmp_path: Path, form: FormatName) -> None:
    """Find merged songs under their old numbers, count each hop as a request, and prove the run."""
    with Upstream(pages, robots=lambda _n, _nth: ROBOTS) as upstream:
        deployed = deployment(tmp_path, upstream, FORMAT=form, PART_SONGS="10")
        summary = crawl(deployed)
        assert (summary.state, summary.found, summary.missing, summary.failed) == ("complete", 33, 1, 2)
        assert summary.requests == upstream.count() == 36 + 4
        assert 40 not in upstream.per_song()
    songs = StoredSongs(deployed.store, summary)
    proof = verify_run(RunIndex(deployed.store, ""), "merged")

    assert {record.song_num: record.moved_to for record in songs if record.moved_to} == {5: 6, 10: 11, 15: 16, 25: 26}
    assert {record.song_num: record.info["id"] for record in songs if record.moved_to} == {5: 6, 10: 11, 15: 16, 25: 26}
    assert songs.failed == [(30, "robots"), (35, "redirect")]
    assert (proof.faults, proof.found) == ([], 33)
    if form == "jsonl":
        assert next(row["moved_to"] for row in audit(read_folder(tmp_path), "merged") if row["song_num"] == 5) == 6


@pytest.mark.parametrize(("setting", "figures"), [("fail", (29, 1, 6)), ("missing", (29, 7, 0))])
def test_redirects_are_what_the_setting_says(tmp_path: Path, setting: str, figures: tuple[int, int, int]) -> None:
    """Fail redirected songs, or count them as missing, and ask nowhere else; a run goes on under one setting alone."""
    with Upstream(pages) as upstream:
        summary = crawl(deployment(tmp_path, upstream, REDIRECTS=setting))
        assert (summary.found, summary.missing, summary.failed) == figures
        assert 40 not in upstream.per_song()
        assert summary.requests == upstream.count()
        with pytest.raises(RunConflict, match="begun with other settings"):
            crawl(deployment(tmp_path, upstream))


def test_hops_keep_to_the_rate(tmp_path: Path) -> None:
    """Send no more than MAX_PER_SECOND requests in any second, hops among them."""
    hop = {n: Page(status=302, headers={"Location": f"/songs/{n + 100}"}) for n in range(1, 11)}
    with Upstream(lambda n, _nth: hop.get(n, song(n))) as upstream:
        summary = crawl(deployment(tmp_path, upstream, MAX_PER_SECOND="15"), "1-10")
        assert (summary.found, summary.requests) == (10, 20)
        assert upstream.peak_per_second() <= 15 * 1.04 + 1


def test_rows_that_a_deadline_cut_off_keep_where_songs_are(tmp_path: Path) -> None:
    """Go on with the rows of a call before, moved_to among them."""
    slow: dict[str, Any] = {"after": 0.0}

    def page(song_num: int, nth: int) -> Page:
        return pages(song_num, nth).after(slow["after"] if song_num > 12 else 0.0)

    with Upstream(page) as upstream:
        slow["after"] = 30.0
        deployed = deployment(tmp_path, upstream, FORMAT="csv", MAX_AT_ONCE="1")
        request = parse_crawl([("songs", "1-16"), ("run", "merged")], b"", deployed.bounds)
        first = deployed.crawl(request, 1.5).summary
        assert (first.state, upstream.per_song()[5]) == ("partial", 1)
        slow["after"] = 0.0
        summary = crawl(deployment(tmp_path, upstream, FORMAT="csv"), "1-16")
        assert (summary.state, upstream.per_song()[5]) == ("complete", 1)
    songs = StoredSongs(FolderStore(tmp_path), summary)

    assert {record.song_num: record.moved_to for record in songs if record.moved_to} == {5: 6, 10: 11, 15: 16}


def test_the_articles_steps_follow_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Append the info that a redirect led to, under the number asked for."""
    with Upstream(pages) as upstream:
        for name, value in (("SONG_URL", upstream.url), ("ALLOW_PRIVATE_UPSTREAM", "1"), ("REDIRECTS", "follow")):
            monkeypatch.setenv(name, value)
        songs: list[tuple[int, Any]] = []
        execute_async_event_loop(range(4, 8), songs)

    assert [(number, info["id"]) for number, info in songs] == [(4, 4), (5, 6), (6, 6), (7, 7)]
