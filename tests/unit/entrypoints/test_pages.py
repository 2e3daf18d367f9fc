"""The page in a real Chromium: start a run, see it move, lose nothing on a reload, read its report, stop another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from servers import Page as RunSummary
from servers import Upstream, error, missing, song
from support.browser import Console, chromium, chromium_available, faults, open_context, take_picture
from support.deployed import Deployed, deployed

pytestmark = pytest.mark.skipif(chromium_available() is not None, reason=str(chromium_available()))

LOOKS = ["light", "dark", "phone"]
SECONDS = 30_000  # ms that a busy machine may take for what is a moment's work


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one Chromium for all tests here."""
    with chromium() as running:
        yield running


def pages(song_num: int, _nth: int) -> RunSummary:
    """Serve songs, every tenth of them missing, every 211th broken."""
    if song_num % 211 == 0:
        return error(400)
    return song(song_num) if song_num % 10 else missing()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Run the function on a song API with holes, in parts small enough to see them come."""
    output = tmp_path_factory.mktemp("sample")
    settings = {"PART_SONGS": "100", "MAX_PER_SECOND": "500", "MAX_FAILED": "0.1"}
    with Upstream(pages) as upstream, deployed(output, SONG_URL=upstream.url, **settings) as function:
        yield function


def open_page(browser: Browser, address: str, look: str = "light") -> tuple[Page, Console]:
    """Open an address in a new window."""
    page = open_context(browser, look).new_page()
    console = Console(page)
    page.goto(address)
    return page, console


def plan(page: Page, songs: str, run: str, rate: str = "") -> None:
    """Fill in the form with the keyboard and ask for time and cost."""
    page.get_by_label("Songs", exact=True).fill(songs)
    page.get_by_label("Requests a second").fill(rate)
    page.get_by_label("Name of the run").fill(run)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Start")).to_be_focused(timeout=SECONDS)


def number(page: Page, label: str) -> int:
    """Read one of the page's figures."""
    return int(page.locator(f"#{label}").inner_text().replace(",", "") or 0)


def test_a_run_is_started_watched_through_a_reload_and_reported(browser: Browser, sample: Deployed) -> None:
    """Show time and cost first, then progress; go on where the run stands after a reload; end with a report."""
    page, console = open_page(browser, sample.server.url)
    plan(page, "1-3000", "trial")
    expect(page.locator("#planned-text")).to_have_text(
        re.compile(r"^3,000 songs: about 6 s, about \$0\.0.*\. The run is called trial\.$")
    )
    assert sample.objects() == {}
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="trial running")).to_be_focused(timeout=SECONDS)
    expect(page.locator("#note")).to_contain_text("Keep this tab open")
    expect(page.locator("#strip rect.done").first).to_be_attached(timeout=SECONDS)
    before = number(page, "found") + number(page, "missing")
    assert 0 < before < 3000

    page.reload()

    assert page.url.endswith("?watch=trial")
    expect(page.locator("#strip rect.done").first).to_be_attached(timeout=SECONDS)
    assert number(page, "found") + number(page, "missing") >= before
    expect(page.locator("#state")).to_have_text("complete", timeout=SECONDS)
    assert (number(page, "found"), number(page, "missing"), number(page, "remaining")) == (2687, 299, 0)
    assert page.locator("#strip").get_attribute("aria-label") == "Stored: parts 1-30 of 30 parts"
    expect(page.locator("#note")).to_be_hidden(timeout=SECONDS)
    expect(page.get_by_role("link", name="Report of trial")).to_be_visible(timeout=SECONDS)

    page.get_by_role("link", name="Report", exact=True).click()

    expect(page.get_by_role("heading", name="trial complete")).to_be_visible(timeout=SECONDS)
    assert page.locator("img").count() == 3
    assert console.complaints == []
    assert len(sample.audited("trial")) == 3000
    page.context.close()


def test_a_run_is_stopped(browser: Browser, sample: Deployed) -> None:
    """Stop a slow run by its button: it says so, its call ends, and another goes on with it."""
    page, console = open_page(browser, f"{sample.server.url}/?songs=1-2000&max_per_second=50&run=slow")
    page.get_by_role("button", name="Show time and cost").click()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#state")).to_have_text("running", timeout=SECONDS)
    expect(page.locator("#found")).not_to_have_text(re.compile("^[0–]$"), timeout=SECONDS)
    assert page.locator("#strip rect.done").count() == 0  # figures move though no part is stored yet
    expect(page.locator("#runs tr[data-run=slow] td").nth(3)).not_to_have_text("0", timeout=SECONDS)

    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#state")).to_have_text("stopped", timeout=SECONDS)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#note")).to_be_hidden()
    assert b"{}" in sample.objects()["runs/slow/stop-000001.json"]
    page.get_by_role("button", name="Go on from this tab").click()
    expect(page.locator("#state")).to_have_text("running", timeout=SECONDS)
    expect(page.get_by_role("button", name="Go on from this tab")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("stopped", timeout=SECONDS)
    assert "runs/slow/stop-000002.json" in sample.objects()
    assert all("503" in complaint for complaint in console.complaints)  # its call was told of the stop
    page.context.close()


def test_songs_are_looked_up_and_opened(browser: Browser, sample: Deployed) -> None:
    """Show a run's first songs, one by its number, those that failed, and each row as a tree."""
    sample.crawl("1-700", run="shown")
    page, console = open_page(browser, f"{sample.server.url}/?watch=shown")
    rows = page.locator("#rows > li")
    expect(rows).to_have_count(20, timeout=SECONDS)
    page.get_by_role("button", name="More songs").click()
    expect(rows).to_have_count(40, timeout=SECONDS)

    page.get_by_label("Song number").fill("77")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1, timeout=SECONDS)
    rows.first.locator("summary").first.click()
    expect(rows.first.locator(".tree").first).to_contain_text("info")

    page.get_by_label("Song number").fill("")
    page.get_by_label("Status").select_option("failed")
    expect(rows).to_have_count(3, timeout=SECONDS)
    expect(rows.first).to_have_text(re.compile("^211 failed http_400"))
    page.get_by_label("Song number").fill("800")
    page.keyboard.press("Enter")
    expect(page.locator("#look-said")).to_have_text("The run shown was not asked for 800; its songs are 1-700.")

    assert all("404" in complaint for complaint in console.complaints)
    assert faults(page) == []
    page.context.close()


