"""The lanes, each opened alike: what a test holds them to, it holds all of them to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from crawler.adapters.session import DeclaredLane, FunctionLane, open_session
from crawler.rules.info import DeclaredSong
from crawler.seams.ports import Lane

MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Opening:
    """Say how to open a lane: the SONG_URL, what picks the info, and what a deployment sets beside."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    allow_private: bool = True
    authority: Path | None = None


def request_title(url: str) -> Callable[[requests.Session, Any], Any]:
    """Give the function that a user would write for the titles of the songs at a URL."""

    def request_song_info(session: requests.Session, song_num: Any) -> Any:
        response = session.get(url.replace("{song_num}", str(song_num)))
        response.raise_for_status()
        return response.json()["title"]

    return request_song_info


@contextmanager
def _session(opening: Opening) -> Iterator[requests.Session]:
    options: dict[str, Any] = {"max_song_bytes": MOST_BYTES, "allow_private": opening.allow_private}
    with open_session(8, "songcrawl/test", opening.headers, **options) as session:
        if opening.authority:
            session.verify = str(opening.authority)
        yield session


@contextmanager
def _declared(opening: Opening) -> Iterator[Lane]:
    with _session(opening) as session:
        yield DeclaredLane(session, opening.url, DeclaredSong("title"), MOST_BYTES)


@contextmanager
def _function(opening: Opening) -> Iterator[Lane]:
    with _session(opening) as session:
        yield FunctionLane(session, request_title(opening.url))


LANES: dict[str, Callable[[Opening], AbstractContextManager[Lane]]] = {
    "declared": _declared,
    "function": _function,
}

every_lane = pytest.mark.parametrize("open_lane", LANES.values(), ids=LANES)
