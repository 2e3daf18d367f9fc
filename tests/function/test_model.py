"""The model of the whole (tests/simulation): a short campaign, a state machine in small steps, and proof that it fails.

The long campaign is `python -m simulation --seeds 10000`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import assume, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulation import Caller, SeedFailed, Violation, Visit, Weather, Wish, World, make_order, run_seed
from simulation.campaign import main, run_fleet_seed, trace_of
from simulation.weather import CALM
from simulation.world import OpenRunIndex

from crawler.core.errors import ObjectExists
from crawler.engine import run_call as run_module
from crawler.engine.part_writer import PartWriter
from crawler.engine.run_call import RunCall
from crawler.fan_out import fleet as fleet_module
from crawler.runs.ending.gate import Gate
from crawler.runs.grid import Grid, PartKey
from crawler.runs.index import RunIndex
from crawler.runs.manifest import CommittedPart, encode_manifest
from crawler.runs.spec import RunSpec
from crawler.runs.store import Ended, RunStore
from crawler.runs.tally import RunParts

BLOCK = 40


@pytest.mark.parametrize("first", range(0, 5 * BLOCK, BLOCK))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_twice(first: int) -> None:
    """In every world of the campaign all that is stored and answered is true, and callers get their runs complete."""
    run_seeds(range(first, first + BLOCK))


@pytest.mark.parametrize("first", range(0, 2 * BLOCK, BLOCK))
def test_whatever_a_queue_does_the_run_comes_to_its_end(first: int) -> None:
    """Have a fleet do a run whose tasks are lost, doubled, late and killed: all that is stored is true, and it ends."""
    run_seeds(range(first, first + BLOCK), run=run_fleet_seed)


def test_tasks_that_nobody_misses_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that takes no task for lost is noticed within a thousand seeds."""
    monkeypatch.setattr(fleet_module, "orphans", lambda *_: [])

    with pytest.raises(SeedFailed, match="does not come to its end"):
        run_seeds(range(1000), run=run_fleet_seed)


def test_progress_that_is_not_continued_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that answers well before its songs are stored is noticed within a thousand seeds."""
    monkeypatch.setattr(RunCall, "_keep", lambda *_: None)

    with pytest.raises(SeedFailed, match=r"loses \["):
        run_seeds(range(1000), run=run_fleet_seed)


def test_a_seed_replays() -> None:
    """A seed gives the same world again, to the last operation."""
    worlds = [run_seed(seed) for seed in (7, 7)]

    traces = [trace_of(world) for world in worlds]

    assert traces[0] == traces[1]
    assert worlds[0].scheduler.steps == worlds[1].scheduler.steps


def run_seeds(
    seeds: range, open_run_index: OpenRunIndex = RunIndex, run: Callable[[int, OpenRunIndex], World] = run_seed
) -> None:
    """Run some worlds."""
    for seed in seeds:
        run(seed, open_run_index)


class HastyRunStore(RunStore, frozen=True):
    """Finish a run whether or not its parts tile it."""

    def is_tiled(self, grid: Grid, parts: RunParts) -> bool:
        """Say so."""
        return True

    def finish(self, spec: RunSpec, grid: Grid, parts: Iterable[CommittedPart], gate: Gate) -> Ended:
        """Write the manifest."""
        with suppress(ObjectExists):
            self._create("manifest.json", encode_manifest(spec, grid, parts))
        return "complete"


class HastyRunIndex(RunIndex, frozen=True):
    """Open such run_stores."""

    def run_store(self, run: str) -> RunStore:
        """Open one."""
        return HastyRunStore(self.store, run, self.call_id)


class TrustingRunStore(RunStore, frozen=True):
    """Take a refusal to mean that this call's own object is there, whoever stored the one that is."""

    def begin(self, spec: RunSpec) -> RunSpec:
        """Begin a run."""
        super().begin(spec)
        return spec


class TrustingRunIndex(RunIndex, frozen=True):
    """Open such run_stores."""

    def run_store(self, run: str) -> RunStore:
        """Open one."""
        return TrustingRunStore(self.store, run, self.call_id)


class HastyPart(PartWriter):
    """Be whole before the last row."""

    @property
    def whole(self) -> bool:
        """Tell so."""
        return self._prefix >= len(self._rows) - 1

    def advance(self) -> bool:
        """Commit what is there."""
        if self.whole and not self._closed:
            del self._rows[self._prefix :]
        return super().advance()


def resume_by_count(call: RunCall) -> Iterator[PartKey]:
    """Skip as many parts as are committed, whichever they are."""
    yield from list(call.spec.grid)[len(call._run_store.parts(call.spec)) :]


