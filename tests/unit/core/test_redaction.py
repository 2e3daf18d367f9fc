"""Check what of a URL is shown and stored; what is shown of one that is refused, tests/unit/core/test_settings.py."""

from __future__ import annotations

import pytest

from crawler.core.redaction import redact_url

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
