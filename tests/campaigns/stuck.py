"""A user's function that sits in one song for ever, whatever its timeout."""

from __future__ import annotations

import threading
from typing import Any

import requests

STUCK_SONG = 5


def request_song_info(session: requests.Session, song_num: int) -> dict[str, Any]:
    """Make up a song; never come back from one of them."""
    if song_num == STUCK_SONG:
        threading.Event().wait()
    return {"id": song_num, "title": f"Song {song_num}"}
