"""The article's recipe, reconstructed: one requests.Session, a thread pool, a future for every song, one gather."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from peer import Job, line, serve
from requests.adapters import HTTPAdapter

SongUrls = list[tuple[int, Any]]


def request_song_info(session: requests.Session, url: str, song_num: int, song_urls: SongUrls) -> None:
    """Fetch one song and append it."""
    response = session.get(url)
    response.raise_for_status()
    song_urls.append((song_num, response.json()))


async def get_data_asynchronously(job: Job, song_urls: SongUrls) -> None:
    """Gather a future for each song."""
    with ThreadPoolExecutor(job.at_once) as executor, requests.Session() as session:
        # The article leaves the pool at 10 connections, whatever the threads: this one fits, which is in its favour.
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=job.at_once))
        session.verify = job.ca or True
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(
                loop.run_in_executor(executor, request_song_info, session, job.url_of(song_num), song_num, song_urls)
                for song_num in range(1, job.songs + 1)
            )
        )


def crawl(job: Job) -> None:
    """Crawl everything, then write it."""
    song_urls: SongUrls = []
    asyncio.run(get_data_asynchronously(job, song_urls))
    with open(job.output, "w", encoding="utf-8") as file:
        file.writelines(line(song_num, info) for song_num, info in song_urls)


if __name__ == "__main__":
    serve(crawl)
