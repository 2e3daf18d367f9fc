"""Stores: a run into a bucket whose service fails in every way that a network and a service can.

Whatever happens, nothing is lost, nothing stored twice, and an answer that is not complete says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from servers import ServerProcess, Upstream
from servers.storage_faults import (
    FaultyStorage,
    damage,
    every,
    first_of,
    lose_answer,
    no_faults,
    refuse,
    reset,
    stall,
    swallow_answer,
)

from campaigns.function import Answered, until_whole
from campaigns.places import BucketPlace, check_rows, verify

Caller = Callable[[Mapping[str, object]], Answered]
"""Send one call with these parameters."""

OpenCaller = Callable[[str, BucketPlace], AbstractContextManager[Caller]]
"""Open the function on an upstream's URL and a place."""

# Every tenth upload is stored and not acknowledged; of the others, and of what is read, some meet each other fault.
FAULTS = first_of(
    every(10, "upload", lose_answer()),
    every(7, "upload", refuse(503), refuse(429), reset(), damage(), swallow_answer(), stall()),
    every(3, "download", damage(), refuse(503), reset()),
    every(11, "stat", refuse(503), reset(), refuse(429)),
    every(2, "list", refuse(503), reset(), refuse(500)),
)


@dataclass
class Weathered:
    """What a run went through: the faults met, the answers by status, and songs asked for again."""

    faults: dict[str, int] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    songs_again: int = 0
    uploads: int = 0
    details: list[str] = field(default_factory=list)


def crawl_through_faults(
    service: ServerProcess, open_caller: OpenCaller, songs: int, run: str, *, may_delete: bool = True
) -> Weathered:
    """Crawl 1 to `songs` through all FAULTS; raises AssertionError unless the run is whole in the end."""
    with FaultyStorage(service.url, FAULTS, may_delete=may_delete) as storage, Upstream(last=songs) as upstream:
        place = BucketPlace(service, "faults", storage.url)
        with open_caller(upstream.url, place) as caller:
            answers = until_whole(caller, {"songs": f"1-{songs}", "run": run})
        storage.faults = no_faults
        _check(place, run, songs)
        return _weathered(storage, upstream, songs, answers)


def crawl_without_a_store(
    service: ServerProcess, open_caller: OpenCaller, songs: int, run: str, deadline: int
) -> Weathered:
    """Send one call while the store is gone, one that the store leaves on its way, then finish.

    Raises AssertionError for an answer that is no 503 with a reason and a Retry-After, or comes after the deadline.
    """
    parameters = {"songs": f"1-{songs}", "run": run, "deadline_seconds": deadline}
    with FaultyStorage(service.url) as storage, Upstream(last=songs) as upstream:
        place = BucketPlace(service, "gone", storage.url)
        with open_caller(upstream.url, place) as caller:
            with storage.gone():
                answers = [caller(parameters)]
            assert upstream.count() == 0, "songs were asked for that could not be stored"
            storage.faults = _gone_after(storage, songs // 100)
            answers.append(caller(parameters))
            storage.faults = no_faults
            for answered in answers:
                _check_refusal(answered, deadline)
            answers += until_whole(caller, {**parameters, "deadline_seconds": 60})
        _check(place, run, songs)
        return _weathered(storage, upstream, songs, answers)


def _gone_after(storage: FaultyStorage, uploads: int) -> Callable[..., Any]:
    before = storage.count("upload")
    return lambda _operation, _nth: reset() if storage.count("upload") > before + uploads else None


def _check_refusal(answered: Answered, deadline: float) -> None:
    assert answered.status == 503, answered
    assert answered.retry_after, answered
    assert "can't be reached" in answered["detail"], answered
    assert answered.seconds < deadline, answered


def _check(place: BucketPlace, run: str, songs: int) -> None:
    proof = verify(place, run)
    assert (proof["found"], proof["missing"], proof["failed"]) == (songs, 0, 0)
    check_rows(place.objects(run), range(1, songs + 1))


def _weathered(storage: FaultyStorage, upstream: Upstream, songs: int, answers: list[Answered]) -> Weathered:
    statuses = [answered.status for answered in answers]
    return Weathered(
        faults=dict(sorted(storage.done.items())),
        answers={status: statuses.count(status) for status in sorted(set(statuses))},
        songs_again=upstream.count() - songs,
        uploads=storage.count("upload"),
        details=[str(answered.answer.get("detail")) for answered in answers if answered.status != 200],
    )
