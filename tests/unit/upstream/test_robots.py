"""Check that an upstream's robots.txt is obeyed: asked for once, read as RFC 9309 says, kept to song by song."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers import Page, Upstream, error, free_port, hang, missing, raw
from servers.hostile import gzip_bomb
from support.fakes import PlainController
from support.growth import growth, linux
from support.stored import read_folder, read_rows

from crawler import execute_async_event_loop
from crawler.adapters.curl.fetcher import CurlFetcher
from crawler.adapters.robots_fetcher import Fetch, RobotsFile
from crawler.adapters.session.fetchers import DeclaredFetcher, open_session
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.core.errors import BadSetting, UpstreamUnavailable
from crawler.core.ports import MultiFetcher
from crawler.core.verdict import FORBIDDEN, Verdict, found
from crawler.entrypoints.http.routes import HttpRequest, HttpResponse, respond
from crawler.rate_control.ceiling import Ceiling
from crawler.rate_control.limiter import Limiter
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.robots_rules import MOST_ROBOTS_BYTES, Robots, judge_robots, robots_url

AGENT = "songcrawl/0.1.0 (+https://songcrawl.example)"
URL = "https://songs.example/songs/{song_num}?key=canary"


def allowed(text: str, *numbers: int, agent: str = AGENT) -> list[bool]:
    """Tell which of these songs a robots.txt allows."""
    allows = Robots(text, agent).allows or (lambda _: True)
    return [allows(URL.replace("{song_num}", str(number))) for number in numbers]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [True, True], id="empty"),
        pytest.param("User-agent: *\nDisallow:", [True, True], id="nothing disallowed"),
        pytest.param("User-agent: *\nDisallow: /", [False, False], id="all disallowed"),
        pytest.param("User-agent: *\nDisallow: /songs/13$", [True, True], id="another end, since a query follows"),
        pytest.param("User-agent: *\nDisallow: /songs/13?", [False, True], id="one song"),
        pytest.param("User-agent: *\nDisallow: /songs/1", [False, True], id="songs that begin so"),
        pytest.param("User-agent: *\nDisallow: /*3?", [False, True], id="wildcard"),
        pytest.param("User-agent: *\nDisallow: /\nAllow: /songs/", [True, True], id="the longer rule counts"),
        pytest.param("User-agent: other\nDisallow: /", [True, True], id="for another crawler"),
        pytest.param("User-agent: SongCrawl\nDisallow: /", [False, False], id="for us, in capitals"),
        pytest.param(
            "User-agent: *\nDisallow: /\n\nUser-agent: songcrawl\nDisallow: /x", [True, True], id="ours first"
        ),
        pytest.param("user-AGENT:*\r\n disallow : /songs/", [False, False], id="written otherwise"),
        pytest.param("\ufeffUser-agent: *\nDisallow: /", [False, False], id="byte order mark"),
        pytest.param("User-agent: *\nDisallow: /songs/ # all", [False, False], id="comment"),
        pytest.param("<html>Disallow nothing: here</html>", [True, True], id="a web page"),
        pytest.param("\0\x01Disallow: /\nDisallow: /songs", [True, True], id="for nobody"),
    ],
)
def test_robots_txt_is_read_as_the_standard_says(text: str, expected: list[bool]) -> None:
    """Allow and disallow songs 13 and 2."""
    assert allowed(text, 13, 2) == expected


@pytest.mark.parametrize(
    ("agent", "expected"),
    [(AGENT, False), ("songcrawl", False), ("my-crawler/2 (me@example.com)", True), ("(nameless)", True)],
)
def test_crawler_is_called_by_its_products_name(agent: str, expected: bool) -> None:
    """Match the name that USER_AGENT begins with, without version and comment."""
    assert allowed("User-agent: songcrawl\nDisallow: /", 1, agent=agent) == [expected]


@pytest.mark.parametrize(
    ("text", "delay"),
    [("2", 2.0), ("0.25", 0.25), *((odd, 0.0) for odd in ("0", "-1", "nan", "inf", "x", ""))],
)
def test_crawl_delay_slows_down(text: str, delay: float) -> None:
    """Take a delay that is a number of seconds, and no other."""
    robots = Robots(f"User-agent: *\nCrawl-delay: {text}", AGENT)

    assert robots.delay == delay


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 410])
def test_answer_tells_something(status: int) -> None:
    """Take a 4xx, or a redirect that is not followed, for a site without robots.txt."""
    robots = judge_robots(status, b"User-agent: *\nDisallow: /", AGENT)

    assert robots is not None
    assert (robots.allows is None) == (status >= 300)


@pytest.mark.parametrize("status", [429, 500, 503, 599, 999])
def test_answer_tells_nothing(status: int) -> None:
    """Take a server's failure for no permission."""
    assert judge_robots(status, b"", AGENT) is None


