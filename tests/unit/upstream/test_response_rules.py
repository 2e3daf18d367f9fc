"""Check the ordered table of what an answer means: a deployment's rules, the two expressions, the built-in rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import BadSetting
from crawler.core.verdict import MISSING, Kind, Verdict, failed, found, retry, throttled
from crawler.upstream.builtin_rules import BUILT_IN, built_in
from crawler.upstream.classify import DeclaredSong
from crawler.upstream.response_rules import ResponseRules

NOW = 1_790_000_000.0
SONG = b'{"title": "Song 1"}'


def judged(
    rules: list[Any], status: int = 200, body: Any = SONG, headers: Mapping[str, str] | None = None, **song: Any
) -> Verdict:
    """Judge an answer by rules; a body that is no bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DeclaredSong(rules=rules, **song).judge(status, data, None, headers, NOW)


@pytest.mark.parametrize(
    ("status", "fits"),
    [
        (403, {403}),
        ([403, 429], {403, 429}),
        ("4xx", {400, 403, 429, 499}),
        (["5XX", 403], {403, 500, 599}),
    ],
)
def test_status_is_one_a_list_or_a_class(status: Any, fits: set[int]) -> None:
    """Fit the statuses that a rule names, and no others."""
    statuses = {200, 399, 400, 403, 429, 499, 500, 599}
    rules = [{"status": status, "action": "failed", "error": "mine"}]

    assert {number for number in statuses if judged(rules, number) == failed("mine")} == fits


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ("status == `400`", True),
        ("headers.\"x-left\" == '0'", True),
        ('headers."X-Left"', False),
        ("body.error.code == `17`", True),
        ("asked == `1`", True),
        ("asked > `1`", False),
        ("contains(body.error, 'quota')", False),
        ("body.nothing", False),
        ("`0`", True),
    ],
)
def test_when_sees_status_headers_body_and_how_many_were_asked(when: str, fits: bool) -> None:
    """Fit where the expression is true as JMESPath has it; one that fails on the answer is false."""
    verdict = judged([{"when": when, "action": "missing"}], 400, {"error": {"code": 17}}, {"x-left": "0"})

    assert (verdict == MISSING) is fits


@pytest.mark.parametrize(
    ("body", "when"),
    [
        (b"<h1>Slow down</h1>", "contains(body, 'Slow down')"),
        (b"caf\xe9 closed", "contains(body, 'closed')"),
        (b"", "body == ''"),
    ],
)
def test_body_that_is_no_json_is_its_text(body: bytes, when: str) -> None:
    """Show a rule the text of what is no JSON."""
    assert judged([{"when": when, "action": "missing"}], 503, body) == MISSING


def test_body_that_was_not_read_is_null() -> None:
    """Have rules decide without a body that is too large; where none does, that is what it comes to."""
    song = DeclaredSong(rules=[{"status": 403, "when": "!body", "action": "throttled"}])

    assert song.judge(403, failed("too_large")) == throttled("http_403")
    assert song.judge(200, failed("too_large")) == failed("too_large")


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        ("throttled", throttled("http_403")),
        ("retry", retry("http_403")),
        ("failed", failed("http_403")),
        ("missing", MISSING),
        ("found", found({"title": "Song 1"})),
    ],
)
def test_action_is_the_verdict(action: str, verdict: Verdict) -> None:
    """Judge as the first rule says that fits, whatever the status would say."""
    assert judged([{"status": 403, "action": action}], 403) == verdict


def test_error_is_the_word_in_the_row() -> None:
    """Name a failure as the rule does."""
    for action in ("throttled", "retry", "failed"):
        assert judged([{"action": action, "error": "quota"}], 403).error == "quota"


def test_refused_is_a_sentence_and_no_songs_fault() -> None:
    """Say of the upstream as a whole that it refuses, as after a 401."""
    plain, worded, sentence = (
        judged([{"action": "refused", **more}], 403)
        for more in ({}, {"error": "the key is too old"}, {"error": "Renew the key."})
    )

    assert {verdict.kind for verdict in (plain, worded, sentence)} == {Kind.REFUSED}
    assert plain.reason == "The upstream answers 403: RESPONSE_RULES takes that for a refusal."
    assert worded.reason == "The upstream answers 403: the key is too old."
    assert sentence.reason == "Renew the key."


