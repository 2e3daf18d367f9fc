"""Check the store in a bucket against a service that fails, and that the failing service does as it says."""

from __future__ import annotations

import gc
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import ServerProcess, fake_gcs, fake_gcs_available
from servers.storage_faults import (
    Fault,
    FaultyStorage,
    Operation,
    closing_store,
    damage,
    generations,
    lose_answer,
    no_faults,
    refuse,
    reset,
    stall,
    swallow_answer,
)

from crawler.adapters.storage import gcs
from crawler.adapters.storage.gcs import GcsStore
from crawler.core.deadline import Deadline
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.ports import Store

pytestmark = [
    pytest.mark.skipif(fake_gcs_available() is not None, reason=str(fake_gcs_available())),
    # google.api_core warns on import of Python versions that it will drop.
    pytest.mark.filterwarnings("ignore::FutureWarning:google.api_core._python_version_support"),
    # The storage library leaves the connection of a refused download to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

OURS = {"attempt": "ours"}
THEIRS = {"attempt": "theirs"}
SMALL = b"rows"
# Above 8 MiB the library uploads in another way (resumable): a session, then the bytes.
LARGE = b"0123456789abcdef" * (9 << 16)


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Serve a Cloud Storage emulator whose bucket keeps versions."""
    with fake_gcs("songs", versioned=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give up and try again sooner than in the cloud; collect the garbage where its warnings are expected."""
    from google.cloud.storage import retry

    monkeypatch.setattr(gcs, "REQUEST_SECONDS", 0.7)
    monkeypatch.setattr(gcs, "OPERATION_SECONDS", 15.0)
    quick: Any = retry.DEFAULT_RETRY
    monkeypatch.setattr(retry, "DEFAULT_RETRY", quick.with_delay(initial=0.02))
    yield
    gc.collect()


def once(operation: Operation, fault: Fault) -> Callable[[Operation, int], Fault | None]:
    """Let the fault befall the first request of the operation."""
    return lambda done, nth: fault if (done, nth) == (operation, 1) else None


@contextmanager
def store_at(storage: FaultyStorage) -> Iterator[GcsStore]:
    """Open a store of its own."""
    with closing_store(GcsStore("songs", uuid.uuid4().hex, storage.url)) as store:
        yield store


@pytest.mark.parametrize(
    ("data", "operation", "fault"),
    [
        *((SMALL, "upload", fault) for fault in (refuse(503), refuse(429), reset(), stall(), swallow_answer())),
        *((SMALL, "upload", fault) for fault in (lose_answer(), damage())),
        *((LARGE, "upload", fault) for fault in (refuse(503), reset(), lose_answer(), damage())),
        *((LARGE, "begin_upload", fault) for fault in (refuse(503), lose_answer())),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else getattr(value, "name", value),
)
def test_object_is_stored_once_whatever_befalls_its_upload(
    service: ServerProcess, data: bytes, operation: Operation, fault: Fault
) -> None:
    """Store an object, one generation of it, although its first upload fails, is lost or goes unanswered."""
    with FaultyStorage(service.url, once(operation, fault)) as storage, store_at(storage) as store:
        stored = store.create("part", data, OURS)

        assert storage.done[fault.name] == 1
        assert (stored.size, stored.metadata) == (len(data), OURS)
        assert store.read("part") == data
        (numbers,) = generations(service.url, "songs", store.url.rpartition("/")[2]).values()
        assert len(numbers) == 1


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("may_delete", [True, False], ids=["412", "403"])
def test_taken_name_stays_anothers(service: ServerProcess, data: bytes, may_delete: bool) -> None:
    """Leave the object of another attempt as it is, however the service says that its name is taken."""
    with FaultyStorage(service.url, may_delete=may_delete) as storage, store_at(storage) as store:
        store.create("part", data, THEIRS)

        with pytest.raises(ObjectExists):
            store.create("part", data + b"x", OURS)
        assert store.read("part") == data


def test_lost_answer_is_found_without_the_right_to_delete(service: ServerProcess) -> None:
    """Find our own object where the second try is answered 403, as an identity without delete is."""
    faults = once("upload", lose_answer())
    with FaultyStorage(service.url, faults, may_delete=False) as storage, store_at(storage) as store:
        stored = store.create("part", SMALL, OURS)

    assert (stored.metadata, storage.statuses[403]) == (OURS, 1)


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        (operation, fault)
        for operation in ("download", "stat", "list")
        for fault in (refuse(503), refuse(429), reset(), stall(), damage())
        if operation == "download" or not fault.damage
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_object_is_read_whatever_befalls_the_first_try(
    service: ServerProcess, operation: Operation, fault: Fault
) -> None:
    """Read, describe and list an object although the first try fails or its bytes come damaged."""
    with FaultyStorage(service.url, once(operation, fault)) as storage, store_at(storage) as store:
        store.create("part", SMALL, OURS)
        described = store.stat("part")

        assert store.read("part") == SMALL
        assert described is not None
        assert [stored.name for stored in store.list("")] == ["part"]
        assert storage.done[fault.name] == 1


@pytest.mark.parametrize("operation", ["upload", "download"])
def test_damage_that_does_not_end_is_said(service: ServerProcess, operation: Operation) -> None:
    """Neither store nor give bytes that are damaged on the way again and again."""
    with FaultyStorage(service.url) as storage, store_at(storage) as store:
        store.create("before", SMALL, OURS)
        storage.faults = lambda done, _nth: damage() if done == operation else None

        with pytest.raises(StoreUnavailable):
            store.create("part", SMALL, OURS) if operation == "upload" else store.read("before")
        assert storage.done["damage"] == 2
        storage.faults = no_faults
        assert store.stat("part") is None


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (lambda s: s.create("a", SMALL, OURS), reset()),
        (lambda s: s.create("a", LARGE, OURS), refuse(503)),
        (lambda s: s.read("a"), stall()),
        (lambda s: s.stat("a"), refuse(503)),
        (lambda s: list(s.list("")), reset()),
    ],
    ids=["create", "create large", "read", "stat", "list"],
)
def test_no_operation_outlasts_its_call(act: Callable[[Store], object], fault: Fault) -> None:
    """Give up before the call must end, also where the last try of many finds a service that says nothing."""

    def fail(_operation: Operation, nth: int) -> Fault:
        # Quick failures use up some of the time, then one takes all that a request is given.
        return fault if nth < 4 else stall()

    with FaultyStorage("http://127.0.0.1:1", fail) as storage, store_at(storage) as store:
        deadline = Deadline.after(time.monotonic(), 1.0)
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            act(store.until(deadline))

        assert time.monotonic() < deadline.at + 0.3, "it took about one more request than there was time for"


