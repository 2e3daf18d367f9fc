"""Check how a response becomes a verdict: by its status, by strict JSON, by the three expressions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import BadSetting
from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, retry, throttled
from crawler.upstream.builtin_rules import judge_status
from crawler.upstream.classify import DeclaredSong

SONG = b'{"id": 7, "title": "Song 7"}'

# Deezer's own words, https://developers.deezer.com/api/errors: both come with HTTP 200.
DEEZER_QUOTA = b'{"error":{"type":"Exception","message":"Quota limit exceeded","code":4}}'
DEEZER_NO_DATA = b'{"error":{"type":"DataException","message":"no data","code":800}}'
DEEZER = DeclaredSong("@", missing="error.code == `800`", retry="error.code == `4`")


@pytest.mark.parametrize(
    ("status", "retry_after", "verdict"),
    [
        *((status, None, retry(f"http_{status}")) for status in (100, 102, 199)),
        *((status, None, failed("redirect")) for status in (300, 301, 302, 303, 304, 307, 308, 399)),
        *(
            (status, None, failed(f"http_{status}"))
            for status in (400, 402, 403, 405, 406, 409, 413, 414, 418, 422, 451)
        ),
        *((status, None, MISSING) for status in (404, 410)),
        *((status, None, retry(f"http_{status}")) for status in (408, 425)),
        *((status, None, retry(f"http_{status}")) for status in (500, 501, 502, 503, 504, 520, 599)),
        (429, None, throttled("http_429")),
        (429, 7.0, throttled("http_429", 7.0)),
        (503, 7.0, retry("http_503", 7.0)),
        (503, 0.0, retry("http_503", 0.0)),
        (500, 7.0, retry("http_500", 7.0)),
        (408, 7.0, retry("http_408", 7.0)),
        (202, None, retry("http_202")),
        (202, 7.0, retry("http_202", 7.0)),
        (204, 7.0, MISSING),
        (404, 7.0, MISSING),
    ],
    ids=lambda value: None if isinstance(value, Verdict) else str(value),
)
def test_a_status_outside_2xx_decides(status: int, retry_after: float | None, verdict: Verdict) -> None:
    """Judge by the status alone."""
    assert judge_status(status, retry_after) == verdict


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "The upstream answers 401: it wants credentials; set SONG_HEADERS."),
        (407, "The upstream answers 407: a proxy before it wants credentials."),
    ],
)
def test_wanted_credentials_are_no_songs_fault(status: int, sentence: str) -> None:
    """Say of the upstream as a whole that it refuses, in a sentence for whoever deploys."""
    verdict = judge_status(status)

    assert (verdict.kind, verdict.error, verdict.reason) == (Kind.REFUSED, f"http_{status}", sentence)


def test_a_body_is_data() -> None:
    """Take the JSON body of a good answer as info."""
    assert DeclaredSong().judge_body(SONG) == found({"id": 7, "title": "Song 7"})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"  \n", id="blank"),
        pytest.param(b"<!doctype html><title>Busy</title>", id="html"),
        pytest.param(b'{"id": 7', id="cut short"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"{'id': 7}", id="single quotes"),
        pytest.param(b'{"id": 7,}', id="trailing comma"),
        pytest.param(b'{"id": 7} // song', id="comment"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'{"id": NaN}', id="NaN inside"),
        pytest.param(b"[Infinity, -Infinity]", id="infinities"),
        pytest.param(b"1e999", id="a number beyond all floats"),
        pytest.param(b"007", id="leading zeros"),
        pytest.param(b'"\\ud800"', id="lone high surrogate"),
        pytest.param(b'"\\udc00\\ud800"', id="surrogates the wrong way round"),
        pytest.param(b'{"\\udfff": 1}', id="lone surrogate in a name"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate in UTF-8"),
        pytest.param(b'{"title": "\xff"}', id="invalid UTF-8"),
        pytest.param(b'{"\xc3": 1}', id="invalid UTF-8 in a name"),
        pytest.param(b'"\xc0\xaf"', id="overlong UTF-8"),
        pytest.param('"Motörhead"'.encode("latin-1"), id="latin-1"),
        pytest.param(b"\xef\xbb\xbf", id="a byte order mark alone"),
        pytest.param(b"\xef\xbb\xbf" * 2 + b"{}", id="two byte order marks"),
        pytest.param(b"[" * 501 + b"]" * 501, id="nested one too deep"),
        pytest.param(b'[{"a":' * 251 + b"1" + b"}]" * 251, id="arrays and objects nested too deep"),
        pytest.param(b"1e999", id="a number past a float's"),
        pytest.param('{"id": 7}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'"\x01"', id="control character"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="nested too deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="objects nested too deep"),
        pytest.param(b"9" * 5000, id="an int of 5000 digits"),
    ],
)
def test_a_body_that_is_not_strict_json_is_tried_again(body: bytes) -> None:
    """Never repair a body: it may be whole the next time."""
    assert DEEZER.judge_body(body) == retry("invalid_json")


@pytest.mark.parametrize(
    ("body", "info"),
    [
        pytest.param(b"false", False, id="false"),
        pytest.param(b"0", 0, id="zero"),
        pytest.param(b'""', "", id="empty text"),
        pytest.param(b"[]", [], id="empty list"),
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b" [1]\r\n", [1], id="blanks around"),
        pytest.param(b"18446744073709551616", 2**64, id="an int over 64 bits"),
        pytest.param(b"-9" + b"0" * 400, -9 * 10**400, id="an int of 401 digits"),
        pytest.param(b'"\\ud83c\\udfb5"', "🎵", id="a pair of surrogates"),
        pytest.param('"🎵 \u2028"'.encode(), "🎵 \u2028", id="any character"),
        pytest.param(b'"\\u0000"', "\0", id="an escaped NUL"),
        pytest.param(b'{"a": 1, "a": 2}', {"a": 2}, id="a repeated name: the last"),
        pytest.param(b"[" * 500 + b"]" * 500, json.loads("[" * 500 + "]" * 500), id="nested deep, not too deep"),
        pytest.param(b"[" + b"[],{}," * 1000 + b"{}]", [[], {}] * 1000 + [{}], id="many brackets, not deep"),
        pytest.param(b"\xef\xbb\xbf{}", {}, id="a byte order mark first"),
        pytest.param(b"18446744073709551616", 2**64, id="an int of more than 64 bits"),
    ],
)
def test_any_other_json_is_info(body: bytes, info: Any) -> None:
    """Take whatever JSON says but null, exactly."""
    verdict = DeclaredSong().judge_body(body)

    assert verdict == found(info)
    assert type(verdict.info) is type(info)


@given(
    st.recursive(st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists)
)
def test_info_is_what_json_says(content: Any) -> None:
    """Decode any JSON to the value that Python's own decoder gives."""
    text = json.dumps(content)

    assert DeclaredSong().judge_body(text.encode()) == found(json.loads(text))


