"""dlt: a resource of numbers, a transformer in as many threads as songs in flight, JSON Lines in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.helpers.requests import Client
from peer import Job, serve


def song_source(job: Job) -> Any:
    """Make the resource of all songs."""
    session = Client().session

    @dlt.resource
    def numbers() -> Iterator[int]:
        yield from range(1, job.songs + 1)

    @dlt.transformer(data_from=numbers, name="songs", max_table_nesting=0)
    def songs(song_num: int) -> Any:
        @dlt.defer
        def fetch() -> dict[str, Any]:
            return {"song_num": song_num, "info": session.get(job.url_of(song_num)).json()}

        return fetch()

    return songs


def crawl(job: Job) -> None:
    """Run the pipeline; its file, which dlt names itself, becomes the output."""
    folder = Path(job.output).parent / "dlt"
    os.environ |= {
        "EXTRACT__WORKERS": str(job.at_once),
        "EXTRACT__MAX_PARALLEL_ITEMS": str(2 * job.at_once),
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    destination = dlt.destinations.filesystem(folder.as_uri())
    pipeline = dlt.pipeline("songs", pipelines_dir=str(folder / "state"), destination=destination, dataset_name="songs")
    pipeline.run(song_source(job), loader_file_format="jsonl")
    with open(job.output, "wb") as output:
        for file in sorted((folder / "songs" / "songs").glob("*.jsonl*")):
            output.write(file.read_bytes())


if __name__ == "__main__":
    serve(crawl)
