"""Check the command `try`: its exit codes, what it prints in a terminal of 80 columns, and as JSON."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator

import pytest
from servers import Page, Upstream, error, missing, song

from crawler.app.trials.trial import Trial
from crawler.entrypoints import try_command
from crawler.entrypoints.cli import main
from crawler.entrypoints.trial_text import printable, summary_text, trial_text

LONG = {"id": 3, "text": "歌" * 3000}
TERMINAL = b'{"id": 4, "text": "\x1b]0;title\x07\x1b[2J"}'


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Serve the songs 1 to 20, some of them odd, and declare them in the environment."""
    pages = {
        2: error(401),
        3: Page(
            body=json.dumps(LONG, ensure_ascii=False).encode(), headers={"X-" + "x" * 99: "1", "ETag": '"' + "e" * 99}
        ),
        4: Page(body=TERMINAL, headers={"ETag": "\x9b2J"}),
    }
    with Upstream(lambda n, _nth: pages.get(n, song(n) if n <= 20 else missing())) as running:
        monkeypatch.setenv("SONG_URL", running.url)
        monkeypatch.setenv("ALLOW_PRIVATE_UPSTREAM", "1")
        monkeypatch.setenv("MAX_PER_SECOND", "0")
        yield running


@pytest.mark.parametrize(
    ("arguments", "code", "asked"),
    [
        (["1"], 0, [1]),
        (["7", "5-6,9", "7"], 0, [7, 5, 6, 9]),
        (["1", "77"], 1, [1, 77]),
        (["2", "1"], 1, [2]),
        (["1", "--song-info", "titel"], 1, [1]),
        (["1", "--json"], 0, [1]),
    ],
    ids=str,
)
def test_exit_code(upstream: Upstream, arguments: list[str], code: int, asked: list[int]) -> None:
    """Give 0 where each song is found, else 1; ask for each once, in the order given, until the upstream refuses."""
    assert main(["try", *arguments]) == code
    assert [request.song_num for request in upstream.requests] == asked


