"""What is measured, and what it is to come to: the table of work and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.contestants import (
    AIOHTTP,
    CRAWLEE,
    CURL,
    DECLARED,
    DLT,
    FUNCTION_FETCHER,
    HTTPX,
    RECIPE,
    SCRAPY,
    SMALL,
    Contestant,
)
from bench.meter import Measured

# What each contestant came to, round for round.
Rounds = Mapping[str, Sequence[Measured]]


@dataclass(frozen=True)
class Target:
    """What a figure is to reach: `goal`, or with luck `beyond`; with `most`, what it is not to pass."""

    text: str
    figure: Callable[[Rounds], float]
    goal: float
    beyond: float | None = None
    most: bool = False

    def met(self, figure: float, goal: float) -> bool:
        """Tell whether a figure is good enough for a goal."""
        return figure <= goal if self.most else figure >= goal


@dataclass(frozen=True)
class Scenario:
    """Describe one piece of work: at most `songs` songs, `at_once` in flight, each after `delay_ms`.

    Where it answers at once, who crawls fewer than `songs` in a round's time crawls fewer. What is to be done `once` is
    done once, whole.
    """

    name: str
    title: str
    songs: int
    at_once: int
    contestants: tuple[Contestant, ...]
    targets: Callable[[Scenario], tuple[Target, ...]] = lambda _scenario: ()
    delay_ms: int = 0
    tls: bool = False
    once: bool = False

    @property
    def whole(self) -> bool:
        """Tell whether everybody crawls all songs: with a delay all are about as fast."""
        return self.once or self.delay_ms > 0

    @property
    def confined(self) -> bool:
        """Tell whether a contestant is held to the size of an instance."""
        return SMALL in self.contestants

    @property
    def ideal(self) -> float | None:
        """Return the songs a second that the delay and the songs in flight allow; None where there is no delay."""
        return self.at_once * 1000 / self.delay_ms if self.delay_ms else None


def rate(rounds: Rounds, contestant: Contestant) -> float:
    """Return the median of a contestant's songs a second."""
    return median(measured.songs_per_second for measured in rounds[contestant.name])


def cpu_us(rounds: Rounds, contestant: Contestant) -> float:
    """Return the median of a contestant's microseconds of CPU a song."""
    return median(measured.cpu_us for measured in rounds[contestant.name])


def peak_mib(rounds: Rounds, contestant: Contestant) -> float:
    """Return the median of what a contestant's heaviest process weighed at its highest."""
    return median(measured.peak_mib for measured in rounds[contestant.name])


def _times(mine: Contestant, other: Contestant, goal: float, beyond: float | None = None) -> Target:
    text = f"{mine.name}: times as fast as {other.name}"
    return Target(text, lambda rounds: rate(rounds, mine) / rate(rounds, other), goal, beyond)


def _of_ideal(scenario: Scenario, mine: Contestant, goal: float, beyond: float | None = None) -> Target:
    ideal = scenario.ideal or 0.0
    text = f"{mine.name}: share of the ideal {ideal:,.0f} songs/s"
    return Target(text, lambda rounds: rate(rounds, mine) / ideal, goal, beyond)


_CPU = Target("songcrawl, declared: CPU-us a song", lambda r: cpu_us(r, DECLARED), 40, 25, most=True)

SCENARIOS = (
    Scenario(
        "at-once",
        "the upstream answers at once, 32 in flight",
        songs=200_000,
        at_once=32,
        contestants=(DECLARED, CURL, AIOHTTP, FUNCTION_FETCHER, RECIPE, CRAWLEE, DLT, SCRAPY, HTTPX),
        targets=lambda _: (
            _times(DECLARED, AIOHTTP, 4),
            _times(DECLARED, CURL, 0.8, 1.0),
            _times(FUNCTION_FETCHER, RECIPE, 1.3, 2.0),
            _CPU,
        ),
    ),
    Scenario(
        "after-100ms",
        "the upstream takes 100 ms, 512 in flight",
        songs=50_000,
        at_once=512,
        delay_ms=100,
        contestants=(DECLARED, CURL, AIOHTTP),
        targets=lambda scenario: (_of_ideal(scenario, DECLARED, 0.88, 0.93),),
    ),
    Scenario(
        "function-fetcher",
        "the upstream takes 100 ms, 64 in flight, a function of one's own",
        songs=6_400,
        at_once=64,
        delay_ms=100,
        contestants=(FUNCTION_FETCHER, RECIPE),
        targets=lambda scenario: (_of_ideal(scenario, FUNCTION_FETCHER, 0.9),),
    ),
    Scenario(
        "tls",
        "over TLS, the upstream takes 100 ms, 128 in flight",
        songs=12_800,
        at_once=128,
        delay_ms=100,
        tls=True,
        contestants=(DECLARED, CURL, AIOHTTP),
        targets=lambda scenario: (_of_ideal(scenario, DECLARED, 0.9),),
    ),
    Scenario(
        "defaults",
        "the upstream takes 100 ms, 100 in flight, as a deployment has it",
        songs=6_000,
        at_once=100,
        delay_ms=100,
        contestants=(DECLARED,),
    ),
    Scenario(
        "after-50ms",
        "the upstream takes 50 ms, 100 in flight",
        songs=16_000,
        at_once=100,
        delay_ms=50,
        contestants=(DECLARED,),
    ),
    Scenario(
        "after-200ms",
        "the upstream takes 200 ms, 100 in flight",
        songs=4_000,
        at_once=100,
        delay_ms=200,
        contestants=(DECLARED,),
    ),
    Scenario(
        "small-instance",
        "the upstream takes 50 ms, 200 in flight, the function held to 0.167 vCPU and 256 MiB",
        songs=10_000,
        at_once=200,
        delay_ms=50,
        contestants=(SMALL,),
        targets=lambda _: (Target("the smallest instance: songs/s", lambda r: rate(r, SMALL), 1_000, 2_000),),
    ),
    Scenario(
        "million",
        "1,000,000 songs, the upstream answers at once",
        songs=1_000_000,
        at_once=32,
        contestants=(DECLARED,),
        targets=lambda _: (
            Target("1,000,000 songs: peak MiB of each process", lambda r: peak_mib(r, DECLARED), 120, 80, most=True),
        ),
        once=True,
    ),
)
