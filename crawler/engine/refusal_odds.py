"""How likely it is that a song is refused by chance alone, as the others are, and not for itself."""

from __future__ import annotations

from crawler.engine.backlog import Attempt, Refusals


class RefusalOdds:
    """What came of the songs: `good` counts those that came, `bad` how often these were refused before.

    Those that never came say nothing of how often a song that is there is refused.
    """

    def __init__(self) -> None:
        self.good = self.bad = 0

    def note_found(self, attempt: Attempt) -> None:
        """Count a song that came."""
        self.good += 1
        self.bad += attempt.refused.asked if attempt.refused else 0

    def note_refused(self, attempt: Attempt, word: str) -> None:
        """Keep with an attempt how often its song was refused, and what had come of others by then."""
        refused = attempt.refused
        if refused is None:
            attempt.refused = Refusals(word, 1, self.good, self.bad, 1, self.good)
            return
        times = refused.times + (self.good > refused.latest)
        attempt.refused = Refusals(word, times, refused.good, refused.bad, refused.asked + 1, self.good)

    def of(self, attempt: Attempt, *, once_more: bool) -> float:
        """Return the odds that chance refused a song as often as it was, or `once_more`: from 0 to 1.

        The share of refusals among the songs that came meanwhile, by the rule of succession, to the power of how often
        it was refused with something coming in between.
        """
        refused = attempt.refused
        if refused is None:
            return 1.0
        good, bad = self.good - refused.good, self.bad - refused.bad
        share = (bad + 1) / (good + bad + 2)
        return float(share ** (refused.times + (once_more and self.good > refused.latest)))
