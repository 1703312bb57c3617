"""JSON Schemas in readable form: one line per property."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Deeper properties, and further ones after this many lines, are visible only in the schema itself.
MAX_DEPTH = 6
MAX_PROPERTIES = 200
_RULES = (
    "const", "enum", "format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Property:
    """One property of the data."""

    #: The path: `customer.name`, or `lines[].price` for each element of a list.
    path: str
    #: The JSON types, such as `string`; empty: any.
    types: tuple[str, ...]
    required: bool
    description: str
    #: Further constraints: keyword, and value as JSON.
    rules: tuple[tuple[str, str], ...]


def properties(schema: Any) -> list[Property]:
    """Return the properties that a schema names, outer ones first; at most MAX_PROPERTIES.

    Knows `properties`, `items`, and `$ref` within the schema. What a schema says otherwise, it says for itself; one that is
    no object names nothing.
    """
    found: list[Property] = []
    for property_ in _inside(schema, schema, "", MAX_DEPTH):
        if len(found) == MAX_PROPERTIES:
            break
        found.append(property_)
    return found


def _inside(schema: Any, root: Any, path: str, depth: int) -> Iterator[Property]:
    named = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(named, dict) or not depth:
        return
    required = _texts(schema.get("required"))
    for name, given in named.items():
        inner = _resolved(given, root)
        where = f"{path}{name}"
        yield _property(where, inner, name in required)
        yield from _inside(inner, root, f"{where}.", depth - 1)
        yield from _inside(_resolved(inner.get("items"), root), root, f"{where}[].", depth - 1)


def _property(path: str, schema: dict[str, Any], required: bool) -> Property:
    description = schema.get("description", "")
    rules = tuple((rule, json.dumps(schema[rule], ensure_ascii=False)) for rule in _RULES if rule in schema)
    types = schema.get("type")
    named = (types,) if isinstance(types, str) else _texts(types)
    return Property(path, named, required, description if isinstance(description, str) else "", rules)


def _resolved(schema: Any, root: Any) -> dict[str, Any]:
    """Return the target of a reference within the schema, merged with the keys beside the reference; `{}` if there is none."""
    if not isinstance(schema, dict):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    target = root
    for step in reference[2:].split("/"):
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**target, **beside} if isinstance(target, dict) else beside


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
