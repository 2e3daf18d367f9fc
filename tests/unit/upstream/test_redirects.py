"""Check where redirects lead, which are followed, and as what a song is known where it was found."""

from __future__ import annotations

import pytest

from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, redirected, retry, throttled
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.song_requests.redirects import Redirected, Redirects, id_reader, target_of
from crawler.upstream.song_requests.template import compile_template

HOST = "https://a.example"
TEMPLATE = HOST + "/songs/{song_num}?key=k#top"


def redirects(template: str = TEMPLATE, *, posts: bool = False) -> Redirects:
    """Follow the redirects of a template."""
    return Redirects(template, compile_template(template), posts=posts)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/songs/8", HOST + "/songs/8"),
        ("8", HOST + "/songs/8"),
        ("../works/8?x=1#part", HOST + "/works/8?x=1"),
        ("?again", HOST + "/songs/7?again"),
        (HOST + "/songs/8", HOST + "/songs/8"),
        ("HTTPS://A.Example:443/songs/8", HOST + "/songs/8"),
        ("//a.example/songs/8", HOST + "/songs/8"),
        (HOST, HOST + "/"),
        ("/a b/%41%zz", HOST + "/a%20b/%41%25zz"),
        ("/voil\u00c3\u00a0", HOST + "/voil%C3%A0"),
        ("/\\evil.example", HOST + "/%5Cevil.example"),
        ("\\\\evil.example/8", HOST + "/songs/%5C%5Cevil.example/8"),
        ("", None),
        ("//b.example/songs/8", None),
        ("///b.example/songs/8", HOST + "/b.example/songs/8"),
        ("/./../..//b.example", HOST + "/b.example"),
        ("http://a.example/songs/8", None),
        ("https://a.example:8443/songs/8", None),
        ("https://a.example.b.example/songs/8", None),
        ("https://u:p@a.example/songs/8", None),
        ("https://u@a.example/songs/8", None),
        ("//@a.example/songs/8", None),
        ("https://b.example@a.example/songs/8", None),
        ("https://a.example\\@b.example/songs/8", None),
        ("/songs/8\r\nX-Evil: 1", None),
        ("/songs/8\n", None),
        ("/songs\t/8", None),
        ("/songs/\x008", None),
        ("/songs/8, /songs/9", None),
        ("http://[::1", None),
        ("https://a.example:99999/", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("data:,8", None),
    ],
)
def test_redirect_leads_within_its_origin_or_nowhere(location: str, target: str | None) -> None:
    """Take a Location, relative or whole, for a URL of the same origin, or for none."""
    assert target_of(HOST + "/songs/7?key=k", location) == target


@pytest.mark.parametrize(
    ("template", "url", "number"),
    [
        ("/songs/{song_num}", "/songs/8", 8),
        ("/songs/{song_num}", "/songs/8/", 8),
        ("/songs/{song_num}", "/songs/008?x=1", 8),
        ("/songs/{song_num}?key=k", "/songs/8", 8),
        ("/works/W{song_num}", "/works/W8", 8),
        ("/works/W{song_num}", "/works/8", None),
        ("/CIK{song_num:010}.json", "/CIK0000000008.json", 8),
        ("/{song_num}/x/{song_num}", "/8/x/8", 8),
        ("/{song_num}/x/{song_num}", "/8/x/9", None),
        ("/a b/{song_num}", "/a%20b/8", 8),
        ("/songs/{song_num}", "/songs/abc-8", None),
        ("/songs/{song_num}", "/songs/8/covers", None),
        ("/songs/{song_num}", "/songs/" + "8" * 5000, None),
        ("/songs/{song_num}", "/songs/\u0668", None),
        ("/song?id={song_num}&key=k", "/song?id=8", 8),
        ("/song?key=k&id=n{song_num}", "/other?a=b&id=n8", 8),
        ("/song?id={song_num}", "/song?other=8", None),
        ("/graphql", "/graphql/8", None),
        ("/recording/{song_key}?fmt=json", "/recording/0b-8?fmt=json", "0b-8"),
        ("/{song_key}", "/008", "008"),
        ("/x/{song_key:path}", "/x/a/b%20c", "a/b c"),
        ("/{song_num}/{song_key}", "/8/k", "k"),
        ("/?k={song_key}", "/?k=a%2Fb", "a/b"),
    ],
)
def test_number_is_read_where_the_template_has_it(template: str, url: str, number: int | str | None) -> None:
    """Read the number or key at the placeholder's place, whatever else the redirect adds or leaves out."""
    assert id_reader(HOST + template)(HOST + url) == number


