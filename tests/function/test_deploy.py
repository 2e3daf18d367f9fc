"""deploy.sh gives the right commands, and refuses in a sentence what gcloud would not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.deploying import HARD, ROOT, SETTINGS, Copy, flags, settings_passed

from crawler.core.settings import SETTINGS as CRAWL_SETTINGS
from crawler.core.settings import Settings

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

HELD_IN_SECRETS = {"SONG_HEADERS", "TOKEN_FORM", "TOKEN_HEADERS"}
TOKENS = {
    "TOKEN_URL": "https://accounts.example.com/token",
    "TOKEN_SECRET": "form",
    "TOKEN_FORM": '{"client_secret": "k-123"}',
    "TOKEN_HEADERS_SECRET": "basic",
    "TOKEN_HEADERS": '{"Authorization": "Basic k-123"}',
}
ALL = {**SETTINGS, **HARD, "SCHEDULE": "0 3 * * *", "FAN_OUT": "1", "HEADERS_SECRET": "keys"}
RUNTIME = "serviceAccount:songcrawl-runtime@fake-project.iam.gserviceaccount.com"
BUILDER = "serviceAccount:songcrawl-builder@fake-project.iam.gserviceaccount.com"
CALLER = "songcrawl-invoker@fake-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copy the project for the tests that leave it as it is."""
    return Copy.make(tmp_path_factory.mktemp("deploy"))


@pytest.fixture
def own_copy(tmp_path: Path) -> Copy:
    """Copy the project for one test that adds to it."""
    return Copy.make(tmp_path)


def listed_in_script(name: str) -> set[str]:
    """Read one of the lists of settings at the head of deploy.sh."""
    found = re.search(rf'^{name}="(.*?)"$', (ROOT / "deploy.sh").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return set(found[1].split())


def test_a_first_deployment_creates_everything(copy: Copy) -> None:
    """Make each thing once, in an order in which each finds what it needs."""
    outcome = copy.run(**ALL, SONG_HEADERS="{}")

    made = [" ".join(c[:3]) for c in outcome.commands if {"create", "deploy", "enable"} & set(c[:4])]
    assert (outcome.code, outcome.errors.count("deploy.sh:")) == (0, 0)
    assert made == [
        "services enable cloudfunctions.googleapis.com",
        "iam service-accounts create",
        "storage buckets create",
        "iam service-accounts create",
        "secrets create keys",
        "tasks queues create",
        "iam service-accounts create",
        "functions deploy songcrawl",
        "scheduler jobs create",
        "scheduler jobs create",
    ]


def test_a_second_deployment_only_updates(copy: Copy) -> None:
    """Create nothing that is there."""
    outcome = copy.run(**ALL, GCLOUD_FINDS="all")

    assert outcome.code == 0
    assert [c for c in outcome.commands if "create" in c] == []
    updated = [" ".join(c[:3]) for c in outcome.commands if "update" in c]
    assert updated == ["storage buckets update", "tasks queues update", *["scheduler jobs update"] * 2]


def test_roles_are_the_narrowest(copy: Copy) -> None:
    """Bind what each identity needs where it needs it, and nothing to a whole project but the right to build."""
    bound = [c for c in copy.run(**ALL, SONG_HEADERS="{}").commands if re.search("add-.*policy-binding", " ".join(c))]

    roles: dict[str, list[tuple[str, str]]] = {RUNTIME: [], f"serviceAccount:{CALLER}": [], BUILDER: []}
    for command in bound:
        place = command[command.index(next(word for word in command if word.endswith("policy-binding"))) + 1]
        roles[flags(command)["member"]].append((place, flags(command).get("role", "the invoker's")))
    assert roles[RUNTIME] == [
        ("gs://fake-project-songs", "roles/storage.objectCreator"),
        ("gs://fake-project-songs", "roles/storage.objectViewer"),
        ("keys", "roles/secretmanager.secretAccessor"),
        ("songcrawl", "roles/cloudtasks.enqueuer"),
        ("songcrawl", "roles/cloudtasks.viewer"),
        (CALLER, "roles/iam.serviceAccountUser"),
    ]
    assert roles[f"serviceAccount:{CALLER}"] == [("songcrawl", "the invoker's")]
    assert [role for _, role in roles[BUILDER]] == [
        "roles/logging.logWriter",
        "roles/artifactregistry.writer",
        "roles/storage.objectViewer",
    ]


def test_the_bucket_is_private_and_keeps_everything(copy: Copy) -> None:
    """Set uniform access and public access prevention, and no rule that deletes."""
    command = copy.run(**SETTINGS).command("storage", "buckets", "create")

    assert {"uniform-bucket-level-access", "public-access-prevention"} <= flags(command).keys()
    assert not any("lifecycle" in word or "retention" in word for word in command)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"max-instances": "1", "concurrency": "8", "memory": "512Mi", "cpu": "1", "timeout": "1800s"}),
        ({"FAN_OUT": "1"}, {"max-instances": "8", "concurrency": "1"}),
        ({"FAN_OUT": "1", "TASKS_AT_ONCE": "50"}, {"max-instances": "53", "concurrency": "1"}),
        ({"CPU": "0.5", "MEMORY": "1Gi"}, {"concurrency": "1", "cpu": "0.5", "memory": "1Gi"}),
        ({"TIMEOUT": "30m", "CPU": "2", "MEMORY": "8Gi"}, {"timeout": "1800s", "cpu": "2", "memory": "8Gi"}),
        ({"HEADERS_SECRET": "keys", "SONG_HEADERS": "{}"}, {"set-secrets": "SONG_HEADERS=keys:latest"}),
        (
            {"HEADERS_SECRET": "keys", "SONG_HEADERS": "{}", **TOKENS},
            {"set-secrets": "SONG_HEADERS=keys:latest,TOKEN_FORM=form:latest,TOKEN_HEADERS=basic:latest"},
        ),
        ({}, {"clear-secrets": "", "gen2": "", "no-allow-unauthenticated": "", "runtime": "python313"}),
    ],
)
def test_the_function_is_as_large_as_asked(copy: Copy, settings: dict[str, str], wanted: dict[str, str]) -> None:
    """State memory, CPU, concurrency, instances and timeout, whatever the platform's defaults are."""
    given = flags(copy.run(**SETTINGS, **settings).command("functions", "deploy"))

    assert {name: given.get(name) for name in wanted} == wanted


