"""The commands on a run that is stored, by whomever: verify, status, stop, resume, accept."""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable

from crawler.app.composition import open_store
from crawler.app.parameters import parse_run_name
from crawler.app.stored.run import StoredRun
from crawler.core.errors import UnknownRun
from crawler.core.ports import Store
from crawler.core.settings import SETTINGS
from crawler.entrypoints.command_output import COMPLETE, FAILED, HELD, exit_code, print_json
from crawler.runs.index import RunIndex
from crawler.runs.verify import verify_run

_OUTPUT = next(setting for setting in SETTINGS if setting.name == "OUTPUT")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give a command the run that it is about."""
    command.usage = f"{command.prog} RUN [--output OUTPUT]"
    command.add_argument("run", metavar="RUN", help="its name, or where it lies: OUTPUT/runs/RUN")
    command.add_argument("--output", metavar="OUTPUT", help=f"where a run that is named lies: {_OUTPUT.help}")


def verify(options: argparse.Namespace) -> int:
    """Read a run again, whole, and print what is wrong with it."""
    store, run = _place(options)
    proof = verify_run(RunIndex(store), run)
    print_json(proof)
    if proof.faults:
        return FAILED
    return HELD if proof.held else COMPLETE


def status(options: argparse.Namespace) -> int:
    """Print how a run stands."""
    summary = _opened(options).summary()
    print_json(summary)
    return exit_code(summary.state)


def stop(options: argparse.Namespace) -> int:
    """Stop a run, wherever it is crawled; done is done, whatever the run lacks."""
    print_json(_opened(options).stop())
    return COMPLETE


def resume(options: argparse.Namespace) -> int:
    """Take a stop back."""
    print_json(_opened(options).resume())
    return COMPLETE


def accept(options: argparse.Namespace) -> int:
    """Complete a run that is held."""
    summary = _opened(options).accept()
    print_json(summary)
    return exit_code(summary.state)


def _opened(options: argparse.Namespace) -> StoredRun:
    store, run = _place(options)
    try:
        return StoredRun.open(RunIndex(store, call_id=uuid.uuid4().hex), run)
    except UnknownRun:
        raise UnknownRun(f"There is no run {run} in {store.url}.") from None


def _place(options: argparse.Namespace) -> tuple[Store, str]:
    """Return the store, and the run's name, of OUTPUT/runs/RUN or of a run that is named."""
    path = options.run.rstrip("/").replace(os.sep, "/")
    output, below, run = path.rpartition("/runs/")
    if not below:
        output, run = _OUTPUT.read({"OUTPUT": options.output} if options.output else os.environ), path
    return open_store(output or "/", os.environ.get("STORAGE_EMULATOR_HOST") or None), parse_run_name("run", run)


# The name of each, what it does, and the sentence that its help has.
COMMANDS: tuple[tuple[str, Callable[[argparse.Namespace], int], str], ...] = (
    ("verify", verify, "read a run again and prove that every number is in it exactly once"),
    ("status", status, "say how a run stands"),
    ("stop", stop, "stop a run on every machine; what is committed stays"),
    ("resume", resume, "take a stop back; the same crawl command goes on with the run"),
    ("accept", accept, "complete a run that MAX_FAILED or MIN_FOUND holds, as it is"),
)