@given(st.binary(max_size=50))
def test_no_body_raises(body: bytes) -> None:
    """Judge any bytes whatever."""
    assert DEEZER.judge_body(body).kind in (Kind.FOUND, Kind.FAILED, Kind.RETRY)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        pytest.param("@", found({"data": {"id": 7, "tags": []}, "page": None}), id="the body"),
        pytest.param("data.id", found(7), id="a field"),
        pytest.param("data.tags", found([]), id="an empty list is info"),
        pytest.param("{n: data.id}", found({"n": 7}), id="a new object"),
        pytest.param("`false`", found(False), id="false is info"),
        pytest.param("page", failed("no_info"), id="null"),
        pytest.param("nothing.here", failed("no_info"), id="not there"),
        pytest.param("length(page)", failed("no_info"), id="a function that fails on this body"),
        pytest.param("data.tags[::0]", failed("no_info"), id="a step of zero"),
        pytest.param("contains('abc', `1`)", failed("no_info"), id="a function that Python fails"),
        pytest.param("floor(to_number('inf'))", failed("no_info"), id="no number to round down"),
    ],
)
def test_song_info_picks_the_info(expression: str, verdict: Verdict) -> None:
    """Pick info from the body; null, or an expression that fails on it, fails the song."""
    assert DeclaredSong(expression).judge_body(b'{"data": {"id": 7, "tags": []}, "page": null}') == verdict


def test_a_body_of_null_has_no_info() -> None:
    """Fail a song whose body is null."""
    assert DeclaredSong().judge_body(b"null") == failed("no_info")


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        pytest.param(SONG, found({"id": 7, "title": "Song 7"}), id="a song"),
        pytest.param(DEEZER_NO_DATA, MISSING, id="no such song"),
        pytest.param(DEEZER_QUOTA, throttled("song_retry", 3.0), id="slow down"),
        pytest.param(b"[]", found([]), id="a body of another shape"),
    ],
)
def test_an_error_behind_a_200_is_no_data(body: bytes, verdict: Verdict) -> None:
    """Tell the errors of an API that answers 200 to everything by SONG_MISSING and SONG_RETRY."""
    assert DEEZER.judge_body(body, 3.0) == verdict


def test_slow_down_goes_before_no_such_song() -> None:
    """Ask again where both expressions are true: a throttled answer says nothing of the song."""
    assert DeclaredSong(missing="@", retry="@").judge_body(b"{} ") == found({})
    assert DeclaredSong(missing="@", retry="@").judge_body(b"[1]") == throttled("song_retry")


