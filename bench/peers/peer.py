"""What every peer shares: it imports its libraries, says that it is ready, crawls at a word, and says that it is done.

Run by the interpreter of .venv-peers, where this project is not installed: the standard library only.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """What to crawl: songs 1 to `songs` at `url`, `at_once` in flight, into the JSON Lines file `output`.

    `ca` names the certificates to trust; None for an upstream without TLS.
    """

    url: str
    songs: int
    at_once: int
    output: str
    ca: str | None

    def url_of(self, song_num: int) -> str:
        """Return the address of a song."""
        return self.url.replace("{song_num}", str(song_num))


def line(song_num: int, info: Any) -> str:
    """Write a song as a line of the output, as the standard library does."""
    return json.dumps({"song_num": song_num, "info": info}) + "\n"


def serve(crawl: Callable[[Job], None]) -> None:
    """Run the job that the command line holds, between two lines of standard output; stay until standard input ends."""
    job = Job(**json.loads(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    crawl(job)
    print("done", flush=True)
    sys.stdin.read()
