"""aiohttp, with its total timeout."""

import asyncio
from typing import Any

import aiohttp
from client import Watch, read_job, stored

job = read_job()


async def fetch(session: aiohttp.ClientSession, url: str) -> Any:
    """Fetch a song's title."""
    async with session.get(url) as response:
        response.raise_for_status()
        return (await response.json())["title"]


async def crawl() -> None:
    """Fetch page after page."""
    timeout = aiohttp.ClientTimeout(total=job.seconds)
    async with aiohttp.ClientSession(headers=job.headers, timeout=timeout) as session:
        for number in job.numbers:
            watch = Watch(number)
            try:
                outcome = stored(await fetch(session, job.url_of(number)))
            except BaseException as error:
                outcome = type(error).__name__
            watch.tell(outcome)


asyncio.run(crawl())