def follow(locations: list[str], *, posts: bool = False, status: int = 301) -> Verdict:
    """Ask for song 7, redirected along a chain, and find it in the end if all of it is followed."""
    rules, item = redirects(posts=posts), 7
    for location in locations:
        verdict = rules.judge(redirected(), item, status, location)
        if verdict.kind is not Kind.REDIRECTED:
            return verdict
        item = verdict.info
        assert rules.url_of(item) == item.urls[-1]
    return rules.judge(found("info"), item, 200, None)


@pytest.mark.parametrize(
    ("locations", "verdict"),
    [
        (["/songs/8"], Verdict(Kind.FOUND, "info", moved_to=8)),
        (["/songs/8", "/songs/9"], Verdict(Kind.FOUND, "info", moved_to=9)),
        (["/a", "/b?key=secret"], Verdict(Kind.FOUND, "info", moved_to="/b")),
        (["/songs/7/"], Verdict(Kind.FOUND, "info")),
        (["/1", "/2", "/3", "/4", "/songs/5"], Verdict(Kind.FOUND, "info", moved_to=5)),
        (["/1", "/2", "/3", "/4", "/5", "/6"], failed("redirect")),
        ([""], failed("redirect")),
        (["/songs/7?key=k"], failed("redirect")),
        (["#top"], failed("redirect")),
        (["/songs/8", "/songs/7?key=k"], failed("redirect")),
        (["/songs/8", "/songs/8"], failed("redirect")),
        (["/songs/8", "https://b.example/"], failed("redirect")),
        ([], found("info")),
    ],
)
def test_chain_is_followed_to_its_end(locations: list[str], verdict: Verdict) -> None:
    """Follow five redirects at most, to no place twice, and say of what was found where it is now."""
    assert follow(locations) == verdict


@pytest.mark.parametrize(("status", "followed"), [(301, False), (302, False), (303, False), (307, True), (308, True)])
def test_post_is_followed_where_it_stays_one(status: int, followed: bool) -> None:
    """Send a body again by 307 and 308 alone."""
    assert follow(["/songs/8"], posts=True, status=status) == (
        Verdict(Kind.FOUND, "info", moved_to=8) if followed else failed("redirect")
    )


@pytest.mark.parametrize("verdict", [MISSING, retry("timeout"), throttled("http_429", 3.0), failed("http_403")])
def test_other_answers_mean_what_they_do_without_redirects(verdict: Verdict) -> None:
    """Leave a refusal or a missing song as it is, at its first place and where it was redirected to."""
    for item in (7, Redirected(7, ("a", "b"))):
        assert redirects().judge(verdict, item, 404, "/songs/8") is verdict


STATUSES = (300, 301, 302, 303, 304, 305, 307, 308, 399)


@pytest.mark.parametrize(("setting", "kind"), [("fail", None), ("missing", Kind.MISSING), ("follow", Kind.REDIRECTED)])
def test_setting_decides_what_a_redirect_means(setting: str, kind: Kind | None) -> None:
    """Judge the statuses that name another place by it; the others of the class fail, whatever it says."""
    song = DeclaredSong(redirects=setting)
    told = {status: song.judge(status, b"").kind for status in STATUSES}

    assert told == {
        status: kind if kind and status in (301, 302, 303, 307, 308) else Kind.FAILED for status in STATUSES
    }
    assert told == {status: song.judge_status(status).kind for status in STATUSES}


def test_rules_and_expressions_come_first() -> None:
    """Ask RESPONSE_RULES, SONG_RETRY and SONG_MISSING about a redirect before it is followed."""
    rules = [{"status": 301, "action": "missing"}]
    song = DeclaredSong(retry="slow", missing="gone", rules=rules, redirects="follow")

    assert song.judge(301, b"{}") == MISSING
    assert song.judge(302, b'{"gone": true}') == MISSING
    assert song.judge(302, b'{"slow": true}', 3.0) == throttled("song_retry", 3.0)
    assert song.judge(302, b"{}", 3.0) == redirected(3.0)
