"""Check what a caller may ask for: every parameter of the contract, and every way to get one wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.app.crawl_request import CrawlRequest, RequestBounds
from crawler.app.parameters import MOST_BODY_BYTES, parse_crawl, parse_page, parse_run_name
from crawler.core.errors import BadRequest, RequestTooLarge
from crawler.core.song_set import SongSet
from crawler.runs.selection import SONGS_HELP, NumberRanges, count_selected

CEILINGS = RequestBounds(max_songs=10_000_000, max_per_second=100.0, max_at_once=50, deadline_seconds=540.0)
NAMES = "songs, run, max_per_second, max_at_once, deadline_seconds, dry_run"
SONGS = SONGS_HELP
RUN = "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit"
NO_OBJECT = 'The body is no JSON object; allowed: one such as {"songs": "1-1000"}.'

Pair = tuple[str, str]


def body_of(**given: Any) -> bytes:
    """Write a JSON body."""
    return json.dumps(given).encode()


def asked(*query: Pair, body: bytes = b"", bounds: RequestBounds = CEILINGS, **given: Any) -> CrawlRequest:
    """Read a request; what is given by name stands in the body."""
    return parse_crawl(query, body or (body_of(**given) if given else b""), bounds)


def numbers(text: str) -> NumberRanges:
    """Ask for the numbers of a text."""
    return NumberRanges(SongSet.parse(text))


def refused(*query: Pair, body: bytes = b"", bounds: RequestBounds = CEILINGS, **given: Any) -> str:
    """Give the sentence with which a request is refused."""
    with pytest.raises(BadRequest) as bad:
        asked(*query, body=body, bounds=bounds, **given)
    assert bad.value.http_status == 400
    return str(bad.value)


def test_songs_alone_are_enough() -> None:
    """Leave everything else to the deployment."""
    assert asked(("songs", "1-1000")) == CrawlRequest(numbers("1-1000"))
    assert asked(songs="1-1000") == CrawlRequest(numbers("1-1000"))


def test_all_parameters_are_read() -> None:
    """Read every parameter, from the query, the body, or some from each."""
    whole = CrawlRequest(numbers("1-100,205"), "trial", 0.5, 7, 60.0)
    query = [
        *(("songs", "1-100,205"), ("run", "trial"), ("max_per_second", "0.5"), ("max_at_once", "7")),
        ("deadline_seconds", "60"),
    ]

    assert asked(*query) == whole
    assert asked(songs="1-100,205", run="trial", max_per_second=0.5, max_at_once=7, deadline_seconds=60) == whole
    assert asked(songs="1-100,205", run="trial", max_per_second="0.5", max_at_once="7", deadline_seconds="60") == whole
    assert asked(*query[:2], max_per_second=0.5, max_at_once=7, deadline_seconds=60) == whole


@pytest.mark.parametrize("number", [0, 7, 999_999_999_999])
def test_songs_may_be_an_integer_in_json(number: int) -> None:
    """Take a JSON integer for the text of it."""
    assert asked(songs=number).selection == numbers(str(number))


@pytest.mark.parametrize(
    "name", ["song", "Songs", "SONGS", "songs ", "dry_run ", "range", "", "run_name", "_", "séngs", "songs[]", "é" * 9]
)
def test_an_unknown_name_is_refused(name: str) -> None:
    """Name what is unknown and all that is known, wherever it stands."""
    sentence = f"{json.dumps(name, ensure_ascii=False)} is no parameter; allowed: {NAMES}."

    assert refused((name, "1"), ("songs", "7")) == sentence
    assert refused(body=json.dumps({"songs": 7, name: 1}).encode()) == sentence


@pytest.mark.parametrize("name", NAMES.split(", "))
def test_a_name_given_twice_is_refused(name: str) -> None:
    """Refuse a second value, be it the same, in the query, in the body or one in each."""
    sentence = f'"{name}" is given twice; allowed: once, in the query or in the body.'

    assert refused((name, "7"), (name, "7")) == sentence
    assert refused((name, "7"), body=json.dumps({name: "7"}).encode()) == sentence
    assert refused(body=f'{{"{name}": "7", "{name}": "7"}}'.encode()) == sentence


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ([], b""),
        ([], b"{}"),
        ([], b" \r\n"),
        ([("run", "trial")], b""),
        ([("run", "trial")], b'{"max_at_once": 1}'),
    ],
    ids=["nothing", "an empty object", "a blank body", "a run only", "all but songs"],
)
def test_missing_songs_are_refused(query: list[tuple[str, str]], body: bytes) -> None:
    """Say that songs is missing and what it may be."""
    assert refused(*query, body=body) == f"songs is missing; allowed: {SONGS}."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (10**12, "1000000000000"),
        ([], "an array"),
        (["1-100"], "an array"),
        ({}, "an object"),
        ({"first": 1}, "an object"),
    ],
    ids=repr,
)
def test_songs_of_another_type_are_refused(value: Any, shown: str) -> None:
    """Show a value that is neither a text nor an integer from 0 as JSON does."""
    assert refused(songs=value) == f"songs is {shown}; allowed: {SONGS}."


@pytest.mark.parametrize("number", ["1e3", "1E3", "7.0", "7.5", "-7.0", "1e400"])
def test_songs_with_a_point_or_an_exponent_are_refused(number: str) -> None:
    """Refuse a JSON number that is not written as an integer."""
    assert refused(body=f'{{"songs": {number}}}'.encode()) == f'songs is "{number}"; allowed: {SONGS}.'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(
            (text, f"{text!r} is neither a number from 0 to 999999999999 nor a range such as 1-1000")
            for text in ("１２", "1_0", "1e3", "-5", "true", "+7", " 7", "007", "1--", "7.0", "1" * 13, "all")
        ),
        ("10-1", "the range 10-1 is reversed: write 1-10"),
        ("1,,2", "'' is neither a number from 0 to 999999999999 nor a range such as 1-1000"),
    ],
    ids=lambda text: text[:16],
)
def test_songs_that_are_no_song_set_are_refused(text: str, reason: str) -> None:
    """Name the piece at fault, from the query as from the body."""
    sentence = f"songs: {reason}; allowed: {SONGS}."

    assert refused(("songs", text)) == sentence
    assert refused(songs=text) == sentence


def test_more_songs_than_max_songs_are_refused() -> None:
    """Take MAX_SONGS numbers and not one more; numbers named twice count once."""
    assert count_selected(asked(songs="1-10000000").selection) == 10_000_000
    assert count_selected(asked(songs="1-10000000,1-5,7").selection) == 10_000_000
    assert refused(songs="0-10000000") == "songs names 10000001 numbers; allowed: 10000000 (MAX_SONGS)."
    assert refused(songs="0-999999999999").startswith("songs names 1000000000000 numbers; ")


@pytest.mark.parametrize("run", ["a", "7", "trial", "2026-01-02.nightly_3", "a" * 63, "a..", "a-"])
def test_a_runs_name_is_taken(run: str) -> None:
    """Take names that are safe in a path, a bucket and a URL."""
    assert asked(songs=7, run=run).run == run
    assert parse_run_name("run", run) == run


@pytest.mark.parametrize(
    "run",
    [
        *(
            "",
            "A",
            "Trial",
            "-a",
            ".",
            "..",
            ".a",
            "_a",
            "a" * 64,
            "a b",
            "a/b",
            "../a",
            "a\\b",
            "a\n",
            "\n",
            "ä",
            "１",
        ),
        *("a%2fb", "a:b", "a?", "a#", "a\0", "ａ", 7, 7.5, True, None, ["a"], {"a": 1}),
    ],
    ids=repr,
)
def test_any_other_name_of_a_run_is_refused(run: Any) -> None:
    """Say which characters a run's name is made of."""
    sentence = refused(songs=7, run=run)

    assert sentence.startswith("run is ")
    assert sentence.endswith(f"; allowed: {RUN}.")


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("max_per_second", 100, 100.0),
        ("max_per_second", 99.5, 99.5),
        ("max_per_second", 0.001, 0.001),
        ("max_per_second", "100", 100.0),
        ("max_per_second", "0.25", 0.25),
        ("max_at_once", 1, 1),
        ("max_at_once", 50, 50),
        ("max_at_once", "50", 50),
        ("deadline_seconds", 1, 1.0),
        ("deadline_seconds", 540, 540.0),
        ("deadline_seconds", "539.5", 539.5),
    ],
)
def test_limits_may_be_lowered(name: str, value: Any, read: float) -> None:
    """Take a limit up to the deployment's own, as a number or as a text."""
    taken = getattr(asked(songs=7, **{name: value}), name)

    assert taken == read
    assert type(taken) is type(read)