@pytest.mark.parametrize(
    ("content", "true"),
    [
        *((content, False) for content in (b"null", b"false", b'""', b"[]", b"{}")),
        *((content, True) for content in (b"true", b"0", b"0.0", b'"no"', b"[0]", b'{"a": null}')),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else str(value),
)
def test_truth_is_that_of_jmespath(content: bytes, true: bool) -> None:
    """Take null, false and whatever is empty as false, every number as true."""
    body = b'{"x": ' + content + b"}"

    assert (DeclaredSong(missing="x").judge_body(body) == MISSING) is true
    assert (DeclaredSong(retry="x").judge_body(body).kind is Kind.THROTTLED) is true


def test_an_expression_that_fails_on_a_body_is_not_true_of_it() -> None:
    """Keep a good song though the search for an error's text fails where there is no error."""
    song = DeclaredSong(missing="contains(error.message, 'no data')", retry="contains(error.message, 'Quota')")

    assert song.judge_body(SONG) == found({"id": 7, "title": "Song 7"})
    assert song.judge_body(DEEZER_NO_DATA) == MISSING
    assert song.judge_body(DEEZER_QUOTA) == throttled("song_retry")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        pytest.param("a b", "Unexpected token: b", id="two words"),
        pytest.param("data.", "Parse error at column 5", id="a dot at the end"),
        pytest.param("data[", "Invalid jmespath expression", id="an open bracket"),
        pytest.param("'open", "Bad jmespath expression: Unclosed '", id="an open quote"),
        pytest.param("a == 1", "Parse error at column 5", id="a number without backquotes"),
        pytest.param("lenght(@)", "Unknown function: lenght()", id="an unknown function"),
        pytest.param("data[?foo(a)].b", "Unknown function: foo()", id="an unknown function inside"),
        pytest.param("foo(length(@))", "Unknown function: foo()", id="an unknown function around"),
        pytest.param("length()", "Expected 1 argument for function length(), received 0", id="an argument too few"),
        pytest.param("[:2].{n: length(a, b)}", "Expected 1 argument for function length()", id="one too many"),
    ],
)
@pytest.mark.parametrize("variable", ["SONG_INFO", "SONG_MISSING", "SONG_RETRY"])
def test_a_broken_expression_names_its_variable(variable: str, expression: str, reason: str) -> None:
    """Refuse an expression before any song is asked for, and say which one and why."""
    with pytest.raises(BadSetting) as bad:
        DeclaredSong(**{variable.removeprefix("SONG_").lower(): expression})

    assert str(bad.value).startswith(f"{variable} is {expression!r}, no JMESPath expression: ")
    assert reason in str(bad.value)
    assert str(bad.value).endswith(".")
    assert "\n" not in str(bad.value)
    assert "for expression:" not in str(bad.value)


@pytest.mark.parametrize(
    "expression",
    [
        "length(@)",
        "not_null(a, b, c)",
        "sort_by(@, &a)[0].b",
        "to_string(join(', ', @))",
        "data[0:2] | [?contains(title, 'x') && a[1]].{n: length(b), m: *.c}",
        "merge(@, {a: `1`})",
        "data[]",
    ],
)
def test_right_calls_are_taken(expression: str) -> None:
    """Take every function of JMESPath, called rightly."""
    assert DeclaredSong(expression)


DECIDED: list[tuple[dict[str, Any], int, bytes, str, str]] = [
    ({}, 200, b'{"id": 1}', "built-in rule", "RFC 9110, 15.3"),
    ({}, 404, b"", "built-in rule", "RFC 9110, 15.5.5"),
    ({}, 429, b"", "built-in rule", "RFC 6585, 4"),
    ({}, 599, b"", "built-in rule", "RFC 9110, 15.6"),
    ({"missing": "error"}, 200, b'{"error": 1}', "SONG_MISSING", "error"),
    ({"retry": "error", "missing": "error"}, 404, b'{"error": 1}', "SONG_RETRY", "error"),
    ({"missing": "error"}, 200, b'{"id": 1}', "built-in rule", "RFC 9110, 15.3"),
    (
        {"rules": [{"status": 403, "action": "retry"}, {"status": 404, "action": "failed"}], "missing": "error"},
        404,
        b'{"error": 1}',
        "RESPONSE_RULES, rule 2",
        '{"status":404,"action":"failed"}',
    ),
]


@pytest.mark.parametrize(("song", "status", "body", "name", "says"), DECIDED)
def test_the_rule_that_decided_is_told(song: dict[str, Any], status: int, body: bytes, name: str, says: str) -> None:
    """Name the rule that gave the verdict, and what stands in it, or the authority of a built-in one."""
    judgement = DeclaredSong(**song).decide(status, body)

    assert judgement.rule.name == name
    assert says in judgement.rule.says
    assert judgement.verdict == DeclaredSong(**song).judge(status, body)


def test_the_rule_that_pauses_is_told() -> None:
    """Name the rule without an action whose pause is the longest, beside the one that decided."""
    rules = [{"wait": 3}, {"wait": 9}, {"wait": 5}]
    judgement = DeclaredSong(rules=rules).decide(200, b'{"id": 1}')

    assert (judgement.verdict.retry_after, judgement.rule.name) == (9.0, "built-in rule")
    assert judgement.paused_by is not None
    assert judgement.paused_by.name == "RESPONSE_RULES, rule 2"
