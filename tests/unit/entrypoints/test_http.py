"""Check HTTP without a web framework: routes, statuses, headers, bodies, and who may start or stop anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from support.fakes import FakeFetcher
from support.runs import figures, run_spec

from crawler.adapters.storage.folder import FolderStore
from crawler.app.composition import limiter_of
from crawler.app.deployment import Deployment
from crawler.core.errors import BadSetting, StoreUnavailable
from crawler.core.ports import Store
from crawler.core.settings import Settings
from crawler.core.verdict import Verdict, failed, found, refused, throttled
from crawler.entrypoints.http.routes import HttpRequest, HttpResponse, respond, respond_crawled
from crawler.rate_control import circuit_breaker
from crawler.runs.index import RunIndex
from crawler.runs.spec import Source
from crawler.runs.summary import HANDED_TO_QUEUE, OUT_OF_TIME, CallResult, Reason, make_plan

CANARY = "canary-7Qf"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


class Function:
    """The function on a folder, with a fetcher that answers from a table; `opened` counts how often it was needed."""

    def __init__(self, folder: Path) -> None:
        """Deploy it."""
        self.store: Store = FolderStore(folder)
        self.fetcher = FakeFetcher()
        self.opened = 0
        self.settings: dict[str, str] = {}

    def open(self) -> Deployment:
        """Give the deployment."""
        self.opened += 1
        settings = Settings.from_environ({"DEADLINE_SECONDS": "60", "MAX_PER_SECOND": "0", **self.settings})
        source = Source("sim://{song_num}", "0123456789abcdef")
        return Deployment(settings, self.store, source, lambda _: self.fetcher, limiter_of(settings.limits))

    def send(self, method: str, address: str, body: Any = None, /, **headers: str) -> HttpResponse:
        """Send a request; a header's underscores stand for dashes."""
        path, _, query = address.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return respond(self.open, HttpRequest(method, path, [(name, value) for name, _, value in pairs], named, data))

    def objects(self) -> list[str]:
        """Name what is stored."""
        return [stored.name for stored in self.store.list("")]


@pytest.fixture
def function(tmp_path: Path) -> Function:
    """Deploy the function."""
    return Function(tmp_path)


def read(response: HttpResponse) -> Any:
    """Read a JSON body, which ends its line."""
    assert response.content_type == "application/json"
    assert response.body.endswith(b"\n")
    return json.loads(response.body)


def problem(response: HttpResponse) -> str:
    """Hold a response to RFC 9457 and give its sentence."""
    content = json.loads(response.body)
    assert response.content_type == "application/problem+json"
    assert list(content) == ["title", "status", "detail"]
    assert content["status"] == response.status
    sentence: str = content["detail"]
    return sentence


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        pytest.param("POST", "/", {"songs": "1-3"}, id="POST with a body"),
        pytest.param("POST", "/?songs=1-3", None, id="POST with a query"),
        pytest.param("GET", "/?songs=1-3", None, id="GET"),
        pytest.param("POST", "", {"songs": "1-3"}, id="no path"),
    ],
)
def test_a_call_crawls(function: Function, method: str, address: str, body: Any) -> None:
    """Crawl, and answer 200 with the run's state and no header of its own."""
    response = function.send(method, address, body)

    assert (response.status, dict(response.headers)) == (200, {})
    assert (read(response)["state"], read(response)["found"]) == ("complete", 3)
    assert sorted(function.fetcher.tried) == [1, 2, 3]


def test_a_run_is_looked_at_by_its_name(function: Function) -> None:
    """Answer for a run what its own call was answered."""
    answer = read(function.send("POST", "/", {"songs": "1-3", "run": "trial"}))

    assert read(function.send("GET", "/runs/trial")) == answer


def test_a_browser_gets_the_report(function: Function) -> None:
    """Answer with HTML for a person, as a file to keep if it is asked for, and with JSON for a program."""
    answer = read(function.send("POST", "/", {"songs": "1-3", "run": "trial"}))
    report, saved = (function.send("GET", f"/runs/trial{query}", accept=BROWSER) for query in ("", "?download=1"))

    assert (report.status, report.content_type) == (200, "text/html; charset=utf-8")
    assert "Content-Disposition" not in report.headers
    assert saved.headers["Content-Disposition"] == 'attachment; filename="trial.html"'
    assert read(function.send("GET", "/runs/trial", accept="*/*")) == answer
    assert problem(function.send("GET", "/runs/never", accept=BROWSER)) == "There is no run never."