def test_settings_arrive_as_they_are(copy: Copy) -> None:
    """Pass commas, quotes, line breaks, backticks, braces, and the very mark between settings."""
    outcome = copy.run(**SETTINGS, **HARD)

    passed = settings_passed(outcome.command("functions", "deploy"))
    own = {"OUTPUT": "gs://fake-project-songs", "DEADLINE_SECONDS": "1710", "THREADS": "8"}
    assert passed == {"SONG_URL": SETTINGS["SONG_URL"], **HARD, **own}


def test_every_setting_of_the_crawl_is_passed_on(copy: Copy) -> None:
    """Know each setting of the code: passed on, held in the secret, or the script's own or a test's."""
    listed = {name: listed_in_script(name) for name in ("CRAWL_SETTINGS", "LEFT_OUT")}
    values = {
        "SOURCE": "deezer-tracks",
        "SONG_METHOD": "POST",
        "SONG_BODY": '{"id": {song_num}}',
        "KEYS": "gs://lists/ids.txt",
        "FORMAT": "csv",
        "MAX_AT_ONCE": "5",
        "ROBOTS": "obey",
        "REDIRECTS": "follow",
        "OUTPUT": "gs://fake-project-songs/a b",
        "TOKEN_URL": "https://accounts.example.com/token",
        "ALLOW_PRIVATE_UPSTREAM": "0",
    }
    given = {name: values.get(name, "7") for name in listed["CRAWL_SETTINGS"] - {"SONG_FUNCTION", "SONG_URL"}}

    passed = settings_passed(copy.run(**SETTINGS, **given).command("functions", "deploy"))

    assert {s.name for s in CRAWL_SETTINGS} <= listed["CRAWL_SETTINGS"] | listed["LEFT_OUT"] | HELD_IN_SECRETS
    assert passed == given | {"SONG_URL": SETTINGS["SONG_URL"], "THREADS": "8"}


def test_what_is_passed_on_is_taken(copy: Copy) -> None:
    """Deploy settings that the function itself reads without a word."""
    passed = settings_passed(copy.run(**ALL, SONG_HEADERS="{}", MAX_PER_SECOND="40").command("functions", "deploy"))

    settings = Settings.from_environ(passed)

    assert (settings.max_per_second, settings.deadline_seconds) == (40, 1710)
    assert settings.song_missing == HARD["SONG_MISSING"]
    assert passed["QUEUE"] == "projects/fake-project/locations/us-central1/queues/songcrawl"
    assert passed["SERVICE_URL"] == "https://songcrawl-123456789.us-central1.run.app"
    assert passed["INVOKER"] == CALLER


