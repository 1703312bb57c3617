"""Parse the settings dict: unknown keys and values of the wrong type are errors whose message says what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeGuard, TypeVar

from webhooks_app.core.networks import are_sources
from webhooks_app.core.proxies import WANTED, is_proxy
from webhooks_app.exceptions import ConfigurationError

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be, for a setting whose default does not say it: the check, and a text that completes "must be …"."""

    accepts: Callable[[object], bool]
    wanted: str


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> TypeGuard[int]:
    return _is_number(value) and isinstance(value, int)


#: For a limit where 0 means that there is none.
ZERO_OR_MORE = Rule(lambda value: _is_whole(value) and value >= 0, "a whole number, 0 or more")
AT_LEAST_ONE = Rule(lambda value: _is_number(value) and value >= 1, "a number, 1 or more")
POSITIVE_OR_NONE = Rule(lambda value: value is None or (_is_number(value) and value > 0), "a number above 0, or None")
BOOLEAN_OR_NONE = Rule(lambda value: value is None or isinstance(value, bool), "True, False or None")
PROXY_URL = Rule(lambda value: value == "" or is_proxy(value), f"empty or {WANTED}")
SOURCES = Rule(are_sources, "a list of at most one IPv4 and one IPv6 address of the machine, such as ['198.41.0.4']")


def one_of(*values: str) -> Rule:
    """Return the rule that accepts these texts only."""
    return Rule(lambda value: value in values, " or ".join(map(repr, values)))


def checked(default: Any, rule: Rule, *, secret: bool = False) -> Any:
    """Return a dataclass field with a rule in place of the one that follows from the default's type. `secret`: not in `repr`."""
    return field(default=default, metadata={Rule: rule}, repr=not secret)


def parse(kind: type[Parsed], raw: object, where: str = "WEBHOOKS") -> Parsed:
    """Turn a dict of settings into the dataclass `kind`; a field whose default is a dataclass is a dict of its own.

    `where`: the dict's name in messages. Raises ConfigurationError for an unknown key or a value of the wrong type.
    """
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where} must be a dict, not {type(raw).__name__}.")
    defaults: Any = kind()
    rules = {item.name: item.metadata.get(Rule) for item in fields(defaults)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in rules:
            hint = _suggestion(str(key), defaults, where)
            raise ConfigurationError(f"{where}[{key!r}] is not a setting of webhooks_app.{hint}", field=str(key))
        default = getattr(defaults, key)
        if is_dataclass(default):
            values[key] = parse(type(default), value, f"{where}[{key!r}]")
        else:
            _check_type(where, key, value, default, rules[key] or _rule_of(default))
            values[key] = value
    return kind(**values)


def _suggestion(key: str, defaults: Any, where: str) -> str:
    """Return the end of the message about an unknown key: the group that it belongs to, a similar key, or all keys."""
    known = _names(defaults)
    for group in known:
        inner = getattr(defaults, group)
        if is_dataclass(inner) and key in _names(inner):
            return f" Did you mean {where}[{group!r}][{key!r}]?"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known settings: {', '.join(sorted(known))}."


def _names(settings: Any) -> list[str]:
    return [item.name for item in fields(settings)]


def _check_type(where: str, key: str, value: object, default: object, rule: Rule) -> None:
    if not rule.accepts(value):
        raise ConfigurationError(f"{where}[{key!r}] must be {rule.wanted}, not {_told(value, default)}.", field=key)


def _rule_of(default: object) -> Rule:
    """Return the rule that follows from the type of the default."""
    return next((rule for kind, rule in _BY_TYPE if isinstance(default, kind)), _LIST)


#: A bool is an int, so it comes first.
_BY_TYPE: Iterable[tuple[type, Rule]] = (
    (bool, Rule(lambda value: isinstance(value, bool), "True or False")),
    (int, Rule(lambda value: _is_whole(value) and value > 0, "a positive whole number")),
    (float, Rule(lambda value: _is_number(value) and value >= 0, "a number, 0 or more")),
    (str, Rule(lambda value: isinstance(value, str), "a string")),
    (dict, Rule(lambda value: isinstance(value, dict), "a dict")),
)
_LIST = Rule(lambda value: isinstance(value, (list, tuple)), "a list")


def _told(value: object, default: object) -> str:
    """Return the value itself for a number in place of a number, otherwise only its type: the value may be a key, or a proxy's
    URL with its password, and messages go to logs."""
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return repr(value)
    return f"a value of type {type(value).__name__}"