def test_a_runs_parts_are_told_if_asked_for(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the places of the parts that are there, and what a call that goes on with the run must ask for."""
    monkeypatch.setattr(circuit_breaker, "CREDENTIALS_SECONDS", 0.0)
    down: list[int] = []

    def judge(item: int, _nth: int) -> Verdict:
        down.extend([item] if item == 1500 else [])
        return refused("Down.") if down else found(item)

    function.fetcher = FakeFetcher(judge)
    function.send("POST", "/", {"songs": "1-3000", "run": "trial", "max_at_once": 1})

    plain, told = (read(function.send("GET", f"/runs/trial{query}")) for query in ("?parts=0", "?parts=1"))
    coverage = told.pop("coverage")

    assert told == plain
    assert (coverage["asked"], coverage["part_songs"], coverage["grid"]) == ("1-3000", 1000, 3)
    assert (coverage["kept"], coverage["failing"]) == ("2", "")
    assert coverage["committed"] in ("", "1", "3", "1,3")


@pytest.mark.parametrize(
    ("method", "address", "status", "sentence"),
    [
        ("POST", "/", 400, "songs is missing; allowed: "),
        ("GET", "/?songs=10-1", 400, "songs: the range 10-1 is reversed: write 1-10; allowed: "),
        ("GET", "/runs?limit=0", 400, "limit is "),
        ("GET", "/runs/TRIAL", 400, "run is "),
        ("GET", "/runs/trial?part=1", 400, '"part" is no parameter; allowed: parts, download.'),
        ("GET", "/runs/trial?parts=yes", 400, 'parts is "yes"; allowed: 0 or 1.'),
        ("POST", "/runs/.a/stop", 400, "run is "),
        ("GET", "/runs/never", 404, "There is no run never."),
        ("POST", "/runs/never/stop", 404, "There is no run never."),
        ("GET", "/favicon.ico", 404, "There is nothing at /favicon.ico; allowed: /, /runs, "),
        ("GET", "/runs/a/b", 404, "There is nothing at /runs/a/b; "),
        ("POST", "/runs/a/stop/b", 404, "There is nothing at /runs/a/stop/b; "),
        ("GET", f"/{'a' * 9000}", 404, f"There is nothing at /{'a' * 99}; "),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_can_not_be_answered_is_a_problem(
    function: Function, method: str, address: str, status: int, sentence: str
) -> None:
    """Say in a sentence what is wrong, under its status, and do nothing."""
    response = function.send(method, address)

    assert response.status == status
    assert problem(response).startswith(sentence)
    assert dict(response.headers) == {}
    assert function.objects() == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *(("/", "GET, POST"), ("/runs", "GET"), ("/runs/trial", "GET"), ("/runs/trial/stop", "POST")),
        ("/openapi.json", "GET"),
    ],
)
def test_another_method_is_answered_with_those_allowed(function: Function, path: str, allowed: str) -> None:
    """Answer 405 with Allow, without a look at the deployment."""
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} - set(allowed.split(", ")):
        response = function.send(method, path)

        assert (response.status, dict(response.headers)) == (405, {"Allow": allowed})
        assert problem(response).endswith(f", not {method}.")
    assert function.opened == 0


def test_a_body_too_long_is_413(function: Function) -> None:
    """Refuse a byte more than 64 KiB."""
    response = function.send("POST", "/", b'{"songs": 7}'.ljust((64 << 10) + 1))

    assert response.status == 413
    assert problem(response) == "The body is too long; allowed: 65536 bytes."


def test_a_name_taken_by_another_request_is_409(function: Function) -> None:
    """Say whose the name is."""
    function.send("POST", "/", {"songs": "1-3", "run": "trial"})

    response = function.send("POST", "/", {"songs": "4", "run": "trial"})

    assert response.status == 409
    assert problem(response).startswith("The run trial is taken: it asked for songs 1-3 of sim://")


@pytest.mark.parametrize(
    ("reason", "status", "retry_after"),
    [
        (Reason.COMPLETE, 200, None),
        (Reason.QUEUED, 202, None),
        (Reason.STOPPED, 503, "30"),
        (Reason.DEADLINE, 503, "1"),
        (Reason.UPSTREAM, 503, "30"),
        (Reason.BUSY, 503, "30"),
    ],
)
@pytest.mark.parametrize("detail", [None, OUT_OF_TIME.detail, HANDED_TO_QUEUE.detail, "Worded anew."])
def test_a_status_goes_by_the_reason(reason: Reason, status: int, retry_after: str | None, detail: str | None) -> None:
    """Choose status and Retry-After by why the call ended, whatever its sentence says, and keep the reason inside."""
    summary = msgspec.structs.replace(make_plan(run_spec("1-9"), "songs", 1.0), detail=detail)

    response = respond_crawled(CallResult(summary, reason))

    assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
    assert response.body == msgspec.json.encode(summary) + b"\n"


def test_every_reason_has_a_status() -> None:
    """Know an answer for every way in which a call may end."""
    summary = make_plan(run_spec("1-9"), "songs", 1.0)

    assert {respond_crawled(CallResult(summary, reason)).status for reason in Reason} == {200, 202, 503}


def test_the_deadline_is_503_and_continues_at_once(function: Function) -> None:
    """Answer a call whose time is over with its state and Retry-After: 1."""
    function.fetcher = FakeFetcher(lambda _item, _nth: throttled("http_429", 0.1))

    response = function.send("POST", "/", {"songs": "1-3", "deadline_seconds": 1})

    assert (response.status, dict(response.headers)) == (503, {"Retry-After": "1"})
    assert (read(response)["state"], read(response)["remaining"]) == ("partial", 3)


def test_a_pause_past_the_deadline_is_503_and_waits(function: Function) -> None:
    """Answer at once where the upstream asks for more peace than the call has time for, and pass its wish on."""
    function.fetcher = FakeFetcher(lambda _item, _nth: throttled("http_429", 3600.0))

    response = function.send("POST", "/", {"songs": "1-3", "deadline_seconds": 60})

    assert (response.status, dict(response.headers)) == (503, {"Retry-After": "3600"})
    assert "asks for 3600 s of peace" in read(response)["detail"]
    assert read(response)["retry_after"] == 3600
    assert (read(response)["state"], read(response)["remaining"]) == ("partial", 3)


def test_an_upstream_that_refuses_is_503_and_waits(function: Function) -> None:
    """Answer with the state, the reason and a longer Retry-After."""
    function.fetcher = FakeFetcher(lambda _item, _nth: refused("The upstream answers 401."))

    response = function.send("POST", "/", {"songs": "1-30"})

    assert (response.status, dict(response.headers)) == (503, {"Retry-After": "30"})
    assert (read(response)["state"], read(response)["detail"]) == ("partial", "The upstream answers 401.")


def raising(error: Exception) -> Callable[..., NoReturn]:
    """Make a function that raises, whatever it is given."""

    def fail(*_: Any) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (StoreUnavailable("The bucket can't be reached."), 503, {"Retry-After": "30"}),
        (BadSetting("SONG_URL is a private address."), 500, {}),
    ],
    ids=["a store", "a setting"],
)
@pytest.mark.parametrize("when", ["at the start", "in the middle"])
def test_an_error_of_ours_is_said_as_it_is(
    function: Function, error: Exception, status: int, headers: dict[str, str], when: str
) -> None:
    """Answer with the error's sentence and status, and tell when to come again where that helps."""
    function.fetcher = FakeFetcher(raising(error))
    request = HttpRequest("POST", "/", body=b'{"songs": 7}')
    opened = function.open if when == "in the middle" else raising(error)

    response = respond(opened, request)

    assert (response.status, dict(response.headers)) == (status, headers)
    assert problem(response) == str(error)


@pytest.mark.parametrize("when", ["at the start", "in the middle"])
def test_an_unforeseen_error_is_500_without_its_text(function: Function, when: str) -> None:
    """Say that something went wrong, and not a word of what: a key may stand there."""
    function.fetcher = FakeFetcher(raising(RuntimeError(CANARY)))
    request = HttpRequest("POST", "/", body=b'{"songs": 7}')
    opened = function.open if when == "in the middle" else raising(RuntimeError(CANARY))

    response = respond(opened, request)

    assert (response.status, dict(response.headers)) == (500, {})
    assert problem(response) == "Something unforeseen went wrong; the function's log says where."
    assert CANARY.encode() not in response.body


def begin_runs(function: Function, count: int) -> list[str]:
    """Begin runs a millisecond apart; gives their names, newest first."""
    names = [f"run-{number}" for number in range(count)]
    for number, name in enumerate(names):
        run_index, spec = RunIndex(function.store, call_id=name), run_spec("1-3", run=name)
        run_index.announce(spec, [], 1_700_000_000_000 + number)
        run_index.run_store(name).begin(spec)
    return names[::-1]


def test_runs_are_listed_in_pages(function: Function) -> None:
    """List runs newest first; `next` is the query of the page after, null on the last."""
    names = begin_runs(function, 5)
    pages: list[list[str]] = []
    query = "limit=2"
    while query and len(pages) < 9:
        page = read(function.send("GET", f"/runs?{query}"))
        pages.append([run["run"] for run in page["runs"]])
        query = page["next"]

    assert pages[0] == names[:2]
    assert [run for page in pages for run in page] == names


def test_a_page_that_holds_all_has_no_next(function: Function) -> None:
    """Give null where the page is the last, be it full to the last run, and an empty list where there is no run."""
    empty = read(function.send("GET", "/runs"))
    names = begin_runs(function, 2)
    page = read(function.send("GET", "/runs?limit=2"))

    assert empty == {"runs": [], "next": None}
    assert ([run["run"] for run in page["runs"]], page["next"]) == (names, None)


def test_a_run_announced_and_never_begun_is_left_out_of_its_page(function: Function) -> None:
    """List the others, and go on to the next page though this one came out short."""
    begin_runs(function, 2)
    RunIndex(function.store, "x").announce(run_spec(run="never"), [], 1_700_000_000_009)

    page = read(function.send("GET", "/runs?limit=2"))

    assert [run["run"] for run in page["runs"]] == ["run-1"]
    assert [run["run"] for run in read(function.send("GET", f"/runs?{page['next']}"))["runs"]] == ["run-0"]


def test_a_stopped_run_starts_nothing_more(function: Function) -> None:
    """Answer with the stopped state; the same call by name then sends nothing and is 503."""
    function.fetcher = FakeFetcher(lambda _item, _nth: refused("Down."))
    function.send("POST", "/", {"songs": "1-30", "run": "trial"})
    stopped = function.send("POST", "/runs/trial/stop")
    function.fetcher = FakeFetcher()
    again = function.send("POST", "/", {"songs": "1-30", "run": "trial"})

    assert (stopped.status, read(stopped)["state"], read(stopped)["remaining"]) == (200, "stopped", 30)
    assert (again.status, read(again)["state"]) == (503, "stopped")
    assert again.headers["Retry-After"] == "30"
    assert function.fetcher.tried == []
    assert read(function.send("POST", "/runs/trial/stop")) == read(stopped)


def test_a_stopped_run_is_resumed(function: Function) -> None:
    """Take the stop back, as often as is asked, and have the same call go on and complete the run."""
    function.fetcher = FakeFetcher(lambda _item, _nth: refused("Down."))
    run = read(function.send("POST", "/", {"songs": "1-30"}))["run"]
    never = read(function.send("POST", f"/runs/{run}/resume"))
    function.send("POST", f"/runs/{run}/stop")
    named = read(function.send("POST", "/", {"songs": "1-30", "run": run}))
    resumed = [read(function.send("POST", f"/runs/{run}/resume")) for _ in range(2)]
    function.fetcher = FakeFetcher()
    again = read(function.send("POST", "/", {"songs": "1-30"}))

    assert (never["state"], named["state"]) == ("partial", "stopped")
    assert "resume" in named["detail"]
    assert [answer["state"] for answer in resumed] == [never["state"]] * 2
    assert (again["run"], again["state"]) == (run, "complete")
    assert figures(read(function.send("POST", f"/runs/{run}/resume"))) == figures(again)


def test_a_complete_run_is_not_stopped(function: Function) -> None:
    """Answer a stop that comes too late with the complete run, and store no marker."""
    answer = read(function.send("POST", "/", {"songs": "1-3", "run": "trial"}))

    assert read(function.send("POST", "/runs/trial/stop")) == answer
    assert "runs/trial/stop.json" not in function.objects()


def test_a_held_run_is_answered_and_accepted(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    """Answer 200 with why, log an ERROR, ask nothing for the same call, and complete the run by a POST, once."""
    function.settings = {"MAX_FAILED": "0.3"}
    function.fetcher = FakeFetcher(lambda item, _nth: found(item) if item == 1 else failed("http_400"))
    held = function.send("POST", "/", {"songs": "1-3"})
    answer = read(held)
    with caplog.at_level("INFO", "crawler"):
        again = function.send("POST", "/", {"songs": "1-3"})
    address = f"/runs/{answer['run']}"

    assert (held.status, answer["state"], answer["remaining"]) == (200, "held", 0)
    assert answer["detail"].startswith("The run is held: 2 of 3 songs failed, and MAX_FAILED allows a share of 0.3.")
    assert (again.status, figures(read(again))) == (200, figures(answer))
    assert read(again)["warnings"][-1].startswith(f"Nothing was asked: the run {answer['run']} is held since ")
    assert len(function.fetcher.tried) == 3
    assert [(record.levelname, record.message) for record in caplog.records][-1] == ("ERROR", "crawl held")
    assert read(function.send("GET", address)) == read(function.send("POST", f"{address}/stop")) == answer
    assert "2 of 3 songs failed" in function.send("GET", address, accept=BROWSER).body.decode()
    accepted = function.send("POST", f"{address}/accept")
    assert (accepted.status, read(accepted)["state"]) == (200, "complete")
    assert read(function.send("GET", address)) == read(accepted)
    twice = function.send("POST", f"{address}/accept")
    assert (twice.status, problem(twice)) == (
        409,
        f"The run {answer['run']} is complete; allowed: a run that is held.",
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
@pytest.mark.parametrize(
    ("method", "address"),
    [
        *(("POST", "/?songs=1-3"), ("GET", "/?songs=1-3")),
        *(("POST", "/runs/trial/stop"), ("POST", "/runs/trial/resume"), ("POST", "/runs/trial/accept")),
    ],
    ids=["crawl", "crawl by GET", "stop", "resume", "accept"],
)
def test_another_sites_page_does_nothing(function: Function, method: str, address: str, site: str) -> None:
    """Answer 403 to what a browser says another site's page sent, and touch nothing."""
    function.fetcher = FakeFetcher(lambda _item, _nth: refused("Down."))
    function.send("POST", "/", {"songs": "1-3", "run": "trial"})
    before = function.objects(), function.opened

    response = function.send(method, address, sec_fetch_site=site)

    assert response.status == 403
    assert problem(response) == "Another site's page can't do this; allowed: the function's own page."
    assert (function.objects(), function.opened) == before


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_functions_own_page_may_crawl_and_stop(function: Function, site: str) -> None:
    """Carry out what a browser says its user or the function's own page sent."""
    crawled = function.send("POST", "/", {"songs": "1-3", "run": "trial"}, sec_fetch_site=site, accept=BROWSER)
    stopped = function.send("POST", "/runs/trial/stop", sec_fetch_site=site)

    assert [response.status for response in (crawled, stopped)] == [200, 200]


@pytest.mark.parametrize("site", ["none", "same-origin", "cross-site"])
@pytest.mark.parametrize("address", ["/", "/?songs=1-3", "/?songs=nonsense"])
def test_a_browsers_get_shows_a_page(function: Function, address: str, site: str) -> None:
    """Answer with HTML and start nothing, wherever the link was; not even the deployment is needed."""
    response = function.send("GET", address, accept=BROWSER, sec_fetch_site=site)

    assert (response.status, response.content_type) == (200, "text/html; charset=utf-8")
    assert response.body.startswith(b"<!doctype html>")
    assert (function.opened, function.objects(), function.fetcher.tried) == (0, [], [])


@pytest.mark.parametrize("dry_run", [1, "1"])
def test_a_dry_run_plans_and_does_nothing(function: Function, dry_run: Any) -> None:
    """Answer 200 with the plan; nothing is asked of the upstream and nothing stored."""
    response = function.send("POST", "/", {"songs": "1-3000", "dry_run": dry_run, "max_per_second": 10})

    plan = read(response)
    assert (response.status, plan["state"], plan["remaining"]) == (200, "planned", 3000)
    assert (plan["elapsed_seconds"], plan["parts"]) == (300.0, 3)
    assert (function.fetcher.tried, function.objects()) == ([], [])


def test_a_scheduled_call_is_one_run_however_often_it_is_delivered(function: Function) -> None:
    """Name the run by the job and its time, and answer the second delivery from the store."""
    headers = {
        "x_cloudscheduler_jobname": "projects/p/locations/l/jobs/nightly",
        "x_cloudscheduler_scheduletime": "2026-01-02T03:04:05.5Z",
    }
    answers = [read(function.send("POST", "/", {"songs": "1-3"}, **headers)) for _ in range(2)]

    assert answers[0]["run"].startswith("nightly-20260102t030405z-")
    assert figures(answers[1]) == figures(answers[0])
    assert sorted(function.fetcher.tried) == [1, 2, 3]


def test_a_song_that_fails_does_not_fail_the_call(function: Function) -> None:
    """Answer 200 where every number is accounted for, failed ones too."""
    function.fetcher = FakeFetcher(lambda item, _nth: found(object() if item == 2 else item))

    response = function.send("POST", "/", {"songs": "1-3"})

    assert response.status == 200
    assert [read(response)[name] for name in ("found", "failed", "remaining")] == [2, 1, 0]


def test_a_songs_row_is_answered_by_its_number(function: Function) -> None:
    """Return the row as it is stored; 404 for a song that the run was not asked for."""
    function.send("POST", "/", {"songs": "1-3", "run": "trial"})

    response = function.send("GET", "/runs/trial/songs/2")
    unknown = function.send("GET", "/runs/trial/songs/4")

    assert (response.status, json.loads(response.body)) == (200, {"song_num": 2, "status": "found", "info": 2})
    assert (unknown.status, problem(unknown)) == (404, "The run trial was not asked for 4; its songs are 1-3.")


def test_rows_are_listed_in_pages(function: Function) -> None:
    """Return rows by number, with the query of the next page while there is one."""
    function.send("POST", "/", {"songs": "1-5", "run": "trial"})

    first = json.loads(function.send("GET", "/runs/trial/songs?limit=3").body)
    second = json.loads(function.send("GET", f"/runs/trial/songs?limit=3&{first['next']}").body)

    assert [[row["song_num"] for row in page["songs"]] for page in (first, second)] == [[1, 2, 3], [4, 5]]
    assert second["next"] is None
    assert json.loads(function.send("GET", "/runs/trial/songs?status=missing").body) == {"songs": [], "next": None}


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/runs/trial/songs/x", 'song_num is "x"; allowed: a song number from 0 to 999999999999.'),
        ("/runs/trial/songs/-1", 'song_num is "-1"; allowed: a song number from 0 to 999999999999.'),
        ("/runs/trial/songs?status=done", 'status is "done"; allowed: found, missing, failed.'),
        ("/runs/trial/songs?limit=1001", 'limit is "1001"; allowed: a whole number from 1 to 1000.'),
        ("/runs/trial/songs?before=1", '"before" is no parameter; allowed: status, after, limit.'),
    ],
)
def test_rows_that_can_not_be_listed_are_a_sentence(function: Function, address: str, sentence: str) -> None:
    """Name the parameter, its value and what is allowed."""
    function.send("POST", "/", {"songs": "1-3", "run": "trial"})

    response = function.send("GET", address)

    assert (response.status, problem(response)) == (400, sentence)