@pytest.mark.parametrize(
    ("settings", "attempt", "body_seconds", "function_seconds"),
    [
        ({}, "1800s", 1710, "1710"),
        ({"TIMEOUT": "3600s"}, "1800s", 1710, "3420"),
        ({"TIMEOUT": "60s"}, "60s", 57, "57"),
        ({"TIMEOUT": "20"}, "20s", 18, "18"),
        ({"ATTEMPT_DEADLINE": "10m"}, "600s", 570, "1710"),
        ({"DEADLINE_SECONDS": "100"}, "1800s", 100, "100"),
    ],
)
def test_deadlines_fit_into_each_other(
    copy: Copy, settings: dict[str, str], attempt: str, body_seconds: int, function_seconds: str
) -> None:
    """Have the function answer before its own timeout, and before the job stops waiting."""
    outcome = copy.run(**SETTINGS, SCHEDULE="0 3 * * *", **settings)

    job = flags(outcome.command("scheduler", "jobs", "create"))
    assert job["attempt-deadline"] == attempt
    assert json.loads(job["message-body"]) == {"songs": "next:5000", "deadline_seconds": body_seconds}
    assert settings_passed(outcome.command("functions", "deploy"))["DEADLINE_SECONDS"] == function_seconds


def test_the_job_calls_as_the_invoker(copy: Copy) -> None:
    """Call the function's own URL with a token for it, try again, and send JSON as JSON."""
    outcome = copy.run(
        **SETTINGS, SCHEDULE="*/15 2-4 1,15 * MON", TIME_ZONE="Europe/Berlin", SCHEDULE_SONGS="1-100,205,300-"
    )

    job = flags(outcome.command("scheduler", "jobs", "create"))
    url = "https://songcrawl-abcdef-uc.a.run.app"
    assert (job["uri"], job["oidc-token-audience"], job["oidc-service-account-email"]) == (f"{url}/", url, CALLER)
    assert (job["schedule"], job["time-zone"], job["http-method"]) == ("*/15 2-4 1,15 * MON", "Europe/Berlin", "post")
    assert (job["max-retry-attempts"], job["headers"]) == ("5", "Content-Type=application/json")
    assert json.loads(job["message-body"])["songs"] == "1-100,205,300-"


def test_fan_out_has_a_queue_and_a_sweep(copy: Copy) -> None:
    """Create the queue with its ceilings, and a second job that sweeps."""
    outcome = copy.run(**SETTINGS, FAN_OUT="1", MAX_PER_SECOND="200", TASKS_PER_SECOND="5")

    queue = flags(outcome.command("tasks", "queues", "create"))
    (sweep,) = outcome.all("scheduler", "jobs", "create")
    assert (queue["max-concurrent-dispatches"], queue["max-dispatches-per-second"]) == ("10", "5")
    assert sweep[4] == "songcrawl-sweep"
    assert flags(sweep)["uri"] == "https://songcrawl-abcdef-uc.a.run.app/sweep"


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({}, {}),
        ({"SOURCE": "deezer-tracks"}, {"source": "deezer-tracks"}),
        ({"SOURCE": "crawler/sources/deezer-tracks.toml"}, {}),
        ({"SOURCE": "crawler/sources/deezer-tracks.toml", "SOURCE_NAME": "own"}, {"source": "own"}),
    ],
)
def test_snapshots_have_a_job_of_their_own(copy: Copy, settings: dict[str, str], source: dict[str, str]) -> None:
    """Create a job that makes a snapshot of the source's runs, within the time that it waits."""
    outcome = copy.run(**SETTINGS, SNAPSHOT_SCHEDULE="30 5 * * 1", **settings)

    (job,) = outcome.all("scheduler", "jobs", "create")
    assert job[4] == "songcrawl-snapshot"
    assert (flags(job)["uri"], flags(job)["schedule"]) == (
        "https://songcrawl-abcdef-uc.a.run.app/snapshots",
        "30 5 * * 1",
    )
    assert json.loads(flags(job)["message-body"]) == {**source, "deadline_seconds": 1710}
    assert "cloudscheduler.googleapis.com" in outcome.command("services")


@pytest.mark.parametrize(
    ("rate", "at_once"),
    [("100", "5"), ("0", "10"), ("0.5", "1"), ("19", "1"), ("1000000", "100"), ("", "5"), ("040", "2")],
)
def test_each_instance_has_twenty_requests_a_second(copy: Copy, rate: str, at_once: str) -> None:
    """Let the queue deliver no more at once than a twentieth of the rate, unless told otherwise."""
    queue = copy.run(**SETTINGS, FAN_OUT="1", MAX_PER_SECOND=rate).command("tasks", "queues", "create")

    assert flags(queue)["max-concurrent-dispatches"] == at_once


def test_without_fan_out_there_is_no_queue(copy: Copy) -> None:
    """Make neither queue nor jobs nor secret, nor use their services, where nobody asked for them."""
    outcome = copy.run(**SETTINGS)

    assert [
        c for c in outcome.commands if c[0] in ("tasks", "secrets") or ("create" in c[:3] and c[0] == "scheduler")
    ] == []
    assert not {"cloudtasks.googleapis.com", "secretmanager.googleapis.com"} & set(outcome.command("services"))


