"""Every setting, from one table: what `python -m crawler settings` prints and the README's table is tested against.

All durations are in seconds, all sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from crawler.core import setting_types as types
from crawler.core.deadline import platform_seconds
from crawler.core.limits import Limits
from crawler.core.records import FormatName
from crawler.core.redaction import redact_body, redact_url
from crawler.core.setting_types import Setting

VERSION = "0.1.0"
# A reserved name until the project has an address of its own; whoever deploys sets USER_AGENT to a contact.
PROJECT_URL = "https://songcrawl.example"

# What an HTTP call may take when neither DEADLINE_SECONDS nor the platform says: nine minutes.
DEFAULT_DEADLINE_SECONDS = 540.0


def _whole_number(name: str, default: str, most: int, text: str) -> Setting:
    return Setting(name, default, types.number(1, most, int), f"a whole number from 1 to {most}", text)


SETTINGS = (
    Setting(
        "SOURCE",
        "",
        types.optional_text,
        "the name of a bundled source, or a TOML file",
        "an API by name (songcrawl sources lists them) or your own TOML file: settings beneath these (docs/sources.md)",
    ),
    Setting(
        "SOURCE_NAME",
        "",
        types.name,
        "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit",
        "name that runs of one source go by, though address or expressions change; unset: SOURCE's, if there is one",
    ),
    Setting(
        "SONG_URL",
        "",
        types.song_url,
        "an http or https URL with {song_num} after the host and no user name in it, "
        "such as https://api.deezer.com/track/{song_num} ({song_num:01} to {song_num:012}: with zeros in front; "
        "{song_key} or {song_key:path}: see KEYS)",
        "URL template of a song, {song_num} in it, or {song_num:010} with zeros in front, ten digits wide",
        redact=redact_url,
    ),
    Setting("SONG_METHOD", "GET", types.choice("GET", "POST"), "GET or POST", "GET, or POST: an API that reads by it"),
    Setting(
        "SONG_BODY",
        "",
        types.song_body,
        'a text such as {"id": {song_num}} ({song_num:01} to {song_num:012}: with zeros in front)',
        "what a POST sends, {song_num} in it or in SONG_URL; JSON, unless SONG_HEADERS names another Content-Type",
        redact=redact_body,
    ),
    Setting(
        "KEYS",
        "",
        types.keys,
        "a text file, or gs://bucket/object",
        "text file or gs://bucket/object with a key a line: song_num is the line's, {song_key} in SONG_URL the key",
    ),
    Setting("SONG_INFO", "@", str, "a JMESPath expression", "JMESPath that picks info from the JSON body"),
    Setting(
        "SONG_MISSING",
        "",
        types.optional_text,
        "a JMESPath expression",
        "JMESPath, true for a body that says: no such song",
    ),
    Setting(
        "SONG_RETRY", "", types.optional_text, "a JMESPath expression", "JMESPath, true for a body that says: slow down"
    ),
    Setting(
        "RESPONSE_RULES",
        "[]",
        types.response_rules,
        'a JSON list of rules, such as [{"status": 403, "action": "throttled"}], or @file.json with one in it',
        "JSON list, or @file.json: what answers mean, before the built-in rules (docs/recipes.md)",
    ),
    Setting(
        "SONG_FUNCTION",
        "",
        types.song_function,
        "module:function, such as songs:request_song_info",
        "your own single-request function, instead of SONG_URL",
    ),
    Setting(
        "SONG_HEADERS",
        "{}",
        types.headers,
        'a JSON object of header names and texts, such as {"Authorization": "Bearer ..."}',
        "JSON object of request headers; never logged",
        secret=True,
    ),
    Setting(
        "TOKEN_URL",
        "",
        types.token_url,
        "an https URL with no user name and no # in it, such as https://accounts.example.com/api/token",
        "where access tokens are asked for (OAuth 2.0 client credentials), sent as Authorization: Bearer",
        redact=redact_url,
    ),
    Setting(
        "TOKEN_FORM",
        "",
        types.form,
        "a JSON object of names and texts, such as "
        '{"grant_type": "client_credentials", "client_id": "...", "client_secret": "..."}',
        "JSON object of the form that TOKEN_URL is sent, grant_type=client_credentials if unset; never logged",
        secret=True,
    ),
    Setting(
        "TOKEN_HEADERS",
        "{}",
        types.headers,
        'a JSON object of header names and texts, such as {"Authorization": "Basic ..."}',
        "JSON object of the headers that TOKEN_URL is sent; never logged",
        secret=True,
    ),
    Setting(
        "OUTPUT",
        "songs",
        types.output,
        "gs://bucket/prefix or a folder",
        "where runs are stored: gs://bucket/prefix, or a local folder (refused in the cloud)",
    ),
    Setting(
        "FORMAT",
        "jsonl",
        types.choice(*get_args(FormatName)),
        "jsonl, csv or parquet",
        "format of the parts: jsonl (gzip), csv (gzip) or parquet",
    ),
    Setting(
        "PART_SONGS",
        "auto",
        types.auto_number,
        "auto, or a whole number from 1 to 100000",
        "songs a part holds; auto: 1000, or fewer so that a part takes some 20 s at MAX_PER_SECOND",
    ),
    Setting(
        "MAX_PER_SECOND",
        "100",
        types.number(0, 1_000_000),
        "0 for no ceiling, or a number of requests up to 1000000",
        "ceiling on requests a second of an instance, or of a fanned-out run; 0: none",
    ),
    _whole_number("MAX_AT_ONCE", "100", 1000, "ceiling on requests in flight"),
    Setting(
        "REQUEST_TIMEOUT_SECONDS",
        "10",
        types.number(0.05, 600),
        "a number of seconds from 0.05 to 600",
        "time for a whole request, from connect to last byte",
    ),
    _whole_number("MAX_ATTEMPTS", "4", 100, "tries before a song is failed; being throttled does not count"),
    Setting(
        "MAX_SONG_BYTES",
        "1048576",
        types.number(1, 1 << 30, int),
        "a whole number of bytes from 1 to 1073741824",
        "largest body, after decompression",
    ),
    Setting(
        "DEADLINE_SECONDS",
        "",
        types.optional_seconds,
        "a number of seconds from 1 to 3600",
        "time one call may take; unset: the platform's limit less a reserve, else 540",
    ),
    _whole_number("MAX_SONGS", "10000000", 10**12, "most song numbers one request may name"),
    _whole_number("END_AFTER_MISSING", "1000", 10**9, "missing numbers in a row that end an open range (1-)"),
    Setting(
        "MAX_FAILED",
        "",
        types.optional_share,
        "a share from 0 to 1, such as 0.05",
        "largest share of failed songs, 0 to 1, with which a run is complete by itself; above it the run is held",
    ),
    Setting(
        "MIN_FOUND",
        "",
        types.optional_share,
        "a share from 0 to 1, such as 0.5",
        "smallest share of found songs, 0 to 1, with which a run is complete by itself; below it the run is held",
    ),
    Setting(
        "QUEUE",
        "",
        types.queue,
        "projects/PROJECT/locations/LOCATION/queues/QUEUE",
        "Cloud Tasks queue over which a run too large for one call fans out: projects/P/locations/L/queues/Q",
    ),
    Setting(
        "SERVICE_URL",
        "",
        types.service_url,
        "the http or https URL of this function, without a query",
        "where the queue calls back: this function's own URL",
    ),
    Setting(
        "INVOKER",
        "",
        types.account,
        "the e-mail address of a service account",
        "service account as which the queue calls back",
    ),
    Setting(
        "ROBOTS",
        "obey",
        types.choice("obey", "ignore"),
        "obey or ignore",
        "obey or ignore the robots.txt of SONG_URL's host; ignore it where the API is yours",
    ),
    Setting(
        "REDIRECTS",
        "fail",
        types.choice("fail", "missing", "follow"),
        "fail, missing or follow",
        "what a redirect means: the song fails, is missing, or is found where it leads, within SONG_URL's host",
    ),
    Setting(
        "RATE_HEADERS",
        "auto",
        types.rate_headers,
        'auto, ignore, or a JSON object that names them, such as {"remaining": "x-left", "reset": "x-again"}',
        "read from headers how much is left of a quota, spend it and wait for its reset: auto, ignore, or their names",
    ),
    Setting(
        "USER_AGENT",
        f"songcrawl/{VERSION} (+{PROJECT_URL})",
        types.header_text,
        "a text of ASCII characters on one line",
        "sent with every request; name yourself and a contact",
    ),
    Setting(
        "SSL_CERT_FILE",
        "",
        types.optional_text,
        "a file of certificates in PEM",
        "file of the certificates that SONG_URL's host may show or be signed by, instead of the public authorities'",
    ),
    Setting(
        "STORAGE_EMULATOR_HOST",
        "",
        types.emulator,
        "http://host:port",
        "http://host:port of a storage emulator, used without credentials (tests)",
    ),
    Setting(
        "CLOUD_TASKS_EMULATOR_HOST",
        "",
        types.emulator,
        "http://host:port",
        "http://host:port of a Cloud Tasks emulator, used without credentials (tests)",
    ),
    Setting(
        "ALLOW_PRIVATE_UPSTREAM",
        "0",
        types.flag,
        "0 or 1",
        "1 lets the upstream be a loopback or private address (local runs, tests)",
    ),
)

(_SONG_URL,) = [setting for setting in SETTINGS if setting.name == "SONG_URL"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, parsed; an attribute is named like its variable, in lower case.

    `deadline_seconds` is None where neither the variable nor the platform sets one.
    """

    source: str | None
    source_name: str | None
    song_url: str | None
    song_method: str
    song_body: str | None
    keys: str | None
    song_info: str
    song_missing: str | None
    song_retry: str | None
    response_rules: list[Any] | str
    song_function: str | None
    song_headers: dict[str, str]
    token_url: str | None
    token_form: dict[str, str]
    token_headers: dict[str, str]
    output: str
    format: FormatName
    part_songs: int | None
    max_per_second: float
    max_at_once: int
    request_timeout_seconds: float
    max_attempts: int
    max_song_bytes: int
    deadline_seconds: float | None
    max_songs: int
    end_after_missing: int
    max_failed: float | None
    min_found: float | None
    queue: str | None
    service_url: str | None
    invoker: str | None
    robots: str
    redirects: str
    rate_headers: str | dict[str, str]
    user_agent: str
    ssl_cert_file: str | None
    storage_emulator_host: str | None
    cloud_tasks_emulator_host: str | None
    allow_private_upstream: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read all settings from a mapping such as os.environ; raises BadSetting for the first that is wrong."""
        values = {setting.name.lower(): setting.read(environ) for setting in SETTINGS}
        if values["deadline_seconds"] is None:
            values["deadline_seconds"] = platform_seconds(environ)
        types.check_request(_SONG_URL, values["song_url"], values["song_method"], values["song_body"])
        return cls(**values)

    @property
    def limits(self) -> Limits:
        """Return what bounds the work of every call."""
        return Limits(self.max_attempts, self.request_timeout_seconds, self.max_per_second, self.max_at_once)

    def songs_per_part(self) -> int:
        """Return PART_SONGS, or for auto what takes some 20 s at MAX_PER_SECOND, 1000 at most."""
        if self.part_songs:
            return self.part_songs
        return max(1, min(1000, int(20 * self.max_per_second))) if self.max_per_second else 1000
