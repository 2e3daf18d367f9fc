"""Check that both stores keep the one promise: an object is created once, whole, and never changes."""

from __future__ import annotations

import base64
import gzip
import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import ServerProcess, fake_gcs, fake_gcs_available, free_port
from support.fakes import join_new_threads
from support.relay import Relay

from crawler.adapters.storage import gcs
from crawler.adapters.storage.folder import FolderStore
from crawler.adapters.storage.gcs import GcsStore
from crawler.core.errors import ObjectExists, StoreUnavailable
from crawler.core.ports import Store
from crawler.formats.checksum import crc32c

OURS = {"attempt": "ours"}
THEIRS = {"attempt": "theirs"}
EVERY_BYTE = bytes(range(256))
RACERS = 16


@pytest.fixture(scope="module")
def emulator() -> Iterator[ServerProcess]:
    """Serve a Cloud Storage emulator with the bucket `songs`."""
    if reason := fake_gcs_available():
        pytest.skip(reason)
    with fake_gcs("songs") as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Give what opens a store, always the same one, of either kind."""
    if request.param == "folder":
        return lambda: FolderStore(tmp_path / "songs")
    server: ServerProcess = request.getfixturevalue("emulator")
    prefix = uuid.uuid4().hex
    return lambda: GcsStore("songs", prefix, server.url)


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """Open a store, empty, of either kind."""
    return open_store()


@pytest.fixture(params=["folder", "bucket", "port"])
def broken_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Open a store that can't work: below a file, in a bucket that is not there, at an address where nothing is."""
    monkeypatch.setattr(gcs, "OPERATION_SECONDS", 0.2)
    if request.param == "folder":
        file = tmp_path / "file"
        file.write_bytes(b"")
        return FolderStore(file / "songs")
    if request.param == "port":
        return GcsStore("songs", "", f"http://127.0.0.1:{free_port()}")
    return GcsStore("no-such-bucket", "", request.getfixturevalue("emulator").url)


def test_object_comes_back_as_it_went(store: Store) -> None:
    """Give the bytes, their size and checksum and the metadata of what was stored."""
    created = store.create("runs/a/run.json", EVERY_BYTE, {"attempt": "1", "found": "7", "missing_songs": "1-2,9"})

    assert store.read("runs/a/run.json") == EVERY_BYTE
    stored = store.stat("runs/a/run.json")
    assert stored is not None
    assert (stored.name, stored.size) == ("runs/a/run.json", 256)
    assert stored.metadata == {"attempt": "1", "found": "7", "missing_songs": "1-2,9"}
    assert (created.name, created.size, created.crc32c) == (stored.name, stored.size, stored.crc32c)
    assert stored.created_at == pytest.approx(created.created_at, abs=5)


def test_empty_object_is_an_object(store: Store) -> None:
    """Tell an object of no bytes from no object."""
    store.create("empty", b"", OURS)

    assert store.read("empty") == b""
    assert [found.size for found in store.list("")] == [0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"123456789", 0xE3069283), (b"", 0), (bytes(32), 0x8A9136AA)],
    ids=["check value", "empty", "32 zeros of RFC 3720"],
)
def test_checksum_is_crc32c_in_the_form_of_cloud_storage(store: Store, data: bytes, expected: int) -> None:
    """Say the checksum that RFC 3720 gives for known bytes, whichever the store."""
    text = base64.b64encode(expected.to_bytes(4, "big")).decode()

    assert store.create("checked", data, OURS).crc32c == text
    assert [found.crc32c for found in store.list("checked")] == [text]


def test_gzip_is_not_inflated_on_the_way(store: Store) -> None:
    """Give compressed bytes back compressed."""
    data = gzip.compress(b"songs " * 1000)
    store.create("part.jsonl.gz", data, OURS)

    assert store.read("part.jsonl.gz") == data


def test_name_taken_by_another_attempt_is_refused(store: Store) -> None:
    """Keep the first object and its metadata when another attempt wants the name."""
    store.create("part", b"first", OURS)

    with pytest.raises(ObjectExists):
        store.create("part", b"second", THEIRS)
    assert store.read("part") == b"first"
    assert [found.metadata for found in store.list("")] == [OURS]


def test_name_taken_by_the_same_attempt_is_success(store: Store) -> None:
    """Give the object there is to the attempt that stored it: its acknowledgement may have been lost."""
    created = store.create("part", b"first", OURS)
    again = store.create("part", b"first", OURS)

    assert (again.name, again.size, again.crc32c, again.metadata) == ("part", 5, created.crc32c, OURS)