def test_a_setting_taken_back_takes_its_job_back(copy: Copy) -> None:
    """Delete the jobs of an earlier deployment where SCHEDULE or FAN_OUT are gone."""
    deleted = copy.run(**SETTINGS, GCLOUD_FINDS="all").all("scheduler", "jobs", "delete")

    assert [command[3] for command in deleted] == ["songcrawl", "songcrawl-sweep", "songcrawl-snapshot"]


REFUSALS = [
    ({"SONG_URL": ""}, "SONG_URL is not set"),
    ({"SONG_URL": "https://api.example.com/songs"}, "SONG_URL is 'https://api.example.com/songs'; allowed: an http"),
    ({"SONG_URL": "https://me@api.example.com/{song_num}"}, "no user name|an http or https URL"),
    ({"SONG_FUNCTION": "songs:get"}, "SONG_URL and SONG_FUNCTION are both set; allowed: one of them."),
    ({"SONG_URL": "", "SONG_FUNCTION": "songs"}, "SONG_FUNCTION is 'songs'; allowed: module:function"),
    ({"SONG_URL": "", "SONG_FUNCTION": "songs:get"}, r"there is no songs\.py beside this script"),
    ({"SONG_URL": "", "SOURCE": "no-such-api"}, "SOURCE is 'no-such-api'; allowed: a TOML file, or a name"),
    ({"SONG_URL": "", "SOURCE": "api.toml"}, "SOURCE is 'api.toml', and there is no such file"),
    ({"SONG_URL": "", "SOURCE": "../api.toml"}, "SOURCE is '../api.toml'; allowed: a TOML file below"),
    ({"SOURCE_NAME": "Tracks"}, "SOURCE_NAME is 'Tracks'; allowed: 1 to 63 of a-z"),
    ({"KEYS": "ids.txt"}, "KEYS is 'ids.txt'; allowed: gs://bucket/object, which the function can read"),
    ({"KEYS": "gs://lists"}, "KEYS is 'gs://lists'; allowed: gs://bucket/object"),
    ({"PROJECT": "My Project"}, "PROJECT is 'My Project'; allowed: the id"),
    ({"PROJECT": ""}, "PROJECT is not set, and gcloud has none"),
    ({"REGION": "us"}, "REGION is 'us'; allowed: a region"),
    ({"FUNCTION": "Song_Crawl"}, "FUNCTION is 'Song_Crawl'; allowed: 2 to 22"),
    ({"FUNCTION": "a-name-of-23-characters"}, "allowed: 2 to 22 lower-case"),
    ({"BUCKET": "gs://songs"}, "BUCKET is 'gs://songs'; allowed: the name of a bucket"),
    ({"OUTPUT": "songs"}, "OUTPUT is 'songs'; allowed: gs://fake-project-songs or a prefix"),
    ({"OUTPUT": "gs://fake-project-songs-2"}, "OUTPUT is 'gs://fake-project-songs-2'"),
    ({"FORMAT": "xml"}, "FORMAT is 'xml'; allowed: jsonl, csv or parquet"),
    ({"ROBOTS": "no"}, "ROBOTS is 'no'; allowed: obey or ignore"),
    ({"MAX_PER_SECOND": "many"}, "MAX_PER_SECOND is 'many'; allowed: 0, or a number"),
    ({"MAX_AT_ONCE": "1001"}, "MAX_AT_ONCE is 1001; allowed: a whole number from 1 to 1000"),
    ({"TIMEOUT": "3601s"}, "TIMEOUT is 3601s; allowed: 10s to 3600s"),
    ({"TIMEOUT": "61m"}, "TIMEOUT is 3660s; allowed: 10s to 3600s"),
    ({"TIMEOUT": "1h"}, "TIMEOUT is '1h'; allowed: 10s to 3600s"),
    ({"TIMEOUT": "60s", "DEADLINE_SECONDS": "59"}, "DEADLINE_SECONDS is 59; allowed: .* from 1 to 58"),
    ({"ATTEMPT_DEADLINE": "31m"}, "ATTEMPT_DEADLINE is 1860s; allowed: 15s to 1800s"),
    ({"ATTEMPT_DEADLINE": "14s"}, "ATTEMPT_DEADLINE is 14s; allowed: 15s to 1800s"),
    ({"TASKS_PER_SECOND": "501"}, "TASKS_PER_SECOND is 501; allowed: a whole number from 1 to 500"),
    ({"TASKS_AT_ONCE": "0"}, "TASKS_AT_ONCE is 0; allowed: a whole number from 1 to 1000"),
    ({"FAN_OUT": "yes"}, "FAN_OUT is 'yes'; allowed: 0 or 1"),
    ({"MEMORY": "512"}, "MEMORY is '512'; allowed: mebibytes or gibibytes"),
    ({"MEMORY": "100Mi"}, "MEMORY is 100Mi with CPU=1; allowed with so many: 128Mi to 4096Mi"),
    ({"MEMORY": "8Gi"}, "MEMORY is 8Gi with CPU=1; allowed with so many: 128Mi to 4096Mi"),
    ({"MEMORY": "1Gi", "CPU": "4"}, "MEMORY is 1Gi with CPU=4; allowed with so many: 2048Mi to 16384Mi"),
    ({"MEMORY": "1Gi", "CPU": "0.4"}, "MEMORY is 1Gi with CPU=0.4; allowed with so many: 128Mi to 512Mi"),
    ({"CPU": "3"}, "CPU is '3'; allowed: 1, 2, 4, 6, 8"),
    ({"CPU": "0.07"}, "CPU is 0.07; allowed: 0.08 at least"),
    ({"CPU": "0.5", "CONCURRENCY": "2"}, "CONCURRENCY is 2 with CPU=0.5; allowed with less than one CPU: 1"),
    ({"CONCURRENCY": "1001"}, "CONCURRENCY is 1001; allowed: a whole number from 1 to 1000"),
    ({"SCHEDULE": "every day"}, "SCHEDULE is 'every day'; allowed: five fields of cron"),
    ({"SCHEDULE": "0 3 * * * *"}, "allowed: five fields of cron"),
    ({"SCHEDULE": "0 24 * * *"}, "with 24 in field 2; allowed there: 23 at most"),
    ({"SCHEDULE": "0 3 ? * *"}, "allowed: five fields of cron"),
    ({"SCHEDULE": "0 3 * *\n* *"}, "SCHEDULE has several lines"),
    ({"SNAPSHOT_SCHEDULE": "0 24 * * *"}, "SNAPSHOT_SCHEDULE is .*, with 24 in field 2; allowed there: 23 at most"),
    ({"SCHEDULE_SONGS": 'next:5"'}, "SCHEDULE_SONGS is .*; allowed: songs as in a call"),
    ({"TIME_ZONE": "Central European"}, "TIME_ZONE is 'Central European'; allowed: the name of a time zone"),
    ({"HEADERS_SECRET": "my keys"}, "HEADERS_SECRET is 'my keys'; allowed: the name of a secret"),
    ({"SONG_HEADERS": '{"Key": "k-123"}'}, "SONG_HEADERS is set, and HEADERS_SECRET is not"),
    ({"TOKEN_FORM": '{"client_secret": "k-123"}'}, "TOKEN_FORM is set, and TOKEN_SECRET is not"),
    ({"TOKEN_HEADERS": '{"Authorization": "k-123"}'}, "TOKEN_HEADERS is set, and TOKEN_HEADERS_SECRET is not"),
    ({"TOKEN_SECRET": "a b"}, "TOKEN_SECRET is 'a b'; allowed: the name of a secret"),
    ({"TOKEN_SECRET": "form"}, "TOKEN_URL is not set, and a secret for it is"),
    ({"HEADERS_SECRET": "keys", "TOKEN_SECRET": "keys"}, "TOKEN_SECRET is 'keys', as another is"),
    ({"TOKEN_URL": "http://a.example/token"}, "TOKEN_URL is 'http://a.example/token'; allowed: an https URL"),
    ({"TOKEN_URL": "https://me:x@a.example/token"}, "; allowed: an https URL"),
]


