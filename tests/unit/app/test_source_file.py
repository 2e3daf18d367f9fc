"""Check source files: what they may say, what they may not, and how the environment stands over them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from crawler.app.fetchers import song_of
from crawler.app.source_file import API_SETTINGS, settings_in, source_names, source_text, title_of, with_source
from crawler.core.errors import BadSetting
from crawler.core.settings import SETTINGS, Settings
from crawler.upstream.classify import DeclaredSong

CANARY = "canary-7Qf"
BUNDLED = [
    *("deezer-tracks", "discogs-releases", "github-repositories", "hacker-news-items", "itunes-lookup"),
    *("openalex-works", "pubmed-summaries", "sec-edgar-companies", "stack-exchange-questions", "steam-apps"),
    *("tmdb-movies", "wikidata-items"),
]
# What says where a run goes, what code runs, what may be reached, or how long a call may take.
NOT_THE_APIS = {
    *(
        "SOURCE",
        "SOURCE_NAME",
        "KEYS",
        "SONG_FUNCTION",
        "OUTPUT",
        "FORMAT",
        "PART_SONGS",
        "DEADLINE_SECONDS",
        "MAX_SONGS",
        "SSL_CERT_FILE",
    ),
    *("QUEUE", "SERVICE_URL", "INVOKER", "STORAGE_EMULATOR_HOST", "CLOUD_TASKS_EMULATOR_HOST"),
    *("ALLOW_PRIVATE_UPSTREAM", "TOKEN_FORM", "TOKEN_HEADERS"),
}


def read(text: str) -> dict[str, str]:
    """Read a source file's text."""
    return settings_in(text, "SOURCE 'api.toml'")


def sentence_for(text: str) -> str:
    """Return what is said of a source file that can't be used."""
    with pytest.raises(BadSetting) as bad:
        read(text)
    return str(bad.value)


def test_every_setting_is_an_apis_or_a_deployments() -> None:
    """Decide for each setting whether a source file may set it."""
    assert {setting.name for setting in SETTINGS} == API_SETTINGS | NOT_THE_APIS
    assert not API_SETTINGS & NOT_THE_APIS


def test_bundled_sources_are_those_that_are_promised() -> None:
    """Bundle these twelve."""
    assert source_names() == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_source_can_be_used(name: str) -> None:
    """Declare a song with rules and expressions that are right, and say where that is from and that it is untried."""
    song_of(Settings.from_environ(with_source({"SOURCE": name})))
    text = source_text(name)

    assert re.fullmatch(r"[A-Z][\w,() -]+", title_of(text), re.IGNORECASE)
    assert re.search(r"^# https://\S+", text, re.MULTILINE)
    assert re.search(r"^# Written from .* on \d{4}-\d\d-\d\d; not tried against the live API\.$", text, re.MULTILINE)
    assert len(text.splitlines()) <= 35


CANNED = [
    ("deezer-tracks", 200, '{"error": {"type": "OAuthException", "code": 300}}', "refused", None),
    ("deezer-tracks", 200, '{"error": {"type": "Exception", "code": 500}}', "failed", None),
    ("deezer-tracks", 200, '{"error": {"type": "Exception", "code": 4}}', "throttled", None),
    ("sec-edgar-companies", 200, "<p>Your Request ... an Undeclared Automated Tool</p>", "refused", None),
    ("sec-edgar-companies", 403, "<p>Your Request ... an Undeclared Automated Tool</p>", "refused", None),
    ("sec-edgar-companies", 403, "<h1>Request Rate Threshold Exceeded</h1>", "throttled", 600),
    (
        "stack-exchange-questions",
        400,
        '{"error_id": 502, "error_name": "throttle_violation", "error_message": '
        '"too many requests from this IP, more requests available in 17524 seconds"}',
        "throttled",
        17524,
    ),
    ("wikidata-items", 200, '{"error": {"code": "no-such-entity"}}', "failed", None),
    ("wikidata-items", 200, '{"error": {"code": "readonly"}}', "retry", None),
    ("pubmed-summaries", 200, '{"header": {}, "error": "Too many UIDs in request."}', "failed", None),
    ("steam-apps", 429, "null", "throttled", None),
    ("tmdb-movies", 401, '{"success": false, "status_code": 7}', "refused", None),
    ("github-repositories", 403, '{"message": "You have exceeded a secondary rate limit."}', "throttled", 60),
    ("itunes-lookup", 403, "", "throttled", 60),
]


