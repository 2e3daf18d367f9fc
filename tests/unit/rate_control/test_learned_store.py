"""Check that what a run learned of an upstream's rate is kept, and that the next run starts there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.fakes import FakeFetcher

from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import limiter_of
from crawler.app.crawl_request import CrawlRequest
from crawler.app.deployment import Deployment
from crawler.core.errors import StoreUnavailable
from crawler.core.records import StoredObject
from crawler.core.settings import Settings
from crawler.rate_control.learned import MOST_AGE_SECONDS, LearnedRate
from crawler.rate_control.learned_store import LearnedRates
from crawler.runs.selection import parse_selection
from crawler.runs.spec import Source

SOURCE = Source("https://api.example/songs/{song_num}?key=…", "0123456789abcdef")
LEARNED = LearnedRate(per_second=4321.0, in_flight=77, throttles=True)


def rates(folder: Path, source: str = SOURCE.text) -> LearnedRates:
    """Open what was learned of a source."""
    return LearnedRates(FolderStore(folder), source, "attempt")


def deployment(folder: Path) -> Deployment:
    """Deploy the function anew, as on a cold instance."""
    settings = Settings.from_environ({"MAX_PER_SECOND": "0", "OUTPUT": str(folder)})
    return Deployment(settings, FolderStore(folder), SOURCE, lambda _: FakeFetcher(), limiter_of(settings.limits))


def newest(folder: Path) -> float:
    """Give when the newest of what was kept was stored."""
    return max(stored.created_at for stored in FolderStore(folder).list("rates/"))


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    """Give back what a run learned, to its own source alone, and name no key."""
    rates(tmp_path).keep("20261126-a", LEARNED)
    (name,) = [stored.name for stored in FolderStore(tmp_path).list("rates/")]

    assert name == "rates/https-api.example/20261126-a.json"
    assert rates(tmp_path).latest(newest(tmp_path)) == LEARNED
    assert rates(tmp_path, "https://other.example/{song_num}").latest(newest(tmp_path)) is None


def test_what_is_old_is_not_believed(tmp_path: Path) -> None:
    """Start afresh where the last run is too long ago."""
    rates(tmp_path).keep("trial", LEARNED)

    assert rates(tmp_path).latest(newest(tmp_path) + MOST_AGE_SECONDS - 1) == LEARNED
    assert rates(tmp_path).latest(newest(tmp_path) + MOST_AGE_SECONDS + 1) is None


def test_a_store_that_fails_costs_no_call(tmp_path: Path) -> None:
    """Take a failing store, and what is no rate, for nothing learned."""

    class Gone(FolderStore):
        def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
            raise StoreUnavailable("gone")

        def create(self, *_: object) -> StoredObject:
            raise StoreUnavailable("gone")

    gone = LearnedRates(Gone(tmp_path), SOURCE.text, "attempt")
    gone.keep("trial", LEARNED)
    FolderStore(tmp_path).create("rates/https-api.example/other.json", b"{}", {})

    assert gone.latest(0.0) is None
    assert rates(tmp_path).latest(newest(tmp_path)) is None


def test_the_next_run_starts_where_the_last_one_ended(tmp_path: Path) -> None:
    """Believe the limit that an earlier run met, on an instance that has sent nothing yet."""
    rates(tmp_path).keep("earlier", LEARNED)
    cold = deployment(tmp_path)
    cold.crawl(CrawlRequest(parse_selection("1-20"), "trial"))
    learned = cold.limiter.controller.learned()

    assert learned
    assert (learned.per_second, learned.throttles) == (LEARNED.per_second, True)


def test_a_run_keeps_what_it_learned(tmp_path: Path) -> None:
    """Store the rate that a run came to, under its name."""
    deployment(tmp_path).crawl(CrawlRequest(parse_selection("1-100"), "trial"))
    (name,) = [stored.name for stored in FolderStore(tmp_path).list("rates/")]
    learned = rates(tmp_path).latest(newest(tmp_path))

    assert name.endswith("/trial.json")
    assert learned
    assert learned.per_second == pytest.approx(200, rel=0.9)
    assert not learned.throttles


def test_rates_are_kept_by_a_sources_name(tmp_path: Path) -> None:
    """Keep what a run learned under SOURCE_NAME, where the source has one, and start from there."""
    named = msgspec.structs.replace(deployment(tmp_path), source=msgspec.structs.replace(SOURCE, name="tracks"))
    named.crawl(CrawlRequest(parse_selection("1-100"), "trial"))

    assert [stored.name for stored in FolderStore(tmp_path).list("rates/")] == ["rates/tracks/trial.json"]