WRONG: dict[str, tuple[list[str], str]] = {
    "no number": (["seven"], "argument SONG: 'seven' is neither a number from 0 to 999999999999 nor a range"),
    "a run": (["failed:trial"], "argument SONG: 'failed:trial' is neither"),
    "nothing": ([], "the following arguments are required: SONG"),
    "too many": (["1-51"], "songcrawl: 51 songs are too many to try; allowed: 50. More of them is a crawl."),
    "all": (["0-999999999999", "1"], "songcrawl: 1,000,000,000,001 songs are too many to try; allowed: 50."),
    "option": (
        ["1", "--max-at-once", "many"],
        "songcrawl: MAX_AT_ONCE is 'many'; allowed: a whole number from 1 to 1000.",
    ),
    "expression": (["1", "--song-info", "a["], "songcrawl: SONG_INFO is 'a[', no JMESPath expression: "),
    "rules": (["1", "--response-rules", '[{"x": 1}]'], 'songcrawl: RESPONSE_RULES, rule 1: "x" is no field; allowed: '),
    "source": (["1", "--source", "none"], "songcrawl: SOURCE is 'none'; allowed: a TOML file, or one of "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_command_line(upstream: Upstream, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Give 2, with a sentence, and ask for nothing where the command line is wrong."""
    arguments, sentence = WRONG[name]
    try:
        code: object = main(["try", *arguments])
    except SystemExit as exit_:
        code = exit_.code
    printed = capsys.readouterr()

    assert (code, printed.out) == (2, "")
    assert sentence in printed.err
    assert upstream.count() == 0


def test_wrong_environment(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Give 1 where the environment, not the command line, is wrong."""
    monkeypatch.setenv("SONG_INFO", "a[")
    codes = [main(["try", "1"])]
    monkeypatch.delenv("SONG_URL")
    codes.append(main(["try", "1", "--song-info", "title"]))

    assert codes == [1, 1]
    assert re.findall(r"^songcrawl: (SONG_\w+) is", capsys.readouterr().err, re.MULTILINE) == ["SONG_INFO", "SONG_URL"]
    assert upstream.count() == 0


def test_text(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Show what was sent, what came, the verdict and its rule, and the row."""
    main(["try", "7"])
    text = capsys.readouterr().out
    seconds = re.search(r"in ([0-9.]+) s$", text, re.MULTILINE)

    assert seconds
    assert (
        text
        == f"""\
Song 7: found
Sent     GET {upstream.url_of(7)}
         host: 127.0.0.1:{upstream.port}
         user-agent: songcrawl/0.1.0 (+https://songcrawl.example)
         accept: */*
         accept-encoding: gzip
Came     200 OK, 28 bytes in {seconds[1]} s
         content-type: application/json            JSON
Body     {{"id": 7, "title": "Song 7"}}
Verdict  found
         by built-in rule for 2xx: the song, if SONG_INFO picks something from
           JSON in its body (RFC 9110, 15.3)
Stored   {{"song_num":7,"status":"found","info":{{"id":7,"title":"Song 7"}}}}
"""
    )


def columns(line: str) -> int:
    """Count the columns of a line in which only the song's own characters are wide."""
    return len(line) + line.count("歌")


def test_text_fits_a_terminal(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Print no line that a terminal of 80 columns would break, cut what is long, and count what became of the songs."""
    main(["try", "1", "3", "4", "77", "2", "8", "--song-url", f"{upstream.url}?fields={'f' * 200},"])
    text = capsys.readouterr().out

    assert [line for line in text.splitlines() if columns(line) > 80] == []
    assert re.search(r"^ {9}\.\.\. 8,\d\d\d more bytes$", text, re.MULTILINE)
    assert text.endswith("\n2 found, 1 retry, 1 missing, 1 refused; not asked for: 8\n")


def test_control_characters_are_written_out(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Let no answer move the cursor, or set the title, of the terminal it is shown in."""
    main(["try", "4"])
    text = capsys.readouterr().out

    assert r"\x1b]0;title\x07\x1b[2J" in text
    assert r"etag: \x9b2J" in text
    assert re.search(r"[^\n -~]", text) is None
    assert printable("a\r\nb\u202e\u2066") == r"a\nb\u202e\u2066"


def test_json(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Print a line of JSON for each song, with all that the text says."""
    main(["try", "7", "77", "--json"])
    found, absent = map(json.loads, capsys.readouterr().out.splitlines())

    assert (found["song_num"], found["verdict"], found["status"]) == (7, "found", 200)
    assert found["requests"][0]["url"] == upstream.url_of(7)
    assert json.loads(found["row"])["info"] == {"id": 7, "title": "Song 7"}
    assert absent["rule"]["name"] == "built-in rule for 404, 410"
    assert absent["hints"]


class Terminal(io.StringIO):
    """A terminal that shows ASCII only."""

    encoding = "ascii"

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@pytest.mark.parametrize(
    ("no_color", "term", "coloured"), [("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)]
)
def test_colours_are_for_terminals(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, no_color: str, term: str, coloured: bool
) -> None:
    """Use colours in a terminal only, unless NO_COLOR is set; write what it can't show as escapes."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    main(["try", "3"])

    assert ("\x1b[1m" in terminal.getvalue()) == coloured
    assert r"\u6b4c" in terminal.getvalue()


def test_text_of_what_was_not_asked_for() -> None:
    """Say why nothing was sent, and that nothing would be stored."""
    assert trial_text(Trial(song_num=7, verdict="not_asked", meaning="No.", hints=["Ask later."])) == (
        "Song 7: not asked\nVerdict  not asked: No.\nStored   nothing\nHints    - Ask later.\n"
    )
    assert summary_text(["found", "not_asked"], [8, 9]) == "1 found, 1 not asked; not asked for: 8, 9\n"


def test_interrupt(upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Give 130 for Ctrl-C, and promise nothing of what the same command would go on with."""

    def interrupted(*_: object) -> Iterator[Trial]:
        raise KeyboardInterrupt

    monkeypatch.setattr(try_command, "try_songs", interrupted)

    assert main(["try", "1"]) == 130
    assert capsys.readouterr().err == "songcrawl: interrupted\n"
