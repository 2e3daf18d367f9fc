"""Check every setting: its default, what it takes, what it refuses and in which words, and that no secret is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crawler.core.errors import BadSetting
from crawler.core.settings import DEFAULT_DEADLINE_SECONDS, SETTINGS, Settings

TABLE = {setting.name: setting for setting in SETTINGS}
CANARY = "canary-7Qf"

DEFAULTS: dict[str, Any] = {
    "SOURCE": None,
    "SOURCE_NAME": None,
    "SONG_URL": None,
    "SONG_METHOD": "GET",
    "SONG_BODY": None,
    "KEYS": None,
    "SONG_INFO": "@",
    "SONG_MISSING": None,
    "SONG_RETRY": None,
    "RESPONSE_RULES": [],
    "SONG_FUNCTION": None,
    "SONG_HEADERS": {},
    "TOKEN_URL": None,
    "TOKEN_FORM": {},
    "TOKEN_HEADERS": {},
    "OUTPUT": "songs",
    "FORMAT": "jsonl",
    "PART_SONGS": None,
    "MAX_PER_SECOND": 100.0,
    "MAX_AT_ONCE": 100,
    "REQUEST_TIMEOUT_SECONDS": 10.0,
    "MAX_ATTEMPTS": 4,
    "MAX_SONG_BYTES": 1_048_576,
    "DEADLINE_SECONDS": None,
    "MAX_SONGS": 10_000_000,
    "END_AFTER_MISSING": 1000,
    "MAX_FAILED": None,
    "MIN_FOUND": None,
    "QUEUE": None,
    "SERVICE_URL": None,
    "INVOKER": None,
    "ROBOTS": "obey",
    "REDIRECTS": "fail",
    "RATE_HEADERS": "auto",
    "USER_AGENT": "songcrawl/0.1.0 (+https://songcrawl.example)",
    "SSL_CERT_FILE": None,
    "STORAGE_EMULATOR_HOST": None,
    "CLOUD_TASKS_EMULATOR_HOST": None,
    "ALLOW_PRIVATE_UPSTREAM": False,
}

GOOD: dict[str, dict[str, Any]] = {
    "SOURCE": {"deezer-tracks": "deezer-tracks", "": None},
    "SOURCE_NAME": {"tracks.2026_a-b": "tracks.2026_a-b", "": None},
    "SONG_URL": {
        "https://api.deezer.com/track/{song_num}": "https://api.deezer.com/track/{song_num}",
        "http://127.0.0.1:8001/songs/{song_num}.json?_shape=object": (
            "http://127.0.0.1:8001/songs/{song_num}.json?_shape=object"
        ),
        "https://[2001:db8::1]:8443/?id={song_num}": "https://[2001:db8::1]:8443/?id={song_num}",
        "https://example.com/CIK{song_num:010}.json": "https://example.com/CIK{song_num:010}.json",
        "https://example.com/{song_num:01}/{song_num:012}": "https://example.com/{song_num:01}/{song_num:012}",
        "https://example.com/{song_key:path}?q={song_key}": "https://example.com/{song_key:path}?q={song_key}",
        "https://example.com/{x}/{song_num}?q={{song_num}}": "https://example.com/{x}/{song_num}?q={{song_num}}",
        "": None,
    },
    "SONG_METHOD": {"GET": "GET"},
    "SONG_BODY": {"": None},
    "KEYS": {"ids.txt": "ids.txt", "gs://bucket/a b/ids.txt": "gs://bucket/a b/ids.txt", "": None},
    "SONG_INFO": {"data.song": "data.song"},
    "SONG_MISSING": {"error.code == `800`": "error.code == `800`", "": None},
    "SONG_RETRY": {"error.code == `4`": "error.code == `4`", "": None},
    "RESPONSE_RULES": {
        "": [],
        '[{"status": 403, "action": "throttled"}]': [{"status": 403, "action": "throttled"}],
        "@rules.json": "@rules.json",
    },
    "SONG_FUNCTION": {"songs:request_song_info": "songs:request_song_info", "my.songs:f1": "my.songs:f1", "": None},
    "SONG_HEADERS": {'{"Authorization": "Bearer x y", "X-Empty": ""}': {"Authorization": "Bearer x y", "X-Empty": ""}},
    "TOKEN_URL": {
        "https://accounts.example.com/api/token": "https://accounts.example.com/api/token",
        "http://127.0.0.1:8001/token?tenant=7": "http://127.0.0.1:8001/token?tenant=7",
        "": None,
    },
    "TOKEN_FORM": {
        '{"grant_type": "client_credentials", "client_secret": "ä &="}': {
            "grant_type": "client_credentials",
            "client_secret": "ä &=",
        },
        "": {},
    },
    "TOKEN_HEADERS": {'{"Authorization": "Basic eA=="}': {"Authorization": "Basic eA=="}},
    "OUTPUT": {
        "gs://bucket": "gs://bucket",
        "gs://my-bucket.example/a/b c": "gs://my-bucket.example/a/b c",
        "/data/songs": "/data/songs",
        "C:\\songs": "C:\\songs",
    },
    "FORMAT": {"jsonl": "jsonl", "csv": "csv", "parquet": "parquet"},
    "PART_SONGS": {"auto": None, "1": 1, "100000": 100_000},
    "MAX_PER_SECOND": {"0": 0.0, "0.5": 0.5, "1000000": 1e6},
    "MAX_AT_ONCE": {"1": 1, "1000": 1000},
    "REQUEST_TIMEOUT_SECONDS": {"0.05": 0.05, "600": 600.0},
    "MAX_ATTEMPTS": {"1": 1, "100": 100},
    "MAX_SONG_BYTES": {"1": 1, "1073741824": 1 << 30},
    "DEADLINE_SECONDS": {"": None, "1": 1.0, "3600": 3600.0, "59.5": 59.5},
    "MAX_SONGS": {"1": 1, "1000000000000": 10**12},
    "END_AFTER_MISSING": {"1": 1, "1000000000": 10**9},
    "MAX_FAILED": {"": None, "0": 0.0, "0.05": 0.05, "1": 1.0},
    "MIN_FOUND": {"": None, "0": 0.0, "0.999": 0.999, "1.0": 1.0},
    "QUEUE": {
        "projects/my-songs/locations/us-east1/queues/Parts-1": "projects/my-songs/locations/us-east1/queues/Parts-1",
        "projects/example.com:songs/locations/l/queues/q": "projects/example.com:songs/locations/l/queues/q",
        "": None,
    },
    "SERVICE_URL": {
        "https://songs-abc-uc.a.run.app/": "https://songs-abc-uc.a.run.app",
        "https://us-central1-p.cloudfunctions.net/songcrawl": "https://us-central1-p.cloudfunctions.net/songcrawl",
        "http://127.0.0.1:8080": "http://127.0.0.1:8080",
        "": None,
    },
    "INVOKER": {"songs-invoker@p.iam.gserviceaccount.com": "songs-invoker@p.iam.gserviceaccount.com", "": None},
    "ROBOTS": {"obey": "obey", "ignore": "ignore"},
    "REDIRECTS": {"fail": "fail", "missing": "missing", "follow": "follow"},
    "RATE_HEADERS": {
        "auto": "auto",
        "ignore": "ignore",
        '{"remaining": "x-left", "reset": "x-again"}': {"remaining": "x-left", "reset": "x-again"},
    },
    "USER_AGENT": {"me (me@example.com)": "me (me@example.com)"},
    "SSL_CERT_FILE": {"/etc/ssl/own.pem": "/etc/ssl/own.pem", "": None},
    "STORAGE_EMULATOR_HOST": {"http://127.0.0.1:4443/": "http://127.0.0.1:4443", "": None},
    "CLOUD_TASKS_EMULATOR_HOST": {"http://127.0.0.1:8123": "http://127.0.0.1:8123", "": None},
    "ALLOW_PRIVATE_UPSTREAM": {"0": False, "1": True},
}

NO_NUMBERS = ("", "x", "-1", "+1", " 1", "1 ", "1\n", "１", "1_0", "1e3", "nan", "inf", "0x1", "1.", ".5", "9" * 400)

BAD: dict[str, tuple[str, ...]] = {
    "RESPONSE_RULES": ("[", "{}", "null", "@", "rules.json", '[{"status": 403}'),
    "TOKEN_URL": (
        "accounts.example.com/token",
        "ftp://accounts.example.com/token",
        "https:///token",
        "https://accounts.example.com:0/token",
        "https://accounts.example.com/token#part",
        "https://accounts.example.com/to ken",
    ),
    "SONG_URL": (
        "https://api.deezer.com/track/7",
        "https://api.deezer.com/track/{num}",
        "api.deezer.com/track/{song_num}",
        "ftp://api.deezer.com/{song_num}",
        "file:///songs/{song_num}",
        "https:///{song_num}",
        "https://{song_num}.example.com/",
        "https://example.com:{song_num}/",
        "https://example.com/#{song_num}",
        "https://{song_num:010}.example.com/",
        "https://{song_num:010}.example.com/{song_num}",
        "https://example.com:{song_num:04}/",
        "https://example.com/{song_num:00}",
        "https://example.com/{song_num:013}",
        "https://example.com/{song_num:10}",
        "https://example.com/{song_num:}",
        "https://example.com/{song_num:010d}/{song_num}",
        "https://example.com/#{song_num:010}",
        "https://{song_key}.example.com/",
        "https://example.com/{song_key:010}/{song_num}",
        "https://example.com/{song_key:}/{song_num}",
        "https://example.com:0/{song_num}",
        "https://example.com:99999/{song_num}",
        "https://[::1/{song_num}",
        "https://example.com/a b/{song_num}",
        "https://example.com/{song_num}\n",
        "https://exämple.com/{song_num}",
    ),
    "SOURCE_NAME": ("Songs", "-a", "a b", "a/b", "é", "a" * 64),
    "KEYS": ("gs://bucket", "gs://bucket/", "gs:/b/o", "https://example.com/ids.txt", "s3://bucket/ids"),
    "SONG_BODY": ("{song_num:0}",),
    "REDIRECTS": ("", "Follow", "1"),
    "SONG_METHOD": ("", "get", "PUT", "POST "),
    "SONG_FUNCTION": ("songs", "songs.request_song_info", "songs:", ":f", "songs:f()", "songs:a.b", "1:f", "a b:f"),
    "OUTPUT": (
        "",
        "gs:",
        "gs://",
        "gs://b",
        "gs://Bucket",
        "gs://bucket?x",
        "gs:/bucket",
        "s3://bucket",
        "GS://bucket",
    ),
    "FORMAT": ("", "JSONL", "json", "xml"),
    "PART_SONGS": (*NO_NUMBERS, "0", "100001", "1.5", "AUTO"),
    "MAX_PER_SECOND": (*NO_NUMBERS, "1000000.1", "1000001"),
    "MAX_AT_ONCE": (*NO_NUMBERS, "0", "1001", "1.0"),
    "REQUEST_TIMEOUT_SECONDS": (*NO_NUMBERS, "0", "0.04", "600.1"),
    "MAX_ATTEMPTS": (*NO_NUMBERS, "0", "101", "4.0"),
    "MAX_SONG_BYTES": (*NO_NUMBERS, "0", "1073741825", "1.5"),
    "DEADLINE_SECONDS": (*NO_NUMBERS[1:], "0", "0.9", "3601"),
    "MAX_SONGS": (*NO_NUMBERS, "0", "1000000000001", "1.5"),
    "END_AFTER_MISSING": (*NO_NUMBERS, "0", "1000000001", "1.5"),
    "MAX_FAILED": (*(text for text in NO_NUMBERS if text), "1.1", "5%", "2", "-0.1", ".5"),
    "MIN_FOUND": (*(text for text in NO_NUMBERS if text), "1.1", "50%", "2", "-0.1", ".5"),
    "QUEUE": ("parts", "projects/p/queues/q", "projects/p/locations/l/queues/", "projects/p/locations/l/queues/a_b"),
    "SERVICE_URL": (
        "songs.example",
        "ftp://songs.example",
        "https://",
        "https://user@songs.example",
        "https://songs.example/?a=1",
        "https://songs.example/#a",
        "https://songs.example:0",
        "https://songs.example/a b",
    ),
    "INVOKER": ("invoker", "@p.iam.gserviceaccount.com", "in voker@p.iam.gserviceaccount.com", "a@b\n"),
    "ROBOTS": ("", "no", "Obey", "0"),
    "RATE_HEADERS": ("", "Auto", "[]", "{}", '{"reset": "x"}', '{"remaining": "a b"}', '{"remaining": 1}'),
    "USER_AGENT": ("", " me", "me\nX-Other: 1", "me\r", "mé", "☃"),
    "STORAGE_EMULATOR_HOST": ("localhost:4443", "ftp://localhost", "http://", "http://localhost/path", "http://a b"),
    "CLOUD_TASKS_EMULATOR_HOST": ("localhost:8123", "ftp://localhost", "http://localhost/path"),
    "ALLOW_PRIVATE_UPSTREAM": ("", "2", "true", "yes", "１"),
}

BAD_HEADERS = {
    "no JSON": CANARY,
    "no object": f'["{CANARY}"]',
    "no text": f'{{"X-{CANARY}": 7}}',
    "nested": f'{{"X": {{"Y": "{CANARY}"}}}}',
    "cut short": f'{{"X": "{CANARY}"',
    "null": "null",
    "empty": "",
    "a blank in a name": f'{{"X {CANARY}": "1"}}',
    "a colon in a name": f'{{"X:{CANARY}": "1"}}',
    "no name": f'{{"": "{CANARY}"}}',
    "a line break": f'{{"X": "{CANARY}\\r\\nX-Other: 1"}}',
    "a blank in front": f'{{"X": " {CANARY}"}}',
    "not ASCII": f'{{"X": "{CANARY}é"}}',
    "lone surrogate": f'{{"X": "{CANARY}\\ud800"}}',
    "too deep": '{"X": ' + "[" * 100_000,
}


def sentence_for(name: str, text: str) -> str:
    """Give what BadSetting says of a value."""
    with pytest.raises(BadSetting) as bad:
        Settings.from_environ({name: text})
    return str(bad.value)


def test_the_tables_here_name_every_setting() -> None:
    """Have a default and a good value for each, and bad ones for each that does not take any text."""
    assert list(DEFAULTS) == list(GOOD) == list(TABLE)
    assert set(TABLE) - set(BAD) == {
        *("SOURCE", "SONG_INFO", "SONG_MISSING", "SONG_RETRY", "SSL_CERT_FILE"),
        *("SONG_HEADERS", "TOKEN_FORM", "TOKEN_HEADERS"),  # secrets, which no sentence shows
    }


def test_an_empty_environment_gives_the_defaults() -> None:
    """Take the contract's default for every variable that is not set, and ignore variables that are no setting."""
    settings = Settings.from_environ({"PATH": "/bin", "K_SERVICE": "songcrawl"})

    assert {name: getattr(settings, name.lower()) for name in TABLE} == DEFAULTS


