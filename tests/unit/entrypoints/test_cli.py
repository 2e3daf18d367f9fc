"""Check the command line as a user runs it: a process of its own, its exit code and what it prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Page, Upstream, error, hang, missing, song
from servers.process import clean_environment
from support.command_line import ROOT, CommandLine
from support.relay import Relay
from support.runs import figures

from crawler.app.source_file import source_names, source_text
from crawler.core.settings import SETTINGS, VERSION
from crawler.entrypoints import cli as command_module
from crawler.entrypoints.cli import main
from crawler.entrypoints.command_output import COMPLETE, FAILED, HELD, INTERRUPTED, PARTIAL

FUNCTION = """
def title(session, song_num):
    response = session.get({url!r}.format(song_num=song_num))
    return response.json()["title"] if response.ok else None
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Serve the songs 1 to 20, but 400 for 7 and nothing at all for 13."""

    def pages(n: int, _nth: int) -> Page:
        return {7: error(400), 13: hang()}.get(n, song(n) if 1 <= n <= 20 else missing())

    with Upstream(pages) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> CommandLine:
    """Give a command line whose song is the upstream's."""
    return CommandLine(tmp_path, {"SONG_URL": upstream.url, "ALLOW_PRIVATE_UPSTREAM": "1"})


def test_crawl_prints_its_answer(command: CommandLine, tmp_path: Path, upstream: Upstream) -> None:
    """Store the run below ./songs, print the answer as JSON and nothing else, and exit 0; again from the store."""
    first = command.run("crawl", "1-12,18-25", "--run", "trial")
    answer = json.loads(first.stdout)
    sent = upstream.count()
    again = command.run("crawl", "18-25,1-12", "--run", "trial")

    assert (first.returncode, first.stderr) == (0, "")
    assert (answer["run"], answer["state"], answer["songs"]) == ("trial", "complete", "1-12,18-25")
    assert [answer[name] for name in ("found", "missing", "failed", "remaining")] == [14, 5, 1, 0]
    assert answer["output"] == "songs/runs/trial"
    assert (tmp_path / "songs" / "runs" / "trial" / "manifest.json").is_file()
    assert (again.returncode, figures(json.loads(again.stdout))) == (0, figures(answer))
    assert json.loads(again.stdout)["detail"].startswith("Nothing was asked: the run trial is complete since 2")
    assert upstream.count() == sent