def test_robots_txt_is_at_the_origin() -> None:
    """Ask at the root of scheme, host and port, without path or query."""
    assert robots_url("https://songs.example:8443/a/{song_num}?key=canary") == "https://songs.example:8443/robots.txt"


def text(content: str | bytes) -> Page:
    """Answer with a robots.txt."""
    body = content.encode() if isinstance(content, str) else content
    return Page(body=body, headers={"Content-Type": "text/plain"})


def disallowing(path: str) -> Upstream:
    """Serve songs whose robots.txt disallows a path."""
    return Upstream(robots=lambda _n, _nth: text(f"User-agent: *\nDisallow: {path}"))


@pytest.fixture(params=["curl", "requests"])
def fetch(request: pytest.FixtureRequest) -> Iterator[Fetch]:
    """Ask as either fetcher of declared songs does, one that may reach loopback addresses."""
    song, headers = DeclaredSong(), {"X-Api-Key": "key"}
    if request.param == "curl":
        yield CurlFetcher("http://127.0.0.1/{song_num}", song, 1 << 20, AGENT, headers, allow_private=True).fetch
        return
    with open_session(2, AGENT, headers, allow_private=True) as session:
        yield DeclaredFetcher(session, "http://127.0.0.1/{song_num}", song, 1 << 20).fetch


@pytest.mark.parametrize(
    "page",
    [
        missing(),
        error(403),
        Page(status=302, headers={"Location": "http://elsewhere.example/robots.txt"}),
        Page(status=302, headers={"Location": "/robots.txt"}),
        text(b"\xff\xfe\x00Disallow: /"),
        text(b"x" * (MOST_ROBOTS_BYTES + 9) + b"\nUser-agent: *\nDisallow: /"),
    ],
    ids=["missing", "forbidden", "redirected away", "redirected for ever", "no text", "past the limit"],
)
def test_site_without_robots_txt_allows_all(fetch: Fetch, page: Page) -> None:
    """Crawl where nothing readable disallows it."""
    with Upstream(robots=lambda _n, _nth: page) as upstream:
        assert RobotsFile(upstream.url, AGENT).obey(fetch, 5).allows is None


def test_redirect_within_the_site_is_followed(fetch: Fetch) -> None:
    """Read the robots.txt to which its site points, five redirects away at most (RFC 9309, 2.3.1.2)."""
    hop = Page(status=301, headers={"Location": "/robots.txt"})
    with Upstream(robots=lambda _n, nth: hop if nth <= 5 else text("User-agent: *\nDisallow: /")) as upstream:
        with pytest.raises(BadSetting, match="disallowed"):
            RobotsFile(upstream.url, AGENT).obey(fetch, 5)

        assert upstream.robots_asked == 6


@pytest.mark.parametrize("page", [error(503), error(429), raw(b""), raw(b"no HTTP\r\n\r\n"), hang()])
def test_robots_txt_that_can_not_be_read_allows_nothing(fetch: Fetch, page: Page) -> None:
    """Say within the time allowed, in one sentence, that nothing may be asked for at present, and what to do."""
    with Upstream(robots=lambda _n, _nth: page) as upstream:
        started = time.monotonic()
        with pytest.raises(UpstreamUnavailable, match=r"robots\.txt can't be read \(\w+\), .* set ROBOTS=ignore"):
            RobotsFile(upstream.url, AGENT).obey(fetch, 0.3)

    assert time.monotonic() - started < 1.5


def test_server_that_is_down_allows_nothing(fetch: Fetch) -> None:
    """Answer that the upstream is unavailable where nothing listens."""
    with pytest.raises(UpstreamUnavailable, match="connection"):
        RobotsFile(f"http://127.0.0.1:{free_port()}/{{song_num}}", AGENT).obey(fetch, 5)