def test_a_held_run_is_accepted(browser: Browser, sample: Deployed) -> None:
    """Show why a run is held, on the page and in the report, and complete it by a button."""
    sample.send(json={"songs": "210-212", "run": "held"})
    page, console = open_page(browser, f"{sample.server.url}/?watch=held")
    expect(page.locator("#state")).to_have_text("held", timeout=SECONDS)
    expect(page.locator("#note")).to_contain_text("1 of 3 songs failed, and MAX_FAILED allows a share of 0.1.")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    found = faults(page)

    page.get_by_role("button", name="Accept").click()

    expect(page.locator("#state")).to_have_text("complete", timeout=SECONDS)
    expect(page.get_by_role("button", name="Accept")).to_be_hidden()
    expect(page.locator("#note")).to_be_hidden()
    assert len(sample.audited("held")) == 3
    assert console.complaints == found == []
    page.context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_pages_are_accessible_and_their_pictures_are_kept(browser: Browser, sample: Deployed, look: str) -> None:
    """Find no fault with axe: on the empty page, with a plan, with a run, on the report."""
    url = sample.server.url
    sample.crawl("1-700", run="shown")
    page, console = open_page(browser, url, look)
    found = faults(page)
    plan(page, "1-3000", f"trial-{look}")
    found += faults(page)
    take_picture(page, f"{look}-plan")
    page.goto(f"{url}/?watch=shown")
    expect(page.locator("#state")).to_have_text("complete", timeout=SECONDS)
    expect(page.get_by_role("link", name="Report of shown")).to_be_visible(timeout=SECONDS)
    page.locator("#rows summary").first.click()
    found += faults(page)
    take_picture(page, f"{look}-run")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(f"{url}/runs/shown")
    found += faults(page)
    take_picture(page, f"{look}-report")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert found == []
    assert console.complaints == []
    page.context.close()


def test_the_page_goes_on_when_a_calls_time_is_over(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """Send the same call again after a 503, say that the tab must stay open, and end when the run is complete."""
    with deployed(tmp_path, SONG_URL=upstream.url, PART_SONGS="20", DEADLINE_SECONDS="3") as function:
        page, console = open_page(browser, function.server.url)
        plan(page, "1-100", "long", rate="40")
        page.keyboard.press("Enter")
        expect(page.locator("#note")).to_have_text(
            re.compile(r"The time of this call is over.*This tab sends the next call in 1 s: keep it open\."),
            timeout=SECONDS,
        )
        expect(page.locator("#state")).to_have_text("complete", timeout=SECONDS)
        expect(page.locator("#note")).to_be_hidden(timeout=SECONDS)

        assert len(function.audited("long")) == 100
        assert {"503" in complaint for complaint in console.complaints} == {True}
        page.context.close()


def test_a_page_loaded_anew_goes_on_when_nothing_moves(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """Send the next call where a reload missed the answer of the last, once nothing has moved for a minute."""
    with deployed(tmp_path, SONG_URL=upstream.url, PART_SONGS="20", DEADLINE_SECONDS="3") as function:
        page = open_context(browser).new_page()
        page.clock.install()
        page.goto(function.server.url)
        plan(page, "1-100", "long", rate="40")
        page.keyboard.press("Enter")
        expect(page.locator("#strip rect").first).to_be_attached(timeout=SECONDS)
        page.reload()
        function.server.wait_for_line("crawl partial")
        expect(page.locator("#note")).to_contain_text("if nothing moves for a while", timeout=SECONDS)

        while page.locator("#state").inner_text() != "complete":
            page.clock.run_for(20_000)
            page.wait_for_timeout(200)  # of real time, which answers take

        assert len(function.audited("long")) == 100
        page.context.close()


def test_what_is_refused_is_said_at_its_field(browser: Browser, sample: Deployed) -> None:
    """Give the function's own sentence, and put the cursor where it must be mended."""
    page, _ = open_page(browser, f"{sample.server.url}/?songs=9-1")
    page.get_by_role("button", name="Show time and cost").click()

    expect(page.get_by_role("alert")).to_contain_text("the range 9-1 is reversed: write 1-9")
    expect(page.get_by_label("Songs", exact=True)).to_be_focused()
    assert page.get_by_label("Songs", exact=True).get_attribute("aria-invalid") == "true"
    page.context.close()


def test_a_downloaded_report_stands_alone(browser: Browser, sample: Deployed, tmp_path: Path) -> None:
    """Show a report from a file, charts included, with the network gone."""
    sample.crawl("1-700", run="shown")
    page, _ = open_page(browser, f"{sample.server.url}/runs/shown")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save this report").click()
    saved = tmp_path / "shown.html"
    download.value.save_as(saved)
    page.context.set_offline(True)
    console = Console(page)

    page.goto(saved.as_uri())

    assert download.value.suggested_filename == "shown.html"
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.get_by_role("link").count() == 0
    assert console.complaints == []
    page.context.close()