@pytest.mark.parametrize("name", GOOD)
def test_good_values_are_taken(name: str) -> None:
    """Parse each good value to what it means, and leave all other settings at their defaults."""
    for text, value in GOOD[name].items():
        settings = Settings.from_environ({name: text})

        assert {name: getattr(settings, name.lower()) for name in TABLE} == {**DEFAULTS, name: value}
        assert type(getattr(settings, name.lower())) is type(value)


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused_in_one_sentence(name: str) -> None:
    """Name the variable, its value and what is allowed."""
    for text in BAD[name]:
        shown = TABLE[name].redact(text) if name == "SONG_BODY" else text
        assert sentence_for(name, text) == f"{name} is {shown[:200]!r}; allowed: {TABLE[name].allowed}."


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("MAX_AT_ONCE", "1_0", "MAX_AT_ONCE is '1_0'; allowed: a whole number from 1 to 1000."),
        ("FORMAT", "xml", "FORMAT is 'xml'; allowed: jsonl, csv or parquet."),
        ("OUTPUT", "s3://b", "OUTPUT is 's3://b'; allowed: gs://bucket/prefix or a folder."),
        ("PART_SONGS", "0", "PART_SONGS is '0'; allowed: auto, or a whole number from 1 to 100000."),
        (
            "SONG_URL",
            "https://api.deezer.com/track/7",
            "SONG_URL is 'https://api.deezer.com/track/7'; allowed: an http or https URL with {song_num} after the "
            "host and no user name in it, such as https://api.deezer.com/track/{song_num} ({song_num:01} to "
            "{song_num:012}: with zeros in front; {song_key} or {song_key:path}: see KEYS).",
        ),
    ],
    ids=["a number", "a choice", "a place", "auto or a number", "a template"],
)
def test_sentences_read_like_these(name: str, text: str, sentence: str) -> None:
    """Say it in words that a person who reads a log at night understands."""
    assert sentence_for(name, text) == sentence


