"""Check how templates are filled: a song's number, with zeros in front where asked for, and nothing else."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from crawler.upstream.song_requests.template import compile_template, encode_url, in_json


@pytest.mark.parametrize(
    ("template", "item", "filled"),
    [
        ("https://a.example/{song_num}", 7, "https://a.example/7"),
        ("https://a.example/{song_num}/x?n={song_num}", 7, "https://a.example/7/x?n=7"),
        ("{song_num}", "a b", "a b"),
        ("https://a.example/CIK{song_num:010}.json", 320193, "https://a.example/CIK0000320193.json"),
        ("/{song_num:01}/{song_num:012}", 7, "/7/000000000007"),
        ("/{song_num:03}", 12345, "/12345"),
        ("/{song_num:03}/{song_num}/{song_num:05}", 12, "/012/12/00012"),
        ("/{song_num:012}", 999_999_999_999, "/999999999999"),
        ("/{x}/{song_num}/{}/{{song_num}}", 7, "/{x}/7/{}/{7}"),
        ("/{song_num:013}/{song_num:10}/{song_num:00}/{song_nums}", 7, None),
        ("/{song_num:0１}", 7, None),
        ("no number", 7, None),
        ('{"query": "{song(id: {song_num}) {title}}"}', 7, '{"query": "{song(id: 7) {title}}"}'),
        (r"\1{song_num}\g<0>%s", "\\1", r"\1\1\g<0>%s"),
    ],
)
def test_number_stands_where_the_placeholder_stood(template: str, item: object, filled: str | None) -> None:
    """Replace the placeholders, each with its own width, and leave all else as it is."""
    assert compile_template(template)(item) == (template if filled is None else filled)


def test_item_is_written_as_it_is() -> None:
    """Encode what stands around the number once, and the number never: it is part of no other template."""
    fill = compile_template("/a b/{song_num:04}/{song_num}", quote)

    assert fill("{song_num}") == "/a%20b/{song_num}/{song_num}"
    assert fill(7) == "/a%20b/0007/7"


@pytest.mark.parametrize(
    ("template", "key", "filled"),
    [
        ("/{song_key}", "a b/ü?#%&+", "/a%20b%2F%C3%BC%3F%23%25%26%2B"),
        ("/{song_key}", "AZaz09-._~", "/AZaz09-._~"),
        ("/{song_key:path}?id={song_key}", "10.1000/a b", "/10.1000/a%20b?id=10.1000%2Fa%20b"),
        ("/{song_num:03}/{song_key}/{song_num}", "x", "/007/x/7"),
        ("/{song_key}", "{song_num}", "/%7Bsong_num%7D"),
        ("/{song_key:x}/{song_keys}", "k", "/{song_key:x}/{song_keys}"),
    ],
)
def test_key_stands_where_its_placeholder_stood(template: str, key: str, filled: str) -> None:
    """Percent-encode all of the key of a number but unreserved characters, and slashes where they are to stay."""
    assert compile_template(template, key_of={7: key}.__getitem__)(7) == filled


def test_an_item_is_its_own_key_where_there_are_none() -> None:
    """Take the item itself for the key."""
    assert compile_template("/{song_key}")("a/b") == "/a%2Fb"


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("/a b", "/a%20b"),
        ("/%41%c3%a9", "/%41%c3%a9"),
        ("/100%", "/100%25"),
        ("/%4", "/%254"),
        ("/%zz", "/%25zz"),
        ("/{x}\\|^`<>", "/%7Bx%7D%5C%7C%5E%60%3C%3E"),
        ("/a/../b;c?d=[e]&f='!$'#g", "/a/../b;c?d=[e]&f='!$'#g"),
    ],
)
def test_only_what_a_url_forbids_is_encoded(text: str, encoded: str) -> None:
    """Leave what RFC 3986 allows, what is encoded already too."""
    assert encode_url(text) == encoded
    assert encode_url(encoded) == encoded


def test_item_in_json_is_escaped() -> None:
    """Write an item as it stands inside a string of JSON, at every place, also padded."""
    fill = compile_template('{"id": "{song_num}", "n": "{song_num:04}", "m": {x}}', write_num=in_json)

    assert fill(7) == '{"id": "7", "n": "0007", "m": {x}}'
    assert fill('"\\\n') == '{"id": "\\"\\\\\\n", "n": "0\\"\\\\\\n", "m": {x}}'
