"""The command line: `python -m crawler crawl 1-1000`, `try`, `plan`, `settings`, and those of other modules here."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from crawler.app.composition import deployment_from
from crawler.app.crawl_request import CrawlRequest
from crawler.app.deployment import Deployment
from crawler.app.parameters import parse_crawl
from crawler.app.source_file import source_names, source_text, title_of
from crawler.core.errors import BadRequest, BadSetting, SongcrawlError
from crawler.core.setting_types import Setting
from crawler.core.settings import SETTINGS, VERSION
from crawler.entrypoints import run_commands, try_command
from crawler.entrypoints.command_output import COMPLETE, FAILED, INTERRUPTED, WRONG, exit_code, print_json
from crawler.entrypoints.env_file import settings_of_file
from crawler.entrypoints.view_commands import add_view_commands
from crawler.runs.selection import SONGS_HELP

_EPILOG = """\
An API whose songs have a number, crawled into the folder songs/runs/first:

  export SONG_URL='https://api.example.com/songs/{song_num}'
  %(prog)s try 77                    one song: is info right? why not?
  %(prog)s plan 1-10000              time and cost; nothing is sent
  %(prog)s crawl 1-10000 --run first
  %(prog)s verify songs/runs/first   each number in exactly one row

Exit codes:
  0    done: the run is complete, the proof found nothing wrong
  1    wrong: the sentence on stderr, or the faults that verify names, say what
  2    the command line is wrong
  3    the run is not complete; crawl: the same command again continues it
  4    the run is held: too many songs failed (MAX_FAILED) or too few were found
       (MIN_FOUND); accept completes it as it is
  130  interrupted (Ctrl-C); the same command again continues it

COMMAND --help says more of each. Settings are environment variables too."""

_CRAWL_EPILOG = """\
Set first: SONG_URL, or SONG_FUNCTION where a URL is not enough; SONG_INFO, to
keep what you need of the body; USER_AGENT, so that the API's owner can reach
you; MAX_PER_SECOND, by what the API allows. The rest can wait.

  --song-url 'https://api.deezer.com/track/{song_num}'
  --song-info '{title: title, artist: artist.name}'     JMESPath: jmespath.org
  --song-missing 'error.code == `800`'     where the API says it with a 200
  --song-function songs:request_song_info  f(session, song_num) in songs.py
  --output gs://bucket/prefix --format parquet

A run goes on where it ended: after Ctrl-C, a full disk or a dead API, send the
same command again. The answer is JSON on stdout, the bar on stderr.
Exit codes: 0 complete, 1 error, 2 wrong command line, 3 not complete, 4 held,
130 interrupted."""

# Which settings stand together in the help; whatever is named nowhere comes last.
_GROUPS = {
    "the song": (
        "SOURCE",
        "SONG_URL",
        "SONG_METHOD",
        "SONG_BODY",
        "SONG_INFO",
        "SONG_MISSING",
        "SONG_RETRY",
        "RESPONSE_RULES",
        "SONG_FUNCTION",
        "SONG_HEADERS",
        "TOKEN_URL",
        "TOKEN_FORM",
        "TOKEN_HEADERS",
    ),
    "the output": ("OUTPUT", "FORMAT", "PART_SONGS"),
    "pace and patience": (
        *("MAX_PER_SECOND", "MAX_AT_ONCE", "REQUEST_TIMEOUT_SECONDS", "MAX_ATTEMPTS", "DEADLINE_SECONDS"),
        *("USER_AGENT", "ROBOTS"),
    ),
}


def main(arguments: Sequence[str] | None = None, program: str = "python -m crawler") -> int:
    """Run one command of the program, as its help calls it; gives the exit code: see the end of `--help`."""
    options = _parser(program).parse_args(arguments)
    try:
        with settings_of_file():
            code: int = options.run_command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("songcrawl: interrupted; the same command continues from what is committed", file=sys.stderr)
        return INTERRUPTED
    except SongcrawlError as error:
        print(f"songcrawl: {error}", file=sys.stderr)
        return WRONG if _is_of_command_line(error, options) else FAILED
    except BrokenPipeError:  # whoever read the output has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _is_of_command_line(error: SongcrawlError, options: argparse.Namespace) -> bool:
    """Tell whether what is wrong stands on the command line: what is asked for, or an option's value."""
    if isinstance(error, BadSetting):
        return error.variable in _given(options)
    return type(error) is BadRequest  # a run that is not there, or is another's, is right as a command


