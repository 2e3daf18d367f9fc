"""The composition of a deployment: settings turned into a store, a song, a limiter and a queue."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from crawler.adapters.runtime.memory import return_large_blocks
from crawler.adapters.storage.folder import FolderStore
from crawler.adapters.storage.gcs import GcsStore
from crawler.app.deployment import Deployment
from crawler.app.fetchers import robots_file_of, song_of
from crawler.app.queueing import Queueing
from crawler.app.source_file import with_source
from crawler.core.errors import BadSetting
from crawler.core.limits import Limits
from crawler.core.ports import Store
from crawler.core.settings import Settings
from crawler.rate_control.controller import RateController
from crawler.rate_control.limiter import Limiter


def deployment_from(environ: Mapping[str, str]) -> Deployment:
    """Return the deployment of an environment, all settings checked; raises BadSetting for the first that is wrong."""
    settings = Settings.from_environ(with_source(environ))
    if "K_SERVICE" in environ and not settings.output.startswith("gs://"):
        raise BadSetting(
            f"OUTPUT is {settings.output!r}; allowed in the cloud: gs://bucket/prefix, "
            "since a folder there is memory that ends with the instance."
        )
    if settings.ssl_cert_file and not Path(settings.ssl_cert_file).is_file():
        raise BadSetting(f"SSL_CERT_FILE is {settings.ssl_cert_file!r}; allowed: a file of certificates in PEM.")
    return_large_blocks()
    source, make_fetcher = song_of(settings)
    return Deployment(
        settings,
        open_store(settings.output, settings.storage_emulator_host),
        source,
        make_fetcher,
        limiter_of(settings.limits),
        robots_file_of(settings),
        Queueing.of(settings),
    )


def open_store(output: str, emulator: str | None) -> Store:
    """Return the store in gs://bucket/prefix, or in a folder."""
    if output.startswith("gs://"):
        bucket, _, prefix = output.removeprefix("gs://").partition("/")
        return GcsStore(bucket, prefix, emulator)
    return FolderStore(Path(output))


def limiter_of(limits: Limits) -> Limiter:
    """Return the limiter through which all requests of an instance go out."""
    return Limiter(RateController(limits.max_per_second, limits.max_at_once, random.random))
