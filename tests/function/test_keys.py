"""Check runs whose songs have keys: rows, continuing, proof, and a file that changes."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from servers import Upstream, error, missing, song
from support.stored import read_folder, read_rows

from crawler import crawl
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.app.parameters import parse_crawl
from crawler.core.errors import BadRequest, BadSetting, RunConflict
from crawler.core.settings import SETTINGS
from crawler.core.song_set import SongSet
from crawler.entrypoints.cli import main
from crawler.entrypoints.python.songs import StoredSongs
from crawler.formats.registry import format_of
from crawler.runs.index import RunIndex
from crawler.runs.summary import RunSummary
from crawler.runs.verify import verify_run

SPARSE = [10_000_000_000_000 + 7 * place * place for place in range(1, 41)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the developer's own settings."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Have the keys of each fifth line missing, those of each seventh failing."""

    def page(key: int, _nth: int) -> Any:
        line = SPARSE.index(key) + 1 if key in SPARSE else 1
        return missing() if line % 5 == 0 else error(400) if line % 7 == 0 else song(key)

    with Upstream(page) as upstream:
        yield upstream


def write_keys(keys: list[Any], name: str = "ids.txt") -> None:
    """Write the key file."""
    Path(name).write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")


def deployment(upstream: Upstream, **settings: str) -> Deployment:
    """Open the deployment anew, as another instance would."""
    given = {
        "SONG_URL": upstream.url.replace("{song_num}", "{song_key}"),
        "KEYS": "ids.txt",
        "ALLOW_PRIVATE_UPSTREAM": "1",
        "PART_SONGS": "10",
        "MAX_PER_SECOND": "0",
        "MAX_ATTEMPTS": "1",
    }
    return deployment_from({**given, **settings})


def crawl_songs(deployment: Deployment, songs: str, run: str | None = None) -> RunSummary:
    """Send one call."""
    query = [("songs", songs)] + ([("run", run)] if run else [])
    return deployment.crawl(parse_crawl(query, b"", deployment.bounds)).summary


def rows(run: str) -> list[dict[str, Any]]:
    """Read a run's rows."""
    return list(read_rows(read_folder(Path("songs")), run))


def faults(run: str) -> list[str]:
    """Prove a run; returns what is wrong."""
    return verify_run(RunIndex(deployment_from({"SONG_URL": "http://a/{song_num}"}).store), run).faults


def asked(upstream: Upstream) -> list[int]:
    """List the keys that were asked for, each once: a refusal is asked for again."""
    return sorted({request.song_num for request in upstream.requests})


def test_all_keys_are_crawled(upstream: Upstream) -> None:
    """Ask for every key once, give each row its key, and end at the last line."""
    write_keys(SPARSE)
    answer = crawl_songs(deployment(upstream), "1-", "all")

    assert (answer.state, answer.songs, answer.remaining, answer.parts) == ("complete", "1-40", 0, 4)
    assert (answer.found, answer.missing, answer.failed) == (28, 8, 4)
    assert asked(upstream) == SPARSE
    assert [(row["song_num"], row["key"]) for row in rows("all")] == [(n, str(key)) for n, key in enumerate(SPARSE, 1)]
    assert faults("all") == []
    manifest = json.loads(Path("songs/runs/all/manifest.json").read_bytes())
    assert manifest["keys"]["lines"] == 40
    assert "ended_because" not in manifest


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_every_format_has_the_key(form: Any, upstream: Upstream) -> None:
    """Store the same rows in each format, a key among them that a spreadsheet would take for a formula."""
    write_keys(["=1+1", "'a", 'é,"b"', "plain"])
    url = upstream.url.replace("{song_num}", "1?id={song_key}")
    crawl_songs(deployment(upstream, FORMAT=form, SONG_URL=url), "1-", "all")

    (part,) = Path("songs/runs/all").glob("songs-*")
    decoded = format_of(form, keyed=True).decode(part.read_bytes())
    assert [row.key for row in decoded] == ["=1+1", "'a", 'é,"b"', "plain"]
    assert faults("all") == []
    assert {unquote(request.path.partition("=")[2]) for request in upstream.requests} == {row.key for row in decoded}