def _crawl(options: argparse.Namespace) -> int:
    deployment = deployment_from({**os.environ, **_given(options)})
    request = _request(options, deployment)
    seconds = deployment.settings.deadline_seconds or math.inf
    result = deployment.crawl(request, seconds, shown=sys.stderr.isatty())
    print_json(result.summary)
    return exit_code(result.summary.state)


def _try(options: argparse.Namespace) -> int:
    return try_command.run(options, _given(options))


def _plan(options: argparse.Namespace) -> int:
    deployment = deployment_from({**os.environ, **_given(options)})
    print_json(deployment.plan(_request(options, deployment)))
    return COMPLETE


def _request(options: argparse.Namespace, deployment: Deployment) -> CrawlRequest:
    query = [("songs", options.songs)] + ([("run", options.run)] if options.run else [])
    return parse_crawl(query, b"", deployment.bounds)


def _settings(_: argparse.Namespace) -> int:
    for setting in SETTINGS:
        print(f"{setting.name:<26} {setting.default or '(none)':<28} {setting.help}")
    return COMPLETE


def _sources(options: argparse.Namespace) -> int:
    if options.name:
        print(source_text(options.name), end="")
        return COMPLETE
    for name in source_names():
        print(f"{name:<26} {title_of(source_text(name))}")
    return COMPLETE


def _given(options: argparse.Namespace) -> Mapping[str, str]:
    return {s.name: value for s in SETTINGS if (value := getattr(options, s.name.lower(), None)) is not None}


def _parser(program: str) -> argparse.ArgumentParser:
    description = "Pull every record of a song API into a folder or a bucket, each accounted for\nexactly once."
    parser = argparse.ArgumentParser(
        program,
        allow_abbrev=False,
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"songcrawl {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    text = "ask for a song, or a few, and explain what comes; nothing is stored"
    command = _add(commands, "try", _try, text, try_command.EPILOG)
    try_command.add_arguments(command)
    _add_settings(command)
    for name, run_command, text in (
        ("plan", _plan, "say what a crawl would take, time and cost; nothing is sent or stored"),
        ("crawl", _crawl, "crawl song numbers; the same command again continues"),
    ):
        _add_crawl_arguments(_add(commands, name, run_command, text, _CRAWL_EPILOG))
    for name, command_on_run, text in run_commands.COMMANDS:
        run_commands.add_arguments(_add(commands, name, command_on_run, text, ""))
    add_view_commands(lambda *command: _add(commands, *command))
    _add(commands, "settings", _settings, "list every setting, its default and meaning", "")
    command = _add(commands, "sources", _sources, "list the APIs that SOURCE knows by name, or print one of them", "")
    command.add_argument("name", metavar="NAME", nargs="?", help="print this one, to copy and change it")
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run_command: Callable[[argparse.Namespace], int],
    text: str,
    epilog: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        allow_abbrev=False,  # --max-per-sec is a slip, and may name another setting one day
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run_command=run_command)
    return command


def _add_crawl_arguments(command: argparse.ArgumentParser) -> None:
    command.usage = f"{command.prog} SONGS [--run NAME] [--SETTING VALUE ...]"
    command.add_argument("songs", metavar="SONGS", help=SONGS_HELP)
    command.add_argument("--run", metavar="NAME", help="name of the run (a-z, 0-9, dot, dash, underscore)")
    _add_settings(command)


def _add_settings(command: argparse.ArgumentParser) -> None:
    grouped = {name for names in _GROUPS.values() for name in names}
    groups = {**_GROUPS, "other settings": [s.name for s in SETTINGS if s.name not in grouped]}
    for title, names in groups.items():
        group = command.add_argument_group(title)
        for setting in SETTINGS:
            if setting.name in names:
                option = f"--{setting.name.lower().replace('_', '-')}"
                group.add_argument(option, metavar="VALUE", help=_help(setting))


def _help(setting: Setting) -> str:
    default = f" (default: {setting.default})" if setting.default else ""
    return f"{setting.help}{default}".replace("%", "%%")
