"""One seed after the other: a storm, the calm after it, and what must be true then."""

from __future__ import annotations

import argparse
import time

from crawler.runs.index import RunIndex
from simulation.caller import Caller, Wish, draw_wishes, make_order
from simulation.fleet import run_fleet
from simulation.world import OpenRunIndex, World


class SeedFailed(AssertionError):
    """Say which seed broke a promise, how to see it again, and what came before."""

    def __init__(self, world: World, error: BaseException) -> None:
        super().__init__(
            f"seed {world.seed}: {error}\n"
            f"again: PYTHONPATH=.:tests python -m simulation --seed {world.seed}\n"
            f"the last operations of {world.scheduler.steps}:\n" + "\n".join(trace_of(world))
        )


def trace_of(world: World) -> list[str]:
    """Write down the last operations of a world."""
    return [f"  {now:10.3f}  {who:10}  {what}" for now, who, what in world.scheduler.trace]


def run_seed(seed: int, open_run_index: OpenRunIndex = RunIndex) -> World:
    """Run one world through; raises SeedFailed."""
    world = World(seed, open_run_index=open_run_index)
    with world.alive():
        try:
            _run(world)
        except BaseException as error:
            raise SeedFailed(world, error) from error
    return world


def run_fleet_seed(seed: int, open_run_index: OpenRunIndex = RunIndex) -> World:
    """Run one world through in which a queue has the work done; raises SeedFailed."""
    world = World(seed, open_run_index=open_run_index)
    with world.alive():
        try:
            run_fleet(world)
        except BaseException as error:
            raise SeedFailed(world, error) from error
    return world


def _run(world: World) -> None:
    callers = [Caller(world, f"caller-{index}", wish) for index, wish in enumerate(draw_wishes(world.chance))]
    for caller in callers:
        caller.start()
    world.scheduler.run()
    for caller in callers:
        caller.finish()
    if world.truth.choices.claims:
        Caller(world, "last", Wish(make_order("next:9"))).finish()
    world.thaw()
    world.scheduler.run()
    world.truth.at_the_end()


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign; gives how many seeds failed, as an exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10000, help="how many seeds to run")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    began = time.perf_counter()
    failed = 0
    for seed in seeds:
        try:
            run_seed(seed)
            run_fleet_seed(seed)
        except SeedFailed as failure:
            print(failure, flush=True)
            failed += 1
    print(f"{len(seeds)} seeds, {failed} failed, {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0
