"""Decide whether an endpoint wants an event, by type, channels and data. Pure.

Patterns: an exact type (`message.sent`), a family at any depth below a prefix (`message.*`), or everything (`*`).

Filters are a JSON object from paths into the event's data to conditions, all of which must hold:

    {"data.amount": {"gte": 10, "lt": 100}, "data.status": "paid", "$not": {"data.tags": {"contains": "test"}}}

- A path begins with `data.`; further names go down into objects, whole numbers into lists (`data.items.0.sku`).
- A condition is a plain value (equal to it) or an object of operators, which are listed in `core.comparisons.OPERATORS`.
- `$and` and `$or` take a list of filters, `$not` takes one.
- Numbers compare with numbers and texts with texts, by code point; true is not 1. A field that is missing equals
  nothing: only ne, nin and `exists: false` hold for it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from webhooks_app.core.catalogue import MAX_NAME, NAME
from webhooks_app.core.comparisons import MAX_CHOICES, MISSING, OPERATORS, Operator, same
from webhooks_app.core.comparisons import MAX_COMPARISONS as MAX_COMPARISONS
from webhooks_app.core.comparisons import ComparisonBudget as ComparisonBudget
from webhooks_app.exceptions import FilterTooCostly, InvalidEndpoint
from webhooks_app.exceptions import gettext_noop as _

EVERYTHING = "*"
MAX_CONDITIONS = 50
MAX_DEPTH = 5
MAX_PATH = 255
#: The maximum size of all filters of an endpoint, in bytes of JSON.
MAX_SIZE = 16 * 1024
_INDEX = re.compile(r"[0-9]{1,9}")


def matches(pattern: str, event_type: str) -> bool:
    """Return whether the pattern covers the type: `message.*` covers `message.sent` and `message.a.b`, not `message`."""
    if pattern in (EVERYTHING, event_type):
        return True
    return pattern.endswith(".*") and event_type.startswith(pattern[:-1])


def patterns_for(event_type: str) -> tuple[str, ...]:
    """Return all patterns that cover the type, for an indexed look-up: for `a.b.c` these are `a.b.c`, `a.*`, `a.b.*`, `*`."""
    parts = event_type.split(".")
    families = [".".join(parts[:count]) + ".*" for count in range(1, len(parts))]
    return (event_type, *families, EVERYTHING)


def check_pattern(text: str) -> str:
    """Return the pattern unchanged. Raises InvalidEndpoint if it is not valid."""
    name = text[:-2] if isinstance(text, str) and text.endswith(".*") else text
    if text != EVERYTHING and not (isinstance(name, str) and NAME.fullmatch(name) and len(name) <= MAX_NAME):
        raise InvalidEndpoint(
            _("%(name)s is no event type: use a name such as 'message.sent', a family such as 'message.*', or '*'."),
            field="events",
            name=f"{text!r:.200}",
        )
    return text


def channel_wanted(endpoint_channels: Collection[str], event_channels: Collection[str]) -> bool:
    """Return whether the channels match: the endpoint has no channels, or shares one with the event."""
    return not endpoint_channels or not set(endpoint_channels).isdisjoint(event_channels)


class WantingEndpoint(Protocol):
    """The properties of an endpoint that select its events. `created_at`: None to skip its comparison, as for a time in the
    future: the database's clock was set back since."""

    @property
    def patterns(self) -> Collection[str]: ...
    @property
    def channels(self) -> Collection[str]: ...
    @property
    def created_at(self) -> datetime | None: ...


