"""Scrapy: a spider with as many requests at once as wanted, no delay, no robots.txt, its own JSON Lines feed."""

from collections.abc import AsyncIterator
from typing import Any

import scrapy
from peer import Job, serve
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response


class Songs(scrapy.Spider):
    """Ask for every number, and yield what comes."""

    name = "songs"

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    async def start(self) -> AsyncIterator[scrapy.Request]:
        """Yield the requests."""
        for song_num in range(1, self.job.songs + 1):
            yield scrapy.Request(self.job.url_of(song_num), cb_kwargs={"song_num": song_num})

    def parse(self, response: Response, song_num: int) -> Any:
        """Make an item of a song."""
        yield {"song_num": song_num, "info": response.json()}


def crawl(job: Job) -> None:
    """Crawl into the feed."""
    settings = {
        "CONCURRENT_REQUESTS": job.at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": job.at_once,
        "DOWNLOAD_DELAY": 0,
        "FEEDS": {job.output: {"format": "jsonlines"}},
        "LOG_LEVEL": "ERROR",
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
    }
    process = AsyncCrawlerProcess(settings)
    process.crawl(Songs, job=job)
    process.start()


if __name__ == "__main__":
    serve(crawl)