def test_a_cut_off_run_goes_on_where_it_was(upstream: Upstream) -> None:
    """Ask for no key twice, though the file has grown meanwhile: the run keeps the lines that it began with."""
    write_keys(SPARSE[:30])
    first = deployment(upstream, DEADLINE_SECONDS="1", MAX_AT_ONCE="1", MAX_PER_SECOND="20")
    request = parse_crawl([("songs", "1-"), ("run", "slow"), ("deadline_seconds", "1")], b"", first.bounds)
    assert first.crawl(request, 1.0).summary.state == "partial"
    done = len(asked(upstream))
    write_keys(SPARSE)
    answer = crawl_songs(deployment(upstream), "1-", "slow")

    assert 0 < done < 30
    assert (answer.state, answer.songs) == ("complete", "1-30")
    assert asked(upstream) == SPARSE[:30]
    assert faults("slow") == []


def test_failures_are_tried_again_by_their_keys(upstream: Upstream) -> None:
    """Take the numbers of failed: from the run, and their keys from the file."""
    write_keys(SPARSE)
    crawl_songs(deployment(upstream), "1-", "all")
    before = len(upstream.requests)
    answer = crawl_songs(deployment(upstream), "failed:all", "again")

    wanted = [SPARSE[number - 1] for number in (7, 14, 21, 28)]
    assert answer.songs == "7,14,21,28"
    again = {request.song_num for request in upstream.requests[before:]}
    assert set(wanted) <= again  # and known songs beside them, whether these still come
    assert len(again) <= len(wanted) + 3
    assert [row["key"] for row in rows("again")] == [str(key) for key in wanted]
    assert faults("again") == []


@pytest.mark.parametrize(
    ("songs", "sentence"),
    [
        ("41", "songs names 41, and KEYS has 40 keys; allowed: numbers from 1 to 40."),
        ("1-100,205", "songs names 205, and KEYS has 40 keys; allowed: numbers from 1 to 40."),
        ("0-5", "songs names 0, and KEYS has 40 keys; allowed: numbers from 1 to 40."),
        ("0-", "songs names 0, and KEYS has 40 keys; allowed: numbers from 1 to 40."),
        ("41-", "songs names 41, and KEYS has 40 keys; allowed: numbers from 1 to 40."),
    ],
)
def test_a_number_past_the_last_line_is_refused(songs: str, sentence: str, upstream: Upstream) -> None:
    """Say how many there are, and store nothing."""
    write_keys(SPARSE)
    with pytest.raises(BadRequest) as refusal:
        crawl_songs(deployment(upstream), songs)

    assert str(refusal.value) == sentence
    assert not Path("songs").exists()


def test_next_ends_at_the_last_line_and_goes_on_when_lines_come(upstream: Upstream) -> None:
    """Claim lines up to the last; then answer with the run that did, until the file has grown."""
    write_keys(SPARSE[:12])
    claimed = [crawl_songs(deployment(upstream), "next:8") for _ in range(3)]
    write_keys(SPARSE[:16])
    grown = crawl_songs(deployment(upstream), "next:8")

    assert [answer.songs for answer in claimed] == ["1-8", "9-12", "9-12"]
    assert claimed[2].run == claimed[1].run
    assert grown.songs == "13-16"
    assert asked(upstream) == SPARSE[:16]


def test_other_keys_are_another_source(upstream: Upstream) -> None:
    """Continue nothing and claim from 1 where the file does not begin with the former one, also under its name."""
    named = {"SOURCE_NAME": "tracks"}
    write_keys(SPARSE[:8])
    crawl_songs(deployment(upstream, **named), "next:8")
    crawl_songs(deployment(upstream, **named), "1-4", "some")
    unnamed = crawl_songs(deployment(upstream, **named), "1-5")
    write_keys([SPARSE[9], *SPARSE[1:8]])
    other = deployment(upstream, **named)

    with pytest.raises(RunConflict, match=r"^The run some is of other keys: KEYS does not begin with the 8 that it"):
        crawl_songs(other, "1-4", "some")
    with pytest.raises(BadRequest, match=r"the run some is of other keys than those of KEYS\.$"):
        crawl_songs(other, "failed:some")
    assert crawl_songs(other, "1-5").run != unnamed.run
    assert crawl_songs(other, "next:8").songs == "1-8"
    write_keys(SPARSE[:10])
    assert crawl_songs(deployment(upstream, **named), "next:8").songs == "9-10"
    assert crawl_songs(deployment(upstream, **named), "1-5").run == unnamed.run


def test_all_keys_of_a_grown_file_are_asked_for(upstream: Upstream) -> None:
    """Answer 1- with today's run while the file is the same; begin a new one once it has more lines."""
    write_keys(SPARSE[:5])
    first, again = (crawl_songs(deployment(upstream), "1-") for _ in range(2))
    write_keys(SPARSE[:6])
    grown = crawl_songs(deployment(upstream), "1-")

    assert first.run == again.run
    assert (grown.songs, grown.run != first.run) == ("1-6", True)


