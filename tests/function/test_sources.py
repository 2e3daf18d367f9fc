"""Crawl a server that speaks as each real API does, by the bundled source alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import Upstream
from servers.dialects import DIALECTS, Dialect, GitHub, StackExchange
from support.stored import audit, read_folder

from crawler.app.composition import deployment_from
from crawler.app.parameters import parse_crawl
from crawler.app.source_file import source_names, source_text

LAST = 30
# The numbers of which a dialect says something of its own, and the error of their rows.
FAILED = {"github-repositories": {17: "blocked", 23: "http_403"}}
# The songs that are redirected, and to which.
MOVED = {"github-repositories": {19: 20}, "openalex-works": {11: 12}}
# How the times of a source are scaled, as those of its dialect are: a minute is a second.
SCALED = {
    "github-repositories": ("|| `60`", "|| `1`"),
    "itunes-lookup": ("wait = 60", "wait = 1"),
    "sec-edgar-companies": ("wait = 600", "wait = 1"),
}
# Discogs' limit headers stand for a window of 60 s, which nothing can scale: what it refuses must do.
UNSCALED = {"discogs-releases": {"RATE_HEADERS": "ignore"}}
# The rate is the source's own, or one that is too much for the dialect: what it refuses must be understood.
PACES = {"deezer-tracks": (None, "40"), "stack-exchange-questions": (None,), "sec-edgar-companies": (None, "40")}
CASES = [(name, pace) for name in DIALECTS for pace in PACES.get(name, ("40",))]


class Crawled(NamedTuple):
    """What became of a crawl of a dialect."""

    state: str
    rows: dict[int, dict[str, Any]]


def crawl(folder: Path, name: str, dialect: Dialect, songs: str = f"1-{LAST}", **settings: str) -> Crawled:
    """Crawl songs of a dialect by a source, as it is but for its address and its longest waits."""
    source = folder / "source.toml"
    source.write_text(source_text(name).replace(*SCALED.get(name, ("", ""))))
    placeholder = "{song_num:010}" if "{song_num:010}" in source_text(name) else "{song_num}"
    with Upstream(dialect) as upstream:
        own = {"SOURCE": str(source), "SONG_URL": upstream.url.replace("{song_num}", placeholder)}
        own |= UNSCALED.get(name, {}) | {"OUTPUT": str(folder / "songs"), "ALLOW_PRIVATE_UPSTREAM": "1"}
        deployment = deployment_from({**own, **settings})
        request = parse_crawl([("songs", songs), ("run", "dialect")], b"", deployment.bounds)
        state = deployment.crawl(request, 90.0).summary.state
    rows = audit(read_folder(folder / "songs"), "dialect") if state == "complete" else []
    return Crawled(state, {row["song_num"]: row for row in rows})


def told(rows: dict[int, dict[str, Any]]) -> dict[int, str]:
    """Return each song's error, or else its status."""
    return {song_num: row.get("error") or row["status"] for song_num, row in rows.items()}


def test_every_source_has_a_dialect() -> None:
    """Leave no bundled source without a server that speaks as its API does."""
    assert source_names() == sorted(DIALECTS)


@pytest.mark.parametrize(("name", "pace"), CASES, ids=[f"{name}-{pace or 'own'}" for name, pace in CASES])
def test_source_tells_every_song_right(tmp_path: Path, name: str, pace: str | None) -> None:
    """Find each song that is there, count each other one as missing, and lose none to a refusal."""
    dialect = DIALECTS[name]()
    state, rows = crawl(tmp_path, name, dialect, **({"MAX_PER_SECOND": pace} if pace else {}))

    expected = {n: "found" if dialect.there(n) else "missing" for n in range(1, LAST + 1)}
    assert (state, told(rows)) == ("complete", expected | FAILED.get(name, {}))
    assert dialect.refused <= LAST
    assert {n: row["moved_to"] for n, row in rows.items() if "moved_to" in row} == MOVED.get(name, {})
    for old, new in MOVED.get(name, {}).items():
        assert rows[old]["info"] == rows[new]["info"]


@pytest.mark.parametrize("name", DIALECTS)
def test_source_stores_the_song_itself(tmp_path: Path, name: str) -> None:
    """Store what is of the song, out of the wrapping that the API puts around it."""
    rows = crawl(tmp_path, name, DIALECTS[name](), "1").rows
    info = rows[1]["info"]

    number = ("id", "uid", "question_id", "steam_appid", "cik")
    (own,) = [str(info[field]) for field in number if field in info]
    assert own.rpartition("/")[2].lstrip("QW0") == "1"


def test_backoff_is_kept_to(tmp_path: Path) -> None:
    """Ask Stack Exchange for nothing within the time that a good answer asks to wait."""
    dialect = StackExchange()
    crawl(tmp_path, "stack-exchange-questions", dialect, "1-11")

    assert (dialect.early, dialect.refused) == (0, 0)


def test_secondary_limit_is_waited_for(tmp_path: Path) -> None:
    """Lose no repository where more go out at once than GitHub allows."""
    dialect = GitHub()
    state, rows = crawl(tmp_path, "github-repositories", dialect, MAX_AT_ONCE="12", MAX_PER_SECOND="0")

    assert state == "complete"
    assert dialect.refused
    assert {n for n, status in told(rows).items() if status not in ("found", "missing")} == {17, 23}
