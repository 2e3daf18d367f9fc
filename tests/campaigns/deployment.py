"""A deployment from end to end: the real gcloud, an empty project of our own making, and what was uploaded, installed.

It installs every package of requirements.txt into a new virtual environment, as the build of the function does.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from servers import fake_gcs, function_server
from servers.google_cloud import PROJECT, GoogleCloud
from support.deploying import Copy, Outcome
from support.stored import audit, read_bucket

from campaigns.function import call
from examples.song_api import SONGS_CSV, song_api

_ASKED = {
    "SONG_URL": "https://api.example.com/songs/{song_num}",
    "FAN_OUT": "1",
    "SCHEDULE": "0 3 * * *",
    "HEADERS_SECRET": "keys",
    "SONG_HEADERS": '{"Authorization": "Bearer k"}',
}
# What a deployment makes and --delete must take.
_KINDS = ("/serviceAccounts/", "/secrets/", "/queues/", "/functions/", "/jobs/")


def mend_deployments(folder: Path, times: int, draw: random.Random) -> dict[str, Any]:
    """Deploy, lose some of what was made and deploy again, so many times; then delete, and delete nothing twice."""
    copy = Copy.make(folder)
    with GoogleCloud() as cloud:
        environment = cloud.environment(folder / "config") | _ASKED
        _succeed(copy.run_with_gcloud(environment))
        whole = _made(cloud)
        for _ in range(times):
            for name in draw.sample(sorted(whole), draw.randint(1, len(whole))):
                del cloud.resources[name]
            _succeed(copy.run_with_gcloud(environment))
            assert _made(cloud) == whole, _made(cloud) ^ whole
        for _ in range(2):
            _succeed(copy.run_with_gcloud(environment, "--delete", answer="songcrawl\n"))
            assert _made(cloud) == set()
        assert f"storage/v1/b/{PROJECT}-songs" in cloud.resources, "the bucket is gone"
        assert "runtime" not in str(cloud.policies[f"storage/v1/b/{PROJECT}-songs"]), (
            "the bucket still knows the account"
        )
        assert cloud.unknown == []
    return {"deployments": times + 1, "resources": len(whole)}


def install_and_crawl(folder: Path) -> dict[str, Any]:
    """Unpack what gcloud uploads in an empty folder, install its requirements alone, serve it there and crawl."""
    copy = Copy.make(folder)
    with GoogleCloud() as cloud:
        _succeed(copy.run_with_gcloud(cloud.environment(folder / "config") | {"SONG_URL": _ASKED["SONG_URL"]}))
        archive = cloud.resources["source.zip"]
        (function,) = [body for name, body in cloud.resources.items() if "/functions/" in name]
    source, environment = folder / "source", folder / "venv"
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(source)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    install = ["pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"]
    subprocess.run([python, "-m", *install], cwd=source, check=True)
    # A sample API on a busy machine answers a hundred requests at once too late.
    local = {"ALLOW_PRIVATE_UPSTREAM": "1", "MAX_AT_ONCE": "8"}
    settings = function["serviceConfig"]["environmentVariables"] | local
    with fake_gcs(f"{PROJECT}-songs") as bucket, song_api() as song_url:
        settings |= {"SONG_URL": song_url, "STORAGE_EMULATOR_HOST": bucket.url}
        with function_server(source / "main.py", settings, str(python)) as server:
            answered = call(server, {"songs": "1-400"})
        assert answered.status == 200, answered
        rows = audit(read_bucket(bucket.url, f"{PROJECT}-songs", ""), answered["run"])
    songs = len(SONGS_CSV.read_text(encoding="utf-8").splitlines()) - 1
    assert (len(rows), answered["found"], answered["failed"]) == (400, songs, 0), answered
    return {"uploaded_bytes": len(archive), "found": answered["found"]}


def _succeed(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.errors


def _made(cloud: GoogleCloud) -> set[str]:
    return {name for name in cloud.resources if any(kind in name for kind in _KINDS) and "/versions/" not in name}
