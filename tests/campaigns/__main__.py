"""The campaigns' command line: `python -m campaigns kill --times 200`, from the folder `tests` and the project's own.

Each prints a JSON object for each of its parts, with the figures it came to; one that breaks a promise says which, and
exits 1. `--seed` draws the same moments again, as far as a busy machine lets it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from servers import ServerProcess, fake_gcs
from servers.task_queue import QueueFaults

from campaigns.deadline import chain_calls
from campaigns.deployment import install_and_crawl, mend_deployments
from campaigns.duplicates import deliver_duplicates
from campaigns.fan_out import FannedOut, fan_out
from campaigns.function import call, start
from campaigns.fuzz import fuzz
from campaigns.growth import crawl_to_the_end, follow_growth
from campaigns.kill import kill_runs
from campaigns.many import look_at_many
from campaigns.memory import report, weigh_run
from campaigns.places import BUCKET, BucketPlace, FolderPlace, Place
from campaigns.processes import weigh
from campaigns.stores import Caller, crawl_through_faults, crawl_without_a_store
from campaigns.troubles import call_in_trouble
from campaigns.zombie import wake_zombies

Part = tuple[str, Callable[[], Any]]
_JOB = "projects/p/locations/l/jobs/nightly"


class Campaign(NamedTuple):
    """A campaign: its parts, for so many times, drawn by a seed."""

    parts: Callable[[int, random.Random], Iterator[Part]]
    times: int
    help: str


def main() -> int:
    """Run the campaign that the command line names."""
    options = _parser().parse_args()
    campaign = CAMPAIGNS[options.name]
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    times = options.times or campaign.times
    kept = True
    for title, run in campaign.parts(times, random.Random(seed)):
        started = time.monotonic()
        try:
            figures = {"kept": True, **run()}
        except AssertionError as broken:
            kept, figures = False, {"kept": False, "because": str(broken)[:4000]}
        facts = {"campaign": options.name, "part": title, "seed": seed, "took_seconds": time.monotonic() - started}
        print(json.dumps(facts | figures), flush=True)
    return 0 if kept else 1


def _kill(times: int, draw: random.Random) -> Iterator[Part]:
    yield "folder", lambda: _in_folder(lambda place: kill_runs(place, times, 20_000, 20, draw))
    yield "bucket", lambda: _in_bucket(lambda place: kill_runs(place, max(1, times // 10), 5_000, 20, draw))


def _duplicates(times: int, _: random.Random) -> Iterator[Part]:
    for title, deliveries, job in (("three at once", 3, None), ("a scheduled call five times", 5, _JOB)):
        deliver = partial(deliver_duplicates, rounds=times, deliveries=deliveries, job=job)
        yield f"{title}, folder", partial(_in_folder, deliver)
        yield f"{title}, bucket", partial(_in_bucket, deliver)


def _stores(times: int, _: random.Random) -> Iterator[Part]:
    for number in range(times):
        for may_delete in (True, False):
            title = "may delete" if may_delete else "may not delete"
            crawl = partial(crawl_through_faults, songs=2000, run=f"faults-{number}", may_delete=may_delete)
            yield f"faults, {title}", partial(_with_service, crawl)
        gone = partial(crawl_without_a_store, songs=2000, run=f"gone-{number}", deadline=10)
        yield "gone for a call", partial(_with_service, gone)


def _zombie(times: int, draw: random.Random) -> Iterator[Part]:
    wake = partial(wake_zombies, rounds=times, songs=1000, part_songs=20, draw=draw)
    yield "folder", partial(_in_folder, wake)
    yield "bucket", partial(_in_bucket, wake)


def _deadline(times: int, _: random.Random) -> Iterator[Part]:
    yield "100,000 songs in calls of 10 s", partial(_in_folder, partial(chain_calls, songs=100_000, deadline=10))
    slow = partial(chain_calls, songs=100_000, deadline=5, most=times, max_per_second=1, part_songs=1000)
    yield "one song a second in calls of 5 s", partial(_in_folder, slow)
    yield "the same in a bucket", partial(_in_bucket, slow)


def _troubles(times: int, draw: random.Random) -> Iterator[Part]:
    yield "one place in trouble", lambda: _with_emulator(partial(call_in_trouble, calls=times, draw=draw))


def _growth(times: int, draw: random.Random) -> Iterator[Part]:
    for _ in range(times):
        steps = [draw.randint(0, 300) for _ in range(4)]
        yield "next:", partial(_in_folder, partial(follow_growth, steps=steps, count=100, draw=draw))
        end = partial(crawl_to_the_end, last=2000, end_after_missing=250, part_songs=40, draw=draw, kills=4)
        yield "1-", partial(_in_folder, end)
    many = partial(look_at_many, most_seconds=10, most_mib=100)
    yield "100,000 parts and 10,000 runs", partial(_in_folder, partial(many, parts=100_000, runs=10_000))
    # The emulator looks through all that it holds for each page of a listing, and for each object that is created.
    yield "10,000 parts and 500 runs in a bucket", partial(_in_bucket, partial(many, parts=10_000, runs=500))


def _fan_out(_: int, draw: random.Random) -> Iterator[Part]:
    # Twenty songs in flight of 200 ms are 100 a second: neither the cores nor the ceiling bounds three times that.
    fleet: dict[str, Any] = {"max_at_once": 20, "max_per_second": 360, "part_songs": 200, "deadline_seconds": 3600}
    lossy = QueueFaults(lost=0.06, twice=0.01, late_seconds=1.0, shuffled=True)
    beside_one = partial(fan_out, songs=200_000, beside_one=True, draw=draw, kill_seconds=60, faults=lossy, **fleet)
    yield "200,000 songs of 200 ms", partial(_in_folder, partial(_times, 2.7, beside_one))
    bound = partial(fan_out, songs=15_000, draw=draw, kill_seconds=8, faults=lossy, deadline=10, max_per_second=300)
    yield "at a ceiling of 300 a second", partial(_in_folder, partial(bound, max_at_once=60, part_songs=50))
    yield "the same in a bucket", partial(_in_bucket, partial(bound, max_at_once=60, part_songs=50))


def _times(least: float, run: Callable[[Place], FannedOut], place: Place) -> FannedOut:
    figures = run(place)
    assert (figures.times_one or 0) >= least, f"less than {least} times one process: {asdict(figures)}"
    return figures


def _memory(_: int, __: random.Random) -> Iterator[Part]:
    def weigh_in(place: Place, **sizes: Any) -> dict[str, object]:
        sizes |= place.settings
        return _weighed(weigh_run(output=place.output, **sizes))

    yield "1,000,000 songs", partial(_in_folder, partial(weigh_in, songs=1_000_000, early=100_000))
    yield (
        "100,000 songs of 100 KiB",
        partial(_in_folder, partial(weigh_in, songs=100_000, early=10_000, song_bytes=102_400)),
    )
    yield "100,000 songs, bucket", partial(_in_bucket, partial(weigh_in, songs=100_000, early=20_000))


def _fuzz(times: int, draw: random.Random) -> Iterator[Part]:
    yield "from openapi.json", lambda: _in_folder(lambda place: {"answers": fuzz(Path(place.output), times, draw)})


def _deployment(times: int, draw: random.Random) -> Iterator[Part]:
    yield "lost and mended", partial(_in_scratch, partial(mend_deployments, times=times, draw=draw))
    yield "uploaded and installed", partial(_in_scratch, install_and_crawl)


CAMPAIGNS = {
    "kill": Campaign(_kill, 200, "kill -9 at so many random moments of 20,000-song runs"),
    "duplicates": Campaign(_duplicates, 100, "the same call, delivered at once to two processes, so many times over"),
    "stores": Campaign(_stores, 1, "a run through a store that fails in every way, and one that is gone"),
    "zombie": Campaign(_zombie, 10, "an instance frozen, and woken when another has finished its run, so many times"),
    "deadline": Campaign(_deadline, 10, "runs in calls too short for them; of the slow one so many calls"),
    "troubles": Campaign(_troubles, 1000, "calls in which store, queue or upstream falls silent or goes, so many"),
    "growth": Campaign(
        _growth, 5, "next: and 1- over catalogues that grow, so many of each; then very many parts and runs"
    ),
    "fuzz": Campaign(_fuzz, 10_000, "right and wrong calls made from openapi.json, so many"),
    "fanout": Campaign(_fan_out, 1, "a run over three processes that are killed, from a queue that loses tasks"),
    "deployment": Campaign(
        _deployment, 3, "deploy.sh with gcloud, after losses, so many; then what it uploads, installed"
    ),
    "memory": Campaign(_memory, 1, "a million songs, and 100,000 large ones, weighed on the way"),
}


def _in_folder(run: Callable[[Place], Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="songcrawl-campaign-") as folder:
        return _figures(run(FolderPlace(Path(folder, "songs"))))


def _in_scratch(run: Callable[[Path], Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="songcrawl-campaign-") as folder:
        return _figures(run(Path(folder)))


def _in_bucket(run: Callable[[Place], Any]) -> dict[str, Any]:
    with fake_gcs(BUCKET, versioned=True) as service:
        return _figures(run(BucketPlace(service, "songs", service.url)))


def _with_service(run: Callable[..., Any]) -> dict[str, Any]:
    with fake_gcs(BUCKET, versioned=True) as service:
        return _figures(run(service, _open_server))


def _with_emulator(run: Callable[[ServerProcess], Any]) -> dict[str, Any]:
    with fake_gcs(BUCKET) as service:
        return _figures(run(service))


@contextmanager
def _open_server(song_url: str, place: BucketPlace) -> Iterator[Caller]:
    with start(song_url, place.output, part_songs=20, **place.settings) as server:
        yield partial(call, server)
        peak = max(weight.peak for weight in weigh(server).values())
        assert peak < 120, f"the function weighed {peak:.0f} MiB while its store failed"


def _weighed(weighed: Any) -> dict[str, object]:
    assert weighed.end.resident < 120, report(weighed)
    assert weighed.end.resident - weighed.early.resident < 10, report(weighed)
    return report(weighed)


def _figures(figures: Any) -> dict[str, Any]:
    return figures if isinstance(figures, dict) else asdict(figures)


def _parser() -> argparse.ArgumentParser:
    text = "\n".join(f"{name:<11} {c.help} (--times {c.times})" for name, c in CAMPAIGNS.items())
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m campaigns", description=text, formatter_class=formatter)
    parser.add_argument("name", choices=CAMPAIGNS, metavar="NAME")
    parser.add_argument("--times", type=int, help="how often, instead of the campaign's own number")
    parser.add_argument("--seed", type=int, help="draw the same moments as the campaign that printed this seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
