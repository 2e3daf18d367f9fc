"""The real gcloud carries out deploy.sh against a project of our making; what it uploads is a function that crawls."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import pickle
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import ServerProcess, function_server
from servers.google_cloud import PROJECT, ApiRequest, GoogleCloud
from support.deploying import HARD, SETTINGS, UPLOADED, Copy, Outcome
from support.stored import audit, read_bucket

from examples.song_api import song_api

# A gcloud takes half a second of a core for each of some forty commands, and several seconds on a busy machine.
pytestmark = [
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
    pytest.mark.timeout(600),
]

HEADERS = '{"Authorization": "Bearer k-123"}'
URL = "https://songcrawl-abcdef-uc.a.run.app"
RUNTIME = f"songcrawl-runtime@{PROJECT}.iam.gserviceaccount.com"
CALLER = f"songcrawl-invoker@{PROJECT}.iam.gserviceaccount.com"
PLANTED = (
    ".env",
    "crawler/.env",
    "crawler/key.json",
    "crawler/engine/run.pyc",
    "tests/main.py",
    "songs/runs/a/run.json",
)


@dataclass(frozen=True)
class Recorded:
    """Hold what two deployments, one after the other, came to: what was said and asked, and what is there since."""

    first: Outcome
    first_requests: list[ApiRequest]
    second: Outcome
    second_requests: list[ApiRequest]
    policies: dict[str, Any]
    unknown: list[str]
    archive: bytes
    files: set[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Deploy twice, in whichever process of this test run comes first: it takes a minute."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return deploy_twice(tmp_path_factory.mktemp("gcloud"))
    kept = tmp_path_factory.getbasetemp().parent / f"deployed-{run}.pickle"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(deploy_twice(tmp_path_factory.mktemp("gcloud"))))
        recorded: Recorded = pickle.loads(kept.read_bytes())
        return recorded


def deploy_twice(folder: Path) -> Recorded:
    """Deploy to an empty project and once more, from a copy of the source in which lies what must not be uploaded."""
    copy = Copy.make(folder)
    for name in PLANTED:
        (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / name).write_text("# nobody's business\n")
    asked = {"FAN_OUT": "1", "SCHEDULE": "0 3 * * *", "HEADERS_SECRET": "keys", "SONG_HEADERS": HEADERS}
    asked |= {"TOKEN_URL": "https://accounts.example.com/token", "TOKEN_SECRET": "form", "TOKEN_FORM": HEADERS}
    with GoogleCloud() as cloud:
        environment = cloud.environment(folder / "config") | dict(SETTINGS) | HARD | asked
        first = copy.run_with_gcloud(environment)
        begun = len(cloud.requests)
        second = copy.run_with_gcloud(environment)
    return Recorded(
        first=first,
        first_requests=cloud.requests[:begun],
        second=second,
        second_requests=cloud.requests[begun:],
        policies={name: policy["bindings"] for name, policy in cloud.policies.items()},
        unknown=cloud.unknown,
        archive=cloud.resources["source.zip"],
        files={str(path.relative_to(copy.folder)) for path in copy.folder.rglob("*") if path.is_file()},
    )


def only(requests: list[ApiRequest], method: str, end: str) -> Any:
    """Give the body of the only request with a method whose path ends so."""
    (found,) = [request for request in requests if request.method == method and request.path.endswith(end)]
    return found.body


def test_it_succeeds(recorded: Recorded) -> None:
    """Exit 0, ask nothing of a service that this project does not know, and say where the function answers."""
    assert recorded.first.code == 0, recorded.first.errors
    assert recorded.unknown == []
    assert f"""-d '{{"songs": "1-100"}}' {URL}""" in recorded.first.output


def test_the_bucket_is_private(recorded: Recorded) -> None:
    """Create it in the region, with uniform access, public access prevented, and no rule that deletes."""
    bucket = only(recorded.first_requests, "POST", "storage/v1/b")

    assert (bucket["name"], bucket["location"]) == ("fake-project-songs", "us-central1")
    access = {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}}
    assert bucket["iamConfiguration"] == access
    assert "lifecycle" not in bucket


def test_the_function_has_every_setting(recorded: Recorded) -> None:
    """Find each setting in the request that creates the function, as it was set."""
    function = only(recorded.first_requests, "POST", "us-central1/functions")
    service = function["serviceConfig"]

    assert (
        service["environmentVariables"].items()
        >= {
            **HARD,
            "SONG_URL": SETTINGS["SONG_URL"],
            "OUTPUT": "gs://fake-project-songs",
            "DEADLINE_SECONDS": "1710",
            "THREADS": "2",
            "QUEUE": f"projects/{PROJECT}/locations/us-central1/queues/songcrawl",
            "SERVICE_URL": "https://songcrawl-123456789.us-central1.run.app",
            "INVOKER": CALLER,
        }.items()
    )
    assert "k-123" not in json.dumps(function)
    secrets = {(one["key"], one["secret"], one["version"]) for one in service["secretEnvironmentVariables"]}
    assert secrets == {("SONG_HEADERS", "keys", "latest"), ("TOKEN_FORM", "form", "latest")}
    assert (service["availableMemory"], service["availableCpu"], service["timeoutSeconds"]) == ("512Mi", "1", 1800)
    assert (service["maxInstanceRequestConcurrency"], service["maxInstanceCount"]) == (1, 8)
    assert service["serviceAccountEmail"] == RUNTIME
    build = function["buildConfig"]
    assert (build["runtime"], build["entryPoint"]) == ("python313", "crawl")
    assert build["serviceAccount"].endswith(f"songcrawl-builder@{PROJECT}.iam.gserviceaccount.com")


def test_nobody_else_may_call(recorded: Recorded) -> None:
    """Let the invoker call the function, and no one else: not allUsers above all."""
    (bindings,) = [bindings for name, bindings in recorded.policies.items() if name.startswith("run/")]

    assert [(b["role"], b["members"]) for b in bindings] == [("roles/run.invoker", [f"serviceAccount:{CALLER}"])]
    assert "allUsers" not in json.dumps(recorded.policies)


def test_the_runtime_may_do_four_things(recorded: Recorded) -> None:
    """Bind the function's identity to one bucket, two secrets, one queue and the invoker it hands tasks to."""
    found = {
        (name.rsplit("/", 1)[-1], binding["role"].removeprefix("roles/"))
        for name, bindings in recorded.policies.items()
        for binding in bindings
        if f"serviceAccount:{RUNTIME}" in binding["members"]
    }

    assert found == {
        ("fake-project-songs", "storage.objectCreator"),
        ("fake-project-songs", "storage.objectViewer"),
        ("keys", "secretmanager.secretAccessor"),
        ("form", "secretmanager.secretAccessor"),
        ("songcrawl", "cloudtasks.enqueuer"),
        ("songcrawl", "cloudtasks.viewer"),
        (CALLER, "iam.serviceAccountUser"),
    }