def test_found_takes_info_from_an_error_too() -> None:
    """Pick info from a body that a rule calls found; without JSON or info it is none."""
    rules = [{"status": 410, "action": "found"}]

    assert judged(rules, 410, {"data": 7}, info="data") == found(7)
    assert judged(rules, 410, {"other": 7}, info="data") == failed("no_info")
    assert judged(rules, 410, b"<html>") == retry("invalid_json")


def test_first_rule_that_fits_decides() -> None:
    """Ask the rules in their order, then SONG_RETRY, then SONG_MISSING, then the built-in ones."""
    rules: list[Any] = [
        {"status": 400, "when": "body.code == `1`", "action": "missing"},
        {"status": 400, "when": "body.code == `2`", "action": "retry", "error": "second"},
        {"when": "body.code == `2`", "action": "failed"},
    ]
    song: dict[str, Any] = {"retry": "code < `4`", "missing": "code < `5`"}

    assert judged(rules, 400, {"code": 1}, **song) == MISSING
    assert judged(rules, 400, {"code": 2}, **song) == retry("second")
    assert judged(rules, 500, {"code": 2}, **song) == failed("http_500")
    assert judged(rules, 400, {"code": 3}, **song) == throttled("song_retry")
    assert judged(rules, 400, {"code": 4}, **song) == MISSING
    assert judged(rules, 400, {"code": 5}, **song) == failed("http_400")


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 401, 404, 429, 500, 503])
def test_expressions_are_asked_of_json_whatever_the_status(status: int) -> None:
    """Take a body's word before that of its status; a body that is no JSON has none."""
    song = DeclaredSong(missing="error.code == `100`", retry="error.code == `17`")

    assert song.judge(status, b'{"error":{"code":17}}', 2.0) == throttled("song_retry", 2.0)
    assert song.judge(status, b'{"error":{"code":100}}') == MISSING
    assert song.judge(status, b"<html>") == DeclaredSong().judge(status, b"<html>")


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [
        ({"wait": 3}, 3.0),
        ({"wait": 0.5}, 0.5),
        ({"wait": "`3`"}, 3.0),
        ({"wait": "body.backoff"}, 10.0),
        ({"wait": "body.message"}, 17_524.0),
        ({"wait": 'headers."x-reset-after"'}, 360.0),
        ({"wait": "body.nothing"}, None),
        ({"wait": "body"}, None),
        ({"wait": 1e9}, 86_400.0),
        ({"wait_until": NOW + 5}, 5.0),
        ({"wait_until": "body.reset"}, 7.0),
        ({"wait_until": "body.past"}, 0.0),
        ({"wait": 3, "wait_until": "body.reset"}, 7.0),
    ],
)
def test_wait_is_a_number_or_what_an_expression_picks(wait: Mapping[str, Any], seconds: float | None) -> None:
    """Read seconds and instants wherever an answer has them, a day at most."""
    body = {"backoff": 10, "message": "more requests available in 17524 seconds", "reset": NOW + 7, "past": NOW - 7}
    verdict = judged([{"action": "throttled", **wait}], 400, body, {"x-reset-after": "6m0s"})

    assert verdict == throttled("http_400", seconds)


