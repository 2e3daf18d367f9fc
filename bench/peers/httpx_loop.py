"""httpx: as many tasks as songs in flight, each taking the next number from one iterator."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import TextIO

import httpx
from peer import Job, line, serve


async def take_songs(client: httpx.AsyncClient, job: Job, numbers: Iterator[int], file: TextIO) -> None:
    """Fetch one song after the other until there is none left."""
    for song_num in numbers:
        response = await client.get(job.url_of(song_num))
        response.raise_for_status()
        file.write(line(song_num, response.json()))


async def fetch(job: Job, file: TextIO) -> None:
    """Run the tasks on one client."""
    limits = httpx.Limits(max_connections=job.at_once, max_keepalive_connections=job.at_once)
    verify = ssl.create_default_context(cafile=job.ca)
    numbers = iter(range(1, job.songs + 1))
    async with httpx.AsyncClient(limits=limits, verify=verify, timeout=60) as client:
        await asyncio.gather(*(take_songs(client, job, numbers, file) for _ in range(job.at_once)))


def crawl(job: Job) -> None:
    """Crawl into the file."""
    with open(job.output, "w", encoding="utf-8") as file:
        asyncio.run(fetch(job, file))


if __name__ == "__main__":
    serve(crawl)
