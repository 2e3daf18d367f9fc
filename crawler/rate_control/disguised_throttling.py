"""Throttling that calls itself something else: a 503, 500 or 403 that goes away where fewer requests are sent.

Which it is shows by an experiment. Where many songs in a row are refused with one word though a song known to be there
comes, the rate is cut, and the songs that were refused are asked for again: if they come, the word means throttling for
as long as this lasts; if none does, it is the songs' own, and the rate of before comes back.

    FRESH ── a canary came, six or more refused ──> TRIAL ── those asked again come ──> THROTTLING
      └───────── five asked again, none came ────────┴──────────> OWN <── slower, and as many refused ──┘
"""

from __future__ import annotations

from enum import Enum

# So many refused in a row by chance: where three in ten requests fail by themselves, once in 1,400.
MANY_IN_A_ROW = 6
# Of songs asked again: so many that came, or so many of which none did, tell.
ENOUGH_CAME, ENOUGH_REFUSED = 3, 5
# Where some come and some do not, so many tell, and throttling goes away by this share at least.
MIXED, GONE_SHARE = 24, 0.6
# Of answers that count for the share of those refused: an exponential average of some twenty.
_WEIGHT = 1 / 20
# From this share on songs that would fail by it are asked for more slowly first, if others passed at another attempt.
NOTABLE_SHARE = 0.1
# What is taken for throttling and is refused as often after so many answers, never many in a row, is none.
WINDOW, WINDOW_SHARE, LONGEST_ROW = 40, 0.25, 5
# Of songs that are refused with a word that is their own one in so many is asked for again: limits begin in mid-run.
SAMPLE = 10


class Meaning(Enum):
    """What a word is taken for."""

    FRESH = "fresh"
    TRIAL = "trial"
    THROTTLING = "throttling"
    OWN = "own"


class _Word:
    """What is known of one word."""

    def __init__(self) -> None:
        self.meaning = Meaning.FRESH
        self.row = 0  # songs refused with it since anything came
        self.longest_row = 0  # since a canary told of it
        self.share = 0.0
        self.before = 0.0  # the share when the rate was cut
        self.came = self.refused = 0  # of songs asked again
        self.believed = 0  # songs since the last that was asked again though the word is the songs' own
        self.seen = self.seen_refused = self.longest = 0  # since it is taken for throttling

    def turn(self, meaning: Meaning) -> None:
        self.meaning, self.came, self.refused, self.before = meaning, 0, 0, self.share
        self.seen = self.seen_refused = self.longest = 0


class DisguisedThrottling:
    """What every word of a failure is taken for: the songs' own, or throttling."""

    def __init__(self) -> None:
        self._words: dict[str, _Word] = {}

    def __bool__(self) -> bool:
        """Tell whether there was any such failure, so that answers are to be told."""
        return bool(self._words)

    def means_throttling(self, word: str) -> bool:
        """Tell whether a word is taken for throttling."""
        return word in self._words and self._words[word].meaning is Meaning.THROTTLING

    def on_trial(self, word: str) -> bool:
        """Tell whether an experiment goes on."""
        return word in self._words and self._words[word].meaning is Meaning.TRIAL

    def passes(self, word: str) -> bool:
        """Tell whether songs that were refused with it came when they were asked for again."""
        return word in self._words and self._words[word].came > 0

    def is_own(self, word: str) -> bool:
        """Tell whether one more song that is refused with it is to be believed without asking again."""
        known = self._words.get(word)
        if known is None or known.meaning is not Meaning.OWN:
            return False
        known.believed += 1
        if known.believed >= SAMPLE:
            known.believed = 0
            return False
        return True

    def begin(self, word: str, *, alarmed: bool) -> bool:
        """Begin the experiment if there is reason to; `alarmed`: a canary has just come among those that were refused.

        Else a song would be failed.
        """
        known = self._words.get(word)
        if known is None or known.meaning is not Meaning.FRESH:
            return False
        if alarmed:
            provisional, known.longest_row = known.longest_row >= MANY_IN_A_ROW, 0
            known.share = max(known.share, float(provisional))
        else:
            provisional = known.came >= ENOUGH_CAME and known.share >= NOTABLE_SHARE
        if provisional:
            known.turn(Meaning.TRIAL)
        return provisional

    def confess(self, word: str) -> None:
        """Take a word for throttling from now on."""
        self._words.setdefault(word, _Word()).turn(Meaning.THROTTLING)

    def observe_came(self, count: int, before: str | None = None) -> Meaning | None:
        """Learn that songs came, one of which was refused `before` with this word; returns how a trial ended."""
        for known in self._words.values():
            known.row = 0
            known.share *= (1.0 - _WEIGHT) ** count
            if known.meaning is Meaning.THROTTLING:
                known.seen += count
        if before not in self._words:
            return None
        known = self._words[before]
        known.came += 1
        if known.meaning is Meaning.OWN and not _passing(before):
            known.turn(Meaning.FRESH)
            known.came = 1
        return self._judge(known)

    def observe_refused(self, word: str, *, again: bool) -> Meaning | None:
        """Learn that a song was refused, `again` or for the first time; returns how a trial, or a belief, ended."""
        known = self._words.setdefault(word, _Word())
        known.row += 1
        known.longest_row = max(known.longest_row, known.row)
        known.share += _WEIGHT * (1.0 - known.share)
        if known.meaning is Meaning.THROTTLING:
            return self._question(known)
        known.refused += again
        return self._judge(known)

    def _judge(self, known: _Word) -> Meaning | None:
        """End an experiment that tells enough."""
        came, refused = known.came, known.refused
        if refused >= ENOUGH_REFUSED and not came and known.meaning in (Meaning.TRIAL, Meaning.FRESH):
            return self._turned(known, Meaning.OWN)
        if known.meaning is not Meaning.TRIAL:
            return None
        sure = known.before >= 0.5 or came + refused >= MIXED
        if sure and came >= ENOUGH_CAME and came >= 3 * refused:
            return self._turned(known, Meaning.THROTTLING)
        if came + refused < MIXED:
            return None
        gone = refused / (came + refused) < GONE_SHARE * known.before
        return self._turned(known, Meaning.THROTTLING if gone else Meaning.OWN)

    def _question(self, known: _Word) -> Meaning | None:
        """Take back that it is throttling where slower requests are refused as often, one here and one there."""
        known.seen += 1
        known.seen_refused += 1
        known.longest = max(known.longest, known.row)
        if known.seen < WINDOW:
            return None
        if known.seen_refused >= WINDOW_SHARE * known.seen and known.longest < LONGEST_ROW:
            return self._turned(known, Meaning.OWN)
        known.seen = known.seen_refused = known.longest = 0
        return None

    def _turned(self, known: _Word, meaning: Meaning) -> Meaning | None:
        was, known.believed = known.meaning, 0
        known.turn(meaning)
        return None if was is Meaning.FRESH else meaning


def _passing(word: str) -> bool:
    """Tell whether a failure may pass by itself, so that one that did says nothing of a limit."""
    return not word.startswith(("http_4", "http_3"))