def test_one_failure_is_tried_again(fetch: Fetch) -> None:
    """Let one lost answer cost no call."""
    with Upstream(robots=lambda _n, nth: error(500) if nth < 3 else missing()) as upstream:
        RobotsFile(upstream.url, AGENT).obey(fetch, 5)

        assert upstream.robots_asked == 3


@linux
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_attack_by_robots_txt_costs_little(fetch: Fetch, encoding: str) -> None:
    """Read no more of a robots.txt than the standard asks for."""
    endless = Page(exact=b"HTTP/1.1 200 OK\r\n\r\n", endless=b"# nothing\n" * 6000)
    page = endless if encoding == "identity" else Page(body=gzip_bomb(), headers={"Content-Encoding": "gzip"})
    with Upstream(robots=lambda _n, _nth: page) as upstream, growth() as grown:
        assert RobotsFile(upstream.url, AGENT).obey(fetch, 5).allows is None
        assert grown() < 8 << 20


def test_robots_txt_is_asked_for_once(fetch: Fetch) -> None:
    """Remember what was said, as the same client that asks for songs."""
    with disallowing("/x") as upstream:
        file = RobotsFile(upstream.url, AGENT)
        assert file.obey(fetch, 5) is file.obey(fetch, 5)

        assert upstream.robots_asked == 1


class Fetcher:
    """Find every item, and hold what was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def attempt(self, item: Any, timeout: float) -> Verdict:
        """Find it."""
        self.asked.append(item)
        return found(item)


class Transfers:
    """Find every item that was started, at the next look."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._started: list[tuple[Any, Verdict]] = []
        self.closed = False

    def start(self, token: Any, item: Any, timeout: float) -> None:
        """Take it."""
        self._started.append((token, self._fetcher.attempt(item, timeout)))

    def perform(self, seconds: float) -> Sequence[tuple[Any, Verdict]]:
        """Give what was taken."""
        started, self._started = self._started, []
        return started

    def close(self) -> None:
        """Close."""
        self.closed = True


class FetcherOfMany(Fetcher):
    """Find many at once."""

    def open_transfers(self, most: int) -> Transfers:
        """Open them."""
        return Transfers(self)


def test_disallowed_song_is_not_asked_for() -> None:
    """Fail one number that robots.txt disallows, and ask for the others."""
    fetcher = Fetcher()
    polite = RobotsFile(URL, AGENT).fetcher(Robots("User-agent: *\nDisallow: /songs/13?", AGENT), fetcher)

    assert not isinstance(polite, MultiFetcher)
    assert [polite.attempt(n, 1) for n in (12, 13, 14)] == [found(12), FORBIDDEN, found(14)]
    assert fetcher.asked == [12, 14]


def test_address_with_zeros_in_front_is_looked_up_as_it_is_sent() -> None:
    """Hold a robots.txt against the number as the URL has it."""
    url = "https://songs.example/songs/{song_num:04}"
    polite = RobotsFile(url, AGENT).fetcher(Robots("User-agent: *\nDisallow: /songs/0013$", AGENT), Fetcher())

    assert [polite.attempt(n, 1) for n in (13, 130)] == [FORBIDDEN, found(130)]


def test_disallowed_song_among_many_is_not_asked_for() -> None:
    """Keep to robots.txt also where a fetcher tries many songs at once."""
    fetcher = FetcherOfMany()
    polite = RobotsFile(URL, AGENT).fetcher(Robots("User-agent: *\nDisallow: /songs/13?", AGENT), fetcher)
    assert isinstance(polite, MultiFetcher)
    transfers = polite.open_transfers(5)
    for n in (12, 13, 14):
        transfers.start(f"token {n}", n, 1)
    settled = dict(transfers.perform(1))
    transfers.close()

    assert settled == {"token 12": found(12), "token 13": FORBIDDEN, "token 14": found(14)}
    assert fetcher.asked == [12, 14]


def test_fetcher_stays_as_it_is_where_all_is_allowed() -> None:
    """Cost nothing where nothing is disallowed."""
    fetcher = Fetcher()

    assert RobotsFile(URL, AGENT).fetcher(Robots("", AGENT), fetcher) is fetcher


def test_delay_holds_over_all_calls() -> None:
    """Let calls that each keep a limit of their own keep a common one too."""
    shared, common = Limiter(PlainController()), Ceiling(1.0)
    calls = [shared.narrowed(common).narrowed(Ceiling()) for _ in range(2)]
    for call in calls:
        with call:
            if call.ready(0.0, 0)[0] > 0:
                call.send(0.0, 1)

    assert common.in_flight == 1


