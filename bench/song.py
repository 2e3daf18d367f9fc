"""The song that the benchmark's upstream serves for every number, and the user's function that fetches it."""

from __future__ import annotations

import json
import os
from typing import Any

import requests

# How nginx writes it: $song stands for the number that the path holds.
TEMPLATE = (
    '{"id":$song,"title":"Song $song","artist":{"id":27,"name":"Daft Punk"},'
    '"album":{"id":302127,"title":"Discovery"},"duration":224,"rank":956167,"explicit":false}'
)


def info_of(song_num: int) -> Any:
    """Return what is stored for a number."""
    return json.loads(TEMPLATE.replace("$song", str(song_num)))


def request_song_info(session: requests.Session, song_num: int) -> Any:
    """Fetch a song as the README's example does, from the upstream that the environment names."""
    response = session.get(os.environ["BENCH_URL"].replace("{song_num}", str(song_num)))
    response.raise_for_status()
    return response.json()