def test_retry_after_is_waited_for_where_the_rule_does_not_say() -> None:
    """Keep to Retry-After if a rule has no wait, or its wait picks nothing."""
    for rule in ({"action": "throttled"}, {"action": "throttled", "wait": "body.nothing"}):
        song = DeclaredSong(rules=[rule])
        assert song.judge(403, b"{}", 9.0) == throttled("http_403", 9.0)
    assert DeclaredSong(rules=[{"action": "throttled", "wait": 2}]).judge(403, b"{}", 9.0).retry_after == 2.0


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict(Kind.FOUND, {"backoff": 10}, None, 10.0)),
        (404, Verdict(Kind.MISSING, None, None, 10.0)),
        (429, throttled("http_429", 10.0)),
        (202, retry("http_202", 10.0)),
    ],
)
def test_rule_without_action_pauses_and_the_next_are_asked(status: int, verdict: Verdict) -> None:
    """Add a pause to whatever the rules after it make of the answer: the longer of two."""
    rules = [{"when": "body.backoff", "wait": "body.backoff"}, {"wait": 3}]

    assert judged(rules, status, {"backoff": 10}) == verdict
    assert not judged(rules, status, {"backoff": 10}).alone
    assert judged([*rules, {"action": "failed", "wait": 20}], 200, {"backoff": 10}).retry_after == 20.0
    assert judged([*rules, {"action": "failed"}], 200, {"backoff": 10}).retry_after == 10.0


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (7, "RESPONSE_RULES, rule 2 is 7; allowed: an object with the fields status, when, action, error, wait, wait_"),
        (
            {"actoin": "retry"},
            'RESPONSE_RULES, rule 2: "actoin" is no field; allowed: status, when, action, error, wait',
        ),
        (
            {"action": "give up"},
            'rule 2: action is "give up"; allowed: throttled, retry, failed, refused, missing, found',
        ),
        ({"action": None}, "rule 2: action is null; allowed: throttled, "),
        ({"action": ["retry"]}, 'rule 2: action is ["retry"]; allowed: throttled, '),
        ({"status": 99, "action": "retry"}, "rule 2: status is 99; allowed: a status from 100 to 999, a class such as"),
        ({"status": True, "action": "retry"}, "rule 2: status is true; allowed: a status"),
        ({"status": "403", "action": "retry"}, 'rule 2: status is "403"; allowed: a status'),
        ({"status": [], "action": "retry"}, "rule 2: status is []; allowed: a status"),
        ({"status": [403, "no"], "action": "retry"}, 'rule 2: status is [403,"no"]; allowed: a status'),
        (
            {"when": "a b", "action": "retry"},
            "rule 2: when is 'a b', no JMESPath expression: Unexpected token: b",
        ),
        ({"when": "lenght(@)", "action": "retry"}, "rule 2: when is 'lenght(@)', no JMESPath expression: Unknown func"),
        ({"when": True, "action": "retry"}, "rule 2: when is true; allowed: a JMESPath expression"),
        ({"error": "", "action": "retry"}, 'rule 2: error is ""; allowed: a text of 1 to 100 characters'),
        ({"error": "a\nb", "action": "retry"}, 'rule 2: error is "a\\nb"; allowed: a text of'),
        ({"error": 7, "action": "retry"}, "rule 2: error is 7; allowed: a text of"),
        ({"wait": -1}, "rule 2: wait is -1; allowed: a number of seconds from 0, or a JMESPath expression in a text."),
        ({"wait": True}, "rule 2: wait is true; allowed: a number of seconds"),
        ({"wait": [3]}, "rule 2: wait is [3]; allowed: a number of seconds"),
        ({"wait": "3 seconds"}, "rule 2: wait is '3 seconds', no JMESPath expression: "),
        (
            {"wait_until": None},
            "rule 2: wait_until is null; allowed: seconds or milliseconds since 1970 as a number, or",
        ),
        (
            {"status": 403},
            'rule 2 is {"status":403}, which does nothing; allowed: an action (throttled, retry, failed,',
        ),
    ],
)
def test_bad_rule_is_named_with_its_place(rule: Any, sentence: str) -> None:
    """Refuse a rule in one sentence: which one, the field, its value, what is allowed."""
    with pytest.raises(BadSetting) as bad:
        ResponseRules([{"action": "retry"}, rule])

    assert str(bad.value).startswith("RESPONSE_RULES, rule 2")
    assert sentence in str(bad.value)
    assert "; allowed: " in str(bad.value)
    assert str(bad.value).endswith(".")
    assert "\n" not in str(bad.value)


def test_built_in_rules_know_every_status() -> None:
    """Have one built-in rule decide for each status, the same that the table gives, and reach each."""
    assert {built_in(status) for status in range(100, 1000)} == set(BUILT_IN)
    assert BUILT_IN[-1].statuses is None


@given(
    st.integers(100, 999),
    st.binary(max_size=30),
    st.sampled_from([(), ({"wait": 0},), ({"when": "`false`", "wait": 9},)]),
)
def test_rules_that_decide_nothing_change_nothing(status: int, body: bytes, rules: tuple[Any, ...]) -> None:
    """Judge as without rules where none decides or pauses."""
    assert DeclaredSong(rules=rules).judge(status, body, 3.0) == DeclaredSong().judge(status, body, 3.0)


@given(st.binary(max_size=60))
def test_the_short_way_is_the_long_one(body: bytes) -> None:
    """Judge the body of a 200 as the whole table does."""
    song = DeclaredSong("a", missing="b", retry="c")

    assert song.judge_body(body, 2.0) == song.judge(200, body, 2.0)
