"""What goes wrong in a world, and how often: drawn once a world, so that some are mild and some are rough."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class Weather:
    """Hold probabilities for one pause (`crash`, `freeze`), one operation of the store, one attempt at a song.

    Times are in seconds of virtual time: an operation of the store takes up to `store_seconds`, a song `song_seconds`.
    """

    crash: float = 0.0
    freeze: float = 0.0
    unavailable: float = 0.0
    lost_acknowledgement: float = 0.0
    store_seconds: float = 0.0
    song_seconds: float = 0.01
    retry: float = 0.0
    throttled: float = 0.0
    refused: float = 0.0  # the share of all times in which all songs are
    hanging: float = 0.0

    @classmethod
    def draw(cls, chance: random.Random) -> Weather:
        """Draw a weather: most of its troubles are off, so that the others are seen alone too."""

        def sometimes(share: float, *rates: float) -> float:
            return chance.choice(rates) if chance.random() < share else 0.0

        return cls(
            crash=sometimes(0.6, 0.003, 0.01, 0.03),
            freeze=sometimes(0.35, 0.003, 0.01),
            unavailable=sometimes(0.25, 0.01, 0.05, 0.2),
            lost_acknowledgement=sometimes(0.3, 0.02, 0.1, 0.4),
            store_seconds=sometimes(0.5, 0.02, 0.2),
            song_seconds=chance.choice((0.01, 0.1, 0.5)),
            retry=sometimes(0.5, 0.05, 0.3, 0.6),
            throttled=sometimes(0.2, 0.05, 0.3),
            refused=sometimes(0.2, 0.1, 0.4),
            hanging=sometimes(0.1, 0.02),
        )


CALM = Weather()

# No reason not to get to the end: a song is tried again, or is failed in the end.
BREEZE = Weather(retry=0.3)
