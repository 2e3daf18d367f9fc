"""Settings from a file .env in the working folder, read as deploy.sh reads it; the environment overrules it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.core.errors import BadSetting
from crawler.core.settings import SETTINGS

# A folder that somebody else wrote must not choose which code runs here, nor open this machine's own network.
NOT_FROM_FILE = frozenset({"SONG_FUNCTION", "ALLOW_PRIVATE_UPSTREAM"})

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII | re.DOTALL)
_ESCAPE = re.compile(r"\\([\"`$\\])")


@contextmanager
def settings_of_file(path: Path = Path(".env")) -> Iterator[None]:
    """Add what a file says to the environment while the block runs, and say so once on standard error.

    Only names of settings count, deploy.sh's own are its business. Raises BadSetting for a line that can't be read.
    """
    said = _read(path)
    names = {setting.name for setting in SETTINGS} - NOT_FROM_FILE
    taken = {name: value for name, value in said.items() if name in names and name not in os.environ}
    if taken:
        print(f"songcrawl: {path} sets {', '.join(taken)}", file=sys.stderr)
    if left := sorted(NOT_FROM_FILE & set(said) - set(os.environ)):
        print(f"songcrawl: {path} may not set {', '.join(left)}; set it in the environment", file=sys.stderr)
    os.environ.update(taken)
    try:
        yield
    finally:
        for name in taken:
            os.environ.pop(name, None)


def parse_env(text: str, name: str = ".env") -> dict[str, str]:
    """Read NAME=value lines: 'as it is', "with \\\\ before quotes", or bare up to a comment; nothing of it is run.

    Raises BadSetting naming the line.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None:
            allowed = "one setting a line, comments that begin with #"
            raise BadSetting(f"Line {number} of {name} is no NAME=value; allowed: {allowed}.")
        value = _unquoted(match[2].rstrip())
        if value is None:
            raise BadSetting(f"Line {number} of {name}: the value of {match[1]} has no closing quote.")
        values[match[1]] = value
    return values


def _unquoted(text: str) -> str | None:
    """Take quotes away; None: one is not closed."""
    if re.fullmatch(r"'[^']*'", text):
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(r"\1", text[1:-1])
    if text.startswith(("'", '"')):
        return None
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def _read(path: Path) -> dict[str, str]:
    try:
        return parse_env(path.read_text("utf-8-sig"), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise BadSetting(f"{path} can't be read: {reason}; allowed: a text file of NAME=value lines.") from None
