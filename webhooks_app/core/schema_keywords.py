"""The keywords of JSON Schema (2020-12), each with its steps counted. Pure.

Most are those of `jsonschema`. Replaced are those that take longer than the data is long: patterns (see `core.patterns`),
`uniqueItems`, and `unevaluatedItems` and `unevaluatedProperties`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing.jsonschema import DRAFT202012

from webhooks_app.core.patterns import CHARACTERS_A_STEP, pattern

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


#: How deep keywords are nested in one another, in the schema and along the data. Each takes up to four calls, and Python allows
#: some hundreds. Beyond them `referencing`, which is written in Rust, would panic.
MAX_DEPTH = 150


class CheckTooCostly(Exception):
    """The check has taken more steps than it may, or its keywords are nested too deeply."""


class Steps:
    """The steps that a check has taken, and the limit.

    A step is one keyword for one value, one element or name that is walked through, or CHARACTERS_A_STEP characters of text.
    """

    __slots__ = ("depth", "limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.depth = 0

    def spend(self, steps: int) -> None:
        """Count steps before they are taken. Raises CheckTooCostly beyond the limit."""
        self.spent += steps
        if self.spent > self.limit:
            raise CheckTooCostly

    def enter(self) -> None:
        """Count one more level of nesting, until `leave`. Raises CheckTooCostly beyond MAX_DEPTH."""
        if self.depth >= MAX_DEPTH:
            raise CheckTooCostly
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1


#: The steps of the check that runs in this thread.
current_steps: ContextVar[Steps] = ContextVar("current_steps")

#: Keywords that walk through the data, and those whose own values are walked through to the bottom.
_WALK = frozenset(
    {"additionalProperties", "contains", "items", "patternProperties", "propertyNames", "unevaluatedItems"}
    | {"unevaluatedProperties", "uniqueItems"}
)
_DEEP = frozenset({"const", "dependentRequired", "enum"})


def _spend(steps: int) -> None:
    current_steps.get().spend(steps)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // CHARACTERS_A_STEP
    return len(value) if isinstance(value, (list, dict)) else 0


def _weight(value: Any) -> int:
    """Return how many steps it takes to walk through a value to the bottom."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + _size(value) + sum(_weight(each) for each in inner)


