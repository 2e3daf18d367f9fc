"""A lane of this project; its name is the argument."""

import sys

from client import Watch, read_job
from support.fetchers import LANES, Opening

job = read_job()
with LANES[sys.argv[1]](Opening(job.url, job.headers)) as lane:
    for number in job.numbers:
        watch = Watch(number)
        verdict = lane.attempt(number, job.seconds)
        said = verdict.kind.value if verdict.info in (None, "Song 1") else "found otherwise"
        watch.tell(f"{said} {verdict.error or ''}".strip())