class EmittedEvent(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def channels(self) -> Collection[str]: ...
    @property
    def created_at(self) -> datetime: ...


def wants(endpoint: WantingEndpoint, event: EmittedEvent, filters_pass: Callable[[], bool] | None = None) -> bool:
    """Return whether the endpoint wants the event. Used by fan-out and recovery; `engine.sql.fan_out` does the same in SQL.

    An endpoint does not want events emitted before it was created. `filters_pass` is called last, and only if everything else
    matches: reading filters and data is expensive. None: the endpoint has no filters.
    """
    return (
        (endpoint.created_at is None or endpoint.created_at <= event.created_at)
        and not _covering(event.type).isdisjoint(endpoint.patterns)
        and channel_wanted(endpoint.channels, event.channels)
        and (filters_pass is None or filters_pass())
    )


@lru_cache(maxsize=1024)
def _covering(event_type: str) -> frozenset[str]:
    return frozenset(patterns_for(event_type))


def check_filters(value: object) -> dict[str, Any]:
    """Return the filters unchanged. Raises InvalidEndpoint, which names the invalid part."""
    counted = _check(value, 1)
    if counted > MAX_CONDITIONS:
        raise _fault(
            _("There are %(count)s conditions; at most %(most)s are allowed."), count=counted, most=MAX_CONDITIONS
        )
    if _size(value) > MAX_SIZE:
        raise _fault(_("The filters are too long: at most %(most)s bytes of JSON are allowed."), most=MAX_SIZE)
    assert isinstance(value, dict)
    return value


def passes(filters: object, data: object, budget: ComparisonBudget | None = None) -> bool:
    """Return whether all conditions hold for the event's data (parsed JSON).

    What cannot be compared does not hold. Filters that `check_filters` would refuse for their form match nothing, since
    a stored row may be older than today's rules. Raises FilterTooCostly where a budget is given and used up, and
    nothing else.
    """
    try:
        return _all_hold(filters, data, ComparisonBudget(math.inf) if budget is None else budget)
    except (_Malformed, RecursionError):
        return False


def passes_or_costs_too_much(filters: object, data: object, budget: ComparisonBudget) -> bool:
    """Like `passes`, but return True if the budget is used up (`budget.is_used_up`): better an extra event than a lost one."""
    try:
        return passes(filters, data, budget)
    except FilterTooCostly:
        return True


# --- holding ----------------------------------------------------------------------------------------------------


class _Malformed(Exception):
    """This part is not a valid filter. An error and not False, which a `$not` around it would turn into a match."""


def _all_hold(filters: object, data: object, budget: ComparisonBudget) -> bool:
    if not isinstance(filters, dict):
        raise _Malformed
    return all(_holds(key, wanted, data, budget) for key, wanted in filters.items())


def _holds(key: object, wanted: Any, data: object, budget: ComparisonBudget) -> bool:
    budget.spend()
    if key in ("$and", "$or"):
        if not isinstance(wanted, list) or not wanted:
            raise _Malformed
        return (all if key == "$and" else any)(_all_hold(part, data, budget) for part in wanted)
    if key == "$not":
        return not _all_hold(wanted, data, budget)
    if not isinstance(key, str) or not key.startswith("data."):
        raise _Malformed
    found = _look_up(key, data, budget)
    if isinstance(wanted, list) or wanted == {}:
        raise _Malformed
    if not isinstance(wanted, dict):
        return same(found, wanted, budget)
    return all(_operator(name, budget).test(found, operand, budget) for name, operand in wanted.items())


def _look_up(path: str, data: object, budget: ComparisonBudget) -> object:
    names = path.split(".")[1:]
    budget.spend(len(names))
    for name in names:
        if isinstance(data, dict):
            data = data.get(name, MISSING)
        elif isinstance(data, list) and _INDEX.fullmatch(name) and int(name) < len(data):
            data = data[int(name)]
        else:
            return MISSING
    return data


def _operator(name: object, budget: ComparisonBudget) -> Operator:
    budget.spend()
    if not isinstance(name, str) or name not in OPERATORS:
        raise _Malformed
    return OPERATORS[name]


# --- checking ---------------------------------------------------------------------------------------------------


def _fault(text: str, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field="filters", **values)


def _size(value: object) -> float:
    """Return the bytes of the filters as JSON; infinity for a number that is too long for Python to write."""
    try:
        return len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    except ValueError:
        return math.inf


def _check(value: object, depth: int) -> int:
    """Check one level, and return the number of conditions in it and below."""
    if depth > MAX_DEPTH:
        raise _fault(_("Filters are nested more than %(most)s deep."), most=MAX_DEPTH)
    if not isinstance(value, dict):
        raise _fault(_('Filters are an object from paths to conditions, such as {"data.amount": {"gte": 10}}.'))
    return sum(_check_entry(key, wanted, depth) for key, wanted in value.items())


def _check_entry(key: object, wanted: object, depth: int) -> int:
    if key in ("$and", "$or"):
        if not isinstance(wanted, list) or not 0 < len(wanted) <= MAX_CONDITIONS:
            raise _fault(_("%(key)s takes a list of 1 to %(most)s filters."), key=key, most=MAX_CONDITIONS)
        return sum(_check(part, depth + 1) for part in wanted)
    if key == "$not":
        return _check(wanted, depth + 1)
    if not isinstance(key, str) or not key.startswith("data.") or "" in key.split(".") or len(key) > MAX_PATH:
        raise _fault(
            _("%(key)s is no path: begin with 'data.', as in 'data.amount', or use $and, $or, $not."),
            key=f"{key!r:.200}",
        )
    return _check_condition(key, wanted)


def _check_condition(path: str, wanted: object) -> int:
    if isinstance(wanted, list):
        raise _fault(_('%(path)s: a list is no condition; for one of several values write {"in": […]}.'), path=path)
    if not isinstance(wanted, dict):
        _check_value(path, wanted, 1)
        return 1
    if not wanted:
        raise _fault(_("%(path)s: the condition is empty."), path=path)
    for name, operand in wanted.items():
        _check_operand(path, name, operand)
    return len(wanted)


def _check_operand(path: str, name: object, operand: object) -> None:
    if not isinstance(name, str) or name not in OPERATORS:
        raise _fault(
            _("%(path)s: %(name)s is no operator. Known ones: %(known)s."),
            path=path,
            name=f"{name!r:.50}",
            known=", ".join(OPERATORS),
        )
    if fault := OPERATORS[name].validate(operand):
        raise _fault(fault, path=path, name=name, most=MAX_CHOICES)
    _check_value(path, operand, 1)


def _check_value(path: str, value: object, depth: int) -> None:
    """Check that this is a JSON value of limited depth, so that the cost of comparisons is limited, too."""
    if depth > MAX_DEPTH:
        raise _fault(_("%(path)s: the value is nested more than %(most)s deep."), path=path, most=MAX_DEPTH)
    if isinstance(value, float) and not math.isfinite(value):
        raise _fault(_("%(path)s: %(value)s is not a number that JSON knows."), path=path, value=value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        children = list(value.values())
    elif isinstance(value, list):
        children = value
    elif value is None or isinstance(value, (str, int, float)):
        children = []
    else:
        raise _fault(f"{path}: {type(value).__name__} is no JSON value.")
    for child in children:
        _check_value(path, child, depth + 1)