URL, FIXED_URL, BODY = "https://a.example/{song_num}", "https://a.example/graphql", '{"id": {song_num}}'


@pytest.mark.parametrize(
    ("url", "body"), [(URL, ""), (URL, "{}"), (URL, BODY), (FIXED_URL, BODY), (FIXED_URL, '{"id": "{song_num:010}"}')]
)
def test_number_of_a_post_stands_in_url_or_body(url: str, body: str) -> None:
    """Take a number in either of the two."""
    settings = Settings.from_environ({"SONG_URL": url, "SONG_METHOD": "POST", "SONG_BODY": body})

    assert (settings.song_url, settings.song_body) == (url, body or None)


@pytest.mark.parametrize(
    ("method", "url", "body", "sentence"),
    [
        ("GET", URL, BODY, "SONG_BODY is set, and SONG_METHOD is 'GET', which sends no body; allowed: POST."),
        ("POST", FIXED_URL, "{}", "Neither SONG_URL nor SONG_BODY holds {song_num}; allowed: with it in one of them."),
        ("POST", FIXED_URL, "", "Neither SONG_URL nor SONG_BODY holds {song_num}; allowed: with it in one of them."),
        ("POST", URL, f"{CANARY} {{song_num:13}}", "SONG_BODY is 'a text of 24 characters'; allowed: a text such as"),
    ],
)
def test_body_and_url_must_fit_the_method(method: str, url: str, body: str, sentence: str) -> None:
    """Say in a sentence what can't be sent, and nothing of the body, which may hold a key."""
    with pytest.raises(BadSetting) as bad:
        Settings.from_environ({"SONG_URL": url, "SONG_METHOD": method, "SONG_BODY": body})
    assert str(bad.value).startswith(sentence)
    assert CANARY not in str(bad.value)


