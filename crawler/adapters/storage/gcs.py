"""The store in a Cloud Storage bucket (gs://).

Every object is created with `if_generation_match=0`: the service refuses it (412) if the name is taken. An upload whose
acknowledgement was lost is refused too when the library sends it again, so a refusal is read back: our own call id
there means that we did it. https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from crawler.adapters.runtime.memory import without_collection
from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.records import StoredObject

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket, Client

T = TypeVar("T")

# One operation with all the library's retries; a call's reserve for its last commit is at least as long.
OPERATION_SECONDS = 20.0
REQUEST_SECONDS = 10.0


class GcsStore:
    """Objects below `prefix` of a bucket; `emulator` is the address of one, used without credentials."""

    def __init__(self, bucket: str, prefix: str = "", emulator: str | None = None) -> None:
        self._bucket_name = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._emulator = emulator
        self._opened: list[Bucket] = []
        self._opening = threading.Lock()
        self._deadline = Deadline()

    def until(self, deadline: Deadline) -> GcsStore:
        """Return the same store, on the same connections, whose operations end by a deadline of time.monotonic."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        return bounded

    @property
    def url(self) -> str:
        """Name the bucket and the prefix."""
        return f"gs://{self._bucket_name}/{self._prefix}".rstrip("/")

    def create(self, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Store an object, all of it or nothing; raises ObjectExists if the name is taken by another call."""
        blob = self._bucket().blob(self._prefix + name)
        blob.metadata = dict(metadata)
        # 412: the name is taken; an identity without storage.objects.delete may get 403 for it.
        status = self._try(lambda: _undamaged(lambda: _upload(blob, data, self._times())))
        if status is None:
            return self._described(blob)
        stored = self.stat(name)
        if stored is None:
            reason = "there is no such bucket" if status == 404 else f"HTTP {status}"
            raise StoreUnavailable(f"{name} can't be stored in {self.url}: {reason}.")
        if stored.metadata.get("attempt") == metadata.get("attempt"):
            return stored
        raise ObjectExists(name)

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, their checksum verified; None if there is none."""
        blob = self._bucket().blob(self._prefix + name)
        # raw: what was stored, never inflated on the way.
        return self._found(lambda: _undamaged(lambda: blob.download_as_bytes(raw_download=True, **self._times())))

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""
        bucket = self._bucket()
        blob = self._found(lambda: bucket.get_blob(self._prefix + name, **self._times()))
        return self._described(blob) if blob else None

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe every object whose name starts with `prefix` and comes after `after`, ascending; consistent."""
        bucket = self._bucket()
        # The service's start offset is inclusive: a name just after `after` is the first wanted.
        pages = bucket.list_blobs(
            prefix=self._prefix + prefix,
            start_offset=f"{self._prefix}{after}\x01" if after else None,
            **self._times(),
        ).pages
        while (page := self._found(lambda: next(pages, None))) is not None:
            yield from (self._described(blob) for blob in page)

    def _bucket(self) -> Bucket:
        """Make the client at the first use: importing it takes 0.3 s, and gunicorn forks after main.py's import."""
        with self._opening:
            if not self._opened:
                with without_collection():
                    import google.cloud.storage  # noqa: F401 - with all that the methods below take from it
                self._opened.append(self._translated(self._client).bucket(self._bucket_name))
            return self._opened[0]

    def _client(self) -> Client:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        # Or the library looks the bucket up, for traces that nobody takes, in a thread of its own at the first use and
        # after every 404: more requests, and something that runs on after a call's answer.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        if self._emulator is None:
            return Client()
        return Client(
            project="emulator",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self._emulator},
        )

    def _times(self) -> dict[str, Any]:
        """Return how long a request may wait and for how long the library may begin others, a moment at least.

        The two add up to what the call has left, since the last request may begin when that time is nearly over; a
        third for one leaves time for another after a request that was not answered.
        """
        from google.cloud.storage.retry import DEFAULT_RETRY

        left = max(0.2, min(OPERATION_SECONDS, self._deadline.remaining(time.monotonic())))
        request = min(REQUEST_SECONDS, left / 3)
        return {"timeout": request, "retry": DEFAULT_RETRY.with_timeout(left - request)}

    def _described(self, blob: Blob) -> StoredObject:
        created = blob.time_created
        return StoredObject(
            name=str(blob.name).removeprefix(self._prefix),
            size=int(blob.size or 0),
            crc32c=str(blob.crc32c),
            created_at=created.timestamp() if created else 0.0,
            metadata=dict(blob.metadata or {}),
        )

    def _found(self, operation: Callable[[], T]) -> T | None:
        """Run an operation; None if the object, or the bucket, is not there."""
        from google.api_core.exceptions import Forbidden, NotFound

        try:
            return self._translated(operation)
        except NotFound:
            return None
        except Forbidden as error:
            raise StoreUnavailable(f"{self.url} may not be read by this identity.") from error

    def _try(self, operation: Callable[[], None]) -> int | None:
        """Run an upload; return None, or the status with which it was refused."""
        from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed

        try:
            self._translated(operation)
        except (PreconditionFailed, Forbidden, NotFound) as error:
            return int(error.code)
        return None

    def _translated(self, operation: Callable[[], T]) -> T:
        """Run an operation; what the libraries raise becomes StoreUnavailable, but for 403, 404 and 412.

        The storage library raises two kinds: google.api_core's, and its own for what its media code met.
        """
        import requests
        from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, from_http_status
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        try:
            return operation()
        except (Forbidden, NotFound, PreconditionFailed):
            raise
        except InvalidResponse as error:
            status = error.response.status_code
            if status in (403, 404, 412):
                raise from_http_status(status, str(status)) from error  # type: ignore[no-untyped-call]
            raise StoreUnavailable(f"{self.url} answers HTTP {status}.") from error
        except (GoogleAPIError, GoogleAuthError, DataCorruption, requests.RequestException, OSError) as error:
            raise StoreUnavailable(f"{self.url} can't be reached: {type(error).__name__}.") from error


def _undamaged(operation: Callable[[], T]) -> T:
    """Move an object's bytes, once more if they were damaged on the way, which the library does not do by itself.

    Upwards it is the service that finds a wrong checksum (400), downwards the library.
    """
    from google.api_core.exceptions import BadRequest
    from google.cloud.storage.exceptions import DataCorruption

    try:
        return operation()
    except (BadRequest, DataCorruption):
        return operation()


def _upload(blob: Blob, data: bytes, times: dict[str, Any]) -> None:
    blob.upload_from_string(
        data,
        content_type="application/octet-stream",
        if_generation_match=0,
        checksum="crc32c",
        **times,
    )