ALLOWED = {
    "max_per_second": "a number from 0.001 to 100",
    "max_at_once": "a whole number from 1 to 50",
    "deadline_seconds": "a number of seconds from 1 to 540",
}


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, 541, 10**9, 10**15, 10**400, True, False, None, [], [1], {}, {"a": 1}, 540.0000001, -0.5, 0.0),
        *("", "x", "true", "-1", "+1", " 1", "1 ", "1\n", "１", "1_0", "1e1", "nan", "inf", "0x1", "1.", ".5", "1,5"),
        *("0", "541", "9" * 400, "1.0000000001"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_limits_may_not_be_raised_or_be_anything_else(name: str, value: Any) -> None:
    """Name the field, its value and what is allowed: the deployment's own setting is the most."""
    sentence = refused(songs=7, **{name: value})

    assert sentence.startswith(f"{name} is ")
    assert sentence.endswith(f"; allowed: {ALLOWED[name]}.")
    assert len(sentence) < 200


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("number", ["1e1", "1E1", "1.0e1", "1e-1", "1e400", "1e99999999999999999999"])
def test_an_exponent_is_refused_in_json_too(name: str, number: str) -> None:
    """Refuse 1e1, though JSON knows it, as the query refuses it."""
    body = f'{{"songs": 7, "{name}": {number}}}'.encode()

    assert refused(body=body) == f'{name} is "{number}"; allowed: {ALLOWED[name]}.'


def test_a_whole_number_has_no_point() -> None:
    """Refuse 10.0 where a whole number is meant."""
    assert refused(songs=7, max_at_once=10.0) == 'max_at_once is "10.0"; allowed: a whole number from 1 to 50.'
    assert refused(songs=7, max_at_once="10.0") == 'max_at_once is "10.0"; allowed: a whole number from 1 to 50.'


@pytest.mark.parametrize(
    ("ceiling", "most"),
    [(0.0, "1000000"), (1_000_000.0, "1000000"), (512.25, "512.25"), (1234567.0, "1234567"), (100.0, "100")],
    ids=["none", "the highest", "a fraction", "seven digits", "round"],
)
def test_a_ceiling_is_written_as_it_may_be_sent(ceiling: float, most: str) -> None:
    """Write the most that is allowed so that it can be sent as it stands; without a ceiling that is a million."""
    bounds = RequestBounds(10, ceiling, 50, 540.0)

    assert refused(songs=7, max_per_second=0, bounds=bounds) == (
        f"max_per_second is 0; allowed: a number from 0.001 to {most}."
    )
    assert asked(songs=7, max_per_second=most, bounds=bounds).max_per_second == float(most)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut short"),
        pytest.param(b'{"songs": 7', id="no end"),
        pytest.param(b'{"songs": 7,}', id="trailing comma"),
        pytest.param(b"{songs: 7}", id="no quotes"),
        pytest.param(b"{'songs': 7}", id="single quotes"),
        pytest.param(b'{"songs": 07}', id="leading zero"),
        pytest.param(b'{"songs": 7} {}', id="two objects"),
        pytest.param(b'{"songs": 7} // seven', id="comment"),
        pytest.param(b"songs=7", id="a form"),
        pytest.param(b"7", id="a number"),
        pytest.param(b'"1-1000"', id="a text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"true", id="true"),
        pytest.param(b"[]", id="an empty array"),
        pytest.param(b'[["songs", "7"]]', id="an array of pairs"),
        pytest.param(b'[{"songs": "7"}]', id="an array of an object"),
        pytest.param(b'{"songs": "7", "max_per_second": NaN}', id="NaN"),
        pytest.param(b'{"songs": "7", "max_per_second": Infinity}', id="Infinity"),
        pytest.param(b'{"songs": "7\n"}', id="a raw line break"),
        pytest.param(b'{"songs": ' + b"9" * 5000 + b"}", id="an int of 5000 digits"),
        pytest.param(b"[" * 60_000, id="nested too deep"),
        pytest.param(b'{"songs": "\xff"}', id="invalid UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"songs": 7}', id="byte order mark"),
        pytest.param('{"songs": 7}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\x00", id="NUL"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    """Say that the body is no JSON object and show one."""
    assert refused(body=body) == NO_OBJECT


@pytest.mark.parametrize("depth", [1, 100, 900, 3000, 6000])
@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
def test_deep_nesting_is_refused_at_any_depth(depth: int, start: bytes, end: bytes) -> None:
    """Refuse a value nested however deep; how deep JSON is read depends on the Python."""
    sentence = refused(body=b'{"songs": ' + start * depth + b"7" + end * depth + b"}")

    assert sentence == NO_OBJECT or re.fullmatch(r"songs is an (array|object); allowed: .*", sentence)


def test_a_body_of_64_kib_is_read_and_not_a_byte_more() -> None:
    """Take a body at the limit; refuse a longer one by its size, unread."""
    at_limit = body_of(songs=7).ljust(MOST_BODY_BYTES)

    assert MOST_BODY_BYTES == 64 * 1024
    assert asked(body=at_limit).selection == numbers("7")
    with pytest.raises(RequestTooLarge, match=r"^The body is too long; allowed: 65536 bytes\.$") as bad:
        asked(body=at_limit + b" ")
    assert bad.value.http_status == 413


def test_many_pieces_are_read() -> None:
    """Read as many numbers as a body holds."""
    even = range(0, 20_000, 2)

    assert asked(songs=",".join(map(str, even))).selection == NumberRanges(SongSet.of_numbers(even))


@pytest.mark.parametrize(
    "body",
    [
        b'{"songs": "\\ud800"}',
        b'{"songs": 7, "run": "\\ud800"}',
        b'{"songs": 7, "max_at_once": "\\udfff"}',
        b'{"\\ud800": 1}',
        b'{"\\ud800": 1, "\\ud800": 2}',
    ],
    ids=["songs", "run", "a limit", "a name", "a name twice"],
)
def test_a_sentence_can_always_be_sent(body: bytes) -> None:
    """Quote a lone surrogate, which no answer in UTF-8 can hold, by its escape."""
    sentence = refused(body=body)

    assert re.search(r"\\ud[8f][0f][0f]", sentence.encode("utf-8").decode())


@pytest.mark.parametrize(("value", "dry"), [(1, True), ("1", True), (0, False), ("0", False)], ids=repr)
def test_a_dry_run_is_asked_for_by_a_digit(value: Any, dry: bool) -> None:
    """Take 1 and 0, as a number or as a text; a call that does not say is none."""
    assert asked(songs=7, dry_run=value).dry_run is dry
    assert asked(songs=7).dry_run is False


@pytest.mark.parametrize(
    "value", [True, False, None, 2, -1, 1.0, "", "true", "yes", "on", "2", "１", " 1", "1.0", [], {}], ids=repr
)
def test_any_other_dry_run_is_refused(value: Any) -> None:
    """Refuse what may be meant as a dry run and is not one: it would crawl."""
    sentence = refused(songs=7, dry_run=value)

    assert sentence.startswith("dry_run is ")
    assert sentence.endswith("; allowed: 0 or 1.")


AFTER = "8299999999999-trial"


@pytest.mark.parametrize(
    ("query", "page"),
    [
        pytest.param([], (20, ""), id="nothing"),
        pytest.param([("limit", "1")], (1, ""), id="the shortest page"),
        pytest.param([("limit", "100")], (100, ""), id="the longest page"),
        pytest.param([("after", AFTER)], (20, AFTER), id="a later page"),
        pytest.param([("after", AFTER), ("limit", "7")], (7, AFTER), id="both"),
        pytest.param([("after", "")], (20, ""), id="the first page by name"),
    ],
)
def test_a_page_is_read(query: list[Pair], page: tuple[int, str]) -> None:
    """Read how many runs are wanted, and after which."""
    assert parse_page(query) == page


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        *(
            ([("limit", value)], f'limit is "{value}"; allowed: a whole number from 1 to 100.')
            for value in ("0", "101", "-1", "", "1.0", "1e1", "１", " 1", "all")
        ),
        *(
            ([("after", value)], f'after is "{value}"; allowed: what `next` of the page before says.')
            for value in ("trial", "8299999999999", "8299999999999-", "829999999999-trial", "8299999999999-../a")
        ),
        ([("page", "2")], '"page" is no parameter; allowed: limit, after.'),
        ([("p" * 9000, "2")], f'"{"p" * 59}… is no parameter; allowed: limit, after.'),
        ([("limit", "1"), ("limit", "1")], '"limit" is given twice; allowed: once, in the query or in the body.'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_any_other_page_is_refused(query: list[Pair], sentence: str) -> None:
    """Name the parameter, its value and what is allowed."""
    with pytest.raises(BadRequest) as bad:
        parse_page(query)

    assert str(bad.value) == sentence


def outcome(query: list[Pair], body: bytes) -> str:
    """Give the songs of a request that is read, or the sentence with which it is refused."""
    try:
        return str(parse_crawl(query, body, CEILINGS).selection)
    except BadRequest as bad:
        return str(bad)


@given(st.lists(st.tuples(st.sampled_from([*NAMES.split(", "), "x"]), st.text(max_size=8)), max_size=4))
def test_any_query_is_read_or_refused(query: list[tuple[str, str]]) -> None:
    """Give a request or raise BadRequest, in words that can be sent; nothing else ever."""
    assert len(outcome(query, b"").encode()) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(NAMES.split(", ")), JSON)
    .map(lambda given: json.dumps(given).encode())
    .flatmap(lambda body: st.just(body) | st.integers(0, len(body)).map(lambda end: body[:end]))
    | st.binary(max_size=40)
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Give a request or raise BadRequest, in words that can be sent; nothing else ever."""
    assert len(outcome([], body).encode()) < 400