@pytest.mark.parametrize(("name", "status", "body", "kind", "wait"), CANNED)
def test_bundled_source_judges_what_is_rare(name: str, status: int, body: str, kind: str, wait: float | None) -> None:
    """Tell by status and body what an answer means that no crawl of the tests meets."""
    read = Settings.from_environ(with_source({"SOURCE": name}))
    song = DeclaredSong(read.song_info, read.song_missing, read.song_retry, read.response_rules)
    verdict = song.judge(status, body.encode(), None, {}, 0.0)

    assert (verdict.kind.value, verdict.retry_after) == (kind, wait)


def test_document_tells_all_of_it() -> None:
    """Name every bundled source and every field in docs/sources.md, and show a file that can be used."""
    text = (Path(__file__).parents[3] / "docs/sources.md").read_text("utf-8").partition("## Limit headers")[0]
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    song_of(Settings.from_environ(read(example)))

    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == BUNDLED
    assert {field for field in API_SETTINGS if f"`{field.lower()}`" not in text} == set()


def test_values_are_written_as_the_environment_has_them() -> None:
    """Take texts, numbers, tables and lists of tables."""
    text = """
        song_url = "https://songs.example/{song_num}"
        max_per_second = 0.3
        max_at_once = 4
        max_attempts = "7"
        song_headers = {Accept = "application/json"}
        rate_headers = {remaining = "x-left"}
        [[response_rules]]
        status = [403, 429]
        action = "throttled"
        wait = 30
        [[response_rules]]
        when = "body.backoff"
        wait = "body.backoff"
    """
    settings = Settings.from_environ(read(text))

    assert (settings.max_per_second, settings.max_at_once, settings.max_attempts) == (0.3, 4, 7)
    assert settings.song_headers == {"Accept": "application/json"}
    assert settings.rate_headers == {"remaining": "x-left"}
    assert settings.response_rules == [
        {"status": [403, 429], "action": "throttled", "wait": 30},
        {"when": "body.backoff", "wait": "body.backoff"},
    ]


def test_environment_replaces_a_value_whole(tmp_path: Path) -> None:
    """Take what is set in place of the file's value, an empty text too, and nothing of both."""
    file = tmp_path / "api.toml"
    file.write_text(
        'song_url = "https://songs.example/{song_num}"\nsong_missing = "gone"\nmax_at_once = 4\n'
        'song_headers = {Accept = "application/json"}\n'
    )
    given = {"SOURCE": str(file), "SONG_MISSING": "", "SONG_HEADERS": '{"X-Own": "1"}'}
    settings = Settings.from_environ(with_source(given))

    assert (settings.song_url, settings.max_at_once) == ("https://songs.example/{song_num}", 4)
    assert (settings.song_missing, settings.song_headers) == (None, {"X-Own": "1"})


@pytest.mark.parametrize("environ", [{}, {"SOURCE": ""}, {"SONG_INFO": "a"}])
def test_without_a_source_nothing_is_read(environ: dict[str, str]) -> None:
    """Hand the environment on as it is."""
    assert with_source(environ) is environ


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("output", '"gs://songs"', "'gs://songs'"),
        ("song_function", '"songs:get"', "'songs:get'"),
        ("allow_private_upstream", "1", "1"),
        ("queue", '"projects/p/locations/l/queues/q"', "'projects/p/locations/l/queues/q'"),
        ("service_url", '"https://f.example"', "'https://f.example'"),
        ("invoker", '"a@b.example"', "'a@b.example'"),
        ("storage_emulator_host", '"http://evil.example"', "'http://evil.example'"),
        ("source", '"other"', "'other'"),
    ],
)
def test_what_is_the_deployments_is_refused(field: str, value: str, shown: str) -> None:
    """Let no source file say where a run goes, what code runs, or what may be reached."""
    sentence = sentence_for(f"{field} = {value}")

    assert sentence.startswith(
        f"SOURCE 'api.toml': {field} is {shown}, which a source does not set; allowed: song_url, "
    )


@pytest.mark.parametrize("field", ["token_form", "token_headers"])
def test_credentials_for_a_token_are_refused_without_their_value(field: str) -> None:
    """Let no source file hold what a token is asked for with."""
    sentence = sentence_for(f'{field} = {{client_secret = "{CANARY}"}}')

    assert f"{field} is a value that can't be used, which a source does not set; allowed: song_url, " in sentence
    assert CANARY not in sentence


