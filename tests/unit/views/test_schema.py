"""Check the schema of info: paths, types, how often, the first song of each, and that it stays small."""

from __future__ import annotations

import json
from typing import Any

from crawler.views import schema as schema_module
from crawler.views.schema import MOST_NAMES, FieldReport, InfoSchema


def gather(*infos: Any) -> InfoSchema:
    """Gather the infos of the songs 1, 2, ..."""
    lines = ((number, json.dumps({"song_num": number, "info": info}).encode()) for number, info in enumerate(infos, 1))
    return InfoSchema().add_all(lines)


def fields(schema: InfoSchema) -> dict[str, FieldReport]:
    """Give the fields by their paths."""
    return {field.path: field for field in schema.report().fields}


def seen(field: FieldReport) -> dict[str, tuple[int, int]]:
    """Give a field's types, each with how often it was met, and the first song."""
    return {kind: (each.count, each.first_song) for kind, each in field.types.items()}


def test_every_path_is_told() -> None:
    """Write paths as JMESPath does; count, types with their first song, and a few values."""
    told = fields(
        gather(
            {"title": "a", "album": {"year": 1999}, "tags": ["x", 1], "a.b": True},
            {"title": None, "album": {"year": 1.5}, "tags": []},
            {"title": "b" * 100, "album": None},
        )
    )

    assert list(told) == ["@", "title", "album", "album.year", "tags", "tags[]", '"a.b"']
    assert seen(told["@"]) == {"object": (3, 1)}
    assert seen(told["title"]) == {"string": (2, 1), "null": (1, 2)}
    assert seen(told["album"]) == {"object": (2, 1), "null": (1, 3)}
    assert seen(told["album.year"]) == {"integer": (1, 1), "number": (1, 2)}
    assert seen(told["tags[]"]) == {"string": (1, 1), "integer": (1, 1)}
    assert seen(told['"a.b"']) == {"boolean": (1, 1)}
    assert told["title"].examples[0] == '"a"'
    assert max(map(len, told["title"].examples)) <= 61


def test_info_need_be_no_object() -> None:
    """Tell of texts, numbers and arrays too."""
    told = fields(gather("a", 7, [[{"n": 1}]]))

    assert {path: seen(field) for path, field in told.items()} == {
        "@": {"string": (1, 1), "integer": (1, 2), "array": (1, 3)},
        "[]": {"array": (1, 3)},
        "[][]": {"object": (1, 3)},
        "[][].n": {"integer": (1, 3)},
    }


def test_objects_keyed_by_ids_are_folded() -> None:
    """Tell of the values of an object with ever other names as of one, and say so."""
    infos = [{"plays": {f"user-{number}": {"count": number, "last": None}}, "title": "t"} for number in range(1000)]
    told = fields(gather(*infos))

    assert list(told) == ["@", "plays", "plays.*", "plays.*.count", "plays.*.last", "title"]
    assert told["plays"].note == f"more than {MOST_NAMES} names: told of as one, *"
    assert seen(told["plays.*.count"]) == {"integer": (1000, 1)}


def test_folded_objects_inside_others_are_merged() -> None:
    """Fold where inner objects are keyed by ids too, at whatever song that shows."""
    infos = [{f"a{n % 300}": {f"b{n}": n, "c": [n]}} for n in range(900)]

    assert list(fields(gather(*infos))) == ["@", "*", "*.*", "*.*[]"]


def test_what_is_too_much_is_counted() -> None:
    """Leave out what is too deep, and what comes after the most paths; say how many values that were."""
    deep: Any = 7
    for _ in range(400):
        deep = [deep]
    schema = gather(deep)
    assert (len(fields(schema)), schema.report().left_out) == (51, 1)


def test_paths_are_bounded(monkeypatch: Any) -> None:
    """Keep no more paths than the most."""
    monkeypatch.setattr(schema_module, "MOST_PATHS", 10)
    report = gather({f"n{number}": number for number in range(30)}, {"n1": 1, "n29": 2}).report()

    assert (len(report.fields), report.left_out) == (10, 22)


def test_json_schema_says_the_same() -> None:
    """Write JSON Schema: a field that all objects have is required, one of two types has both."""
    schema = gather({"id": 1, "tags": ["a"]}, {"id": 2.5, "tags": None}, {"id": 3}).json_schema()

    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "id": {"type": "number"},
            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        },
        "required": ["id"],
    }
    folded = gather({f"k{number}": 1 for number in range(300)}).json_schema()
    assert folded["additionalProperties"] == {"type": "integer"}
