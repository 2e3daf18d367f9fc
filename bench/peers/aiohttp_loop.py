"""aiohttp: as many tasks as songs in flight, each taking the next number from one iterator."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import TextIO

import aiohttp
from peer import Job, line, serve


async def take_songs(session: aiohttp.ClientSession, job: Job, numbers: Iterator[int], file: TextIO) -> None:
    """Fetch one song after the other until there is none left."""
    for song_num in numbers:
        async with session.get(job.url_of(song_num)) as response:
            response.raise_for_status()
            file.write(line(song_num, await response.json()))


async def fetch(job: Job, file: TextIO) -> None:
    """Run the tasks on one session."""
    context = ssl.create_default_context(cafile=job.ca) if job.ca else True
    numbers = iter(range(1, job.songs + 1))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=context)) as session:
        await asyncio.gather(*(take_songs(session, job, numbers, file) for _ in range(job.at_once)))


def crawl(job: Job) -> None:
    """Crawl into the file."""
    with open(job.output, "w", encoding="utf-8") as file:
        asyncio.run(fetch(job, file))


if __name__ == "__main__":
    serve(crawl)
