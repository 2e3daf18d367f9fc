"""Every error this package raises on purpose, one tree; the class says what the caller may do.

    SongcrawlError
    ├── BadRequest            400  mend the request: the sentence names the field, its value and what is allowed
    │   ├── Forbidden         403  call from the function's own page, not from another site's
    │   ├── UnknownRun        404  list the runs, name one of them
    │   ├── UnknownSong       404  name a song that the run was asked for, or wait until its part is stored
    │   ├── MethodNotAllowed  405  use a method of the sentence
    │   ├── RunConflict       409  choose another run name, or ask for what may be done with the run
    │   └── RequestTooLarge   413  send a smaller body
    ├── BadSetting            500  mend the deployment: the sentence names the variable
    ├── UpstreamUnavailable   503  wait and send the same call again; no song was marked failed for it
    ├── StoreUnavailable      503  wait and send the same call again; what is stored stays stored
    ├── QueueUnavailable      503  wait and send the same call again; what is enqueued already is not enqueued twice
    ├── SongNotFetched        500  from request_song_info: `verdict` says whether another attempt may do better
    ├── Damaged               500  look at the run with `python -m crawler verify`: something changed what was stored
    ├── NewerVersion          500  use the release that stored the run, or a newer one
    └── ObjectExists          500  never leaves the engine: another attempt stored this object first

The status is a hint for the entry points, so that nothing below them needs a web framework.
"""

from __future__ import annotations

from crawler.core.verdict import Verdict


class SongcrawlError(Exception):
    """The base of every error of this package; its text is one sentence fit for the caller."""

    http_status = 500


class BadRequest(SongcrawlError):
    """The request can't be carried out as it stands."""

    http_status = 400


class Forbidden(BadRequest):
    """Another web site sent this request through somebody's browser."""

    http_status = 403


class UnknownRun(BadRequest):
    """No run, or no page, has this name."""

    http_status = 404


class UnknownSong(BadRequest):
    """A run has no row of this number: it was not asked for, or is not stored yet."""

    http_status = 404


class MethodNotAllowed(BadRequest):
    """The path takes other methods: those `allowed`."""

    http_status = 405

    def __init__(self, method: str, path: str, *allowed: str) -> None:
        super().__init__(f"{path} takes {' and '.join(allowed)}, not {method}.")
        self.allowed = allowed


class RunConflict(BadRequest):
    """The run's name belongs to another request, or the run is not in the state that this needs."""

    http_status = 409


class RequestTooLarge(BadRequest):
    """The request's body is over the limit."""

    http_status = 413


class BadSetting(SongcrawlError):
    """A setting of the deployment is wrong; the text begins with its name, and says what is allowed."""

    @property
    def variable(self) -> str:
        """Return the name that the text begins with."""
        return str(self).partition(" ")[0]


class UpstreamUnavailable(SongcrawlError):
    """The upstream as a whole is down or refuses us, whichever song is asked for.

    `retry_after` is its own word on when to come again, in seconds, if it gave one.
    """

    http_status = 503

    def __init__(self, sentence: str | None, retry_after: int | None = None) -> None:
        super().__init__(sentence or "The upstream refuses us.")
        self.retry_after = retry_after


class StoreUnavailable(SongcrawlError):
    """The store can't be reached or refuses us; whether the last write took effect is not known."""

    http_status = 503


class Damaged(SongcrawlError):
    """A stored object is not what was stored."""


class NewerVersion(SongcrawlError):
    """An object is stored in a form that only a newer release knows."""


class ObjectExists(SongcrawlError):
    """Another call stored an object of this name first."""


class QueueUnavailable(SongcrawlError):
    """The queue can't be reached or refuses us; whether the last task was created is not known.

    `retry_after` is its own word on when to come again, in seconds, if it gave one.
    """

    http_status = 503

    def __init__(self, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class SongNotFetched(SongcrawlError):
    """One attempt at a song did not tell whether it exists; `verdict` says why."""

    def __init__(self, song_num: object, verdict: Verdict) -> None:
        super().__init__(f"Song {song_num} was not fetched: {verdict.reason or verdict.error}.")
        self.verdict = verdict
