"""Trying songs, one request for each, by the fetcher, the rules and the pace of a crawl: nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from crawler.app.composition import key_file_of, limiter_of
from crawler.app.fetchers import obey_robots, rate_headers_of, robots_file_of, song_of
from crawler.app.trials.trial import Trial, make_trial
from crawler.core.errors import BadRequest, SongcrawlError, UpstreamUnavailable
from crawler.core.ports import Fetcher, ObservableFetcher, PageFetcher, SentRequest
from crawler.core.redaction import Redactor, secret_values
from crawler.core.settings import Settings
from crawler.core.verdict import Kind, Verdict
from crawler.rate_control.limiter import Limiter
from crawler.upstream.explanation.observed_song import Answer, ObservedSong
from crawler.upstream.explanation.trial_facts import TrialFacts
from crawler.upstream.song_requests.template import in_url
from crawler.upstream.waits import parse_retry_after

# Longer than this nobody waits for the next song of a few.
PATIENCE_SECONDS = 10.0

# What TOKEN_FORM may say to anybody (RFC 6749, 4.4.2; RFC 8707, 2).
_PLAIN_FIELDS = ("grant_type", "scope", "audience", "resource")

KeyOf = Callable[[int], str]


def try_songs(settings: Settings, songs: Sequence[int]) -> Iterator[Trial]:
    """Try songs one after the other, at the pace of a crawl, until none may be asked for any more.

    Raises BadSetting for settings that declare no song, BadRequest for a number that none of KEYS has.
    """
    observation = _Observation()
    _, make_fetcher = song_of(settings, lambda song: ObservedSong(song, observation.judged))
    key_of = _keys(settings, songs)
    with ExitStack() as opened:
        fetcher = make_fetcher(opened, key_of) if key_of else make_fetcher(opened)
        tries = _Tries(settings, observation, fetcher, key_of)
        for song_num in songs:
            trial = tries.trial(song_num)
            yield trial
            if trial.ends:
                return


def _keys(settings: Settings, songs: Sequence[int]) -> KeyOf | None:
    """Return what gives the key of a number; None: KEYS is not set."""
    file = key_file_of(settings)
    if file is None:
        return None
    keys = file.load()
    for song_num in songs:
        if not 1 <= song_num <= len(keys):
            raise BadRequest(f"KEYS has {len(keys)} keys, and none for {song_num}; allowed: 1 to {len(keys)}.")
    return keys.key


class _Observation:
    """What is seen and heard while one song is tried."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.requests: list[tuple[SentRequest, bytearray]] = []
        self.answer: Answer | None = None
        self.why = ""
        self.error: BaseException | None = None

    def answer_to(self, settings: Settings) -> Answer | None:
        """Return the answer that was judged, or that a user's function got; of a declared song no other is whole."""
        whole = self.answer is not None and (self.answer.judgement is not None or settings.song_function is not None)
        return self.answer if whole else None

    def sent(self, request: SentRequest) -> None:
        self.requests.append((request, bytearray()))

    def sent_body(self, chunk: bytes) -> None:
        self.requests[-1][1].extend(chunk)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        now = time.time()
        wait = parse_retry_after(headers.get("retry-after"), now, headers.get("date"))
        self.answer = Answer(status, headers, body, wait, now)

    def judged(self, answer: Answer) -> None:
        self.answer = answer

    def broken(self, why: str) -> None:
        self.why = why

    def raised(self, error: BaseException) -> None:
        self.error = error


class _Tries:
    """Songs that are tried by one fetcher, through one limiter."""

    def __init__(
        self, settings: Settings, observation: _Observation, fetcher: Fetcher, key_of: KeyOf | None = None
    ) -> None:
        self._settings = settings
        self._key_of = key_of
        self._observation = observation
        self._fetcher = fetcher
        self._limiter = limiter_of(settings.limits)
        self._robots_file = robots_file_of(settings)
        if isinstance(fetcher, ObservableFetcher):
            fetcher.observe(observation)
        self._rate_headers = rate_headers_of(settings)

    def trial(self, song_num: int) -> Trial:
        """Try one song, and say all of it."""
        self._observation.clear()
        verdict, refusal, seconds = None, "", None
        try:
            self._obey_robots()
            verdict, seconds = self._attempt(song_num)
        except SongcrawlError as error:
            refusal = str(error)
        facts = self._facts(song_num, verdict, refusal)
        requests = [(request, bytes(body)) for request, body in self._observation.requests]
        return make_trial(facts, self._redactor(facts.key), requests, seconds, self._observation.error)

    def _attempt(self, song_num: int) -> tuple[Verdict, float]:
        """Try once, and once more for each time that it was in vain for want of an access token; count the seconds."""
        while True:
            began = _turn(self._limiter)
            verdict = self._fetcher.attempt(song_num, self._settings.request_timeout_seconds)
            seconds = self._learn(began, verdict)
            if verdict.kind is not Kind.AGAIN:
                return verdict, seconds

    def _facts(self, song_num: int, verdict: Verdict | None, refusal: str) -> TrialFacts:
        seen = self._observation
        return TrialFacts(
            song_num,
            self._settings,
            self._rate_headers,
            seen.answer_to(self._settings),
            verdict,
            refusal=refusal,
            broken=seen.why,
            key=self._key_of(song_num) if self._key_of else None,
            sent=seen.requests[-1][0] if seen.requests else None,
        )

    def _redactor(self, key: str | None) -> Redactor:
        """Return what leaves out the settings' secrets, and those that were sent beside, such as an access token."""
        settings = self._settings
        others = [value for request, _ in self._observation.requests for value in secret_values(request.headers)]
        others += secret_values(settings.token_headers.items())
        others += [value for name, value in settings.token_form.items() if name not in _PLAIN_FIELDS]
        return Redactor(settings.song_url or "", settings.song_headers, others, plain=[in_url(key)] if key else [])

    def _obey_robots(self) -> None:
        """Ask for robots.txt once, and heed it from then on."""
        if self._robots_file is None:
            return
        fetcher, patience = self._fetcher, self._settings.request_timeout_seconds
        assert isinstance(fetcher, PageFetcher)  # it is SONG_URL's
        self._fetcher, self._limiter = obey_robots(
            self._robots_file, fetcher.fetch, patience, fetcher, self._limiter, self._key_of
        )
        self._robots_file = None
        self._observation.clear()

    def _learn(self, began: float, verdict: Verdict) -> float:
        """Have the limiter learn from a verdict, so that a wait that was asked for is kept; returns the seconds."""
        now = time.monotonic()
        with self._limiter:
            if verdict.kind is Kind.AGAIN:
                self._limiter.release(1)
                return now - began
            self._limiter.observe(began, now, verdict)
            self._limiter.observe_quota(began, now, verdict)
        return now - began


def _turn(limiter: Limiter) -> float:
    """Wait until the next request may go out, and count it; raises UpstreamUnavailable where that takes too long."""
    began = time.monotonic()
    while True:
        now = time.monotonic()
        with limiter:
            allowed, until = limiter.ready(now, 0)
            if allowed >= 1:
                limiter.send(now, 1)
                return now
        if until > began + PATIENCE_SECONDS:
            raise UpstreamUnavailable(
                f"The upstream asks for {until - now:,.0f} s of peace: this song and those after it are not asked for."
            )
        time.sleep(max(0.0, until - now))
