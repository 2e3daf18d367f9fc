"""A trial as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from crawler.app.trials.trial import ShownRequest, Trial

_WIDTH = 79
_LABEL = 9  # columns of what stands to the left of everything
_TEXT = _WIDTH - _LABEL
# So many lines are shown of a body or a row.
_MOST_LINES = 8
# A header's reading stands from here on, beside it, or below it where it is too long.
_READING = 42

_BOLD, _RED, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_COLOURS = {"found": _GREEN, "missing": _YELLOW, "throttled": _YELLOW, "retry": _YELLOW}


def trial_text(trial: Trial, *, coloured: bool = False) -> str:
    """Write a trial, ended by a line break; what came from outside holds no control characters any more."""
    verdict = trial.verdict.replace("_", " ")
    colour = _COLOURS.get(trial.verdict, _RED)
    key = "" if trial.key is None else f" ({printable(trial.key)})"
    title = f"Song {trial.song_num}{key}: {verdict}"
    lines = [f"{_BOLD}{colour}{title}{_PLAIN}" if coloured else title]
    for label, content in _sections(trial):
        for position, line in enumerate(content):
            shown = "" if position else label
            shown = f"{_BOLD}{shown}{_PLAIN}{' ' * (_LABEL - len(shown))}" if coloured else shown.ljust(_LABEL)
            lines.append((shown + line).rstrip())
    return "\n".join(lines) + "\n"


def _sections(trial: Trial) -> Iterator[tuple[str, list[str]]]:
    for request in trial.requests:
        yield "Sent", list(_sent(request))
    if trial.status is not None or trial.broken:
        yield "Came", list(_came(trial))
    if trial.body:
        yield "Body", list(_cut(trial.body))
    if trial.traceback:
        yield "Raised", [line for text in trial.traceback.split("\n") for line in _chunks(text)]
    yield "Verdict", list(_verdict(trial))
    yield "Stored", list(_stored(trial))
    if trial.hints:
        yield "Hints", [line for hint in trial.hints for line in _wrapped(hint, "- ", "  ")]


def _sent(request: ShownRequest) -> Iterator[str]:
    yield from _chunks(f"{request.method} {request.url}")
    for name, value in request.headers:
        yield from _chunks(f"{name.lower()}: {value}")
    if request.body:
        yield ""
        yield from _cut(request.body)


def _came(trial: Trial) -> Iterator[str]:
    took = "" if trial.seconds is None else f" in {trial.seconds:g} s"
    if trial.status is None:
        yield from _wrapped(f"nothing whole{took}: {printable(trial.broken)}")
        return
    phrase = f" {trial.phrase}" if trial.phrase else ""
    yield f"{trial.status}{phrase}, {trial.body_bytes:,} bytes{took}"
    for header in trial.headers:
        yield from _beside(f"{header.name}: {header.value}", header.reading)
    if trial.quota:
        yield from _beside("quota", trial.quota)
    if trial.other_headers:
        yield from _wrapped(f"and {printable(', '.join(trial.other_headers))}", "", "    ")


def _beside(text: str, reading: str) -> Iterator[str]:
    """Write a header, and how it is read beside or below it."""
    *above, last = _chunks(text)
    yield from above
    # Two blanks between them, or they run into one.
    if _columns(last) > _READING - 2:
        yield last
        last = ""
    first, *others = _wrapped(reading, width=_TEXT - _READING)
    yield last + " " * (_READING - _columns(last)) + first
    yield from (" " * _READING + line for line in others)


def _verdict(trial: Trial) -> Iterator[str]:
    word = trial.verdict.replace("_", " ")
    error = f" ({trial.error})" if trial.error else ""
    yield from _wrapped(f"{word}{error}{': ' if trial.meaning else ''}{printable(trial.meaning)}")
    for before, rule in (("by ", trial.rule), ("pause by ", trial.paused_by)):
        if rule:
            yield from _wrapped(f"{before}{rule.name}: {printable(rule.says)}", "", "  ")


def _stored(trial: Trial) -> Iterator[str]:
    if trial.row:
        yield from _cut(trial.row)
    if trial.then:
        yield from _wrapped(trial.then)
    if not trial.row and not trial.then:
        yield "nothing"


def _wrapped(text: str, first: str = "", others: str = "", width: int = _TEXT) -> list[str]:
    """Cut prose between words."""
    text = printable(text)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False) or [first]


def _cut(text: str) -> Iterator[str]:
    """Yield the first lines of a body or a row, and say how much more there is."""
    text = text.strip()
    lines = [line for part in text.split("\n") for line in _chunks(part)]
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"... {len(''.join(lines[_MOST_LINES:]).encode()):,} more bytes"


def _chunks(text: str) -> list[str]:
    """Cut a text wherever a line is full: nothing of it is moved or left out."""
    lines, columns = [""], 0
    for character in printable(text):
        width = _columns(character)
        if columns + width > _TEXT:
            lines.append("")
            columns = 0
        lines[-1] += character
        columns += width
    return lines


def _columns(text: str) -> int:
    """Count the columns that a terminal takes for a text (https://www.unicode.org/reports/tr11/)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def printable(text: str) -> str:
    """Write control characters as escapes: an answer must not move the cursor, or set the title, of who looks at it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\r", ""))


def summary_text(verdicts: Sequence[str], left: Iterable[int]) -> str:
    """Count what became of several songs, and name those that were not asked for."""
    counted = ", ".join(f"{verdicts.count(word)} {word.replace('_', ' ')}" for word in dict.fromkeys(verdicts))
    names = ", ".join(map(str, left))
    return f"{counted}{f'; not asked for: {names}' if names else ''}\n"
