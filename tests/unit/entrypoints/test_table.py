"""Check the result of a crawl as a table: in a notebook's HTML, and as a DataFrame."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crawler import crawl
from crawler.core.errors import BadRequest
from crawler.core.settings import SETTINGS
from crawler.entrypoints.python.songs import StoredSongs

HOSTILE = '<script>alert("x")</script>&amp;\'"'


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the developer's own settings."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def songs_of(*infos: Any, output: str | None = None) -> Any:
    """Crawl songs 1, 2, ... whose infos these are; None is missing, an exception raised."""

    def song(_session: object, song_num: int) -> Any:
        if isinstance(infos[song_num - 1], Exception):
            raise infos[song_num - 1]
        return infos[song_num - 1]

    extra: dict[str, Any] = {"run": "trial"} if output else {}
    return crawl(song, range(1, len(infos) + 1), output=output, progress=False, max_attempts=1, **extra)


class Reader(HTMLParser):
    """Read HTML as a browser would: its elements, and the text of its cells and paragraphs."""

    def __init__(self, html: str) -> None:
        """Read it."""
        super().__init__()
        self.elements: set[str] = set()
        self.texts: dict[str, list[str]] = {"p": [], "th": [], "td": []}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note an element."""
        self.elements.add(tag)
        self._open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self._open[-1] in self.texts:
            self.texts[self._open[-1]][-1] += data


@pytest.mark.parametrize("output", [None, "songs"], ids=["in memory", "stored"])
def test_notebook_shows_counts_and_songs(output: str | None) -> None:
    """Show how many there are of each, and the first songs with a column for each field."""
    songs = songs_of(
        {"title": "One", "year": 1999}, None, {"title": "Three", "tags": ["a"]}, ValueError(), output=output
    )
    shown = Reader(songs._repr_html_())

    assert shown.texts["p"][0] == repr(songs)[1:-1]
    assert "2 songs found, 1 missing, 1 failed" in shown.texts["p"][0]
    assert shown.texts["th"] == ["song_num", "title", "year", "tags"]
    assert shown.texts["td"] == ["1", "One", "1999", "", "3", "Three", "", "['a']"]


@pytest.mark.parametrize("output", [None, "songs"], ids=["in memory", "stored"])
def test_songs_are_never_mark_up(output: str | None) -> None:
    """Show mark-up in names and values as the text that it is."""
    shown = Reader(songs_of({HOSTILE: HOSTILE}, {"title": [HOSTILE]}, output=output)._repr_html_())

    assert shown.elements == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert HOSTILE in shown.texts["th"]
    assert HOSTILE in shown.texts["td"]


def test_large_results_are_cut() -> None:
    """Show ten rows, eight columns and sixty characters, and say that there is more."""
    songs = songs_of(*({f"field {n}": "x" * 100 for n in range(20)} for _ in range(30)))
    shown = Reader(songs._repr_html_())

    assert (len(shown.texts["th"]), len(shown.texts["td"])) == (8, 80)
    assert shown.texts["td"][1] == "x" * 60 + "…"
    assert shown.texts["p"][-1] == "the first 10 of 30 songs, the first 8 of 21 columns"


def test_nothing_found_is_shown_too() -> None:
    """Show the counts alone where there is no song."""
    assert Reader(songs_of(None)._repr_html_()).texts == {
        "p": ["0 songs found, 1 missing, 0 failed"],
        "th": [],
        "td": [],
    }


def test_a_run_that_can_not_be_read_shows_its_counts(tmp_path: Path) -> None:
    """Show what the answer says where the parts are damaged: a notebook's display must not fail."""
    songs = songs_of("a", "b", output="songs")
    for part in (tmp_path / "songs/runs/trial").glob("songs-*"):
        part.write_bytes(b"damaged")

    assert "2 songs found" in songs._repr_html_()


def test_only_so_much_is_read_as_is_shown(tmp_path: Path) -> None:
    """Read the first parts of a stored run for its display, not the others."""
    songs = crawl(lambda _s, n: n, range(1, 41), output="songs", run="trial", progress=False, part_songs=10)
    assert isinstance(songs, StoredSongs)
    for part in sorted((tmp_path / "songs/runs/trial").glob("songs-*"))[1:]:
        part.unlink()

    assert len(Reader(songs._repr_html_()).texts["td"]) == 20


@pytest.mark.parametrize("output", [None, "songs"], ids=["in memory", "stored"])
def test_dataframe_has_a_column_for_each_field(output: str | None) -> None:
    """Give a row for each song found, and nothing where it lacks a field."""
    songs = songs_of({"title": "One", "year": 1999}, None, {"title": "Three", "song_num": "own"}, output=output)
    frame = songs.to_dataframe()

    assert list(frame.columns) == ["song_num", "title", "year", "info.song_num"]
    assert frame["song_num"].tolist() == [1, 3]
    assert frame["title"].tolist() == ["One", "Three"]
    assert frame["info.song_num"].isna().tolist() == [True, False]
    assert frame["year"].isna().tolist() == [False, True]


def test_number_is_not_shown_twice() -> None:
    """Have one column of numbers where the API's own field of that name says the same."""
    songs = songs_of({"song_num": 1, "title": "One"}, {"title": "Two", "song_num": 2})

    assert list(songs.to_dataframe().columns) == ["song_num", "title"]


def test_dataframe_of_other_infos() -> None:
    """Keep infos whole where not all are objects, and have the columns even without a row."""
    mixed, empty = songs_of("text", {"title": "One"}, 7).to_dataframe(), songs_of(None).to_dataframe()

    assert mixed.to_dict("list") == {"song_num": [1, 2, 3], "info": ["text", {"title": "One"}, 7]}
    assert isinstance(empty, pd.DataFrame)
    assert list(empty.columns) == ["song_num"]


def test_dataframe_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say in a sentence what is missing, and how to get it."""
    songs = songs_of(1)
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(BadRequest, match=r"^to_dataframe needs pandas; allowed: .*pip install pandas"):
        songs.to_dataframe()
