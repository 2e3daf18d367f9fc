"""Check what the command line takes from a file .env, and that deploy.sh reads the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from crawler.core.errors import BadSetting
from crawler.entrypoints.env_file import parse_env, settings_of_file

ROOT = Path(__file__).parents[3]

LINES = [
    ("NAME=bare", "bare"),
    ("export NAME=exported", "exported"),
    ("  NAME=indented  ", "indented"),
    ("NAME=", ""),
    ("NAME=bare # a comment", "bare"),
    ("NAME=no#comment", "no#comment"),
    ("NAME='as $it \\ is'", "as $it \\ is"),
    ('NAME="a \\" b \\` c \\$ d \\\\ e"', 'a " b ` c $ d \\ e'),
    ('NAME=\'{"Authorization": "x"}\'', '{"Authorization": "x"}'),
    ("NAME=a=b", "a=b"),
    ("NAME=windows\r", "windows"),
    ("NAME=$(touch ran)", "$(touch ran)"),
]


@pytest.mark.parametrize(("line", "value"), LINES)
def test_a_line_is_read_and_never_run(line: str, value: str) -> None:
    """Read a value in its three forms."""
    assert parse_env(f"# first\n\n{line}\n") == {"NAME": value}


@pytest.mark.parametrize(("line", "value"), LINES)
@pytest.mark.skipif(os.name == "nt", reason="deploy.sh needs bash")
def test_deploy_reads_the_same(line: str, value: str) -> None:
    """Have deploy.sh's own function read the value."""
    text = line.partition("=")[2].removesuffix("\r")
    script = (ROOT / "deploy.sh").read_text("utf-8")
    function = script[script.index("unquoted() {") : script.index("read_env_file() {")]
    done = subprocess.run(["bash", "-c", f'{function}\nunquoted "$1"', "-", text], capture_output=True, check=True)

    assert done.stdout.decode() == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SONG_URL", "Line 1 of .env is no NAME=value; allowed: one setting a line, comments that begin with #."),
        ("A=1\n2B=3", "Line 2 of .env is no NAME=value; allowed: one setting a line, comments that begin with #."),
        ("A='open", "Line 1 of .env: the value of A has no closing quote."),
        ('A="', "Line 1 of .env: the value of A has no closing quote."),
    ],
)
def test_a_wrong_line_is_named(text: str, sentence: str) -> None:
    """Name the line, never its value."""
    with pytest.raises(BadSetting) as caught:
        parse_env(text)

    assert str(caught.value) == sentence


def test_the_environment_overrules_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Add settings that the environment lacks, for the block alone, and say which; never which code to run."""
    file = tmp_path / ".env"
    file.write_text("SONG_INFO=title\nMAX_AT_ONCE=3\nPROJECT=mine\nSONG_FUNCTION=evil:run\nALLOW_PRIVATE_UPSTREAM=1\n")
    monkeypatch.setenv("MAX_AT_ONCE", "7")
    for name in ("SONG_INFO", "SONG_FUNCTION", "ALLOW_PRIVATE_UPSTREAM", "PROJECT"):
        monkeypatch.delenv(name, raising=False)

    with settings_of_file(file):
        assert (os.environ["SONG_INFO"], os.environ["MAX_AT_ONCE"]) == ("title", "7")
        assert not {"SONG_FUNCTION", "ALLOW_PRIVATE_UPSTREAM", "PROJECT"} & set(os.environ)

    assert "SONG_INFO" not in os.environ
    assert capsys.readouterr().err.splitlines() == [
        f"songcrawl: {file} sets SONG_INFO",
        f"songcrawl: {file} may not set ALLOW_PRIVATE_UPSTREAM, SONG_FUNCTION; set it in the environment",
    ]


def test_no_file_is_no_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Say nothing where there is none; say in a sentence that one can't be read."""
    with settings_of_file(tmp_path / ".env"):
        pass
    assert capsys.readouterr().err == ""
    (tmp_path / ".env").write_bytes(b"A=\xff\n")

    with (
        pytest.raises(BadSetting, match=r"can't be read: it is no UTF-8; allowed: a text file"),
        settings_of_file(tmp_path / ".env"),
    ):
        pass