def test_one_of_many_racers_wins(open_store: Callable[[], Store]) -> None:
    """Let exactly one of sixteen threads, each with a store and an attempt of its own, create an object."""
    start = threading.Barrier(RACERS)

    def race(attempt: int) -> bool:
        own = open_store()
        start.wait()
        try:
            own.create("prize", f"attempt {attempt}".encode(), {"attempt": str(attempt)})
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(RACERS) as racers:
        won = list(racers.map(race, range(RACERS)))

    assert won.count(True) == 1
    winner = open_store().stat("prize")
    assert winner is not None
    assert winner.metadata == {"attempt": str(won.index(True))}
    assert open_store().read("prize") == f"attempt {won.index(True)}".encode()


def test_list_is_sorted_and_keeps_to_its_prefix(store: Store) -> None:
    """Name the objects that start with the prefix, in the order of their bytes, wherever the prefix ends."""
    names = ["runs/a/z", "runs/a/songs-2", "runs/a/songs-10", "runs/a-b", "runs/a.b", "runs/ab/songs-1", "next/a/1"]
    for name in names:
        store.create(name, b"", OURS)

    assert [found.name for found in store.list("")] == sorted(names)
    assert [found.name for found in store.list("runs/a/songs-")] == ["runs/a/songs-10", "runs/a/songs-2"]
    assert [found.name for found in store.list("runs/a")] == [
        "runs/a-b",
        "runs/a.b",
        "runs/a/songs-10",
        "runs/a/songs-2",
        "runs/a/z",
        "runs/ab/songs-1",
    ]
    assert list(store.list("runs/b")) == []


def test_nothing_is_none(store: Store) -> None:
    """Say None of a name that no object has."""
    store.create("runs/a", b"", OURS)

    assert store.read("runs/b") is None
    assert store.stat("runs/b") is None


def test_store_that_fails_says_so(broken_store: Store) -> None:
    """Name the store and say what is wrong with it, in one sentence, when an object can't be stored."""
    with pytest.raises(StoreUnavailable) as caught:
        broken_store.create("runs/a/run.json", b"{}", OURS)

    sentence = str(caught.value)
    assert broken_store.url in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_missing_bucket_is_named_as_such(emulator: ServerProcess) -> None:
    """Say that there is no such bucket, which is what most first deployments have to mend."""
    with pytest.raises(StoreUnavailable, match="gs://no-such-bucket/prefix: there is no such bucket"):
        GcsStore("no-such-bucket", "prefix", emulator.url).create("run.json", b"{}", OURS)


