"""Check what of a URL is shown and stored; what is shown of one that is refused, tests/unit/core/test_settings.py."""

from __future__ import annotations

import pytest

from crawler.core.redaction import Redactor, redact_url

URL = "https://example.com/songs/{song_num}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param(URL, URL, id="no query"),
        pytest.param(f"{URL}?key=secret", f"{URL}?key=…", id="a value"),
        pytest.param(f"{URL}?a=1&b=2", f"{URL}?a=…&b=…", id="several"),
        pytest.param("https://example.com/?id={song_num}&key=x", "https://example.com/?id={song_num}&key=…", id="song"),
        pytest.param(
            "https://example.com/?id={song_num:09}&k=x", "https://example.com/?id={song_num:09}&k=…", id="zeros"
        ),
        pytest.param("https://example.com/?id=a{song_num}", "https://example.com/?id=…", id="song inside a value"),
        pytest.param(f"{URL}?key=a=b", f"{URL}?key=…", id="a second equals sign"),
        pytest.param(f"{URL}?a=1;key=secret", f"{URL}?a=…", id="a semicolon"),
        pytest.param(f"{URL}?key=", f"{URL}?key=…", id="an empty value"),
        pytest.param(f"{URL}?plain", f"{URL}?plain", id="a name alone"),
        pytest.param(f"{URL}?key=%73ecret", f"{URL}?key=…", id="percent-encoded"),
        pytest.param(f"{URL}#secret", URL, id="a fragment"),
        pytest.param("https://example.com/@user/{song_num}", "https://example.com/@user/{song_num}", id="an at sign"),
        pytest.param(f"{URL}?a=1#secret", f"{URL}?a=…", id="query and fragment"),
    ],
)
def test_values_of_a_query_are_left_out(url: str, shown: str) -> None:
    """Keep the names, drop the values: a key may stand there."""
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@example.com/{song_num}?key=secret", "…@example.com/{song_num}?…"),
        ("https://example.com/songs?secret", "https://example.com/songs?…"),
        ("http://[secret@::1/{song_num}", "…@::1/{song_num}"),
        ("secret of a user@example.com", "…@example.com"),
    ],
    ids=["a password", "no number", "no address", "no URL"],
)
def test_of_any_other_text_less_is_left(text: str, shown: str) -> None:
    """Drop all in which a key may stand where nobody can tell the parts of a text."""
    assert redact_url(text) == shown


KEY = "4f9a8b7c6d5e4f3a2b1c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /songs/7?api_key=abc&page=2", "GET /songs/7?api_key=(secret)&page=2"),
        ("/s?Access-Token=a&sig=b&q=c", "/s?Access-Token=(secret)&sig=(secret)&q=c"),
        ("/s?keyword=a&author=b&fields=id,title", "/s?keyword=a&author=b&fields=id,title"),
        (f"/s?x={KEY}", "/s?x=(secret)"),
        ("/s?key=&a=1", "/s?key=&a=1"),
        ("https://h/s?token=a b", "https://h/s?token=(secret) b"),
        ("no secret = here", "no secret = here"),
    ],
)
def test_text_is_shown_without_keys(text: str, shown: str) -> None:
    """Leave out the values of a query whose name or form says that they are secret."""
    assert Redactor("https://h/{song_num}", {}).text(text) == shown


def test_own_secrets_are_left_out_wherever_they_stand() -> None:
    """Leave out what the deployment's headers and its URL hold, however an answer or an exception writes it."""
    url = f"https://h/{KEY}/songs/{{song_num}}?key=se%2Fcret&format=json"
    redactor = Redactor(
        url, {"Authorization": 'Bearer hush"hush', "Accept": "application/json", "X-N": "1"}, ["other-1"]
    )

    assert redactor.text(f'at /{KEY}/songs/7: hush"hush, hush%22hush, hush\\"hush, se%2Fcret, se/cret, other-1') == (
        "at /(secret)/songs/7: (secret), (secret), (secret), (secret), (secret), (secret)"
    )
    assert redactor.text("1 application/json") == "1 application/json"
    assert redactor.header("authorization", "Bearer x") == redactor.header("Accept", "application/json") == "(secret)"
    for name in ("Authorization", "Proxy-Authorization", "X-Auth-Token", "Cookie", "X-Api-Key", "apikey"):
        assert Redactor("https://h/{song_num}", {}).header(name, "a") == "(secret)"
    assert redactor.header("User-Agent", "me") == "me"
