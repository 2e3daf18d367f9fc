"""A bare libcurl multi loop, as pycurl's own example has it: handles used again, perform, read what is done, select."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import TextIO

import pycurl
from peer import Job, line, serve


def make_handle(job: Job) -> pycurl.Curl:
    """Make a handle for one song at a time."""
    handle = pycurl.Curl()
    handle.setopt(pycurl.NOSIGNAL, 1)
    if job.ca:
        handle.setopt(pycurl.CAINFO, job.ca)
    return handle


def begin(multi: pycurl.CurlMulti, handle: pycurl.Curl, job: Job, song_num: int) -> None:
    """Send a song's request on a handle."""
    handle.song_num, handle.body = song_num, BytesIO()
    handle.setopt(pycurl.URL, job.url_of(song_num))
    handle.setopt(pycurl.WRITEDATA, handle.body)
    multi.add_handle(handle)


def finish(handle: pycurl.Curl, file: TextIO) -> None:
    """Write the song that a handle has fetched."""
    if (status := handle.getinfo(pycurl.RESPONSE_CODE)) != 200:
        raise ValueError(f"song {handle.song_num}: HTTP {status}")
    file.write(line(handle.song_num, json.loads(handle.body.getvalue())))


def fetch(job: Job, numbers: Iterator[int], file: TextIO) -> None:
    """Keep `at_once` transfers going until every number is written."""
    multi = pycurl.CurlMulti()
    idle = [make_handle(job) for _ in range(job.at_once)]
    left = job.songs
    while left:
        for song_num in numbers if idle else ():
            begin(multi, idle.pop(), job, song_num)
            if not idle:
                break
        multi.perform()
        queued = 1
        while queued:
            queued, done, broken = multi.info_read()
            for handle in done:
                multi.remove_handle(handle)
                finish(handle, file)
                idle.append(handle)
            left -= len(done)
            if broken:
                raise ConnectionError(broken[0][2])
        if not idle:
            multi.select(1.0)


def crawl(job: Job) -> None:
    """Crawl into the file."""
    with open(job.output, "w", encoding="utf-8") as file:
        fetch(job, iter(range(1, job.songs + 1)), file)


if __name__ == "__main__":
    serve(crawl)