@pytest.mark.parametrize("field", ["api_key", "SONG_URL", "songurl"])
def test_what_is_no_setting_is_refused_without_its_value(field: str) -> None:
    """Name the field and what is allowed, and no value, which may be a secret."""
    sentence = sentence_for(f'{field} = "{CANARY}"')

    assert sentence.startswith(f"SOURCE 'api.toml': {field!r} is no setting of a source; allowed: song_url, ")
    assert CANARY not in sentence


@pytest.mark.parametrize(
    "header", ["Authorization", "proxy-authorization", "COOKIE", "X-Api-Key", "X-Auth-Token", "Client-Secret", "apikey"]
)
def test_credentials_are_refused_without_their_value(header: str) -> None:
    """Keep keys out of files that are shared, whatever the case of their header."""
    sentence = sentence_for(f'song_headers = {{Accept = "text/json", "{header}" = "{CANARY}"}}')

    assert header in sentence
    assert "belong into SONG_HEADERS" in sentence
    assert CANARY not in sentence


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("max_per_second = -1", "max_per_second is -1; allowed: 0 for no ceiling"),
        ("max_per_second = true", "max_per_second is True; allowed: 0 for no ceiling"),
        ("max_at_once = 1.5", "max_at_once is 1.5; allowed: a whole number"),
        ("max_per_second = nan", "max_per_second is nan; allowed: "),
        (f"max_at_once = 0x{'f' * 5000}", "max_at_once is a number too large; allowed: "),
        (
            'song_url = "ftp://songs.example/{song_num}"',
            "song_url is 'ftp://songs.example/{song_num}'; allowed: an http",
        ),
        ('song_url = "https://a:' + CANARY + '@songs.example/{song_num}"', "song_url is '…@songs.example"),
        ("song_info = 7.5\nsong_url = []", "song_url is []; allowed: "),
        (f'song_headers = "{CANARY}"', "song_headers is a value that can't be used; allowed: a table of header"),
        (f"song_headers = {{{CANARY} = 7}}", "song_headers is a value that can't be used; allowed: a table of header"),
        ('response_rules = "@rules.json"', "response_rules is '@rules.json'; allowed: [[response_rules]] tables"),
        ("response_rules = [7]", "response_rules is [7]; allowed: [[response_rules]] tables"),
        ("rate_headers = {reset = 'a'}", "rate_headers is {'reset': 'a'}; allowed: auto, ignore, or a table"),
    ],
    ids=lambda text: text[:40],
)
def test_value_that_can_not_be_used_is_told(line: str, told: str) -> None:
    """Name the field, the value unless it is a secret, and what is allowed."""
    sentence = sentence_for(line)

    assert sentence.startswith(f"SOURCE 'api.toml': {told}")
    assert CANARY not in sentence


@pytest.mark.parametrize(
    "text", ["song_url", "song_url = ", "a = 1\na = 2", "= 7", "[" * 10_000, "a = " + "[" * 10_000]
)
def test_what_is_no_toml_is_told(text: str) -> None:
    """Say in a sentence why a file can't be parsed."""
    assert sentence_for(text).startswith("SOURCE 'api.toml' is no TOML: ")


def test_file_of_another_system_is_read(tmp_path: Path) -> None:
    """Take a byte order mark and line ends of Windows."""
    file = tmp_path / "api.toml"
    file.write_bytes(b'\xef\xbb\xbfsong_info = "a"\r\nmax_at_once = 4\r\n')

    assert read(source_text(str(file))) == {"SONG_INFO": "a", "MAX_AT_ONCE": "4"}


@pytest.mark.parametrize(
    ("name", "reason"), [("nosuch.toml", "No such file"), (".", "Is a directory"), ("latin.toml", "no text in UTF-8")]
)
def test_file_that_can_not_be_read_is_told(tmp_path: Path, name: str, reason: str, monkeypatch: Any) -> None:
    """Name the file and the reason."""
    monkeypatch.chdir(tmp_path)
    Path("latin.toml").write_bytes(b'song_info = "\xe9"')
    with pytest.raises(
        BadSetting, match=rf"^SOURCE is '{re.escape(name)}', which can't be read: .*{reason}.*TOML file\.$"
    ):
        source_text(name)


def test_name_that_is_no_source_is_told() -> None:
    """Name the sources there are."""
    with pytest.raises(BadSetting, match=r"^SOURCE is 'deezer'; allowed: a TOML file, or one of deezer-tracks, "):
        source_text("deezer")
