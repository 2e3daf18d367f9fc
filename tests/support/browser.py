"""A real Chromium, as people use it: what it says on its console, what its pages look like, what axe finds in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

PICTURES = Path(__file__).parents[2] / "build" / "pages"
SIZES = {
    "light": {"width": 1100, "height": 900},
    "dark": {"width": 1100, "height": 900},
    "phone": {"width": 390, "height": 844},
}
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def chromium_available() -> str | None:
    """Say why there is no browser; None: there is one."""
    return None if _CHROMIUM else "chromium is not installed"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium, which loads nothing but what the test's own server gives."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


def open_context(browser: Browser, look: str = "light") -> BrowserContext:
    """Open a window of its own: light, dark, or a phone's."""
    scheme: Any = "dark" if look == "dark" else "light"
    return browser.new_context(color_scheme=scheme, viewport=SIZES[look], locale="en-US")  # type: ignore[arg-type]


class Console:
    """Keep what a page complains of: errors and warnings on its console, and uncaught exceptions."""

    def __init__(self, page: Page) -> None:
        """Listen to a page."""
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def faults(page: Page) -> list[str]:
    """Have axe look at the page; gives every fault, be it minor."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']} ({each['impact']}): {each['nodes'][0]['html']}" for each in found]


def take_picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
