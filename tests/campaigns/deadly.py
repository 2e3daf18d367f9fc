"""A single-request function of which one song ends the whole process, as one does that is too large for its memory."""

from __future__ import annotations

import os
from typing import Any

import requests

DEADLY_SONG = 13


def request_song_info(session: requests.Session, song_num: int) -> dict[str, Any]:
    """Return the song, or end the process."""
    if song_num == DEADLY_SONG:
        os._exit(1)
    return {"id": song_num}
