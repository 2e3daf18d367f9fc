"""Troubles: calls in which something outside falls silent, slows down or goes away, at a moment drawn by a seed.

None outlives its deadline by more than a second, each answer names what was at fault, and the run comes to its end
afterwards with every number in exactly one row.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from servers import ServerProcess, Upstream
from servers.task_queue import TaskQueue
from servers.troubled import Trouble, Troubled

from campaigns.places import BUCKET
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.entrypoints.http.routes import HttpRequest, HttpResponse, respond
from crawler.runs.index import RunIndex
from crawler.runs.verify import verify_run

SONGS = 60
DEADLINE_SECONDS = 3.0
LATE_SECONDS = 1.0

# What an answer says of each; a call that was merely slowed down may say that its time is over.
_NAMES = {
    "store": ("gs://",),
    "queue": ("projects/songs/",),
    "robots.txt": ("robots.txt",),
    "upstream": ("upstream", "robots.txt"),
}


@dataclass
class Troublesome:
    """What came of the calls: answers by status, troubles met by place, and the longest call in seconds."""

    calls: int = 0
    longest_seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Troubling:
    """What happens in one call: where, what, and from which request on."""

    place: str
    trouble: Trouble
    first: int

    @classmethod
    def drawn(cls, draw: random.Random) -> Troubling:
        """Draw one."""
        trouble = draw.choice([trouble for trouble in Trouble if trouble is not Trouble.NONE])
        return cls(draw.choice(list(_NAMES)), trouble, draw.choice([1, 1, draw.randint(2, 12)]))

    def __str__(self) -> str:
        """Name it."""
        return f"{self.place} {self.trouble.value} from request {self.first} on"

    def of(self, path: str, nth: int) -> Trouble:
        """Tell what becomes of a request to the place."""
        if self.place in ("upstream", "robots.txt") and (path == "/robots.txt") != (self.place == "robots.txt"):
            return Trouble.NONE
        return self.trouble if nth >= self.first else Trouble.NONE


def call_in_trouble(service: ServerProcess, calls: int, draw: random.Random, *, at_once: int = 2) -> Troublesome:
    """Make so many calls, each with a trouble of its own; raises AssertionError for the first that breaks a promise."""
    came = Troublesome()
    seeds = [draw.randrange(10**9) for _ in range(calls)]
    with ThreadPoolExecutor(at_once) as callers:
        for troubling, status, seconds in callers.map(partial(_call, service), seeds):
            came.calls += 1
            came.statuses[status] += 1
            came.troubles[f"{troubling.place} {troubling.trouble.value}"] += 1
            came.longest_seconds = max(came.longest_seconds, seconds)
    return came


def _call(service: ServerProcess, seed: int) -> tuple[Troubling, int, float]:
    troubling = Troubling.drawn(random.Random(seed))
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream(last=SONGS))
        queue = stack.enter_context(TaskQueue(list))
        relays = {
            "store": stack.enter_context(Troubled(service.url)),
            "queue": stack.enter_context(Troubled(queue.url)),
            "upstream": stack.enter_context(Troubled(upstream.url)),
        }
        environ = {
            "SONG_URL": f"{relays['upstream'].url}/songs/{{song_num}}",
            "OUTPUT": f"gs://{BUCKET}/{uuid.uuid4().hex}",
            "STORAGE_EMULATOR_HOST": relays["store"].url,
            "ALLOW_PRIVATE_UPSTREAM": "1",
            "PART_SONGS": "5",
            "MAX_PER_SECOND": "100",
        }
        queued = {**queue.settings, "CLOUD_TASKS_EMULATOR_HOST": relays["queue"].url}
        relay = relays["upstream" if troubling.place == "robots.txt" else troubling.place]
        relay.trouble = troubling.of
        deployment = deployment_from(environ | (queued if troubling.place == "queue" else {}))
        began = time.monotonic()
        answer = _send(deployment)
        seconds = time.monotonic() - began
        met = relay.troubled > 0
        relay.heal()
        _check(troubling, answer, seconds, met=met)
        _finish(deployment_from(environ), f"{troubling} (seed {seed})")
        return troubling, answer.status, seconds


def _send(deployment: Deployment, seconds: float = DEADLINE_SECONDS) -> HttpResponse:
    body = json.dumps({"songs": f"1-{SONGS}", "run": "troubled", "deadline_seconds": seconds}).encode()
    return respond(lambda: deployment, HttpRequest("POST", "/", [], {}, body))


def _check(troubling: Troubling, answer: HttpResponse, seconds: float, *, met: bool) -> None:
    said = f"{troubling}: {answer.status} after {seconds:.2f} s, {answer.body.decode()}"
    assert seconds < DEADLINE_SECONDS + LATE_SECONDS, said
    assert answer.status in (200, 202, 503), said
    content: dict[str, Any] = json.loads(answer.body)
    if answer.status != 503 or not met:
        return
    detail = content["detail"]
    slowed = troubling.trouble is Trouble.SLOW or content.get("found")
    own = (*_NAMES[troubling.place], *(["The time of this call is over"] if slowed else []))
    assert any(name in detail for name in own), said


def _finish(deployment: Deployment, told: str) -> None:
    """Have the run come to its end, and prove it."""
    answers = [_send(deployment, 60.0)]
    while answers[-1].status == 503 and len(answers) < 5:
        answers.append(_send(deployment, 60.0))
    assert answers[-1].status == 200, f"{told}: {answers[-1].body.decode()}"
    proof = verify_run(RunIndex(deployment.store), "troubled")
    assert (proof.found, proof.missing, proof.failed, proof.faults) == (SONGS, 0, 0, []), f"{told}: {proof}"