@pytest.mark.parametrize(
    ("settings", "sentence"), REFUSALS, ids=[" ".join(f"{k}={v}" for k, v in s.items()) for s, _ in REFUSALS]
)
def test_what_cannot_work_is_refused(copy: Copy, settings: dict[str, str], sentence: str) -> None:
    """Say in one line which setting is wrong and what is allowed, before anything is changed, and no secret."""
    outcome = copy.run(**{**SETTINGS, **settings})

    assert outcome.code == 1
    assert re.search(sentence, outcome.errors)
    assert re.fullmatch(r"deploy\.sh: [^\0]+\.\n|deploy\.sh: [^\0]+\n", outcome.errors)
    assert [c for c in outcome.commands if c[:2] != ["config", "get-value"]] == []
    assert "k-123" not in outcome.errors


def test_only_a_whole_project_is_deployed(own_copy: Copy) -> None:
    """Refuse where the function is not beside the script, as through a link: gcloud would upload what is there."""
    (own_copy.folder / "main.py").unlink()

    outcome = own_copy.run(**SETTINGS)

    assert (outcome.code, outcome.commands) == (1, [])
    assert outcome.errors.startswith("deploy.sh: There is no main.py beside this script")


def test_an_option_it_does_not_know_is_refused(copy: Copy) -> None:
    """Name the options there are."""
    outcome = copy.run("--force", **SETTINGS)

    assert (outcome.code, outcome.commands) == (1, [])
    assert outcome.errors == "deploy.sh: There is no option '--force'; allowed: --dry-run, --delete, --help.\n"


