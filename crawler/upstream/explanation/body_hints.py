"""Hints from an answer's body: what looks like an error, another song, or an expression that misses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import msgspec

from crawler.upstream.explanation.trial_facts import NO_JSON, TrialFacts
from crawler.upstream.expression import Absent, Expression
from crawler.upstream.strict_json import decode_json

# From this share of MAX_SONG_BYTES on, other songs are likely to be too large.
_NEAR = 0.8

_ERRORS = ("error", "errors", "fault", "exception")
# What an error is made of that has no name of its own, and what may stand beside: nothing else does.
_TELLING = ("message", "code", "status", "status_code", "status_message", "statuscode", "success", "ok")
_OF_ERRORS = {
    *_TELLING,
    *("type", "detail", "details", "title", "reason", "description", "timestamp", "path", "request_id", "instance"),
    "documentation_url",
}
_MARKS = ("missing", "deleted", "removed", "error", "errors", "dead", "gone")


def too_large(facts: TrialFacts) -> Iterator[str]:
    """Say that songs are near the largest that is taken, or past it."""
    most = facts.settings.max_song_bytes
    if facts.error == "too_large":
        yield f"The body is over MAX_SONG_BYTES ({most:,}): raise it, if songs may be that large."
    elif len(facts.body) > _NEAR * most:
        yield f"The body has {len(facts.body):,} bytes; over {most:,} (MAX_SONG_BYTES) a song fails."


def no_json(facts: TrialFacts) -> Iterator[str]:
    """Say what a body is that is no JSON."""
    if facts.error != "invalid_json" or facts.answer is None:
        return
    text = facts.body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        yield "The body is empty. If that is how the API says that there is no such song, a rule in RESPONSE_RULES can."
    elif re.match(rb"<(!doctype html|html|head|body)", text, re.IGNORECASE) or "html" in _content_type(facts):
        yield (
            "It is a page for people, not JSON: does the API have another address, or want "
            'SONG_HEADERS=\'{"Accept": "application/json"}\'? A function of your own reads pages (docs/recipes.md).'
        )
    elif text.startswith(b"<"):
        yield "It is XML: ask for JSON, often by a parameter in SONG_URL, or read it by a function of your own."
    elif re.match(rb"[\w.$]+\s*\(", text):
        yield "It is JavaScript that calls a function (JSONP): leave the callback out of SONG_URL."
    else:
        yield f"The body is no JSON: {_why(facts.body)}."


def error_in_200(facts: TrialFacts) -> Iterator[str]:
    """Show what looks like an error under a status that says that all is well."""
    content = facts.content
    if not 200 <= facts.status < 300 or not isinstance(content, dict) or not (facts.found or facts.error == "no_info"):
        return
    named = [name for name in content if name.lower() in _ERRORS and content[name]]
    if not named and {name.lower() for name in content} <= _OF_ERRORS:
        named = [name for name in content if name.lower() in _TELLING]
    if named:
        become = "would be stored as found" if facts.found else "gives no info"
        yield (
            f"It looks like an error in a {facts.status}: {named[0]} is {_short(content[named[0]])}, and the answer "
            f'{become}. If it means "no such song", say so: '
            f"{_expression_of('SONG_MISSING', named[0], content[named[0]])}; if it "
            'means "slow down": SONG_RETRY; anything else: RESPONSE_RULES.'
        )


def marked(facts: TrialFacts) -> Iterator[str]:
    """Name a key of what was found that says that the song is not there."""
    info = facts.verdict.info if facts.found and facts.verdict else None
    for path, name, value in _members(info, depth=2):
        if name.lower() in _MARKS and value is not None and value is not False and not any(error_in_200(facts)):
            yield (
                f"{path} is {_short(value)} in what was found. If such a song is not there, say so with SONG_MISSING, "
                "an expression on the whole body."
            )
            return


def another_song(facts: TrialFacts) -> Iterator[str]:
    """Say where the body names another number, or nowhere the one that was asked for."""
    content, number = facts.content, facts.key or str(facts.song_num)
    if not facts.found or not facts.declared or not isinstance(content, (dict, list)) or any(error_in_200(facts)):
        return
    own = _own_number(facts.verdict.info if facts.verdict else None) or _own_number(content)
    if own and facts.key is None and own.lstrip("0") != number.lstrip("0"):
        yield (
            f"id says {own}, not {number}: another song, or one that it went into. It would be stored under {number}."
        )
    elif not any(_names(value, number) for _, _, value in _members(content, depth=4)) and not _keyed(content, number):
        yield f"{number} stands nowhere in the body: nothing shows that it is this song, and not one for all numbers."


def constants(facts: TrialFacts) -> Iterator[str]:
    """Name the expressions that come to the same of every song: those that a shell's quotes got into, mostly."""
    settings = facts.settings
    texts = {"SONG_INFO": settings.song_info, "SONG_MISSING": settings.song_missing, "SONG_RETRY": settings.song_retry}
    for name, text in texts.items():
        if facts.declared and facts.answer and text and Expression(name, text).constant:
            yield f"{name} is {text}, which comes to the same for every song: is there a pair of quotes too many?"


