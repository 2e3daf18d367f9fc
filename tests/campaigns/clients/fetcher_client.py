"""A fetcher of this project; its name is the argument."""

import sys

from client import Watch, read_job
from support.fetchers import FETCHERS, Opening

job = read_job()
with FETCHERS[sys.argv[1]](Opening(job.url, job.headers)) as fetcher:
    for number in job.numbers:
        watch = Watch(number)
        verdict = fetcher.attempt(number, job.seconds)
        said = verdict.kind.value if verdict.info in (None, "Song 1") else "found otherwise"
        watch.tell(f"{said} {verdict.reason or verdict.error or ''}".strip())