@pytest.mark.parametrize("text", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_secret_is_never_in_the_sentence(text: str) -> None:
    """Refuse headers without a word of what they hold."""
    assert sentence_for("SONG_HEADERS", text) == (
        "SONG_HEADERS is a value that can't be used; allowed: a JSON object of header names and texts, "
        'such as {"Authorization": "Bearer ..."}.'
    )
    assert sentence_for("TOKEN_HEADERS", text).startswith("TOKEN_HEADERS is a value that can't be used; allowed: ")


BAD_FORMS = ("[", "[]", f'"{CANARY}"', f'{{"a": {{"b": "{CANARY}"}}}}', '{"expires": 3600}', '{"": "x"}')


@pytest.mark.parametrize("text", BAD_FORMS)
def test_a_form_that_is_refused_is_not_shown(text: str) -> None:
    """Refuse what is no object of texts, without a word of what it holds."""
    assert sentence_for("TOKEN_FORM", text) == (
        "TOKEN_FORM is a value that can't be used; allowed: a JSON object of names and texts, such as "
        '{"grant_type": "client_credentials", "client_id": "...", "client_secret": "..."}.'
    )


def test_a_password_in_a_token_url_is_not_in_the_sentence() -> None:
    """Show an address that is refused without its user name, password and query."""
    sentence = sentence_for("TOKEN_URL", f"https://me:{CANARY}@accounts.example.com/token?key={CANARY}")

    assert sentence.startswith("TOKEN_URL is '…@accounts.example.com/token?…'; allowed: an https URL")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://user:{CANARY}@example.com/{{song_num}}", "…@example.com/{song_num}"),
        (f"https://user:{CANARY}/?#\n@example.com/{{song_num}}", "…@example.com/{song_num}"),
        (f"user:{CANARY}@example.com/{{song_num}}", "…@example.com/{song_num}"),
        (f"https://example.com/songs?key={CANARY}", "https://example.com/songs?…"),
        (f"https://example.com/songs?\n{CANARY}", "https://example.com/songs?…"),
    ],
    ids=["password", "odd password", "password without a scheme", "query", "query after a line break"],
)
def test_a_key_in_a_url_is_not_in_the_sentence(text: str, shown: str) -> None:
    """Show a template that is refused without its user name, password and query."""
    sentence = sentence_for("SONG_URL", text)

    assert CANARY not in sentence
    assert sentence.startswith(f"SONG_URL is '{shown}'; allowed: ")


