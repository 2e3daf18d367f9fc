"""A deployment that is set up wrongly: every call is answered with what to change, and the API hears nothing of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from servers import Upstream
from support.deployed import deployed

from crawler.app.composition import deployment_from
from crawler.core.errors import BadSetting


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SONG_URL": None}, ["SONG_URL is not set", "https://api.deezer.com/track/{song_num}", "SONG_FUNCTION"]),
        (
            {"SONG_URL": "http://user:hunter2@127.0.0.1/songs/1?key=hunter2"},
            ["SONG_URL", "with {song_num} after the host"],
        ),
        ({"SONG_INFO": "tracks[0"}, ["SONG_INFO is 'tracks[0'", "JMESPath"]),
        ({"K_SERVICE": "songcrawl"}, ["OUTPUT is", "gs://bucket/prefix"]),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, ["SSL_CERT_FILE is '/nowhere.pem'", "PEM"]),
    ],
    ids=["no-url", "url-without-number", "jmespath", "folder-in-the-cloud", "no-certificates"],
)
def test_every_call_says_what_to_change(
    upstream: Upstream, tmp_path: Path, settings: dict[str, str | None], words: list[str]
) -> None:
    """Answer 500 with one sentence that names the variable, log it, send no request and store nothing."""
    with deployed(tmp_path, **{"SONG_URL": upstream.url, **settings}) as function:
        responses = [function.call("1-5"), function.send("GET", params={"songs": 7})]
        log = function.log()
    problems = [response.json() for response in responses]

    assert [response.status_code for response in responses] == [500, 500]
    assert {response.headers["Content-Type"] for response in responses} == {"application/problem+json"}
    assert not [word for word in words if word not in problems[0]["detail"]]
    assert "hunter2" not in problems[0]["detail"]
    assert problems[0] == problems[1]
    assert log == [{"severity": "ERROR", "message": problem["detail"]} for problem in problems]
    assert upstream.count() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise ValueError('set API_KEY first')", "can't be loaded: ValueError."),
        ("g = 1", "AttributeError: "),
        ("f = 1", "no function"),
    ],
    ids=["syntax", "import", "raises", "no-such-name", "no-function"],
)
def test_a_song_function_that_cannot_be_loaded_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    """Say what went wrong when the user's module was loaded, whatever it raised."""
    (tmp_path / "broken_songs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_songs", raising=False)
    with pytest.raises(BadSetting) as refusal:
        deployment_from({"SONG_FUNCTION": "broken_songs:f"})

    assert "SONG_FUNCTION is 'broken_songs:f'" in str(refusal.value)
    assert reason in str(refusal.value)