def missed_by_song_info(facts: TrialFacts) -> Iterator[str]:
    """Name what SONG_INFO asks for and the body has not, and what comes near."""
    if not facts.declared or facts.content is NO_JSON or not (facts.found or facts.error == "no_info"):
        return
    absent = {each.name: each for each in Expression("SONG_INFO", facts.settings.song_info).absent(facts.content)}
    for each in list(absent.values())[:3]:
        yield _missed(each, facts.content)
    if facts.error == "no_info" and not absent:
        yield f"SONG_INFO picks only nulls. What came: {_keys(facts.content)}."


def _missed(absent: Absent, content: Any) -> str:
    name, where = absent
    if isinstance(where, list):
        whole = "the body" if where is content else "what it looks into"
        return f"SONG_INFO asks for {name}, and {whole} is a list of {len(where)}: [0].{name} is that of the first."
    if not isinstance(where, dict):
        return f"SONG_INFO asks for {name} of {_short(where)}, which is no object."
    near = _near(name, where)
    deeper = "" if near else _deeper(name, content)
    meant = f" Is {near or deeper} meant?" if near or deeper else ""
    return f"SONG_INFO asks for {name}, which is not there.{meant} There are {_keys(where)}."


def _deeper(name: str, content: Any) -> str:
    """Return the path of a member of that name anywhere, or of one near it."""
    paths: dict[str, str] = {key: path for path, key, _ in reversed(list(_members(content, depth=4))) if key}
    return paths.get(name) or paths.get(_near(name, paths), "")


def _near(name: str, where: dict[str, Any]) -> str:
    folded = {key.lower(): key for key in where}
    close = get_close_matches(name.lower(), folded, 1)
    return folded[close[0]] if close else ""


def _members(value: Any, depth: int, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the members of objects, the ones inside others too, with their paths as JMESPath writes them."""
    if not depth:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            own = f"{path}.{name}" if path else str(name)
            yield own, str(name), inner
            yield from _members(inner, depth - 1, own)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:20]):
            if not isinstance(inner, (dict, list)):
                yield f"{path}[{index}]", "", inner
            yield from _members(inner, depth - 1, f"{path}[{index}]")


def _own_number(item: Any) -> str:
    """Return the number in what an item, or a list of one, says of itself as `id`: 12, "12", Q12, .../W12."""
    item = item[0] if isinstance(item, list) and len(item) == 1 else item
    own = item.get("id") if isinstance(item, dict) else None
    if type(own) is int:
        return str(own)
    match = re.fullmatch(r"(?:.*/)?[A-Za-z]{0,3}([0-9]{1,12})", own, re.ASCII) if isinstance(own, str) else None
    return match[1] if match else ""


def _names(value: Any, number: str) -> bool:
    """Tell whether a value names a song: its number, or a text that holds it as a number of its own."""
    if isinstance(value, str):
        return re.search(rf"(?<!\w)[A-Za-z]{{0,3}}0*{re.escape(number)}(?!\w)", value, re.ASCII) is not None
    return type(value) is int and str(value) == number


def _keyed(content: Any, number: str) -> bool:
    return any(_names(name, number) for _, name, _ in _members(content, depth=4))


def _keys(value: Any) -> str:
    names = list(value) if isinstance(value, dict) else []
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(map(str, names[:12])) + more if names else _short(value)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        plain = [(name, each) for name, each in value.items() if not isinstance(each, (dict, list))]
        inner = ", ".join(f"{name} {_short(each)}" for name, each in plain[:3])
        return f"an object ({inner})" if inner else "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:60] + "..."


def _expression_of(setting: str, name: str, value: Any) -> str:
    """Write the expression that tells such an error, by its code if it has one."""
    if isinstance(value, dict) and type(value.get("code")) is int:
        return f"{setting}='{name}.code == `{value['code']}`'"
    return f"{setting}='{name}'"


def _content_type(facts: TrialFacts) -> str:
    return facts.answer.headers.get("content-type", "").lower() if facts.answer else ""


def _why(body: bytes) -> str:
    try:
        decode_json(body)
    except ValueError as error:
        return str(error)
    return "nothing is wrong with it"