def test_the_bytes_of_a_large_object_have_the_same_deadline(service: ServerProcess) -> None:
    """Give up in time where the service begins an upload, and says nothing to its bytes."""
    silent = FaultyStorage(service.url, lambda operation, _nth: stall() if operation == "upload" else None)
    with silent as storage, store_at(storage) as store:
        store.stat("warm")
        deadline = Deadline.after(time.monotonic(), 1.0)
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            store.until(deadline).create("a", LARGE, OURS)

        assert time.monotonic() < deadline.at + 0.5


def first_of_uploads(count: int, status: int) -> Callable[[Operation, int], Fault | None]:
    """Refuse the first so many requests that bring an object's bytes."""
    return lambda operation, nth: refuse(status) if operation == "upload" and nth <= count else None


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("sessions", [1, 3])
def test_an_upload_whose_session_is_gone_begins_anew(service: ServerProcess, status: int, sessions: int) -> None:
    """Upload a large object from what is in memory where its session is gone, once or again and again."""
    with FaultyStorage(service.url, first_of_uploads(sessions, status)) as storage, store_at(storage) as store:
        stored = store.create("part", LARGE, OURS)

        assert (stored.size, storage.count("begin_upload")) == (len(LARGE), sessions + 1)
        assert store.read("part") == LARGE


def test_a_session_gone_after_it_has_stored_the_object_is_success(service: ServerProcess) -> None:
    """Find the own object where the answer to its bytes was lost, and the session is gone when they come again."""

    def lost_then_gone(operation: Operation, nth: int) -> Fault | None:
        return {1: lose_answer(), 2: refuse(410)}.get(nth) if operation == "upload" else None

    with FaultyStorage(service.url, lost_then_gone) as storage, store_at(storage) as store:
        assert store.create("part", LARGE, OURS).metadata == OURS
        (numbers,) = generations(service.url, "songs", store.url.rpartition("/")[2]).values()
        assert len(numbers) == 1


def test_sessions_that_are_always_gone_are_named(service: ServerProcess) -> None:
    """Tell a session that is gone from a bucket that is not there."""
    with FaultyStorage(service.url, first_of_uploads(100, 404)) as storage, store_at(storage) as store:
        with pytest.raises(StoreUnavailable, match="the session of its upload is gone") as caught:
            store.create("part", LARGE, OURS)

        assert storage.count("begin_upload") == 5
    assert "bucket" not in str(caught.value)