def test_your_own_function_must_be_uploaded(own_copy: Copy) -> None:
    """Refuse a SONG_FUNCTION whose file .gcloudignore leaves out, and take it once it does not."""
    (own_copy.folder / "songs.py").write_text("")
    settings = {"PROJECT": "fake-project", "SONG_FUNCTION": "songs:request_song_info"}

    refused = own_copy.run(**settings)
    with (own_copy.folder / ".gcloudignore").open("a") as rules:
        rules.write("!/songs.py\n")
    taken = own_copy.run(**settings)

    assert refused.errors.endswith("add a line to .gcloudignore: !/songs.py\n")
    assert settings_passed(taken.command("functions", "deploy"))["SONG_FUNCTION"] == settings["SONG_FUNCTION"]


def test_keys_in_another_bucket_may_be_read(copy: Copy) -> None:
    """Let the function read the bucket of KEYS, and pass on a URL with a key in it; the runs' own it reads anyway."""
    settings = {"PROJECT": "fake-project", "SONG_URL": "https://api.example.com/{song_key:path}"}

    other = copy.run(**settings, KEYS="gs://lists/ids.txt")
    own = copy.run(**settings, KEYS="gs://fake-project-songs/ids.txt")

    assert settings_passed(other.command("functions", "deploy"))["KEYS"] == "gs://lists/ids.txt"
    assert [
        command[3] for command in other.all("storage", "buckets", "add-iam-policy-binding") if "lists" in command[3]
    ] == ["gs://lists"]
    assert len(other.all("storage", "buckets")) == len(own.all("storage", "buckets")) + 1


def test_a_source_of_ones_own_must_be_uploaded(own_copy: Copy) -> None:
    """Refuse a SOURCE whose file .gcloudignore leaves out, and take it once it does not; a bundled one goes along."""
    (own_copy.folder / "api.toml").write_text("")
    settings = {"PROJECT": "fake-project", "SOURCE": "api.toml"}

    refused = own_copy.run(**settings)
    with (own_copy.folder / ".gcloudignore").open("a") as rules:
        rules.write("!/api.toml\n")
    taken = own_copy.run(**settings)
    bundled = own_copy.run(**{**settings, "SOURCE": "deezer-tracks"})

    assert refused.errors.endswith("add a line to .gcloudignore: !/api.toml\n")
    assert settings_passed(taken.command("functions", "deploy"))["SOURCE"] == "api.toml"
    assert settings_passed(bundled.command("functions", "deploy"))["SOURCE"] == "deezer-tracks"


def test_the_env_file_is_read_and_never_run(own_copy: Copy) -> None:
    """Take values bare, quoted either way, with a comment behind; run and expand nothing; let the environment rule."""
    (own_copy.folder / ".env").write_text(
        "# my crawl\r\n"
        "PROJECT=fake-project\r\n"
        "\n"
        "export SONG_URL=https://api.example.com/{song_num}?a=1&b=$(id)  # the songs\n"
        "SONG_INFO='{a: \"$HOME\", b: `touch ran`}'\n"
        'SONG_MISSING="code == \\`800\\` && x == \\"\\$y\\""  \n'
        "SONG_RETRY=code == `4`\n"
        "MAX_PER_SECOND=5\n"
        "USER_AGENT="
    )

    outcome = own_copy.run(MAX_PER_SECOND="6")

    passed = settings_passed(outcome.command("functions", "deploy"))
    assert passed["SONG_URL"] == "https://api.example.com/{song_num}?a=1&b=$(id)"
    assert passed["SONG_INFO"] == '{a: "$HOME", b: `touch ran`}'
    assert passed["SONG_MISSING"] == 'code == `800` && x == "$y"'
    assert (passed["SONG_RETRY"], passed["MAX_PER_SECOND"]) == ("code == `4`", "6")
    assert "USER_AGENT" not in passed
    assert not (own_copy.folder / "ran").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("MAX_PER_SECONDS=5", "Line 2 of .env sets MAX_PER_SECONDS, which is no setting; --help lists them."),
        ("SONG_URL", "Line 2 of .env is no NAME=value; allowed: one setting a line, comments that begin with #."),
        ("SONG_INFO='{a: b", "Line 2 of .env: the value of SONG_INFO has no closing quote."),
    ],
)
def test_a_wrong_line_of_the_env_file_is_named(own_copy: Copy, line: str, sentence: str) -> None:
    """Tell a slip in .env from a setting, by its line."""
    (own_copy.folder / ".env").write_text(f"\n{line}\n")

    outcome = own_copy.run(**SETTINGS)

    assert (outcome.code, outcome.errors) == (1, f"deploy.sh: {sentence}\n")