def test_the_secret_holds_the_headers(recorded: Recorded) -> None:
    """Store exactly what was set as the first version of the secret."""
    assert (
        base64.b64decode(only(recorded.first_requests, "POST", "keys:addVersion")["payload"]["data"]).decode()
        == HEADERS
    )


def test_the_queue_has_its_ceilings(recorded: Recorded) -> None:
    """Deliver so many at once and a second, and for ever until they succeed."""
    queue = only(recorded.first_requests, "POST", "us-central1/queues")

    assert queue["rateLimits"] == {"maxConcurrentDispatches": 5, "maxDispatchesPerSecond": 10.0}
    assert (queue["retryConfig"]["maxAttempts"], queue["retryConfig"]["minBackoff"]) == (-1, "10s")


def test_the_jobs_call_the_function(recorded: Recorded) -> None:
    """Fire on schedule with a token for the function, wait for 30 minutes, and try again."""
    jobs = {
        request.body["name"].rsplit("/", 1)[-1]: request.body
        for request in recorded.first_requests
        if request.path.endswith("/jobs")
    }

    nightly, sweep = jobs["songcrawl"], jobs["songcrawl-sweep"]
    target = nightly["httpTarget"]
    assert json.loads(base64.b64decode(target["body"])) == {"songs": "next:5000", "deadline_seconds": 1710}
    assert (target["uri"], target["httpMethod"]) == (f"{URL}/", "POST")
    assert target["headers"]["Content-Type"] == "application/json"
    assert target["oidcToken"] == {"audience": URL, "serviceAccountEmail": CALLER}
    assert (nightly["attemptDeadline"], nightly["schedule"], nightly["timeZone"]) == ("1800s", "0 3 * * *", "UTC")
    assert nightly["retryConfig"]["retryCount"] == 5
    assert (sweep["httpTarget"]["uri"], sweep["schedule"]) == (f"{URL}/sweep", "*/10 * * * *")