PAYS = "Bucket is a requester pays bucket but no user project provided."
LACKS = "me@project.iam.gserviceaccount.com does not have {0} access. Permission '{0}' denied on resource."
REFUSALS = [
    (400, "required", PAYS, r"requester pays.*\(HTTP 400, required\)"),
    (403, "userProjectAccessDenied", "", r"requester pays.*\(HTTP 403, userProjectAccessDenied\)"),
    (403, "accountDisabled", "The billing account is disabled in state closed", r"billing account .* closed.*403"),
    (403, "retentionPolicyNotMet", "Object is subject to a retention policy", r"retention policy .*403"),
    (403, "forbidden", LACKS.format("storage.objects.create"), r"lacks the permission storage.objects.create"),
    (403, "vpcServiceControls", "Request is prohibited", r"VPC Service Controls"),
    (403, "", "", r"access is denied \(HTTP 403\)"),
    (404, "notFound", "The specified bucket does not exist.", r"there is no such bucket \(HTTP 404, notFound\)"),
    (400, "invalid", "Something else", r"it refuses \(HTTP 400, invalid\)"),
]


@pytest.mark.parametrize(("status", "reason", "message", "sentence"), REFUSALS, ids=[each[3] for each in REFUSALS])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_refusal_is_told_with_its_reason(
    service: ServerProcess, data: bytes, status: int, reason: str, message: str, sentence: str
) -> None:
    """Say why an object can't be stored: status and reason word, what they mean, and no name of anybody's."""

    def refuse_uploads(operation: Operation, _nth: int) -> Fault | None:
        return refuse(status, reason, message) if operation in ("upload", "begin_upload") else None

    refused = pytest.raises(StoreUnavailable, match=sentence)
    with FaultyStorage(service.url, refuse_uploads) as storage, store_at(storage) as store, refused as caught:
        store.create("part", data, OURS)

    assert "gserviceaccount" not in str(caught.value)


@pytest.mark.parametrize("act", [lambda s: s.read("a"), lambda s: s.stat("a"), lambda s: list(s.list(""))])
def test_a_refusal_to_read_is_told_with_its_reason(service: ServerProcess, act: Callable[[Store], object]) -> None:
    """Say why objects can't be read, in the same words."""
    closed = refuse(403, "accountDisabled", "The billing account for the owning project is disabled in state closed")
    refused = pytest.raises(StoreUnavailable, match=r"may not be read by this identity: the billing account .*403")
    with FaultyStorage(service.url, lambda *_: closed) as storage, store_at(storage) as store, refused:
        act(store)


def test_a_bucket_that_is_not_there_has_no_objects_to_list(service: ServerProcess) -> None:
    """Say that there is no such bucket, rather than that it is empty."""
    store = GcsStore("no-such-bucket", "p", service.url)
    with closing_store(store), pytest.raises(StoreUnavailable, match="there is no such bucket"):
        list(store.list("runs/"))


def test_an_emulator_is_never_reached_by_a_proxy(service: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass a proxy of the environment by on the way to an emulator."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with closing_store(GcsStore("songs", uuid.uuid4().hex, service.url)) as store:
        store.create("part", SMALL, OURS)
        store.create("large", LARGE, OURS)

        assert store.read("part") == SMALL
        assert len(list(store.list(""))) == 2


def test_unanswered_request_leaves_time_for_another(service: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again after a request that got no answer in its time, however short an operation's is."""
    monkeypatch.setattr(gcs, "REQUEST_SECONDS", 10.0)
    with FaultyStorage(service.url, once("upload", stall())) as storage, store_at(storage) as store:
        store.until(Deadline.after(time.monotonic(), 3)).create("part", SMALL, OURS)

        assert store.read("part") == SMALL
        assert storage.done["stall"] == 1


def test_nothing_but_what_was_asked_reaches_the_bucket(service: ServerProcess) -> None:
    """Ask the service once for each operation, and start no thread: the library would look the bucket up in one."""
    with FaultyStorage(service.url) as storage, store_at(storage) as store:
        store.create("part", SMALL, OURS)
        before = threading.active_count()
        for _ in range(3):
            assert store.stat("nothing") is None
        assert store.read("part") == SMALL

        assert threading.active_count() == before
        assert sum(storage.statuses.values()) == 5
        assert storage.count("other") == 0


def test_gone_storage_breaks_old_and_new_connections(service: ServerProcess) -> None:
    """Reach nothing while the service is gone, and everything again after."""
    with FaultyStorage(service.url) as storage, store_at(storage) as store:
        store.create("part", SMALL, OURS)
        with storage.gone(), pytest.raises(StoreUnavailable):
            store.until(Deadline.after(time.monotonic(), 1)).read("part")

        assert store.read("part") == SMALL
