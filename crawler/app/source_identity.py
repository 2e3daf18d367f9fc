"""What a deployment's runs are of: the source's name, and the digest of what decides on its answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

from crawler.core.settings import SETTINGS, Settings
from crawler.runs.spec import Source, short_digest

# What decides which requests are sent for a song and what becomes of their answers. A run goes on under these alone: a
# setting that is not listed here may change in the midst of one.
ANSWER_SETTINGS = (
    *("SONG_URL", "SONG_METHOD", "SONG_BODY", "SONG_INFO", "SONG_MISSING", "SONG_RETRY"),
    *("RESPONSE_RULES", "REDIRECTS"),
)

_encode = msgspec.json.Encoder(order="sorted").encode


def declared_source(settings: Settings) -> Source:
    """Name a declared song; its rules must be read, where they stand in a file."""
    posted = settings.song_body or "" if settings.song_method == "POST" else None
    source = Source.of_url(settings.song_url or "", settings.song_info, settings.song_missing, posted)
    name = settings.source_name or source_name_of(settings.source)
    return msgspec.structs.replace(
        source, name=name, answers_digest=answers_digest(settings), follows_redirects=settings.redirects == "follow"
    )


def function_source(settings: Settings, name: str, function: Callable[..., Any]) -> Source:
    """Name a user's function."""
    digest = answers_digest(settings, code_of(function, name))
    return msgspec.structs.replace(Source.of_function(name), name=settings.source_name, answers_digest=digest)


def answers_digest(settings: Settings, code: str | None = None) -> str:
    """Return 16 hex digits that are equal where the same becomes of the same answers.

    A setting at its default counts as one that there is not: one that comes later changes no digest.
    """
    own = {setting.name: setting for setting in SETTINGS if setting.name in ANSWER_SETTINGS}
    values = {name: getattr(settings, name.lower()) for name in own}
    changed = {name: value for name, value in values.items() if value != own[name].parse(own[name].default)}
    return short_digest([_encode(changed).decode(), code])


def code_of(function: Callable[..., Any], name: str) -> str:
    """Return the source code of a function, of a partial's own or an object's class; else its name.

    A lambda's is its name too: what stands on its line is the call that it is given to as well.
    """
    import inspect  # 8 ms of a cold start, for those alone who crawl with a function

    named = getattr(function, "func", function)
    if getattr(named, "__name__", "") == "<lambda>":
        return name
    try:
        return inspect.getsource(named if hasattr(named, "__qualname__") else type(named))
    except (OSError, TypeError):
        return name


def source_name_of(source: str | None) -> str | None:
    """Return the name by which a source goes: of a bundled one its own, of a TOML file the file's; None: no source."""
    if source is None:
        return None
    stem = source if "." not in source else PurePath(source.replace("\\", "/")).stem
    return re.sub(r"[^a-z0-9._-]+", "-", PurePath(stem).name.lower()).strip("._-")[:63] or None