def test_a_commit_before_the_last_row_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is stored with a row too few is noticed within a thousand seeds."""
    monkeypatch.setattr(run_module, "PartWriter", HastyPart)

    with pytest.raises(SeedFailed, match="has not exactly its rows"):
        run_seeds(range(1000))


def test_a_trusted_refusal_is_found_out() -> None:
    """A call that goes on with its own idea of a run that another began is noticed within a thousand seeds."""
    with pytest.raises(SeedFailed):
        run_seeds(range(1000), TrustingRunIndex)


def test_resuming_by_count_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes the count of committed parts for the place to go on from is noticed within a thousand seeds."""
    monkeypatch.setattr(RunCall, "_wanted", resume_by_count)

    with pytest.raises(SeedFailed):
        run_seeds(range(1000))


def test_a_broken_engine_is_found_out() -> None:
    """An engine that writes manifests too early fails within a few seeds, and the failure says how to see it again."""
    with pytest.raises(SeedFailed) as failure:
        run_seeds(range(100), HastyRunIndex)

    assert "manifest.json is there before" in str(failure.value)
    assert "python -m simulation --seed" in str(failure.value)


def test_the_campaign_reports_its_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """The command runs the seeds it is told to, and says how many failed."""
    status = main(["--seeds", "2", "--from", "3"])

    assert status == 0
    assert capsys.readouterr().out.startswith("2 seeds, 0 failed")


WISHES = st.sampled_from(
    [
        Wish(make_order("1-12")),
        Wish(make_order("1-12", part_songs=5), restless=True),
        Wish(make_order("1-12", run="trial")),
        Wish(make_order("3-9,20", run="trial")),
        Wish(make_order("1-", run="open")),
        Wish(make_order("next:6")),
        Wish(make_order("1-9"), job="projects/p/locations/l/jobs/nightly"),
        Wish(make_order("missing:trial")),
    ]
)
ROUGH = Weather(store_seconds=0.05, song_seconds=0.3, retry=0.3, throttled=0.1, unavailable=0.02)


class FunctionMachine(RuleBasedStateMachine):
    """Step through a world by hand: what the seeds draw by chance, hypothesis searches and shrinks."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        """Make a world."""
        self.world = World(seed, weather=CALM)
        self.callers: dict[Wish, Caller] = {}
        self.alive = ExitStack()
        self.alive.enter_context(self.world.alive())

    @rule(wish=WISHES, copies=st.integers(1, 3), seconds=st.sampled_from([1.0, 4.0, 600.0]))
    def deliver(self, wish: Wish, copies: int, seconds: float) -> None:
        """Have a call delivered, or the same one several times at once."""
        caller = self.callers.setdefault(wish, Caller(self.world, f"caller-{len(self.callers)}", wish))
        for _ in range(copies):
            caller.deliver(seconds)

    @rule(steps=st.integers(1, 60))
    def go_on(self, steps: int) -> None:
        """Let everybody do so many operations in all."""
        self._do(lambda: self.world.scheduler.run(steps))

    @rule(seconds=st.sampled_from([0.1, 30.0, 40000.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass while nobody does anything."""
        self.world.scheduler.now += seconds

    @rule(which=st.integers(0, 5))
    def kill(self, which: int) -> None:
        """Kill a process where it stands."""
        self._some(which).kill()

    @rule(which=st.integers(0, 5))
    def freeze(self, which: int) -> None:
        """Stop a process where it stands."""
        self._some(which).freeze()

    @rule()
    def wake(self) -> None:
        """Wake whoever is frozen, whatever was finished meanwhile."""
        self.world.thaw()

    @rule()
    def lose_acknowledgement(self) -> None:
        """Lose the acknowledgement of the next object stored."""
        self.world.bucket.lost_acknowledgements += 1

    @rule(weather=st.sampled_from([CALM, ROUGH]))
    def turn(self, weather: Weather) -> None:
        """Have the weather turn."""
        self.world.weather = weather

    @precondition(lambda self: self.world.truth.runs)
    @rule(stop=st.booleans(), which=st.integers(0, 3))
    def look_or_stop(self, stop: bool, which: int) -> None:
        """Ask how a run stands, or stop it."""
        runs = list(self.world.truth.runs)
        (self.world.stop if stop else self.world.look)(runs[which % len(runs)])

    @precondition(lambda self: self.callers)
    @rule(which=st.integers(0, 3))
    def finish(self, which: int) -> None:
        """Have a caller call until nothing is left to do."""
        self._do(self.world.scheduler.run)
        self._do(list(self.callers.values())[which % len(self.callers)].finish)

    def teardown(self) -> None:
        """Have everybody finish, and hold what is there against the truth."""
        with self.alive:
            self._do(self.world.scheduler.run)
            for caller in self.callers.values():
                self._do(caller.finish)
            self.world.thaw()
            self._do(self.world.scheduler.run)
            self._do(self.world.truth.at_the_end)

    def _some(self, which: int) -> Visit:
        living = [visit for visit in self.world.visits if not visit.over]
        assume(living)
        return living[which % len(living)]

    def _do(self, something: Any) -> None:
        try:
            something()
        except Violation:
            note("\n".join(trace_of(self.world)))
            raise


TestFunctionMachine = FunctionMachine.TestCase
TestFunctionMachine.settings = settings(max_examples=60, stateful_step_count=25)