def test_a_task_with_other_keys_is_refused(upstream: Upstream) -> None:
    """Tell a run from its own source, whose file has changed, in a sentence: no row is of another key."""
    write_keys(SPARSE)
    crawl_songs(deployment(upstream), "1-", "all")
    spec = RunIndex(deployment(upstream).store).run_store("all").spec()
    write_keys(SPARSE[1:])

    assert spec
    conflict = deployment(upstream)._source().conflict(spec)
    assert conflict == "The run all is of other keys: KEYS does not begin with the 40 that it was begun with."


def test_verify_finds_keys_that_are_not_the_files(upstream: Upstream) -> None:
    """Name rows without a key, and a run whose keys are not those that it was begun with."""
    write_keys(SPARSE[:3])
    crawl_songs(deployment(upstream), "1-", "all")
    path = Path("songs/runs/all/run.json")
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content | {"keys": {"lines": 3, "digest": "f" * 16}}))
    assert "the keys of its rows are not those that run.json was written for" in faults("all")

    path.write_text(json.dumps(content | {"keys": None}))
    assert any("the row of 1 has a key" in fault for fault in faults("all"))


def test_a_function_is_given_the_key(upstream: Upstream) -> None:
    """Call a function of one's own with the key in place of the number, and give the number back."""
    write_keys(["a/b", "c"])
    given: list[Any] = []

    def by_key(_session: object, key: str) -> str:
        given.append(key)
        return key.upper()

    songs = crawl(by_key, range(1, 3), output="songs", keys="ids.txt", run="mine", progress=False, max_at_once=1)

    assert isinstance(songs, StoredSongs)
    assert given == ["a/b", "c"]
    assert [tuple(record) for record in songs] == [(1, "A/B"), (2, "C")]
    assert [row["key"] for row in rows("mine")] == given
    assert upstream.requests == []


def test_keys_in_memory_are_the_items(upstream: Upstream) -> None:
    """Refuse a file of keys for a crawl that is not stored: its items may be the keys."""
    with pytest.raises(BadRequest, match=r"^keys is for a stored run; allowed: together with output, or the keys"):
        crawl(len, ["a"], keys="ids.txt", progress=False)
    assert upstream.requests == []


def test_the_file_is_missed_by_a_crawl_alone(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    """Say what is wrong with KEYS when songs are asked for; how runs stand is told without it."""
    write_keys(SPARSE[:2])
    crawl_songs(deployment(upstream), "1-", "all")
    Path("ids.txt").unlink()

    with pytest.raises(BadSetting, match=r"^KEYS is 'ids\.txt', which can't be read: No such file or directory;"):
        crawl_songs(deployment(upstream), "1-", "all")
    assert deployment(upstream).state("all").state == "complete"
    assert main(["crawl", "1-", "--keys=none.txt", f"--song-url={upstream.url.replace('num', 'key')}"]) == 2
    assert capsys.readouterr().err.startswith("songcrawl: KEYS is 'none.txt', which can't be read")


def test_a_catalogue_of_sparse_ids_is_whole(upstream: Upstream) -> None:
    """Cut a hundred thousand ids of 14 digits into parts like numbers, and plan them without a request."""
    chance = random.Random(7)
    write_keys(sorted(chance.sample(range(10**13, 10**14), 100_000)))
    plan = deployment(upstream, PART_SONGS="1000").plan(
        parse_crawl([("songs", "1-")], b"", deployment(upstream).bounds)
    )

    assert (plan.state, plan.songs, plan.remaining, plan.parts) == ("planned", "1-100000", 100_000, 100)
    assert crawl_songs(deployment(upstream), "99990-100000", "end").songs == "99990-100000"
    assert SongSet.of_numbers(row["song_num"] for row in rows("end")) == SongSet.parse("99990-100000")
    assert faults("end") == []


def test_edited_code_crawls_anew_the_same_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the same call from the store; once SONG_FUNCTION's code is edited, with rows of the new code."""
    monkeypatch.syspath_prepend(str(tmp_path))
    runs, infos = [], []
    for factor in (1, 1, 20):
        Path("edited_songs.py").write_text(f"def song(session, song_num):\n    return song_num * {factor}\n")
        sys.modules.pop("edited_songs", None)
        deployment = deployment_from({"SONG_FUNCTION": "edited_songs:song"})
        runs.append(crawl_songs(deployment, "1-3").run)
        infos.append([row["info"] for row in rows(runs[-1])])

    assert infos == [[1, 2, 3], [1, 2, 3], [20, 40, 60]]
    assert runs[0] == runs[1] != runs[2]
