"""Check what runs go by: the name of their source, and the digest of what decides on its answers."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crawler.app.fetchers import song_of
from crawler.app.source_file import with_source
from crawler.app.source_identity import ANSWER_SETTINGS, code_of, function_source, source_name_of
from crawler.core.settings import SETTINGS, Settings

URL = "https://api.example.com/songs/{song_num}"
OTHER = {
    "SONG_URL": f"{URL}?v=2",
    "SONG_METHOD": "POST",
    "REDIRECTS": "follow",
    "SONG_BODY": '{"id": {song_num}}',
    "SONG_INFO": "title",
    "SONG_MISSING": "error",
    "SONG_RETRY": "slow",
    "RESPONSE_RULES": '[{"status": 403, "action": "throttled"}]',
}


def source(**settings: str) -> Any:
    """Return the source of some settings."""
    return song_of(Settings.from_environ(with_source({"SONG_URL": URL, **settings})))[0]


def load(path: Path, text: str) -> Callable[..., Any]:
    """Import the function `song` of a module with this text."""
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("songs_under_test", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = module.song
    return function


def test_every_listed_setting_is_one() -> None:
    """List settings alone, each of which a case below changes."""
    assert set(ANSWER_SETTINGS) == set(OTHER) <= {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("name", ANSWER_SETTINGS)
def test_each_setting_that_decides_on_answers_is_told(name: str) -> None:
    """Give another digest where one of them changes."""
    beside = {"SONG_METHOD": "POST"} if name == "SONG_BODY" else {}
    assert source(**beside, **{name: OTHER[name]}).answers_digest != source(**beside).answers_digest


@pytest.mark.parametrize(
    "same", [{"MAX_PER_SECOND": "7"}, {"SONG_HEADERS": '{"X": "1"}'}, {"SONG_INFO": "@"}, {"RESPONSE_RULES": "[]"}]
)
def test_no_other_setting_is_told(same: dict[str, str]) -> None:
    """Give the same digest whatever the pace and the headers, and for a default that is spelled out."""
    assert source(**same).answers_digest == source().answers_digest


def test_rules_in_a_file_count_by_what_they_say(tmp_path: Path) -> None:
    """Read the file: the same name with other rules is another digest, the same rules under another name is none."""
    (tmp_path / "one.json").write_text(OTHER["RESPONSE_RULES"])
    (tmp_path / "two.json").write_text("[]")

    assert source(RESPONSE_RULES=f"@{tmp_path / 'one.json'}") == source(RESPONSE_RULES=OTHER["RESPONSE_RULES"])
    assert source(RESPONSE_RULES=f"@{tmp_path / 'two.json'}") == source()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, None),
        ({"SOURCE_NAME": "tracks"}, "tracks"),
        ({"SOURCE": "deezer-tracks"}, "deezer-tracks"),
        ({"SOURCE": "deezer-tracks", "SOURCE_NAME": "mine"}, "mine"),
    ],
)
def test_a_source_goes_by_its_name(settings: dict[str, str], name: str | None) -> None:
    """Take SOURCE_NAME, else SOURCE's name, else the digest of address and expressions."""
    named = source(**settings)

    assert named.name == name
    assert named.id == name or (name is None and named.id == named.digest)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("api.toml", "api"),
        ("sources/My API.v2.toml", "my-api.v2"),
        ("C:\\apis\\Songs.toml", "songs"),
        (".toml", "toml"),
        (f"{'x' * 80}.toml", "x" * 63),
    ],
)
def test_a_file_is_named_as_a_run_may_be(file: str, name: str) -> None:
    """Name a source file by itself, in characters that a run's name may have."""
    assert source_name_of(file) == name


def test_edited_code_is_another_digest(tmp_path: Path) -> None:
    """Tell two functions of one name apart by their code, and the same code not."""
    texts = ["def song(session, n):\n    return n\n", "def song(session, n):\n    return -n\n"]
    settings = Settings.from_environ({})
    one, two, again = (
        function_source(settings, "songs:song", load(tmp_path / f"{place}.py", text))
        for place, text in enumerate([*texts, texts[0]])
    )

    assert one.id == two.id == again.id
    assert one.answers_digest == again.answers_digest != two.answers_digest


class Callable_:
    """Be a function of a kind."""

    def __call__(self, session: object, song_num: int) -> int:
        """Find the number."""
        return song_num


def test_code_is_found_wherever_it_stands() -> None:
    """Take a partial's own function, an object's class; a lambda, a built-in and typed-in code go by their names."""
    namespace: dict[str, Any] = {}
    exec("def typed(session, n): return n", namespace)

    assert "def load(" in code_of(load, "name")
    assert "def load(" in code_of(functools.partial(load, Path()), "name")
    assert "class Callable_" in code_of(Callable_(), "name")
    assert [code_of(function, "name") for function in (lambda *_: 1, len, namespace["typed"])] == ["name"] * 3
