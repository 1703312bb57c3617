"""Parse the settings dict: unknown keys and values of the wrong type are errors whose message says what to do."""

from __future__ import annotations

import difflib
import math
from dataclasses import fields, is_dataclass
from typing import Any, TypeGuard, TypeVar

from webhooks_app.exceptions import ConfigurationError

Parsed = TypeVar("Parsed")

#: Integer settings that may be 0, which means no limit.
_ZERO_ALLOWED = frozenset({"MAX_PENDING_EVENTS_PER_TENANT", "MAX_PENDING_EVENTS", "BACKLOG_DELIVERIES"})
_BACKLOG_POLICIES = ("warn", "refuse")


def parse(kind: type[Parsed], raw: object, where: str = "WEBHOOKS") -> Parsed:
    """Turn a dict of settings into the dataclass `kind`; a field whose default is a dataclass is a dict of its own.

    `where`: the dict's name in messages. Raises ConfigurationError for an unknown key or a value of the wrong type.
    """
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where} must be a dict, not {type(raw).__name__}.")
    defaults: Any = kind()
    known = {item.name for item in fields(defaults)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known settings: {', '.join(sorted(known))}."
            raise ConfigurationError(f"{where}[{key!r}] is not a setting of webhooks_app.{hint}", field=str(key))
        default = getattr(defaults, key)
        if is_dataclass(default):
            values[key] = parse(type(default), value, f"{where}[{key!r}]")
        else:
            _check_type(where, key, value, default)
            values[key] = value
    return kind(**values)


def _check_type(where: str, key: str, value: object, default: object) -> None:
    good, wanted = _check_special(key, value) or _check_by_default(value, default)
    if key == "HEARTBEAT_SECONDS" and good and isinstance(value, (int, float)) and value < 1:
        good, wanted = False, "1 or more"
    if not good:
        raise ConfigurationError(f"{where}[{key!r}] must be {wanted}, not {_told(value, default)}.", field=key)


def _check_special(key: str, value: object) -> tuple[bool, str] | None:
    """Return whether the value is valid, and a text of what is; None for a setting whose type follows from its default."""
    if key == "STRICT":
        return value is None or isinstance(value, bool), "True, False or None"
    if key == "BACKLOG_DAYS":
        return value is None or (_is_number(value) and 0 < value < math.inf), "a number above 0, or None"
    if key == "BACKLOG_POLICY":
        return value in _BACKLOG_POLICIES, " or ".join(map(repr, _BACKLOG_POLICIES))
    if key in _ZERO_ALLOWED:
        return _is_number(value) and isinstance(value, int) and value >= 0, "a whole number, 0 or more"
    return None


def _check_by_default(value: object, default: object) -> tuple[bool, str]:
    """Return whether the value is valid by the type of the default, and a text of what is."""
    if isinstance(default, bool):
        return isinstance(value, bool), "True or False"
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool) and value > 0, "a positive whole number"
    if isinstance(default, float):
        return _is_number(value) and 0 <= value < math.inf, "a number, 0 or more"
    if isinstance(default, str):
        return isinstance(value, str), "a text"
    if isinstance(default, dict):
        return isinstance(value, dict), "a dict"
    return isinstance(value, (list, tuple)), "a list"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _told(value: object, default: object) -> str:
    """Return the value itself for a number in place of a number, otherwise only its type: the value may be a key, or a proxy's
    URL with its password, and messages go to logs."""
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return repr(value)
    return f"a value of type {type(value).__name__}"
