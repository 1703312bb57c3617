"""Schema checks: the same results as `jsonschema`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.unit.schemas import LEAF, SCHEMAS, VALUES, fault
from webhooks_app.core.schema_check import MAX_SCHEMA, InvalidSchema, Schema, check_schema


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=4))
def test_the_result_is_that_of_jsonschema(schema: Any, values: list[Any]) -> None:
    whole = {**schema, "$defs": {"leaf": LEAF}} if isinstance(schema, dict) else schema
    reference, mine = Draft202012Validator(whole), Schema(json.dumps(whole))
    for value in values:
        assert (mine.first_fault(json.dumps(value)) is None) is reference.is_valid(value), (schema, value)


@pytest.mark.parametrize(
    ("schema", "data", "says"),
    [
        ({"properties": {"n": {"type": "integer"}}}, {"n": "one"}, "$.n: 'one' is not of type 'integer'"),
        ({"required": ["n"]}, {}, "$: 'n' is a required property"),
        ({"pattern": "^a+$"}, "b", "$: 'b' does not match '^a+$'"),
        ({"uniqueItems": True}, [1, 1.0], "$: [1, 1.0] has non-unique elements"),
        (
            {"properties": {}, "additionalProperties": False},
            {"x": 1},
            "$: Additional properties are not allowed ('x' was unexpected)",
        ),
        ({"properties": {"x": False}}, {"x": 1}, "$.x: It is not allowed here"),
        ({"not": {"type": "null"}}, None, "$: None should not be valid under {'type': 'null'}"),
        ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"a": 1, "b": 2}, "('b')"),
        ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2], "from index 1 on"),
    ],
)
def test_the_error_says_what_is_wrong_and_where(schema: Any, data: Any, says: str) -> None:
    assert fault(schema, data).endswith(says)


@pytest.mark.parametrize(
    "values", [[1, True], [0, False], [{"a": 1}, {"a": True}], [[1], [True]], ["1", 1], [None, "null"]]
)
def test_values_of_two_types_are_unique(values: list[Any]) -> None:
    assert not fault({"uniqueItems": True}, values)
    assert fault({"uniqueItems": True}, [*values, values[0]])


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "nonsense"}, r"nonsense.* at \$\.type"),
        ({"properties": {"a": {"required": "a"}}}, r"at \$\.properties\.a\.required"),
        (5, "not of type"),
        ({"pattern": "("}, r"The pattern '\(' cannot be used: it is no regular expression"),
        ({"pattern": "a", "patternProperties": {"(?=a)": {}}}, "look-around"),
        ({"items": {"allOf": [{"properties": {"x": {"pattern": r"(.)\1"}}}]}}, "back-reference"),
        ({"const": "x" * MAX_SCHEMA}, "longer than 65536 characters"),
        ({"allOf": [{}] * 16_000}, "too large"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: Any, says: str) -> None:
    with pytest.raises(InvalidSchema, match=says):
        check_schema(json.dumps(schema))


def test_a_schema_that_is_nested_for_ever_is_refused() -> None:
    for depth in (500, 5_000):
        with pytest.raises(InvalidSchema, match="nested too deeply"):
            check_schema('{"not":' * depth + "{}" + "}" * depth)


def test_a_word_that_is_data_is_no_keyword() -> None:
    schema = {"enum": [{"pattern": "("}], "default": {"pattern": "("}, "properties": {"pattern": {"type": "string"}}}
    assert not fault(schema, {"pattern": "("})
