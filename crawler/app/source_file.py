"""Source files: the settings that describe an API, in TOML, bundled in crawler/sources/ or the user's own.

What a source file says lies beneath the environment: a variable that is set replaces its value whole.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from crawler.core.errors import BadSetting
from crawler.core.setting_types import Setting
from crawler.core.settings import SETTINGS

FOLDER = Path(__file__).parents[1] / "sources"

# What describes an API. Where a run goes, what code runs and what may be reached is the deployment's to say alone: a
# source file comes from others as a recipe does.
API_SETTINGS = frozenset(
    {
        *("SONG_URL", "SONG_METHOD", "SONG_BODY", "SONG_INFO", "SONG_MISSING", "SONG_RETRY"),
        *("SONG_HEADERS", "RESPONSE_RULES"),
        *("MAX_PER_SECOND", "MAX_AT_ONCE", "MAX_ATTEMPTS", "REQUEST_TIMEOUT_SECONDS", "MAX_SONG_BYTES"),
        *(
            "END_AFTER_MISSING",
            "MAX_FAILED",
            "MIN_FOUND",
            "ROBOTS",
            "REDIRECTS",
            "RATE_HEADERS",
            "USER_AGENT",
            "TOKEN_URL",
        ),
    }
)

_BY_FIELD = {setting.name.lower(): setting for setting in SETTINGS}
_FIELDS = ", ".join(field for field, setting in _BY_FIELD.items() if setting.name in API_SETTINGS)
_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_CREDENTIALS = re.compile(r"authorization|proxy-authorization|cookie|.*(key|token|secret).*", re.IGNORECASE)


def source_names() -> list[str]:
    """Return the names of the bundled sources, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def source_text(name: str) -> str:
    """Return the text of a bundled source, or of a TOML file; raises BadSetting if it can't be read."""
    bundled = _NAME.fullmatch(name) is not None
    if bundled and name not in source_names():
        raise BadSetting(f"SOURCE is {name!r}; allowed: a TOML file, or one of {', '.join(source_names())}.")
    try:
        return (FOLDER / f"{name}.toml" if bundled else Path(name)).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise BadSetting(f"SOURCE is {name!r}, which can't be read: {reason}; allowed: a TOML file.") from None


def title_of(text: str) -> str:
    """Return the first line of a source file without its comment mark: what it is of."""
    return text.partition("\n")[0].lstrip("# ").rstrip()


def with_source(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with what its SOURCE says beneath it; raises BadSetting if that can't be used."""
    if not (name := environ.get("SOURCE")):
        return environ
    return {**settings_in(source_text(name), f"SOURCE {name!r}"), **environ}


def settings_in(text: str, where: str) -> dict[str, str]:
    """Return the settings of a source file as texts, by their names; raises BadSetting for the first that is wrong.

    `where` begins the sentence.
    """
    return dict(_setting(field, value, where) for field, value in _parsed(text, where).items())


def _parsed(text: str, where: str) -> dict[str, Any]:
    # For those alone who set SOURCE: it is 7 ms of a cold start.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # What the parser says names a line, and at most a key or a character of it.
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise BadSetting(f"{where} is no TOML: {reason}.") from None
    return content


def _setting(field: str, value: Any, where: str) -> tuple[str, str]:
    """Return one setting's name and text."""
    setting = _BY_FIELD.get(field)
    if setting is None:  # what stands there may be a secret under a name of its own
        raise BadSetting(f"{where}: {field!r} is no setting of a source; allowed: {_FIELDS}.")
    if setting.name not in API_SETTINGS:
        raise BadSetting(
            f"{where}: {field} is {_shown(setting, value)}, which a source does not set; allowed: {_FIELDS}."
        )
    try:
        text = _WRITERS.get(setting.name, _plain)(value)
        setting.parse(text)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        allowed = _ALLOWED.get(setting.name, setting.allowed)
        raise BadSetting(f"{where}: {field} is {_shown(setting, value)}; allowed: {allowed}.") from None
    if setting.name == "SONG_HEADERS":
        _refuse_credentials(value, where)
    return setting.name, text


def _refuse_credentials(headers: Mapping[str, str], where: str) -> None:
    for header in headers:
        if _CREDENTIALS.fullmatch(header):
            raise BadSetting(
                f"{where}: song_headers has {header}, a credential, whose value is not shown; "
                "allowed: headers without secrets, which belong into SONG_HEADERS."
            )


def _shown(setting: Setting, value: Any) -> str:
    if setting.secret:
        return "a value that can't be used"
    if isinstance(value, str):
        return repr(setting.redact(value)[:200])
    try:
        return str(value)[:200]
    except ValueError:  # an integer of more digits than Python writes
        return "a number too large"


def _plain(value: Any) -> str:
    """Return a text or a number as the environment has it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return value if isinstance(value, str) else format(value, "d" if isinstance(value, int) else ".9g")


def _table(value: Any) -> str:
    if not isinstance(value, dict):
        raise TypeError
    return _json(value)


def _tables(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(rule, dict) for rule in value):
        raise TypeError
    return _json(value)


def _names(value: Any) -> str:
    return _json(value) if isinstance(value, dict) else _plain(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_WRITERS: dict[str, Callable[[Any], str]] = {
    "SONG_HEADERS": _table,
    "RESPONSE_RULES": _tables,
    "RATE_HEADERS": _names,
}
_ALLOWED = {
    "SONG_HEADERS": 'a table of header names and texts, such as {Accept = "application/json"}',
    "RESPONSE_RULES": "[[response_rules]] tables, each with a status, a when, an action, ...",
    "RATE_HEADERS": 'auto, ignore, or a table that names them, such as {remaining = "x-left", reset = "x-again"}',
}
