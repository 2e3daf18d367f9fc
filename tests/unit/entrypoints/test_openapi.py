"""Check that openapi.json says what the function does."""

from __future__ import annotations

import json
import random
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from campaigns.fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from crawler.app.crawl_request import RequestBounds
from crawler.app.parameters import CRAWL_PARAMETERS, LOOK_PARAMETERS, PAGE_PARAMETERS
from crawler.core.errors import MethodNotAllowed, SongcrawlError
from crawler.entrypoints.http.openapi import describe
from crawler.runs.selection import SONGS_PATTERN, parse_selection
from crawler.runs.summary import Coverage, RunSummary

DOCUMENT: dict[str, Any] = json.loads(json.dumps(describe(RequestBounds(50, 5, 20, 60))))
OPERATIONS = {(path, method): found for path, item in DOCUMENT["paths"].items() for method, found in item.items()}


def parameters(path: str) -> list[str]:
    """Name the query parameters of a GET."""
    return [each["name"] for each in OPERATIONS[path, "get"]["parameters"] if each["in"] == "query"]


def all_errors(kind: type[SongcrawlError] = SongcrawlError) -> set[type[SongcrawlError]]:
    """Collect the tree of errors."""
    return {kind}.union(*(all_errors(below) for below in kind.__subclasses__()))


def has_reversed_range(text: str) -> bool:
    """Tell whether a range of the text goes down."""
    pairs = re.findall(r"(?<![^,])([0-9]+)-([0-9]+)(?![^,])", text)
    return any(int(first) > int(last) for first, last in pairs)


def test_every_parameter_is_described() -> None:
    """Name each parameter that is read, in query and body, and say that a crawl needs songs."""
    body = OPERATIONS["/", "post"]["requestBody"]["content"]["application/json"]["schema"]

    assert parameters("/") == list(body["properties"]) == list(CRAWL_PARAMETERS)
    assert parameters("/runs") == list(PAGE_PARAMETERS)
    assert parameters("/runs/{run}") == list(LOOK_PARAMETERS)
    assert (body["required"], body["additionalProperties"]) == (["songs"], False)
    assert [each["name"] for each in OPERATIONS["/", "get"]["parameters"] if each.get("required")] == ["songs"]


def test_bounds_are_those_of_the_deployment() -> None:
    """Say how high a caller may go here; without a ceiling, how high a number may be at all."""
    described = {each["name"]: each["schema"] for each in OPERATIONS["/", "get"]["parameters"]}
    unbound = describe(RequestBounds(50, 0, 20, 60))["paths"]["/"]["get"]["parameters"]

    assert described["max_per_second"] == {"type": "number", "minimum": 0.001, "maximum": 5}
    assert described["max_at_once"] == {"type": "integer", "minimum": 1, "maximum": 20}
    assert described["deadline_seconds"] == {"type": "number", "minimum": 1, "maximum": 60}
    assert next(each["schema"]["maximum"] for each in unbound if each["name"] == "max_per_second") == 1_000_000


def test_every_field_of_an_answer_is_described() -> None:
    """Describe the answer as it is written."""
    schemas = DOCUMENT["components"]["schemas"]

    assert set(schemas["Answer"]["properties"]) == set(RunSummary.__struct_fields__)
    assert set(schemas["Coverage"]["properties"]) == set(Coverage.__struct_fields__)


@pytest.mark.parametrize("error", sorted(all_errors(), key=str), ids=str)
def test_every_status_is_described(error: type[SongcrawlError]) -> None:
    """Describe each status that an error of ours may become, and how all of them look."""
    places = [responses for operation in OPERATIONS.values() for responses in [operation["responses"]]]
    told = [responses[str(error.http_status)] for responses in places if str(error.http_status) in responses]
    if error is MethodNotAllowed:
        told = [DOCUMENT["components"]["responses"]["MethodNotAllowed"]]

    assert told
    assert all("application/problem+json" in each["content"] for each in told)


@given(st.from_regex(re.compile(SONGS_PATTERN, re.ASCII), fullmatch=True))
def test_songs_of_the_pattern_are_read(text: str) -> None:
    """Let the pattern promise only what is read: but for a reversed range, which a pattern can't tell."""
    with pytest.raises(ValueError, match="is reversed") if has_reversed_range(text) else nullcontext():
        parse_selection(text)


@pytest.mark.parametrize("text", ["", "7,", "1_0", "1e3", "-5", "1-2-3", "next:0", "failed:", "failed:A", "01", " 7"])
def test_songs_past_the_pattern_are_not_read(text: str) -> None:
    """Refuse what the pattern does not match."""
    assert re.fullmatch(SONGS_PATTERN, text, re.ASCII) is None
    with pytest.raises(ValueError, match=r"."):
        parse_selection(text)


def test_the_function_answers_as_described(tmp_path: Path) -> None:
    """Send 200 right and wrong calls made from the document (`make fuzz` sends 10,000)."""
    answers = fuzz(tmp_path / "songs", 200, random.Random(1))

    assert set(answers) == {f"{method.upper()} {path}" for path, method in OPERATIONS} - {"GET /openapi.json"}
    assert sum(sum(statuses.values()) for statuses in answers.values()) == 200
    assert {200, 400} <= set(answers["POST /"]) | set(answers["GET /"])