def deployment(upstream: Upstream, output: Path, **settings: str) -> Deployment:
    """Deploy the function on an upstream, in this process."""
    own = {"SONG_URL": upstream.url, "OUTPUT": str(output), "ALLOW_PRIVATE_UPSTREAM": "1", "SONG_INFO": "title"}
    return deployment_from({**own, **settings})


def call(deployed: Deployment, songs: str) -> HttpResponse:
    """Ask for a crawl over HTTP."""
    return respond(lambda: deployed, HttpRequest("POST", "/", body=json.dumps({"songs": songs, "run": "r"}).encode()))


def test_disallowed_url_is_the_deployments_fault(tmp_path: Path) -> None:
    """Answer 500 with one sentence that says how to override, and ask for no song."""
    with disallowing("/songs/") as upstream:
        response = call(deployment(upstream, tmp_path), "1-10")

        assert response.status == 500
        assert json.loads(response.body)["detail"] == (
            f"SONG_URL is disallowed by http://127.0.0.1:{upstream.port}/robots.txt for 'songcrawl/0.1.0'; "
            "allowed: a URL that it does not disallow, or set ROBOTS=ignore if the API is yours."
        )
        assert upstream.count() == 0


def test_disallowed_number_is_failed(tmp_path: Path) -> None:
    """Store which number was not asked for, and count it among no requests."""
    with disallowing("/songs/13$") as upstream:
        response = call(deployment(upstream, tmp_path), "11-15")
        rows = {row["song_num"]: row.get("error", row["status"]) for row in read_rows(read_folder(tmp_path), "r")}

        assert response.status == 200
        assert rows == {11: "found", 12: "found", 13: "robots", 14: "found", 15: "found"}
        assert json.loads(response.body)["requests"] == upstream.count() == 4


def test_robots_txt_is_asked_for_at_the_first_call_only(tmp_path: Path) -> None:
    """Ask once an instance, and nothing at all for a run that is complete."""
    with Upstream() as upstream:
        deployed = deployment(upstream, tmp_path)
        assert [call(deployed, "1-5").status for _ in range(2)] == [200, 200]
        assert call(deployment(upstream, tmp_path), "1-5").status == 200

        assert upstream.robots_asked == 1


def test_unreadable_robots_txt_is_answered_503(tmp_path: Path) -> None:
    """Ask for the same call again later, and fail no song."""
    with Upstream(robots=lambda _n, nth: error(503) if nth <= 3 else missing()) as upstream:
        deployed = deployment(upstream, tmp_path)
        first, second = call(deployed, "1-5"), call(deployed, "1-5")

        assert (first.status, second.status) == (503, 200)
        assert "Retry-After" in first.headers
        assert "robots.txt can't be read (http_503)" in json.loads(first.body)["detail"]


def test_robots_txt_may_be_ignored(tmp_path: Path) -> None:
    """Ask for no robots.txt where one's own API is crawled."""
    with disallowing("/") as upstream:
        assert call(deployment(upstream, tmp_path, ROBOTS="ignore"), "1-5").status == 200

        assert upstream.robots_asked == 0


def test_crawl_delay_is_kept_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Send no more than one request in each delay, however high the ceiling, and log why."""
    caplog.set_level(logging.INFO, "crawler")
    with Upstream(robots=lambda _n, _nth: text("User-agent: *\nCrawl-delay: 0.1")) as upstream:
        assert call(deployment(upstream, tmp_path), "1-6").status == 200
        times = [request.time for request in upstream.requests]

    assert times[-1] - times[0] >= 0.45
    assert "robots.txt asks for 0.1 s between two requests" in caplog.text


def test_articles_steps_obey_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Obey robots.txt also where Python asks for the songs of SONG_URL."""
    with disallowing("/songs/2$") as upstream, disallowing("/") as closed:
        monkeypatch.setenv("SONG_URL", upstream.url)
        song_urls: list[Any] = []
        execute_async_event_loop([1, 2, 3], song_urls)
        assert [number for number, _ in song_urls] == [1, 3]
        monkeypatch.setenv("SONG_URL", closed.url)
        with pytest.raises(BadSetting, match="ROBOTS=ignore"):
            execute_async_event_loop([1, 2, 3], song_urls)

        assert (upstream.count(), closed.count()) == (2, 0)