def test_the_first_bad_setting_is_named() -> None:
    """Say one thing at a time, in the table's order."""
    with pytest.raises(BadSetting, match=r"^FORMAT is 'xml'"):
        Settings.from_environ({"MAX_SONGS": "x", "FORMAT": "xml"})


def test_attributes_are_the_table() -> None:
    """Name every attribute like its variable, in lower case, in the same order."""
    assert [field.name.upper() for field in msgspec.structs.fields(Settings)] == list(TABLE)


def test_every_setting_is_described() -> None:
    """Describe each setting, once, in a line without a full stop, as the list and the sentences need it."""
    assert len(TABLE) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.name.isupper()
        assert setting.help
        assert not (setting.help + setting.allowed).endswith(".")
        assert "\n" not in setting.help + setting.allowed


def test_settings_cannot_be_changed() -> None:
    """Hold what was read once for all calls."""
    settings = Settings.from_environ({})

    with pytest.raises(AttributeError):
        settings.output = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        pytest.param("1800", 1710.0, id="half an hour: 5 % less"),
        pytest.param("60", 57.0, id="a minute: 5 % less"),
        pytest.param("10", 8.0, id="two seconds less at least"),
        pytest.param("1", 1.0, id="never below a second"),
        pytest.param("0", None, id="zero"),
        pytest.param("", None, id="empty"),
        pytest.param("1800s", None, id="with a unit"),
        pytest.param("１０", None, id="full-width digits"),
    ],
)
def test_the_deadline_stays_under_the_platforms_limit(limit: str, seconds: float | None) -> None:
    """Take the platform's own limit less a reserve, where it says one that can be read."""
    assert Settings.from_environ({"CLOUD_RUN_TIMEOUT_SECONDS": limit}).deadline_seconds == seconds