def test_the_project_is_gclouds_own_unless_named(copy: Copy) -> None:
    """Deploy to the project that gcloud is set to."""
    outcome = copy.run(SONG_URL=SETTINGS["SONG_URL"], GCLOUD_PROJECT="own-project")

    assert outcome.command("storage", "buckets", "create")[3] == "gs://own-project-songs"


def test_a_dry_run_prints_what_a_shell_reads_back(copy: Copy) -> None:
    """Call nothing, and print each command so that pasted into a shell it is the very same."""
    dry = copy.run("--dry-run", **ALL)
    real = copy.run(**ALL, SONG_HEADERS="{}")

    words = shlex.split(re.sub(r"^# .*\n", "", dry.output, flags=re.M))
    starts = [place for place, word in enumerate(words) if word == "gcloud"]
    told = [words[start + 1 : end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    wanted = [c for c in real.commands if "describe" not in c and c[:2] != ["secrets", "create"]]
    assert (dry.code, dry.commands) == (0, [])
    assert [[_filled(word) for word in command] for command in told] == wanted


def _filled(word: str) -> str:
    """Put in what a dry run can't know."""
    known = {"PROJECT_NUMBER": "123456789", "https://FUNCTION_URL": "https://songcrawl-abcdef-uc.a.run.app"}
    for name, value in known.items():
        word = word.replace(name, value)
    return word


def test_a_secret_goes_in_by_standard_input_only(copy: Copy) -> None:
    """Show the headers to Secret Manager alone: in no argument, in no line that is printed."""
    headers = '{"Authorization": "Bearer k-123"}'
    outcome = copy.run(**ALL, SONG_HEADERS=headers)

    assert outcome.inputs[outcome.commands.index(outcome.command("secrets", "create"))] == headers
    assert [c for c in outcome.commands if "k-123" in " ".join(c)] == []
    assert "k-123" not in outcome.output + outcome.errors
    assert "k-123" not in copy.run("--dry-run", **ALL, SONG_HEADERS=headers).output


def test_what_a_token_is_asked_for_with_goes_into_secrets(copy: Copy) -> None:
    """Make a secret for the form and one for the headers, readable by the function alone, and pass on the address."""
    outcome = copy.run(**SETTINGS, **TOKENS)
    dry = copy.run("--dry-run", **SETTINGS, **TOKENS)

    made = {command[2]: outcome.inputs[outcome.commands.index(command)] for command in outcome.all("secrets", "create")}
    bound = {command[2] for command in outcome.all("secrets", "add-iam-policy-binding")}
    assert made == {"form": TOKENS["TOKEN_FORM"], "basic": TOKENS["TOKEN_HEADERS"]}
    assert bound == {"form", "basic"}
    assert settings_passed(outcome.command("functions", "deploy"))["TOKEN_URL"] == TOKENS["TOKEN_URL"]
    assert "secretmanager.googleapis.com" in outcome.command("services", "enable")
    assert "TOKEN_FORM=form:latest" in dry.output
    assert "gcloud secrets add-iam-policy-binding form " in dry.output
    assert "k-123" not in outcome.output + outcome.errors + dry.output + str(outcome.commands)


@pytest.mark.parametrize(("stored", "versions"), [("{}", 0), ('{"old": "1"}', 1)])
def test_a_secret_gets_a_version_only_for_what_is_new(copy: Copy, stored: str, versions: int) -> None:
    """Leave a secret alone that holds the headers already."""
    outcome = copy.run(**ALL, SONG_HEADERS="{}", GCLOUD_FINDS="all", GCLOUD_SECRET=stored)

    assert len(outcome.all("secrets", "versions", "add")) == versions


def test_a_secret_that_is_not_there_is_refused(copy: Copy) -> None:
    """Say how the secret is made, where neither it nor the headers are there."""
    outcome = copy.run(**ALL)

    assert outcome.code == 1
    assert "There is no secret keys in fake-project; set SONG_HEADERS once" in outcome.errors
    assert outcome.all("functions", "deploy") == []


def test_a_new_account_is_waited_for(copy: Copy) -> None:
    """Bind a role again when the service does not know the account yet, made a moment ago."""
    refused = copy.scratch / "gcloud.log.refused"
    outcome = copy.run(**SETTINGS, GCLOUD_REFUSES="fake-project")

    refused.unlink()
    builder = [c for c in outcome.commands if c[:2] == ["projects", "add-iam-policy-binding"]]
    assert outcome.code == 0
    assert outcome.all("sleep") == [["sleep", "6"]]
    assert [flags(c)["role"] for c in builder][:2] == ["roles/logging.logWriter"] * 2


def test_it_ends_with_the_lines_that_call_it(copy: Copy) -> None:
    """Print the curl line and the line that opens the page."""
    lines = copy.run(**SETTINGS).output.splitlines()

    url = "https://songcrawl-abcdef-uc.a.run.app"
    token = "$(gcloud auth print-identity-token)"
    assert f"""  curl -H "Authorization: Bearer {token}" -d '{{"songs": "1-100"}}' {url}""" in lines
    assert "  gcloud run services proxy songcrawl --project=fake-project --region=us-central1 --port=8080" in lines


def test_delete_asks_and_leaves_the_bucket(copy: Copy) -> None:
    """Delete everything that was made but the bucket and its services, and take its roles off the bucket."""
    outcome = copy.run(
        "--delete", PROJECT="fake-project", HEADERS_SECRET="keys", GCLOUD_FINDS="all", answer="songcrawl\n"
    )

    deleted = [" ".join(word for word in c if not word.startswith("--")) for c in outcome.commands if "delete" in c]
    assert outcome.code == 0
    assert deleted == [
        "scheduler jobs delete songcrawl",
        "scheduler jobs delete songcrawl-sweep",
        "scheduler jobs delete songcrawl-snapshot",
        "tasks queues delete songcrawl",
        "functions delete songcrawl",
        "iam service-accounts delete songcrawl-runtime@fake-project.iam.gserviceaccount.com",
        "iam service-accounts delete songcrawl-invoker@fake-project.iam.gserviceaccount.com",
        "iam service-accounts delete songcrawl-builder@fake-project.iam.gserviceaccount.com",
    ]
    assert len(outcome.all("storage", "buckets", "remove-iam-policy-binding")) == 2
    assert outcome.output == "Deleted. The runs are still in gs://fake-project-songs.\n"


def test_delete_takes_a_secret_only_if_it_made_it(copy: Copy) -> None:
    """Know its own secret by its label: another may serve others too."""
    settings = {"PROJECT": "fake-project", "HEADERS_SECRET": "keys", "GCLOUD_FINDS": "all"}

    own = copy.run("--delete", **settings, GCLOUD_MADE_BY="songcrawl", answer="songcrawl\n")
    others = copy.run("--delete", **settings, answer="songcrawl\n")

    assert (len(own.all("secrets", "delete")), len(others.all("secrets", "delete"))) == (1, 0)
    assert len(others.all("secrets", "remove-iam-policy-binding")) == 1


@pytest.mark.parametrize("answer", ["", "y\n", "songcrawl2\n"])
def test_delete_does_nothing_without_the_name(copy: Copy, answer: str) -> None:
    """Delete nothing unless the function's name is typed."""
    outcome = copy.run("--delete", PROJECT="fake-project", GCLOUD_FINDS="all", answer=answer)

    assert (outcome.code, outcome.commands) == (1, [])
    assert outcome.errors.endswith("deploy.sh: Nothing was deleted.\n")


def test_delete_finds_nothing_to_do_where_nothing_is(copy: Copy) -> None:
    """Succeed on a project that has nothing of it, for the second time too."""
    outcome = copy.run("--delete", PROJECT="fake-project", answer="songcrawl\n")

    assert (outcome.code, [c for c in outcome.commands if "delete" in c]) == (0, [])


def test_a_failure_ends_it_and_is_seen(copy: Copy, tmp_path: Path) -> None:
    """Stop at the first command that fails, with its message and code."""
    (tmp_path / "gcloud").write_text('#!/bin/sh\necho "ERROR: billing is disabled" >&2\nexit 1\n')
    (tmp_path / "gcloud").chmod(0o755)

    outcome = copy.run(**SETTINGS, PATH=f"{tmp_path}:/usr/bin:/bin")

    assert outcome.code == 1
    assert outcome.errors.splitlines()[1:] == ["ERROR: billing is disabled"]


def test_without_gcloud_it_says_where_it_comes_from(copy: Copy, tmp_path: Path) -> None:
    """Name the place to get gcloud, unless a dry run does not need it."""
    for name in ("bash", "dirname", "cat", "grep"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")

    assert "https://cloud.google.com/sdk/docs/install" in copy.run(**SETTINGS, PATH=str(tmp_path)).errors
    assert copy.run("--dry-run", **SETTINGS, PATH=str(tmp_path)).code == 0


def test_help_teaches_every_setting(copy: Copy) -> None:
    """Explain each setting the script reads, and name each one it passes on."""
    outcome = copy.run("--help")

    names = listed_in_script("DEPLOY_SETTINGS") | listed_in_script("CRAWL_SETTINGS")
    assert outcome.code == 0
    assert [name for name in names if not re.search(rf"\b{name}\b", outcome.output)] == []
    assert max(map(len, outcome.output.splitlines())) <= 120
