"""Crawlee: an HttpCrawler with its queue in memory, and all its concurrency from the start."""

import asyncio
import json
import logging
from typing import TextIO

from crawlee import ConcurrencySettings, Request
from crawlee.crawlers import HttpCrawler, HttpCrawlingContext
from crawlee.storage_clients import MemoryStorageClient
from peer import Job, line, serve


async def fetch(job: Job, file: TextIO) -> None:
    """Crawl every number."""
    crawler = HttpCrawler(
        storage_client=MemoryStorageClient(),
        concurrency_settings=ConcurrencySettings(job.at_once, job.at_once, desired_concurrency=job.at_once),
        configure_logging=False,
        use_session_pool=False,
    )

    @crawler.router.default_handler
    async def take(context: HttpCrawlingContext) -> None:
        body = await context.http_response.read()
        file.write(line(int(str(context.request.user_data["song_num"])), json.loads(body)))

    await crawler.run(
        [
            Request.from_url(job.url_of(song_num), user_data={"song_num": song_num})
            for song_num in range(1, job.songs + 1)
        ]
    )


def crawl(job: Job) -> None:
    """Crawl into the file."""
    logging.disable(logging.WARNING)
    with open(job.output, "w", encoding="utf-8") as file:
        asyncio.run(fetch(job, file))


if __name__ == "__main__":
    serve(crawl)
