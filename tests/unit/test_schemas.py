"""JSON Schemas as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from webhooks_app.core.schemas import MAX_PROPERTIES, properties

ADDRESS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def paths(schema: Any) -> list[str]:
    return [property_.path for property_ in properties(schema)]


def test_a_property_tells_its_types_whether_it_must_be_there_and_its_rules() -> None:
    schema = {
        "properties": {"status": {"type": ["string", "null"], "description": "How it went.", "enum": ["sent", None]}},
        "required": ["status"],
    }
    (found,) = properties(schema)
    assert (found.path, found.types, found.required) == ("status", ("string", "null"), True)
    assert found.description == "How it went."
    assert found.rules == (("enum", '["sent", null]'),)


def test_what_is_nested_is_named_by_its_path() -> None:
    schema = {"properties": {"to": ADDRESS, "lines": {"type": "array", "items": {"properties": {"price": {}}}}}}
    assert paths(schema) == ["to", "to.city", "lines", "lines[].price"]
    assert properties(schema)[1].required


def test_references_within_the_schema_are_followed() -> None:
    schema = {"$defs": {"a/b": ADDRESS}, "properties": {"to": {"$ref": "#/$defs/a~1b", "description": "Where to."}}}
    assert paths(schema) == ["to", "to.city"]
    assert properties(schema)[0].description == "Where to."


def test_a_schema_that_contains_itself_ends() -> None:
    tree = {"properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}}
    assert len(paths({"$defs": {"tree": tree}, **tree})) == 126  # two, and twice as many on each of six levels
    wide = {"properties": {f"p{number}": {} for number in range(MAX_PROPERTIES + 5)}}
    assert len(paths(wide)) == MAX_PROPERTIES


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        [],
        "x",
        {},
        {"properties": []},
        {"properties": {"a": 1}},
        {"properties": {"a": {"$ref": "#/no/where"}}},
        {"properties": {"a": {"$ref": "https://elsewhere.example/"}}},
        {"properties": {"a": {"$ref": 5, "type": 7, "description": {}, "items": 3}}, "required": "a"},
    ],
)
def test_what_is_no_proper_schema_breaks_nothing(schema: Any) -> None:
    assert paths(schema) in ([], ["a"])