def test_a_second_run_only_updates(recorded: Recorded) -> None:
    """Create nothing and delete nothing: the same again changes what is there to what it is."""
    writes = [request for request in recorded.second_requests if request.writes]

    assert recorded.second.code == 0, recorded.second.errors
    harmless = ("Policy", "services:batchEnable", "functions:generateUploadUrl", "/iam", "source.zip")
    others = [(r.method, r.path.rsplit("/", 2)[1:]) for r in writes if not r.path.endswith(harmless)]
    assert others == [
        ("PATCH", ["b", "fake-project-songs"]),
        ("PATCH", ["queues", "songcrawl"]),
        ("PATCH", ["functions", "songcrawl"]),
        ("PATCH", ["jobs", "songcrawl"]),
        ("PATCH", ["jobs", "songcrawl-sweep"]),
    ]


def test_a_second_run_leaves_the_roles_as_they_are(recorded: Recorded) -> None:
    """Bind nothing twice."""
    for bindings in recorded.policies.values():
        roles = [binding["role"] for binding in bindings]
        assert len(roles) == len(set(roles))
        assert all(len(binding["members"]) == 1 for binding in bindings)


def test_exactly_the_function_is_uploaded(recorded: Recorded) -> None:
    """Upload main.py, requirements.txt and crawler/, and nothing that happens to lie in or beside them."""
    wanted = {name for name in recorded.files if name.split("/")[0] in UPLOADED and "__pycache__" not in name}

    with zipfile.ZipFile(io.BytesIO(recorded.archive)) as archive:
        assert {name for name in archive.namelist() if not name.endswith("/")} == wanted - {*PLANTED}


def test_what_is_uploaded_crawls(recorded: Recorded, tmp_path: Path, gcs: ServerProcess) -> None:
    """Serve the zip, unpacked in an empty folder, with its deployment's own settings, and crawl the sample API."""
    with zipfile.ZipFile(io.BytesIO(recorded.archive)) as archive:
        archive.extractall(tmp_path)
    settings = only(recorded.first_requests, "POST", "us-central1/functions")["serviceConfig"]["environmentVariables"]
    own = {name: settings[name] for name in ("DEADLINE_SECONDS", "THREADS", "USER_AGENT")}
    local = {"OUTPUT": "gs://songs/uploaded", "STORAGE_EMULATOR_HOST": gcs.url, "ALLOW_PRIVATE_UPSTREAM": "1"}
    local["MAX_AT_ONCE"] = "8"  # the sample API on a busy machine

    with (
        song_api() as song_url,
        function_server(tmp_path / "main.py", {**own, **local, "SONG_URL": song_url}) as server,
    ):
        response = requests.post(server.url, json={"songs": "1-50"}, headers={"Connection": "close"}, timeout=60)

    assert response.status_code == 200, response.text
    rows = audit(read_bucket(gcs.url, "songs", "uploaded/"), response.json()["run"])
    assert len(rows) == 50
    assert response.json()["failed"] == 0