@pytest.mark.parametrize(
    "operation",
    [lambda s: s.read("a"), lambda s: s.stat("a"), lambda s: list(s.list(""))],
    ids=["read", "stat", "list"],
)
def test_unreachable_bucket_can_not_be_read(
    operation: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raise, rather than say None, where it is not known whether there is an object."""
    monkeypatch.setattr(gcs, "OPERATION_SECONDS", 0.2)

    with pytest.raises(StoreUnavailable, match="gs://songs can't be reached"):
        operation(GcsStore("songs", "", f"http://127.0.0.1:{free_port()}"))


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("gs://songs", GcsStore("songs")),
        ("gs://songs/a/b", GcsStore("songs", "a/b/")),
        (str(Path("some", "folder")), FolderStore(Path("some", "folder"))),
    ],
    ids=["bucket", "prefix", "folder"],
)
def test_store_names_its_place(url: str, store: Store) -> None:
    """Return its address in the form in which OUTPUT names it, before anything is opened."""
    assert store.url == url


# What follows is the bucket's own: what a network does to it.


def test_list_goes_past_one_page(emulator: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe every object, in order, when the bucket names only two in one answer."""
    monkeypatch.setattr(gcs, "PAGE_OBJECTS", 2)
    names = [f"runs/a/songs-{number}" for number in range(5)]
    with Relay(emulator.url) as relay:
        store = GcsStore("songs", uuid.uuid4().hex, relay.url)
        for name in names:
            store.create(name, b"", {"attempt": name})
        listed = list(store.list("runs/a/"))

    assert [(found.name, found.metadata["attempt"]) for found in listed] == [(name, name) for name in names]
    assert relay.count("GET") > 2


def test_each_operation_is_one_request(emulator: ServerProcess) -> None:
    """Ask for objects only, once each: an identity that may do no more is enough, and every request has its price."""
    with Relay(emulator.url) as relay:
        before = set(threading.enumerate())
        store = GcsStore("songs", uuid.uuid4().hex, relay.url)
        store.create("part", b"whole", OURS)
        store.stat("part")
        store.stat("nothing")
        list(store.list("part"))
        left = join_new_threads(before)

    assert left == set()
    assert [call.method for call in relay.calls] == ["POST", "GET", "GET", "GET"]
    assert all("/b/songs/o" in call.path for call in relay.calls)


def test_upload_whose_answer_was_lost_is_success(emulator: ServerProcess) -> None:
    """Find our own object where the library's second try is answered that the name is taken."""
    with Relay(emulator.url, status_of=lambda call: 0 if call.method == "POST" and call.nth == 1 else None) as relay:
        store = GcsStore("songs", uuid.uuid4().hex, relay.url)
        stored = store.create("part", b"whole", OURS)

    assert relay.count("POST") == 2
    assert (stored.name, stored.size, stored.metadata) == ("part", 5, OURS)


def test_bucket_that_hiccups_is_asked_again(emulator: ServerProcess) -> None:
    """Store the object although the bucket answers 503 at first."""
    with Relay(emulator.url, status_of=lambda call: 503 if call.nth == 1 else None) as relay:
        stored = GcsStore("songs", uuid.uuid4().hex, relay.url).create("part", b"whole", OURS)

    assert (stored.name, stored.size) == ("part", 5)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "gs://songs/p may not be read by this identity: access is denied (HTTP 403)."),
        (503, "gs://songs/p can't be reached: it is busy (HTTP 503)."),
        (418, "gs://songs/p can't be read: it refuses (HTTP 418)."),
    ],
    ids=["forbidden", "unavailable", "other"],
)
@pytest.mark.parametrize(
    "operation",
    [lambda s: s.read("a"), lambda s: s.stat("a"), lambda s: list(s.list(""))],
    ids=["read", "stat", "list"],
)
def test_bucket_that_refuses_says_so(
    status: int, sentence: str, operation: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say in one sentence how the bucket refuses, whatever is asked of it."""
    monkeypatch.setattr(gcs, "OPERATION_SECONDS", 0.2)
    with Relay("", status_of=lambda _call: status) as relay, pytest.raises(StoreUnavailable) as caught:
        operation(GcsStore("songs", "p", relay.url))

    assert str(caught.value) == sentence


# What follows is the folder's own: a bucket gives these by itself.


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda meta: meta.write_bytes(meta.read_bytes()[:20]),
        lambda meta: meta.write_bytes(b"[]"),
        lambda meta: meta.write_bytes(b'{"size":1,"crc32c":"","metadata":{"attempt":"theirs"}}'),
    ],
    ids=["lost", "cut short", "no metadata", "another object's"],
)
def test_object_without_its_metadata_is_whole(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """Read, describe and list an object whose metadata a power cut took."""
    store = FolderStore(tmp_path)
    store.create("runs/part", EVERY_BYTE, OURS)
    spoil(tmp_path / "runs" / ".part.meta")

    assert store.read("runs/part") == EVERY_BYTE
    (listed,) = store.list("runs/")
    assert (listed.size, listed.crc32c, listed.metadata) == (256, crc32c(EVERY_BYTE), {})
    with pytest.raises(ObjectExists):
        store.create("runs/part", b"", OURS)


def test_damaged_object_is_not_read(tmp_path: Path) -> None:
    """Refuse bytes that are not those that were stored."""
    store = FolderStore(tmp_path)
    store.create("part", b"stored", OURS)
    (tmp_path / "part").write_bytes(b"rotten")

    with pytest.raises(StoreUnavailable, match=r"part is damaged"):
        store.read("part")


def test_temporary_leftovers_are_no_objects(tmp_path: Path) -> None:
    """Show nothing of what a killed process left half written."""
    store = FolderStore(tmp_path)
    store.create("runs/part", b"whole", OURS)
    (tmp_path / ".tmp" / "0123abcd").write_bytes(b"ha")

    assert [found.name for found in store.list("")] == ["runs/part"]


def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    """Leave no temporary file behind, neither after success nor after a refusal."""
    store = FolderStore(tmp_path)
    store.create("part", b"first", OURS)
    with pytest.raises(ObjectExists):
        store.create("part", b"second", THEIRS)

    assert list((tmp_path / ".tmp").iterdir()) == []


def test_file_in_the_way_of_a_folder_is_no_object(tmp_path: Path) -> None:
    """Tell a name that is taken, which is harmless, from a folder that can't be made, which is not."""
    (tmp_path / "runs").write_bytes(b"")

    with pytest.raises(StoreUnavailable, match="can't be written"):
        FolderStore(tmp_path).create("runs/part", b"", OURS)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    """Give an object the permissions that any new file of this user has."""
    before = os.umask(mask)
    try:
        FolderStore(tmp_path).create("runs/part", b"", OURS)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "runs" / "part").stat().st_mode) == mode
