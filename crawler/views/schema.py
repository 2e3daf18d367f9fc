"""The schema of info: which fields the songs of a run or a snapshot have, of which types, how often, since which song.

A path is written as JMESPath has it: `a.b`, `a[]` for what an array holds, `a.*` for the values of an object whose
names are so many that they are no fields but ids. Its memory is bounded by the number of paths, whatever is in songs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

# An object with more names is one keyed by ids: its values are told of as one.
MOST_NAMES = 200
MOST_PATHS = 5_000
MOST_DEPTH = 50
MOST_EXAMPLES, MOST_EXAMPLE_CHARACTERS = 3, 60

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TYPES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
_TYPES |= {list: "array", dict: "object"}


class TypeSeen(msgspec.Struct):
    """How often a type was met, and the number of the first song that has it."""

    count: int
    first_song: int


class Field(msgspec.Struct):
    """What was met at one path; `names` are the fields of its objects, `items` what its arrays hold.

    `folded`: `names` has one entry, `*`, for all the values of objects that are keyed by ids.
    """

    count: int = 0
    types: dict[str, TypeSeen] = msgspec.field(default_factory=dict)
    examples: list[str] = msgspec.field(default_factory=list)
    names: dict[str, Field] = msgspec.field(default_factory=dict)
    items: Field | None = None
    folded: bool = False


class FieldReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tell of one path: how often it was met, its types, some values as JSON, cut; `note` says what was folded."""

    path: str
    count: int
    types: dict[str, TypeSeen]
    examples: list[str]
    note: str | None = None


class SchemaReport(msgspec.Struct, frozen=True, kw_only=True):
    """Tell of all songs; `left_out` counts values at paths that are too many or too deep to tell of."""

    songs: int
    left_out: int
    fields: list[FieldReport]


class _SongLine(msgspec.Struct):
    info: Any


_decode = msgspec.json.Decoder(_SongLine).decode


class InfoSchema:
    """Gather the schema song by song."""

    def __init__(self) -> None:
        self.root = Field()
        self.left_out = 0
        self._paths = 1

    def add(self, song_num: int, line: bytes) -> None:
        """Add a song's row."""
        self._meet(self.root, _decode(line).info, song_num)

    def add_all(self, lines: Iterable[tuple[int, bytes]]) -> InfoSchema:
        """Add many, and return itself."""
        for song_num, line in lines:
            self.add(song_num, line)
        return self

    def report(self) -> SchemaReport:
        """Tell of every path, parents first."""
        return SchemaReport(songs=self.root.count, left_out=self.left_out, fields=list(_reports("@", self.root)))

    def json_schema(self) -> dict[str, Any]:
        """Return the same as JSON Schema (https://json-schema.org/draft/2020-12)."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema_of(self.root)}

    def _meet(self, field: Field, value: Any, song_num: int, depth: int = 0) -> None:
        kind = _TYPES[type(value)]
        field.count += 1
        if kind in field.types:
            field.types[kind].count += 1
        else:
            field.types[kind] = TypeSeen(1, song_num)
        if kind == "object":
            self._meet_object(field, value, song_num, depth)
        elif kind == "array":
            if field.items is None and value:
                field.items = self._new_field(depth)
            self._meet_each(field.items, value, song_num, depth)
        elif len(field.examples) < MOST_EXAMPLES:
            _keep_example(field, value)

    def _meet_each(self, field: Field | None, values: list[Any], song_num: int, depth: int) -> None:
        for value in values:
            if field is None:
                self.left_out += 1
            else:
                self._meet(field, value, song_num, depth + 1)

    def _meet_object(self, field: Field, value: dict[str, Any], song_num: int, depth: int) -> None:
        for name, inner in value.items():
            place = "*" if field.folded else name
            known = field.names.get(place)
            if known is None and (known := self._new_field(depth)) is not None:
                field.names[place] = known
            self._meet_each(known, [inner], song_num, depth)
            if len(field.names) > MOST_NAMES:
                self._fold(field)

    def _new_field(self, depth: int) -> Field | None:
        """Return a place for another path; None: there are too many, or it is too deep."""
        if self._paths >= MOST_PATHS or depth >= MOST_DEPTH:
            return None
        self._paths += 1
        return Field()

    def _fold(self, field: Field) -> None:
        _fold(field)
        self._paths = sum(1 for _ in _reports("@", self.root))


def _keep_example(field: Field, value: Any) -> None:
    text = msgspec.json.encode(value).decode()
    text = text if len(text) <= MOST_EXAMPLE_CHARACTERS else f"{text[:MOST_EXAMPLE_CHARACTERS]}…"
    if text not in field.examples:
        field.examples.append(text)


def _fold(field: Field) -> None:
    """Tell of all names of an object as one."""
    first, *others = field.names.values()
    for other in others:
        _merge(first, other)
    field.names, field.folded = {"*": first}, True


def _merge(field: Field, other: Field) -> None:
    """Add what was met at another path to what was met at one."""
    field.count += other.count
    for kind, seen in other.types.items():
        known = field.types.setdefault(kind, TypeSeen(0, seen.first_song))
        known.count += seen.count
        known.first_song = min(known.first_song, seen.first_song)
    field.examples = list(dict.fromkeys(field.examples + other.examples))[:MOST_EXAMPLES]
    if field.items and other.items:
        _merge(field.items, other.items)
    field.items = field.items or other.items
    field.folded |= other.folded
    for name, inner in other.names.items():
        if name in field.names:
            _merge(field.names[name], inner)
        else:
            field.names[name] = inner
    if len(field.names) > (1 if field.folded else MOST_NAMES):
        _fold(field)


def _reports(path: str, field: Field) -> Iterator[FieldReport]:
    note = f"more than {MOST_NAMES} names: told of as one, *" if field.folded else None
    yield FieldReport(path=path, count=field.count, types=field.types, examples=field.examples, note=note)
    if field.items:
        yield from _reports("[]" if path == "@" else f"{path}[]", field.items)
    for name, inner in field.names.items():
        written = name if field.folded or _NAME.fullmatch(name) else msgspec.json.encode(name).decode()
        yield from _reports(written if path == "@" else f"{path}.{written}", inner)


def _schema_of(field: Field) -> dict[str, Any]:
    kinds = sorted(field.types)
    if "integer" in kinds and "number" in kinds:
        kinds.remove("integer")  # which is a number there
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    if field.items:
        schema["items"] = _schema_of(field.items)
    if field.folded:
        schema["additionalProperties"] = _schema_of(field.names["*"])
    elif field.names:
        objects = field.types["object"].count
        schema["properties"] = {name: _schema_of(inner) for name, inner in field.names.items()}
        required = [name for name, inner in field.names.items() if inner.count == objects]
        schema |= {"required": required} if required else {}
    return schema
