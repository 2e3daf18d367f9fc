"""The command `try`: one request for each of a few songs, explained; nothing is stored."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from crawler.app.composition import settings_from
from crawler.app.trials.trial import Trial
from crawler.app.trials.trial_request import try_songs
from crawler.core.errors import BadRequest, BadSetting
from crawler.core.settings import SETTINGS
from crawler.core.song_set import SongSet
from crawler.entrypoints.trial_text import summary_text, trial_text

ALL_FOUND, NOT_ALL_FOUND, WRONG, INTERRUPTED = 0, 1, 2, 130

# Whoever wants more of them wants a crawl.
MOST_SONGS = 50

EPILOG = """\
Shown are the request that is sent, the answer and how its headers are read,
the verdict and the rule that gave it, the row that a crawl would store, and
what may be wrong. Secrets are left out: the values of SONG_HEADERS, and keys in
the query of SONG_URL.

  --song-url 'https://api.deezer.com/track/{song_num}'
  --source deezer-tracks --song-info title

Nothing is stored, and OUTPUT is not looked at. robots.txt, MAX_PER_SECOND and
what the API asks for are heeded as in a crawl.
Exit codes: 0 each is found, 1 not each, 2 wrong command line, 130 interrupted."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `try` takes beside settings."""
    command.usage = f"{command.prog} SONG [SONG ...] [--json] [--SETTING VALUE ...]"
    command.add_argument("songs", metavar="SONG", nargs="+", type=_songs, help="77, or some: 77 78 100-102 or 1-3,7")
    command.add_argument("--json", action="store_true", help="print JSON, a line for each song")


def run(options: argparse.Namespace, given: Mapping[str, str]) -> int:
    """Try songs by the environment's settings and those given as options; returns the exit code."""
    count = sum(len(some) for some in options.songs)
    if count > MOST_SONGS:
        return _wrong(f"{count:,} songs are too many to try; allowed: {MOST_SONGS}. More of them is a crawl.")
    songs = list(dict.fromkeys(song_num for some in options.songs for song_num in some))
    try:
        _check(given)
        return _try(options, {**os.environ, **given}, songs)
    except KeyboardInterrupt:  # there is nothing that the same command would go on with
        print("songcrawl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BadRequest as error:
        return _wrong(str(error))
    except BadSetting as error:
        if any(str(error).startswith((f"{name} ", f"{name},")) for name in given):
            return _wrong(str(error))
        raise


def _try(options: argparse.Namespace, environ: Mapping[str, str], songs: Sequence[int]) -> int:
    trials: list[Trial] = []
    for trial in try_songs(settings_from(environ), songs):
        _write(_json(trial) if options.json else ("\n" if trials else "") + trial_text(trial, coloured=_coloured()))
        trials.append(trial)
    if len(songs) > 1 and not options.json:
        _write("\n" + summary_text([trial.verdict for trial in trials], songs[len(trials) :]))
    return ALL_FOUND if len(trials) == len(songs) and all(trial.found for trial in trials) else NOT_ALL_FOUND


def _songs(text: str) -> SongSet:
    try:
        return SongSet.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _check(given: Mapping[str, str]) -> None:
    """Read the settings that are options; raises BadSetting for the first that can't be."""
    for setting in SETTINGS:
        if setting.name in given:
            setting.read(given)


def _wrong(sentence: str) -> int:
    print(f"songcrawl: {sentence}", file=sys.stderr)
    return WRONG


def _json(trial: Trial) -> str:
    return msgspec.json.encode(trial).decode() + "\n"


def _coloured() -> bool:
    """Tell whether colours are wanted (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(text: str) -> None:
    """Print, with escapes for what the terminal can't show."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