def test_the_contracts_default_deadline() -> None:
    """Leave the deadline open where neither variable says one; whoever calls takes nine minutes then."""
    assert Settings.from_environ({}).deadline_seconds is None
    assert DEFAULT_DEADLINE_SECONDS == 540


def test_an_own_deadline_goes_before_the_platforms() -> None:
    """Take DEADLINE_SECONDS as it is, whatever the platform's limit."""
    settings = Settings.from_environ({"CLOUD_RUN_TIMEOUT_SECONDS": "60", "DEADLINE_SECONDS": "300"})

    assert settings.deadline_seconds == 300.0


@pytest.mark.parametrize(
    ("part_songs", "max_per_second", "songs"),
    [
        pytest.param("auto", "100", 1000, id="a thousand"),
        pytest.param("auto", "0", 1000, id="without a ceiling"),
        pytest.param("auto", "50", 1000, id="just 20 s"),
        pytest.param("auto", "5", 100, id="fewer, for 20 s"),
        pytest.param("auto", "0.01", 1, id="one at least"),
        pytest.param("250", "5", 250, id="as set"),
    ],
)
def test_an_auto_part_takes_some_twenty_seconds(part_songs: str, max_per_second: str, songs: int) -> None:
    """Cut parts of 1000 songs, or of what 20 s at MAX_PER_SECOND give."""
    settings = Settings.from_environ({"PART_SONGS": part_songs, "MAX_PER_SECOND": max_per_second})

    assert settings.songs_per_part() == songs
