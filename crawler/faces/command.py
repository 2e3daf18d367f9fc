"""The command line: `python -m crawler crawl 1-1000`, `plan`, `verify`, `status`, `settings`."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence

import msgspec

from crawler.engine.catalog import Catalog
from crawler.engine.state import run_answer
from crawler.engine.verify import verify_run
from crawler.faces.deployment import Deployment, open_store
from crawler.ground.errors import BadRequest, SongcrawlError, UnknownRun
from crawler.ground.settings import SETTINGS
from crawler.rules.asked import SONGS_HELP
from crawler.rules.request import CrawlRequest, parse_crawl, parse_run_name
from crawler.seams.ports import Store

# Exit codes a script can use: 2 is argparse's own for a wrong command line.
COMPLETE, FAILED, PARTIAL, INTERRUPTED = 0, 1, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 complete, 1 an error, 2 a wrong command line, 3 partial, run it again."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run_command(options)
    except KeyboardInterrupt:
        print("songcrawl: interrupted; the same command continues from what is committed", file=sys.stderr)
        return INTERRUPTED
    except SongcrawlError as error:
        print(f"songcrawl: {error}", file=sys.stderr)
        return FAILED
    return code


def _crawl(options: argparse.Namespace) -> int:
    deployment = Deployment.from_environ({**os.environ, **_given(options)})
    request = _request(options, deployment)
    seconds = deployment.settings.deadline_seconds or math.inf
    answer = deployment.crawl(request, seconds, shown=sys.stderr.isatty())
    _print(answer)
    return COMPLETE if answer.state == "complete" else PARTIAL


def _plan(options: argparse.Namespace) -> int:
    deployment = Deployment.from_environ({**os.environ, **_given(options)})
    _print(deployment.plan(_request(options, deployment)))
    return COMPLETE


def _request(options: argparse.Namespace, deployment: Deployment) -> CrawlRequest:
    query = [("songs", options.songs)] + ([("run", options.run)] if options.run else [])
    return parse_crawl(query, b"", deployment.ceilings)


def _print(content: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def _verify(options: argparse.Namespace) -> int:
    store, run = _stored_run(options.run)
    proof = verify_run(Catalog(store), run)
    _print(proof)
    return FAILED if proof.faults else COMPLETE


def _status(options: argparse.Namespace) -> int:
    store, run = _stored_run(options.run)
    ledger = Catalog(store).ledger(run)
    spec = ledger.spec()
    if spec is None:
        raise UnknownRun(f"There is no run at {options.run}.")
    _print(run_answer(ledger, spec, time.time()))
    return COMPLETE


def _stored_run(place: str) -> tuple[Store, str]:
    """Take OUTPUT/runs/RUN apart."""
    output, _, run = place.rstrip("/").replace(os.sep, "/").rpartition("/runs/")
    if not output:
        raise BadRequest(f"{place} is no run; allowed: OUTPUT/runs/RUN, such as songs/runs/nightly.")
    return open_store(output, os.environ.get("STORAGE_EMULATOR_HOST") or None), parse_run_name("run", run)


def _settings(_: argparse.Namespace) -> int:
    for setting in SETTINGS:
        print(f"{setting.name:<26} {setting.default or '(none)':<28} {setting.help}")
    return COMPLETE


def _given(options: argparse.Namespace) -> Mapping[str, str]:
    return {s.name: value for s in SETTINGS if (value := getattr(options, s.name.lower())) is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m crawler", description="Pull every record of a song API into a store.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    crawl = commands.add_parser("crawl", help="crawl song numbers; the same command again continues")
    crawl.set_defaults(run_command=_crawl)
    plan = commands.add_parser("plan", help="say what a crawl would take, time and cost; nothing is sent or stored")
    plan.set_defaults(run_command=_plan)
    for command in (crawl, plan):
        command.add_argument("songs", help=SONGS_HELP)
        command.add_argument("--run", help="name of the run (a-z, 0-9, dot, dash, underscore)")
        for setting in SETTINGS:
            option = f"--{setting.name.lower().replace('_', '-')}"
            command.add_argument(option, metavar="VALUE", help=_help(setting.help))
    verify = commands.add_parser("verify", help="read a run again and prove that every number is in it exactly once")
    verify.set_defaults(run_command=_verify)
    status = commands.add_parser("status", help="say how a run stands")
    status.set_defaults(run_command=_status)
    for command in (verify, status):
        command.add_argument("run", metavar="OUTPUT/runs/RUN", help="gs://bucket/prefix/runs/RUN, or a folder's")
    commands.add_parser("settings", help="list every setting, its default and meaning").set_defaults(
        run_command=_settings
    )
    return parser


def _help(text: str) -> str:
    return text.replace("%", "%%")
