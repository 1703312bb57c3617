"""What a schema check may cost. Work is counted in steps and calls; seconds are only compared with those of a plain check."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from tests.unit.schemas import LEAF, SCHEMAS, VALUES, fault
from webhooks_app.core.schema_check import Schema, check_schema
from webhooks_app.core.schema_keywords import CheckTooCostly, Steps, current_steps

PAYLOAD = 256 * 1024


def doubling(keyword: str, levels: int = 30) -> dict[str, Any]:
    """Each schema names the next one twice, in the same place."""
    last = {f"d{levels}": {"type": "null"}}
    refs = [{"$ref": f"#/$defs/d{level + 1}"} for level in range(levels)]
    if keyword == "if":
        steps = {f"d{level}": {**ref, "if": True, "then": ref} for level, ref in enumerate(refs)}
    elif keyword == "dependentSchemas":
        steps = {f"d{level}": {keyword: {"a": ref, "b": ref}} for level, ref in enumerate(refs)}
    else:
        steps = {f"d{level}": {keyword: [ref, ref]} for level, ref in enumerate(refs)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, **last}}


OBJECTS = [{"id": number, "name": f"n{number}"} for number in range(3000)]
ONES = [1] * (PAYLOAD // 2 - 10)
LONG = "a" * (PAYLOAD - 10)
MANY_KEYS = {f"key-{number}": number for number in range(10_000)}
#: Integers with one hash: a set of them compares each with each.
SAME_HASH = [number * (2**61 - 1) for number in range(1, 8000)]
WORST: dict[str, tuple[Any, Any]] = {
    "a pattern with nested repetitions": ({"pattern": "^(a+)+$"}, "a" * 40 + "!"),
    "a pattern over a long text": ({"pattern": "(a|aa)*(a|aa)*b$"}, LONG),
    "a pattern with many states": ({"pattern": "(a|b)*a(a|b){300}x"}, "ab" * 100_000),
    "patterns for many names": ({"patternProperties": {f"(a+)+{n}$": {} for n in range(100)}}, MANY_KEYS),
    "names without a pattern": (
        {"patternProperties": {f"(a+)+{n}$": {} for n in range(100)}, "additionalProperties": False}, MANY_KEYS,
    ),
    "unique objects": ({"uniqueItems": True}, OBJECTS),
    "unique objects of two kinds": ({"uniqueItems": True}, [*OBJECTS, 1, "x", None]),
    "unique numbers with one hash": ({"uniqueItems": True}, SAME_HASH),
    "unique items again and again": ({"allOf": [{"uniqueItems": True}] * 500}, OBJECTS),
    "contains": ({"allOf": [{"contains": False}] * 500}, ONES),
    "contains anything": ({"allOf": [{"contains": True}] * 500}, ONES),
    "items": ({"allOf": [{"items": {"type": "null"}}] * 500}, ONES),
    "property names": ({"allOf": [{"propertyNames": {"minLength": 20}}] * 500}, MANY_KEYS),
    "unevaluated items": ({"contains": {"type": "null"}, "unevaluatedItems": False}, ONES),
    "unevaluated items that are evaluated": ({"contains": True, "unevaluatedItems": False}, ONES),
    "unevaluated properties": (
        {"allOf": [{"properties": dict.fromkeys(list(MANY_KEYS)[:1_000], True)}] * 3, "unevaluatedProperties": False}, MANY_KEYS,
    ),
    "false in anyOf": ({"anyOf": [False] * 5_000}, LONG),
    "false in not": ({"allOf": [{"not": False}] * 3_000}, LONG),
    "false in if": ({"allOf": [{"if": False}] * 3_000}, LONG),
    "large errors": ({"anyOf": [{"type": "null"}] * 3_000}, OBJECTS),
    "a large enum": ({"items": {"enum": [[number] for number in range(5_000)]}}, [[0]] * 20_000),
    "a large const": ({"items": {"const": [[number] for number in range(5_000)]}}, ONES),
    "dependent names": ({"allOf": [{"dependentRequired": {"a": ["a"] * 20}}] * 400}, {"a": 1}),
    "a long list of dependent names": (
        {"items": {"dependentRequired": {"a": [f"n{n}" for n in range(5_000)]}}},
        [{"a": 1}] * 20_000,
    ),
    "one of nested": ({"$ref": "#/$defs/x", "$defs": {"x": {"oneOf": [{"items": {"$ref": "#/$defs/x"}}] * 9}}}, [[[[[[[]]]]]]]),
    "a reference to itself": ({"$ref": "#"}, 1),
    "references to each other": (doubling("allOf"), 1),
    "references in anyOf": (doubling("anyOf"), 1),
    "references in oneOf": (doubling("oneOf"), None),
    "references that are not evaluated": (
        {"unevaluatedProperties": False, **doubling("dependentSchemas")}, {"a": 1, "b": 2},
    ),
    "conditions that are not evaluated": ({"unevaluatedProperties": False, **doubling("if")}, {"a": 1}),
    "a long pointer": (
        {"$defs": {"/".join("a" for _ in range(5000)): {}}, "items": {"$ref": "#" + "/a" * 15_000}}, ONES,
    ),
    "an anchor": (
        {"$defs": {**{f"d{n}": {"title": "x" * 30} for n in range(1_000)}, "x": {"$anchor": "x"}}, "items": {"$ref": "#x"}},
        ONES,
    ),
    "an identifier": (
        {"$defs": {**{f"d{n}": {"title": "x" * 30} for n in range(1_000)}, "x": {"$id": "urn:x"}}, "items": {"$ref": "urn:x"}},
        ONES,
    ),
    "another draft": (
        {"$ref": "#/$defs/x", "$defs": {"x": {"$schema": "http://json-schema.org/draft-07/schema#", "uniqueItems": True}}},
        [*OBJECTS, 1, "x"],
    ),
    "another draft in data": (
        {"$ref": "#/const", "const": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}},
        "a" * 40 + "!",
    ),
    "the schema of schemas": (
        {"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"required": [*OBJECTS, 1, "x"], "enum": OBJECTS},
    ),
    "a deep value": (
        {"$ref": "#/$defs/x", "$defs": {"x": {"uniqueItems": True, "items": {"$ref": "#/$defs/x"}}}},
        json.loads("[" * 250 + ",".join("1" * 5 for _ in range(20_000)) + "]" * 250),
    ),
}  # fmt: skip


def seconds_of(schema: Schema, data: str) -> float:
    began = time.process_time()
    with suppress(Exception):
        schema.first_fault(data)
    return time.process_time() - began


@pytest.fixture(scope="module")
def a_plain_check() -> float:
    """What it costs to check the longest list against a schema that people write."""
    plain = Schema(json.dumps({"type": "array", "items": {"type": "integer", "minimum": 0}}))
    data = json.dumps(ONES, separators=(",", ":"))
    assert plain.first_fault(data) is None
    return seconds_of(plain, data)


@pytest.mark.parametrize("name", WORST)
def test_the_worst_schemas_over_the_worst_data_stop_within_their_steps(name: str, a_plain_check: float) -> None:
    schema, value = WORST[name]
    data = json.dumps(value, separators=(",", ":"))
    assert len(data) <= PAYLOAD * 1.1
    ready = Schema(json.dumps(schema))
    seconds = seconds_of(ready, data)
    assert seconds < 0.5 + 6 * a_plain_check, f"{seconds:.2f} s, not {a_plain_check:.2f}"


def calls_and_steps(schema: Any, value: Any) -> tuple[int, int]:
    """How many functions a check calls, counted by the interpreter, and how many steps it counts itself."""
    validator = Schema(json.dumps(schema))._validator
    calls, steps = 0, Steps(10**9)

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    token, before = current_steps.set(steps), sys.getprofile()
    sys.setprofile(count)
    try:
        for _ in validator.iter_errors(value):
            pass
    finally:
        sys.setprofile(before)
        current_steps.reset(token)
    return calls, steps.spent


@settings(max_examples=150, deadline=None)
@given(schema=SCHEMAS, element=VALUES, count=st.integers(1, 60), as_list=st.booleans())
@pytest.mark.processes
def test_no_work_is_done_that_is_not_counted(schema: Any, element: Any, count: int, as_list: bool) -> None:
    whole = {**schema, "$defs": {"leaf": LEAF}} if isinstance(schema, dict) else schema
    value = [element] * count if as_list else {f"a{number}": element for number in range(count)}
    calls, steps = calls_and_steps(whole, value)
    target(calls / (steps + 10))
    assert calls <= 40 * (steps + 10)


def test_a_check_beyond_its_steps_says_so() -> None:
    for schema, value in (WORST["references to each other"], WORST["a reference to itself"], WORST["items"]):
        with pytest.raises(CheckTooCostly):
            Schema(json.dumps(schema)).first_fault(json.dumps(value))


@pytest.mark.parametrize("name", ["a reference to itself", "a deep value", "conditions that are not evaluated"])
@pytest.mark.processes
def test_a_check_in_a_deep_stack_is_too_costly_and_no_panic(name: str) -> None:
    schema, value = WORST[name]
    ready, data = Schema(json.dumps(schema)), json.dumps(value)

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            ready.first_fault(data)

    for levels in range(300, 800, 37):
        with suppress(RecursionError), pytest.raises(CheckTooCostly):
            deeper(levels)


def test_data_and_schemas_may_be_nested_as_people_nest_them() -> None:
    tree = {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#"}}}}
    data: dict[str, Any] = {}
    for _ in range(40):
        data = {"of": [data]}
    assert not fault(tree, data)
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(20):
        schema = {"type": "object", "properties": {"x": schema}}
    check_schema(json.dumps(schema))


def test_large_data_that_people_send_is_far_from_the_limit() -> None:
    line = {
        "type": "object",
        "required": ["id", "name"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "integer", "minimum": 0},
            "name": {"type": "string", "pattern": "^n[0-9]+$", "minLength": 1},
        },
    }
    schema = {"type": "object", "properties": {"lines": {"type": "array", "items": line, "uniqueItems": True}}}
    assert not fault(schema, {"lines": OBJECTS})
    assert not fault({"pattern": "^[A-Za-z0-9+/=]+$"}, LONG)
    assert not fault({"items": {"type": "integer", "minimum": 0}}, ONES)
