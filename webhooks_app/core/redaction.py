"""Redaction: replace the values of named fields in an event's data, for everything that shows it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from webhooks_app.core.js_json import escape_surrogates

#: Stands in place of each redacted value, whatever its type.
REDACTED = "[redacted]"
_ROOT = "data"


def is_path(path: object) -> bool:
    """Return whether this names a field, such as `data.card.number`."""
    if not isinstance(path, str):
        return False
    root, *names = path.split(".")
    return root == _ROOT and bool(names) and all(names)


def redacted(text: str, paths: Sequence[str]) -> str:
    """Return the JSON text with the values at these paths replaced; unchanged if there are no paths.

    A path goes down into objects by name. A list on the way, or at the top, is no step of its own: the path applies to all of its
    items. Fields that are not there stay away. A value without fields, other than null, is replaced as a whole: a rejected
    payload is kept as one string.
    """
    if not paths:
        return text
    data = json.loads(text)
    if data is not None and not isinstance(data, dict | list):
        data = REDACTED
    for path in paths:
        _redact(data, path.split(".")[1:])
    return escape_surrogates(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _redact(data: Any, names: Sequence[str]) -> None:
    if isinstance(data, list):
        for item in data:
            _redact(item, names)
    elif isinstance(data, dict) and names[0] in data:
        if len(names) == 1:
            data[names[0]] = REDACTED
        else:
            _redact(data[names[0]], names[1:])
