"""Check data against a JSON Schema (2020-12) in a bounded number of steps. Pure.

Schemas come from staff, and the data from customers. Without a limit, a pattern took 1.6 s for 27 characters, and `uniqueItems`
5.6 s for 3,000 objects.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import ValidationError
from jsonschema.exceptions import best_match
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.jsonschema import DRAFT202012

from webhooks_app.core.patterns import InvalidPattern, pattern
from webhooks_app.core.schema_keywords import CheckTooCostly, CountingValidator, Steps, current_steps

#: The maximum number of steps of one check: these, and so many more for each byte of the data.
MAX_STEPS = 50_000
STEPS_A_BYTE = 2
#: The maximum size of a schema, in characters of JSON, and of the steps of the check that it is one.
MAX_SCHEMA = 64 * 1024
_MAX_STEPS_OF_SCHEMA = 1_000_000

#: Keywords whose values are schemas by name, lists of schemas, and single schemas.
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"contains", "else", "if", "not", "propertyNames", "then"})
#: Single ones that know what to say where they are false.
_SINGLE_OR_FALSE = frozenset({"additionalProperties", "items", "unevaluatedItems", "unevaluatedProperties"})


class InvalidSchema(ValueError):
    """The schema cannot be used. The message says why."""


def check_schema(text: str) -> None:
    """Check that the text is a JSON Schema that can be used. Raises InvalidSchema."""
    if len(text) > MAX_SCHEMA:
        raise InvalidSchema(f"It is longer than {MAX_SCHEMA} characters.")
    try:
        fault = _first_fault(_META_VALIDATOR, json.loads(text), _MAX_STEPS_OF_SCHEMA)
    except (CheckTooCostly, RecursionError) as error:
        raise InvalidSchema("It is too large or nested too deeply.") from error
    if fault is not None:
        raise InvalidSchema(f"{fault.message[:300]} at {fault.json_path[:100]}")
    Schema(text)


class Schema:
    """A schema, ready to check data. Thread-safe."""

    def __init__(self, text: str) -> None:
        """`text`: the schema as JSON. Raises InvalidSchema, or any error for what `check_schema` refuses."""
        if len(text) > MAX_SCHEMA:
            raise InvalidSchema(f"It is longer than {MAX_SCHEMA} characters.")
        try:
            schema = _prepared(json.loads(text))
        except RecursionError as error:
            raise InvalidSchema("It is nested too deeply.") from error
        # Crawled once: otherwise each look-up of an anchor would read the whole schema.
        registry = _METASCHEMAS.with_resource("", DRAFT202012.create_resource(schema)).crawl()
        self._validator = CountingValidator(schema, registry=registry)

    def first_fault(self, data: str) -> ValidationError | None:
        """Return the error that says most about the data, which is JSON; None if it matches.

        Raises CheckTooCostly, and what `jsonschema` raises for a reference that leads nowhere.
        """
        return _first_fault(self._validator, json.loads(data), MAX_STEPS + STEPS_A_BYTE * len(data))


@lru_cache(maxsize=256)
def schema_of(text: str) -> Schema:
    """Return the schema, built once. Raises as `Schema` does."""
    return Schema(text)


def _first_fault(validator: Any, data: Any, limit: int) -> ValidationError | None:
    token = current_steps.set(Steps(limit))
    try:
        return best_match(validator.iter_errors(data))
    except RecursionError as error:  # the caller's own calls are nested deeply
        raise CheckTooCostly from error
    except BaseException as error:
        if type(error).__module__ == "pyo3_runtime":  # the same inside `referencing`, and no Exception
            raise CheckTooCostly from error
        raise
    finally:
        current_steps.reset(token)


def _prepared(schema: Any) -> Any:
    """Return a copy in which `false` is a keyword, whose steps are counted. Raises InvalidSchema for a pattern that cannot be
    used."""
    if schema is False:
        return {"not": {}}
    if not isinstance(schema, dict):
        return schema
    for text in (*([schema["pattern"]] if "pattern" in schema else ()), *schema.get("patternProperties", ())):
        try:
            pattern(text)
        except InvalidPattern as error:
            raise InvalidSchema(f"The pattern {text[:100]!r} cannot be used: {error}.") from error
    return {key: _prepared_value(key, value) for key, value in schema.items()}


def _prepared_value(keyword: str, value: Any) -> Any:
    if keyword in _NAMED:
        return {name: _prepared(inner) for name, inner in value.items()}
    if keyword in _LISTS:
        return [_prepared(inner) for inner in value]
    if keyword in _SINGLE or (keyword in _SINGLE_OR_FALSE and value is not False):
        return _prepared(value)
    return value


#: The schemas of schemas, so that nothing is fetched from the network.
_METASCHEMAS: Any = REGISTRY.crawl()
_META_VALIDATOR: Any = CountingValidator(CountingValidator.META_SCHEMA, registry=_METASCHEMAS)
