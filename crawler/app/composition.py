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
from crawler.app.key_file import KeyFile
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
    settings = settings_from(environ)
    if "K_SERVICE" in environ and not settings.output.startswith("gs://"):
        raise BadSetting(
            f"OUTPUT is {settings.output!r}; allowed in the cloud: gs://bucket/prefix, "
            "since a folder there is memory that ends with the instance."
        )
    key_file = key_file_of(settings, in_cloud="K_SERVICE" in environ)
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
        key_file=key_file,
    )


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Return the settings of an environment and its SOURCE; raises BadSetting for the first that is wrong."""
    settings = Settings.from_environ(with_source(environ))
    if settings.ssl_cert_file and not Path(settings.ssl_cert_file).is_file():
        raise BadSetting(f"SSL_CERT_FILE is {settings.ssl_cert_file!r}; allowed: a file of certificates in PEM.")
    return settings


def key_file_of(settings: Settings, *, in_cloud: bool = False) -> KeyFile | None:
    """Return the file of KEYS; None: there is none. Raises BadSetting for one that must not be read."""
    if settings.keys is None:
        return None
    remote = settings.keys.startswith("gs://")
    if in_cloud and not remote:
        raise BadSetting(
            f"KEYS is {settings.keys!r}; allowed in the cloud: gs://bucket/object, "
            "since a file there is a part of the function, and not to be changed."
        )
    if _lies_below(settings.keys, f"{settings.output.rstrip('/')}/runs"):
        raise BadSetting(f"KEYS is {settings.keys!r}, which lies among the runs of OUTPUT; allowed: any other place.")
    emulator = settings.storage_emulator_host
    return KeyFile(settings.keys, lambda bucket: open_store(bucket, emulator), settings.song_url)


def _lies_below(file: str, folder: str) -> bool:
    if file.startswith("gs://") or folder.startswith("gs://"):
        return file.startswith(f"{folder}/")
    return Path(file).resolve().is_relative_to(Path(folder).resolve())


def open_store(output: str, emulator: str | None) -> Store:
    """Return the store in gs://bucket/prefix, or in a folder."""
    if output.startswith("gs://"):
        bucket, _, prefix = output.removeprefix("gs://").partition("/")
        return GcsStore(bucket, prefix, emulator)
    return FolderStore(Path(output))


def limiter_of(limits: Limits) -> Limiter:
    """Return the limiter through which all requests of an instance go out."""
    return Limiter(RateController(limits.max_per_second, limits.max_at_once, random.random))
