"""JSON Schemas and values for the tests of schema checks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from webhooks_app.core.schema_check import schema_of


def fault(schema: Any, data: Any) -> str:
    """What is wrong with the data, and where; empty if nothing is."""
    found = schema_of(json.dumps(schema)).first_fault(json.dumps(data))
    return "" if found is None else f"{found.json_path}: {found.message}"


VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, -2, 2.5, "", "a", "ab", "b1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "ab"]), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
PATTERNS = st.sampled_from(["a", "^a$", "^[a-z]+$", "b|1", "^.{2}$"])
NUMBERS = st.sampled_from([0, 1, 2])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = st.dictionaries(st.sampled_from(["a", "b", "ab"]), inner, max_size=2)
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "pattern": PATTERNS,
            "minLength": NUMBERS,
            "maximum": NUMBERS,
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "uniqueItems": st.booleans(),
            "minItems": NUMBERS,
            "items": inner,
            "prefixItems": several,
            "contains": inner,
            "maxContains": NUMBERS,
            "unevaluatedItems": inner,
            "properties": named,
            "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
            "additionalProperties": inner,
            "unevaluatedProperties": inner,
            "propertyNames": inner,
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
            "dependentRequired": st.dictionaries(st.sampled_from("ab"), st.just(["ab"]), max_size=1),
            "dependentSchemas": named,
            "allOf": several,
            "anyOf": several,
            "oneOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "$ref": st.sampled_from(["#/$defs/leaf", "#leaf"]),
        },
    )


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)
LEAF = {"$anchor": "leaf", "properties": {"a": {"type": ["integer", "array"]}}, "prefixItems": [{"type": "integer"}]}
