"""Build the SQLite file of a music catalogue whose titles are as odd as those of real ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

TRACKS = 3503

# What breaks careless writers: accents, quotes, line ends, separators, formulas, mark-up, astral and empty texts.
TITLES = (
    "Garota de Ipanema",
    "Águas de Março",
    "Für Elise (œuvre complète)",
    'Don\'t Look To The Eyes Of A "Stranger"',
    "Two\nlines\r\nand\ttabs",
    "🎵 Ночь 夜 ليلة 👩‍🎤",
    "=HYPERLINK(A1)",
    "+1, -1; @home",
    "C:\\temp\\{song_num}",
    "<b>R&amp;B</b>",
    "Line\u2028separator\u0085and\u00a0blank",
    "e\u0301 is not é",
    "null",
    "",
)


def title(song_num: int) -> str:
    """Give the title of a track: every oddity many times, and no two titles alike but the empty ones."""
    text = TITLES[song_num % len(TITLES)]
    return text and f"{text} {song_num}"


def write_catalogue(file: Path, tracks: int = TRACKS) -> None:
    """Write the tracks 1 to `tracks` into a new SQLite file."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table tracks (id integer primary key, title text not null, seconds real, album text)")
        database.executemany(
            "insert into tracks values (?, ?, ?, ?)",
            ((n, title(n), n / 7, None if n % 5 else f"Album {n // 5}") for n in range(1, tracks + 1)),
        )


def read_titles(file: Path) -> dict[int, str]:
    """Read every title from the file, by number."""
    with closing(sqlite3.connect(file)) as database:
        return dict(database.execute("select id, title from tracks").fetchall())
