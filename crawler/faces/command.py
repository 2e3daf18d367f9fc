"""The command line: `python -m crawler crawl 1-1000`, `python -m crawler settings`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from crawler.faces.deployment import Deployment
from crawler.faces.progress import Bar
from crawler.ground.errors import SongcrawlError
from crawler.ground.settings import SETTINGS
from crawler.rules.request import parse_crawl

# Exit codes a script can use: 2 is argparse's own for a wrong command line.
COMPLETE, FAILED, PARTIAL = 0, 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 complete, 1 an error, 2 a wrong command line, 3 partial, run it again."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run_command(options)
    except SongcrawlError as error:
        print(f"songcrawl: {error}", file=sys.stderr)
        return FAILED
    return code


def _crawl(options: argparse.Namespace) -> int:
    deployment = Deployment.from_environ({**os.environ, **_given(options)})
    query = [("songs", options.songs)] + ([("run", options.run)] if options.run else [])
    request = parse_crawl(query, b"", deployment.ceilings)
    with Bar(len(request.songs), shown=sys.stderr.isatty()) as bar:
        answer = deployment.crawl(request, deployment.settings.deadline_seconds or float("inf"), bar.tell)
    print(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    return COMPLETE if answer.state == "complete" else PARTIAL


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
    crawl.add_argument("songs", help="7, 1-1000 or 1-100,205,300-350")
    crawl.add_argument("--run", help="name of the run (a-z, 0-9, dot, dash, underscore)")
    for setting in SETTINGS:
        crawl.add_argument(f"--{setting.name.lower().replace('_', '-')}", metavar="VALUE", help=_help(setting.help))
    crawl.set_defaults(run_command=_crawl)
    commands.add_parser("settings", help="list every setting, its default and meaning").set_defaults(
        run_command=_settings
    )
    return parser


def _help(text: str) -> str:
    return text.replace("%", "%%")
