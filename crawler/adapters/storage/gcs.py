"""The store in a Cloud Storage bucket (gs://).

Every object is created with `if_generation_match=0`: the service refuses it (412) if the name is taken. An upload whose
acknowledgement was lost is refused too when the library sends it again, so a refusal is read back: our own call id
there means that we did it. https://cloud.google.com/storage/docs/request-preconditions
No operation outlasts the deadline of its call, whatever says nothing: service, metadata server, name server.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from crawler.adapters.google_credentials import without_credentials
from crawler.adapters.runtime.in_time import in_time
from crawler.adapters.runtime.memory import without_collection
from crawler.adapters.storage.refusals import Refusal, refusal_of
from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.records import StoredObject

if TYPE_CHECKING:
    from google.cloud.storage import Bucket, Client

T = TypeVar("T")

# One operation with all the library's retries; a call's reserve for its last commit is at least as long.
OPERATION_SECONDS = 20.0
REQUEST_SECONDS = 10.0

# What a listing tells of each object: all that is asked for is a third of what there is.
_FIELDS = "items(name,size,crc32c,timeCreated,metadata),nextPageToken"
# Objects on a page at the most: the service gives 1,000, an emulator may give all that there are.
PAGE_OBJECTS = 2000
# Sessions of one large upload that may be gone before it is given up.
_MOST_SESSIONS = 5


class _RefusedError(Exception):
    """The service refused an operation."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.meaning)
        self.refusal = refusal


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
        try:
            return self._run(lambda bucket: _insisted(lambda: self._upload(bucket, name, data, metadata)))
        except _RefusedError as error:
            refusal = error.refusal
        # 412: the name is taken; an identity without storage.objects.delete may get 403 for it.
        stored = self.stat(name) if refusal.status in (403, 412) else None
        if stored is None:
            raise StoreUnavailable(f"{name} can't be stored in {self.url}: {refusal.meaning}.")
        if stored.metadata.get("attempt") == metadata.get("attempt"):
            return stored
        raise ObjectExists(name)

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, their checksum verified; None if there is none."""

        def download(bucket: Bucket) -> bytes:
            blob = bucket.blob(self._prefix + name)
            # raw: what was stored, never inflated on the way.
            data: bytes = _insisted(lambda: blob.download_as_bytes(raw_download=True, **self._times()))
            return data

        return self._found(download)

    def stat(self, name: str) -> StoredObject | None:
        """Describe an object; None if there is none."""

        def look(bucket: Bucket) -> StoredObject | None:
            blob = bucket.get_blob(self._prefix + name, **self._times())
            return self._described(blob._properties) if blob else None

        return self._found(look)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Describe every object whose name starts with `prefix` and comes after `after`, ascending; consistent."""
        # The service's start offset is inclusive: a name just after `after` is the first wanted.
        start = f"{self._prefix}{after}\x01" if after else None
        token = None
        while True:
            page = self._read(partial(self._page, prefix=prefix, start=start, token=token))
            yield from (self._described(item) for item in page.get("items", ()))
            if not (token := page.get("nextPageToken")):
                return

    def _page(self, bucket: Bucket, prefix: str, start: str | None, token: str | None) -> dict[str, Any]:
        """Ask for one page of a listing: each has the time that is left when its turn comes."""
        listing = bucket.list_blobs(
            prefix=self._prefix + prefix,
            start_offset=start,
            page_token=token,
            page_size=PAGE_OBJECTS,
            fields=_FIELDS,
            **self._times(),
        )
        page: dict[str, Any] = next(listing.pages).raw_page
        return page

    def _upload(self, bucket: Bucket, name: str, data: bytes, metadata: Mapping[str, str]) -> StoredObject:
        blob = bucket.blob(self._prefix + name)
        blob.metadata = dict(metadata)
        blob.upload_from_string(
            data,
            content_type="application/octet-stream",
            if_generation_match=0,
            checksum="crc32c",
            **self._times(),
        )
        return self._described(blob._properties)

    def _bucket(self) -> Bucket:
        """Make the client at the first use: importing it takes 0.3 s, and gunicorn forks after main.py's import."""
        with self._opening:
            if not self._opened:
                with without_collection():
                    import google.cloud.storage  # noqa: F401 - with all that the methods above take from it
                self._opened.append(self._client().bucket(self._bucket_name))
            return self._opened[0]

    def _client(self) -> Client:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        # Or the library looks the bucket up, for traces that nobody takes, in a thread of its own at the first use and
        # after every 404: more requests, and something that runs on after a call's answer.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        if self._emulator is None:
            return Client()
        client = Client(
            project="emulator",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self._emulator},
        )
        client._http.trust_env = False  # a proxy named in the environment does not know this machine's emulator
        return client

    def _times(self) -> dict[str, Any]:
        """Return how long a request may wait and for how long the library may begin others.

        The two add up to what the call has left, since the last request may begin when that time is nearly over; a
        third for one leaves time for another after a request that was not answered.
        """
        from google.cloud.storage.retry import DEFAULT_RETRY

        left = max(0.01, min(OPERATION_SECONDS, self._deadline.remaining(time.monotonic())))
        request = min(REQUEST_SECONDS, left / 3)
        return {"timeout": request, "retry": DEFAULT_RETRY.with_timeout(left - request)}

    def _described(self, item: Mapping[str, Any]) -> StoredObject:
        """Describe an object by its resource in the JSON API, which writes numbers of 64 bits as texts."""
        return StoredObject(
            name=str(item["name"]).removeprefix(self._prefix),
            size=int(item.get("size") or 0),
            crc32c=str(item.get("crc32c")),
            created_at=_epoch(item.get("timeCreated")),
            metadata=item.get("metadata") or {},
        )

    def _found(self, operation: Callable[[Bucket], T | None]) -> T | None:
        """Run an operation; None if the object is not there, nor perhaps the bucket."""
        try:
            return self._read(operation, absent=404)
        except _RefusedError:
            return None

    def _read(self, operation: Callable[[Bucket], T], absent: int = 0) -> T:
        """Run an operation that reads; raises _RefusedError for the status that says `absent`."""
        try:
            return self._run(operation)
        except _RefusedError as error:
            refusal = error.refusal
            if refusal.status == absent:
                raise
        cannot = "may not be read by this identity" if refusal.status == 403 else "can't be read"
        raise StoreUnavailable(f"{self.url} {cannot}: {refusal.meaning}.")

    def _run(self, operation: Callable[[Bucket], T]) -> T:
        """Run an operation until the deadline; what the libraries raise becomes _RefusedError or StoreUnavailable.

        The storage library raises two kinds: google.api_core's, and its own for what its media code met.
        """
        left = self._deadline.remaining(time.monotonic())
        if not left:
            raise StoreUnavailable(f"The time of this call is over before {self.url} was asked for all that it needs.")
        try:
            return in_time(lambda: operation(self._bucket()), left)
        except StoreUnavailable:
            raise
        except TimeoutError:
            raise StoreUnavailable(f"{self.url} can't be reached: no answer before the call's time was over.") from None
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        """Return our own error for a library's; another one as it is."""
        import requests
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        refusal = refusal_of(error)
        if refusal and not refusal.busy:
            return _RefusedError(refusal)
        if refusal:
            return StoreUnavailable(f"{self.url} can't be reached: {refusal.meaning}.")
        if isinstance(error, (DefaultCredentialsError, RefreshError)):
            return StoreUnavailable(f"{self.url} can't be reached: {without_credentials(error)}.")
        if isinstance(error, DataCorruption):
            return StoreUnavailable(f"{self.url} gives other bytes than were stored, again and again.")
        if isinstance(error, (GoogleAPIError, GoogleAuthError, InvalidResponse, requests.RequestException, OSError)):
            cause = getattr(error, "cause", None) or error
            return StoreUnavailable(f"{self.url} can't be reached: {type(cause).__name__}.")
        return error


def _insisted(operation: Callable[[], T]) -> T:
    """Move an object's bytes, again where the library does not do so by itself.

    Once more if they were damaged on the way: upwards it is the service that finds a wrong checksum (400), downwards
    the library. From the first byte if the session of a large upload is gone.
    """
    from google.api_core.exceptions import BadRequest, GoogleAPICallError
    from google.cloud.storage.exceptions import DataCorruption

    damaged = gone = 0
    while True:
        try:
            return operation()
        except (BadRequest, DataCorruption):
            damaged += 1
            if damaged > 1:
                raise
        except GoogleAPICallError as error:
            refusal = refusal_of(error)
            gone += 1
            if refusal is None or not refusal.session_gone or gone >= _MOST_SESSIONS:
                raise


def _epoch(text: str | None) -> float:
    """Return the epoch seconds of an instant as RFC 3339 writes it, in UTC, with any number of digits; 0: none."""
    if not text:
        return 0.0
    return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() + float(f"0{text[19:].rstrip('Z')}")
