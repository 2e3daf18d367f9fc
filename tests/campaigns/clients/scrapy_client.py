"""Scrapy with its own settings, but for the timeout; robots.txt is not asked for."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import scrapy
from client import Watch, read_job, stored
from scrapy.crawler import CrawlerProcess

job = read_job()


class Songs(scrapy.Spider):
    """Ask for page after page, the next when the one before has ended."""

    name = "songs"
    custom_settings: ClassVar = {
        "DOWNLOAD_TIMEOUT": job.seconds,
        "ROBOTSTXT_OBEY": False,
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "DOWNLOAD_DELAY": 0,
    }

    async def start(self) -> AsyncIterator[Any]:
        """Ask for the first page."""
        for request in self.ask(0):
            yield request

    def ask(self, place: int) -> Iterator[scrapy.Request]:
        """Ask for the page at a place of the list."""
        if place < len(job.numbers):
            meta = {"place": place, "watch": Watch(job.numbers[place])}
            url = job.url_of(job.numbers[place])
            options = {"headers": job.headers, "meta": meta, "dont_filter": True}
            yield scrapy.Request(url, callback=self.take, errback=self.fail, **options)

    def take(self, response: Any) -> Iterator[scrapy.Request]:
        """Read a song's title."""
        try:
            outcome = stored(response.json()["title"])
        except BaseException as error:
            outcome = type(error).__name__
        yield from self.go_on(response.meta, outcome)

    def fail(self, failure: Any) -> Iterator[scrapy.Request]:
        """Tell why there is no answer."""
        yield from self.go_on(failure.request.meta, type(failure.value).__name__)

    def go_on(self, meta: Any, outcome: str) -> Iterator[scrapy.Request]:
        """Tell what came of a page, and ask for the next."""
        meta["watch"].tell(outcome)
        yield from self.ask(meta["place"] + 1)


process = CrawlerProcess()
process.crawl(Songs)
process.start()