def test_any_setting_is_an_option(command: CommandLine, tmp_path: Path, upstream: Upstream) -> None:
    """Take settings as options, which count for more than the environment."""
    command.environ["SONG_INFO"] = "id"
    done = command.run(
        "crawl", "1-3", "--output", "elsewhere", "--run=r", "--song-info", "title", "--user-agent=me", "--part-songs=2"
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["parts"] == 2
    assert (tmp_path / "elsewhere" / "runs" / "r" / "songs-000000000001-000000000002.jsonl.gz").is_file()
    assert {request.headers["user-agent"] for request in upstream.requests} == {"me"}


def test_function_of_the_working_folder(command: CommandLine, tmp_path: Path, upstream: Upstream) -> None:
    """Crawl with a user's own function from a file beside."""
    (tmp_path / "songs_api.py").write_text(FUNCTION.format(url=upstream.url))
    done = command.run("crawl", "1-3,30", "--song-url", "", "--song-function", "songs_api:title")
    answer = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert (answer["found"], answer["missing"]) == (3, 1)


def test_partial_crawl_exits_3(command: CommandLine) -> None:
    """Say that the same command continues, when the time is over before the songs are."""
    done = command.run("crawl", "1-13", "--run=r", "--deadline-seconds=1.5", "--part-songs=4", "--max-at-once=2")
    answer = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (3, "")
    assert answer["state"] == "partial"
    assert answer["remaining"] >= 1
    assert answer["found"] + answer["missing"] + answer["failed"] + answer["remaining"] == 13
    assert "send the same call again" in answer["detail"]


def test_upstream_that_refuses_exits_3(command: CommandLine) -> None:
    """Print how the upstream refuses, and mark no song failed."""
    with Upstream(lambda _n, _nth: error(401)) as closed:
        done = command.run("crawl", "1-30", "--song-url", closed.url)
    answer = json.loads(done.stdout)

    assert done.returncode == 3
    assert (answer["failed"], answer["remaining"]) == (0, 30)
    assert answer["detail"] == "The upstream answers 401: it wants credentials; set SONG_HEADERS."


WRONG = {
    "setting": (
        ["crawl", "1", "--max-at-once", "many"],
        "MAX_AT_ONCE is 'many'; allowed: a whole number from 1 to 1000.",
    ),
    "secret": (
        ["crawl", "1", "--song-headers", '{"X-Key": 7, "S3CRET": "S3CRET"}'],
        "SONG_HEADERS is a value that can't be used; allowed: ",
    ),
    "template": (
        ["crawl", "1", "--song-url", "http://songs.example/"],
        "SONG_URL is 'http://songs.example/'; allowed: ",
    ),
    "no song": (["crawl", "1", "--song-url", ""], "SONG_URL is not set; allowed: a URL template such as "),
    "expression": (["crawl", "1", "--song-info", "a["], "SONG_INFO is 'a[', no JMESPath expression: "),
    "function": (
        ["crawl", "1", "--song-url=", "--song-function=nowhere:title"],
        "SONG_FUNCTION is 'nowhere:title', which can't be loaded: ModuleNotFoundError: No module named 'nowhere'.",
    ),
    "two songs": (
        ["crawl", "1", "--song-function=json:loads"],
        "SONG_URL and SONG_FUNCTION are both set; allowed: one ",
    ),
    "songs": (["crawl", "10-1"], "songs: the range 10-1 is reversed: write 1-10; allowed: "),
    "full-width": (["crawl", "１２"], "songs: '１２' is neither a number from 0 to 999999999999 nor a range"),
    "too many songs": (["crawl", "1-30", "--max-songs=8"], "songs names 30 numbers; allowed: 8 (MAX_SONGS)."),
    "run": (["crawl", "1", "--run", "../up"], 'run is "../up"; allowed: 1 to 63 of a-z, 0-9, dot, dash and underscore'),
    "private": (["crawl", "1", "--allow-private-upstream=0"], "The upstream 127.0.0.1 has the address 127.0.0.1: "),
    "output": (["crawl", "1", "--output=/dev/null"], "/dev/null/runs/"),
}


@pytest.fixture
def own_environment(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of a user who crawls the upstream: faster than a process for each case."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("SONG_URL", upstream.url)
    monkeypatch.setenv("ALLOW_PRIVATE_UPSTREAM", "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_a_sentence(
    upstream: Upstream, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """Give one line that says what is wrong and what is allowed, no secret, and send no request.

    Give 2 where what is wrong stands on the command line, else 1.
    """
    code = main(arguments)
    out, err = capsys.readouterr()

    elsewhere = sentence.startswith(("The upstream", "/dev/null", "SONG_URL and"))  # what two places say
    assert (code, out) == (1 if elsewhere else 2, "")
    assert err.startswith(f"songcrawl: {sentence}")
    assert err.count("\n") == 1
    assert "S3CRET" not in err
    assert upstream.count() == 0


def test_wrong_setting_exits_1(command: CommandLine) -> None:
    """Exit 1 with the sentence alone: no traceback, no warning."""
    command.environ["MAX_ATTEMPTS"] = "-1"
    done = command.run("crawl", "1")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "songcrawl: MAX_ATTEMPTS is '-1'; allowed: a whole number from 1 to 100.\n"


def test_settings_of_the_env_file(command: CommandLine, tmp_path: Path, upstream: Upstream) -> None:
    """Take settings from a file .env of the working folder, and say so on standard error."""
    (tmp_path / ".env").write_text("SONG_INFO='title'\nMAX_AT_ONCE=2\n")
    done = command.run("crawl", "1-3", "--run=r")

    assert (done.returncode, done.stderr) == (0, "songcrawl: .env sets SONG_INFO, MAX_AT_ONCE\n")
    assert upstream.most_at_once <= 2


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize(
    "arguments",
    [[], ["crawl"], ["crawl", "1", "--max-at-most=3"], ["crawl", "1", "--max-per-sec=3"], ["sing"]],
    ids=["nothing", "no songs", "unknown option", "an option cut short", "unknown command"],
)
def test_wrong_command_line_exits_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Show the usage where the command line itself is wrong."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: python -m crawler" in capsys.readouterr().err


def test_sources_are_listed_and_printed(command: CommandLine) -> None:
    """Name the bundled sources, a line each; print one as it is; say which there are for any other name."""
    listed, one, none = command.run("sources"), command.run("sources", "deezer-tracks"), command.run("sources", "x")

    assert [line.split()[0] for line in listed.stdout.splitlines()] == source_names()
    assert listed.stdout.startswith("deezer-tracks              Deezer tracks, by the number of the track\n")
    assert (one.returncode, one.stdout) == (0, source_text("deezer-tracks"))
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("songcrawl: SOURCE is 'x'; allowed: a TOML file, or one of deezer-tracks, ")


def test_settings_are_listed(command: CommandLine) -> None:
    """Print every setting with its default and meaning, a line each, whatever the environment says."""
    command.environ["MAX_AT_ONCE"] = "nonsense"
    done = command.run("settings")
    lines = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in lines] == [setting.name for setting in SETTINGS]
    for line, setting in zip(lines, SETTINGS, strict=True):
        assert setting.default in line
        assert setting.help in line


def test_help_names_every_option(command: CommandLine) -> None:
    """Explain each setting in the help of crawl."""
    done = command.run("crawl", "--help")

    assert done.returncode == 0
    for setting in SETTINGS:
        assert f"--{setting.name.lower().replace('_', '-')} VALUE" in done.stdout


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize(
    "command",
    [
        *([], ["try"], ["crawl"], ["plan"], ["verify"], ["status"], ["stop"], ["resume"], ["accept"], ["settings"]),
        ["sources"],
    ],
    ids=str,
)
def test_help_fits_a_terminal(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Print no line that a terminal of 80 columns would break."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()

    assert caught.value.code == 0
    assert lines
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.usefixtures("own_environment")
def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """Show commands that can be given as they stand, and the exit codes that there are."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    shown = re.findall(r"^  python -m crawler (.+?)(?:  .*)?$", text, re.MULTILINE)
    codes = [int(code) for code in re.findall(r"^  (\d+) +\w", text, re.MULTILINE)]

    assert [command_module._parser("").parse_args(shlex.split(line)).run_command.__name__ for line in shown] == [
        *("_try", "_plan", "_crawl", "verify"),
    ]
    assert codes == [COMPLETE, FAILED, 2, PARTIAL, HELD, INTERRUPTED]
    assert {name for names in command_module._GROUPS.values() for name in names} <= {s.name for s in SETTINGS}


def test_status_tells_a_script_whether_to_go_on(command: CommandLine) -> None:
    """Exit 3 as long as a run is not complete, 0 once it is."""
    arguments = ["crawl", "1-12", "--run=r", "--part-songs=4", "--max-at-once=2", "--deadline-seconds=2"]
    with Upstream(lambda n, nth: song(n) if n < 5 and nth == 1 else error(401)) as closed:
        command.run(*arguments, f"--song-url={closed.url}")
        before = command.run("status", "songs/runs/r")
        answer = json.loads(before.stdout)
    assert (before.returncode, answer["remaining"] > 0) == (3, True)

    with Upstream(lambda n, _nth: song(n)) as open_again:
        done = command.run("crawl", "1-12", "--run=s", f"--song-url={open_again.url}")
    assert (done.returncode, command.run("status", "songs/runs/s").returncode) == (0, 0)


def test_a_held_run_is_accepted(command: CommandLine, tmp_path: Path) -> None:
    """Exit 4 while a run is held, whoever looks; accept it by its name, once."""
    crawled = command.run("crawl", "1-10", "--run=r", "--max-failed=0.05")
    looks = [command.run("status", "songs/runs/r"), command.run("verify", "r"), command.run("crawl", "1-10", "--run=r")]
    accepted = command.run("accept", "r")
    after = [command.run("status", "r"), command.run("verify", "r", "--output", "songs"), command.run("accept", "r")]

    answer = json.loads(crawled.stdout)
    assert (crawled.returncode, answer["state"]) == (4, "held")
    assert "1 of 10 songs failed" in answer["detail"]
    assert [look.returncode for look in looks] == [4, 4, 4]
    assert json.loads(looks[1].stdout)["held"] == answer["detail"]
    assert (accepted.returncode, json.loads(accepted.stdout)["state"]) == (0, "complete")
    assert [look.returncode for look in after] == [0, 0, 1]
    assert after[2].stderr == "songcrawl: The run r is complete; allowed: a run that is held.\n"
    assert command.run("status", "other").stderr == "songcrawl: There is no run other in songs.\n"


def test_a_run_is_stopped_and_resumed(command: CommandLine) -> None:
    """Exit 3 for the crawl of a stopped run, and go on with it once it is resumed, named or not."""
    answers = {"found": error(401)}
    with Upstream(lambda n, _nth: answers.get("found") or song(n)) as upstream:
        command.environ["SONG_URL"] = upstream.url
        partial = command.run("crawl", "1-30")
        run = json.loads(partial.stdout)["run"]
        stopped = [command.run("stop", run), command.run("crawl", "1-30", "--run", run)]
        resumed = command.run("resume", f"songs/runs/{run}")
        answers.clear()
        again = command.run("crawl", "1-30")

    assert [done.returncode for done in [partial, *stopped, resumed, again]] == [3, 0, 3, 0, 0]
    assert [json.loads(done.stdout)["state"] for done in stopped] == ["stopped"] * 2
    assert json.loads(resumed.stdout)["state"] == "partial"
    assert (json.loads(again.stdout)["run"], json.loads(again.stdout)["state"]) == (run, "complete")


def test_a_reader_that_leaves_is_no_error(command: CommandLine) -> None:
    """End without a traceback where whoever reads the output has seen enough, as head does."""
    env = clean_environment(str(command.folder), {"PYTHONPATH": str(ROOT)})
    argv = [sys.executable, "-W", "error", "-m", "crawler", "settings"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(argv, env=env, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (1, "")


# Run as `python -m crawler` in a Python that lacks the library named first.
WITHOUT = """
import runpy, sys
sys.modules[sys.argv.pop(1)] = None
runpy.run_module("crawler", run_name="__main__", alter_sys=True)
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in the project's folder, with a home of its own."""
    argv, env = [sys.executable, *arguments], clean_environment(str(folder))
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_python_without_the_libraries(tmp_path: Path) -> None:
    """Say in one sentence what to do in a Python where nothing is installed, and exit 1."""
    done = python(tmp_path, "-S", "-m", "crawler", "crawl", "1-10")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "songcrawl: msgspec is not installed in this Python; activate the virtual environment that has it "
        "(. .venv/bin/activate), or install songcrawl with all it needs (pip install .).\n"
    )


def test_library_that_is_missed_later(tmp_path: Path) -> None:
    """Say the same of a library that only this command needs."""
    url = "http://songs.example/{song_num}"
    done = python(tmp_path, "-c", WITHOUT, "jmespath", "plan", "1", "--song-url", url, "--song-info", "title")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("songcrawl: jmespath is not installed in this Python; activate ")
    assert done.stderr.count("\n") == 1


def test_module_of_our_own_that_is_missed(tmp_path: Path) -> None:
    """Blame no installation where a module of the project itself, or of Python, is not there."""
    for module in ("crawler.app.deployment", "argparse"):
        done = python(tmp_path, "-c", WITHOUT, module, "settings")

        assert (done.returncode, "Traceback" in done.stderr) == (1, True)
        assert "activate" not in done.stderr


def test_version_is_told(command: CommandLine) -> None:
    """Print the version of the project."""
    done = command.run("--version")

    assert (done.returncode, done.stdout) == (0, f"songcrawl {VERSION}\n")


@pytest.mark.usefixtures("own_environment")
def test_bucket_that_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give 1 and name the bucket that does not let us in."""
    with Relay("", status_of=lambda _call: 403) as relay:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", relay.url)
        code = main(["crawl", "1", "--output=gs://songs/x"])

    assert code == 1
    assert (
        capsys.readouterr().err
        == "songcrawl: gs://songs/x may not be read by this identity: access is denied (HTTP 403).\n"
    )
