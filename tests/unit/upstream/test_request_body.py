"""Check the body of a POST: filled for each song, JSON unless the headers say otherwise."""

from __future__ import annotations

import pytest

from crawler.core.errors import BadSetting
from crawler.upstream.song_requests.template import RequestBody

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("text", "headers", "item", "body", "sent"),
    [
        ('{"id": {song_num}}', {}, 7, b'{"id": 7}', JSON),
        ('{"id": "{song_num:010}", "a": {}}', {}, 7, b'{"id": "0000000007", "a": {}}', JSON),
        ('{"query": "{ song(id: {song_num}) { title } }"}', {}, 7, b'{"query": "{ song(id: 7) { title } }"}', JSON),
        ('{"id": "{song_num}"}', {}, 'a"b\n', b'{"id": "a\\"b\\n"}', JSON),
        ('{"id": "{song_num}"}', {"content-type": "application/vnd.api+json; x=1"}, '"', b'{"id": "\\""}', {}),
        ("id={song_num}", {"CONTENT-TYPE": "application/x-www-form-urlencoded"}, 7, b"id=7", {}),
        ("{song_num:03}\n", {"Content-Type": "text/plain"}, 7, b"007\n", {}),
        ('"ä{song_num}"', {"X-Other": "text/plain"}, 7, b'"\xc3\xa47"', JSON),
        ("", {}, 7, b"", {}),
    ],
)
def test_body_is_filled_for_each_song(
    text: str, headers: dict[str, str], item: object, body: bytes, sent: dict[str, str]
) -> None:
    """Replace the placeholders, escaped where the body is JSON, and name its type where nobody else does."""
    made = RequestBody(text, headers)

    assert (made.of(item), made.headers) == (body, sent)


@pytest.mark.parametrize("text", ["id={song_num}", '{"id": {song_num:010}}', '{"id": {song_num}', "[" * 100_000])
def test_json_that_is_none_is_refused(text: str) -> None:
    """Say before the first request that a body is no JSON."""
    with pytest.raises(BadSetting, match="SONG_BODY is no JSON once a number"):
        RequestBody(text)


def test_key_is_escaped_in_json_and_plain_elsewhere() -> None:
    """Write the key of a number as the body wants it."""
    as_form = RequestBody("k={song_key}", {"Content-Type": "text/plain"}, 'a"/{}'.format)

    assert RequestBody('{"k": "{song_key}"}', {}, 'a"/{}'.format).of(7) == b'{"k": "a\\"/7"}'
    assert as_form.of(7) == b'k=a"/7'