def _counted(name: str, keyword: Keyword) -> Keyword:
    """Return the keyword, counting its steps and those of the errors that it finds: these contain the value as text."""
    weigh, walks = _weight if name in _DEEP else _size, name in _WALK

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        steps = current_steps.get()
        steps.spend(1 + weigh(value) + (_size(instance) if walks else 0))
        steps.enter()
        try:
            for error in keyword(validator, value, instance, schema) or ():
                steps.spend(1 + len(error.message) // CHARACTERS_A_STEP)
                yield error
        finally:
            steps.leave()

    return counted


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _not(validator: Any, unwanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if _at(validator, unwanted).is_valid(instance):
        yield ValidationError(
            f"{instance!r} should not be valid under {unwanted!r}" if unwanted else "It is not allowed here"
        )


def _pattern(validator: Any, text: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not pattern(text).search(instance, _spend):
        yield ValidationError(f"{instance!r} does not match {text!r}")


def _pattern_properties(validator: Any, named: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for text, subschema in named.items():
            for key, value in instance.items():
                if pattern(text).search(key, _spend):
                    yield from validator.descend(value, subschema, path=key, schema_path=text)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named = schema.get("properties", {})
    extras = [key for key in instance if key not in named and not _fits_a_pattern(key, schema)]
    if allowed is not False:
        for key in extras:
            yield from validator.descend(instance[key], allowed, path=key)
    elif extras:
        were = "was" if len(extras) == 1 else "were"
        yield ValidationError(f"Additional properties are not allowed ({_names(extras)} {were} unexpected)")


def _fits_a_pattern(key: str, schema: Any) -> bool:
    return any(pattern(text).search(key, _spend) for text in schema.get("patternProperties", ()))


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        _spend(_weight(instance))
        if len({_canonical(each) for each in instance}) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")


def _canonical(value: Any) -> str:
    """Return JSON that is the same for equal values: 1 equals 1.0, but not true."""
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{_canonical(value[key])}' for key in sorted(value))}}}"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def _reference(validator: Any, text: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    _spend(text.count("/") ** 2)  # each step down looks at all steps before it
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, text, instance, schema) or ()


# --- what other keywords have not evaluated ------------------------------------------------------------------------------


def _unevaluated_items(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, list):
        evaluated = _evaluated(validator, instance, schema, "unevaluatedItems")
        for index in (index for index in range(len(instance)) if index not in evaluated):
            if allowed is False:
                yield ValidationError(f"Unevaluated items are not allowed, from index {index} on")
                return
            yield from validator.descend(instance[index], allowed, path=index)


def _unevaluated_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        evaluated = _evaluated(validator, instance, schema, "unevaluatedProperties")
        extras = [key for key in instance if key not in evaluated]
        if extras and allowed is False:
            yield ValidationError(f"Unevaluated properties are not allowed ({_names(extras)})")
        elif allowed is not False:
            for key in extras:
                yield from validator.descend(instance[key], allowed, path=key)


def _evaluated(validator: Any, instance: Any, schema: Any, but: str = "") -> set[Any]:
    """Return the names or indexes that the schema evaluates, and the schemas that it applies in the same place. Their own
    errors are found by their keywords. `but`: the keyword that asks."""
    if not isinstance(schema, dict):
        return set()
    _spend(1 + len(instance))
    by_itself = (
        _indexes_of(validator, instance, schema, but) if isinstance(instance, list) else _keys_of(instance, schema, but)
    )
    found = set(by_itself)
    steps = current_steps.get()
    steps.enter()
    try:
        for inner in _in_place(validator, instance, schema):
            found |= _evaluated(inner, instance, inner.schema)
    finally:
        steps.leave()
    return found


def _keys_of(instance: dict[str, Any], schema: Any, but: str) -> Iterator[str]:
    if "additionalProperties" in schema or ("unevaluatedProperties" in schema and not but):
        yield from instance
    else:
        named = schema.get("properties", {})
        yield from (key for key in instance if key in named or _fits_a_pattern(key, schema))


def _indexes_of(validator: Any, instance: list[Any], schema: Any, but: str) -> Iterator[int]:
    if "items" in schema or ("unevaluatedItems" in schema and not but):
        yield from range(len(instance))
        return
    yield from range(len(schema.get("prefixItems", ())))
    if "contains" in schema:
        contained = _at(validator, schema["contains"])
        yield from (index for index, each in enumerate(instance) if contained.is_valid(each))


def _in_place(validator: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """Yield a validator for each schema that applies to the same value, and that the value matches."""
    for name in ("$ref", "$dynamicRef"):
        if name in schema:
            _spend(schema[name].count("/") ** 2)
            found = validator._resolver.lookup(schema[name])
            yield validator.evolve(schema=found.contents, _resolver=found.resolver)
    for name, inner in schema.get("dependentSchemas", {}).items():
        if name in instance:
            yield _at(validator, inner)
    branches = [inner for name in ("allOf", "anyOf", "oneOf") for inner in schema.get(name, ())]
    yield from (each for each in (_at(validator, inner) for inner in branches) if each.is_valid(instance))
    if "if" in schema:
        condition = _at(validator, schema["if"])
        holds = condition.is_valid(instance)
        if holds:
            yield condition
        if (name := "then" if holds else "else") in schema:
            yield _at(validator, schema[name])


def _at(validator: Any, schema: Any) -> Any:
    """Return a validator for a schema inside the validator's one."""
    resolver = validator._resolver.in_subresource(DRAFT202012.create_resource(schema))
    return validator.evolve(schema=schema, _resolver=resolver)


_OURS: dict[str, Keyword] = {
    "$ref": _reference,
    "$dynamicRef": _reference,
    "additionalProperties": _additional_properties,
    "not": _not,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
    "uniqueItems": _unique_items,
}
_ALL: dict[str, Keyword] = {**Draft202012Validator.VALIDATORS, **_OURS}
#: The validator. Checks run with `current_steps` set.
CountingValidator: Any = validators.create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={name: _counted(name, keyword) for name, keyword in _ALL.items()},
    type_checker=Draft202012Validator.TYPE_CHECKER,
)


def _evolve(self: Any, **changes: Any) -> Any:
    """Return the validator for another schema. The method of `jsonschema` would leave these keywords for its own ones wherever a
    schema names its draft (`$schema`)."""
    return CountingValidator(
        **{"registry": self._registry, "_resolver": self._resolver, "schema": self.schema, **changes}
    )


CountingValidator.evolve = _evolve
