"""The comparisons that a filter's operators make, and what they cost. Pure.

`core.filters` says which operator means what.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from webhooks_app.exceptions import FilterTooCostly

#: What the filters of one endpoint may cost for one event.
MAX_COMPARISONS = 20_000
#: Characters of text that are searched or compared for one unit.
TEXT_UNIT = 64
#: What a path finds where the event has no such field.
MISSING = object()


class ComparisonBudget:
    """How much comparing is left for one event and one endpoint.

    An operator costs 1 unit, as does every list element and every key that is walked through, and every 64 characters
    of text that are searched or compared.
    """

    __slots__ = ("limit", "spent")

    def __init__(self, limit: float = MAX_COMPARISONS) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, units: int = 1) -> None:
        """Take units off the budget, before the work that they stand for. Raises FilterTooCostly where too few are left."""
        self.spent += units
        if self.spent > self.limit:
            raise FilterTooCostly


Operator = Callable[[object, Any, ComparisonBudget], bool]


def same(found: object, wanted: object, budget: ComparisonBudget) -> bool:
    """Equal as JSON is: 1 is 1.0, but true is not 1."""
    budget.spend()
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, str) and isinstance(wanted, str):
        return _text_equal(found, wanted, budget)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(same(*pair, budget) for pair in zip(found, wanted, strict=True))
    if isinstance(found, dict) and isinstance(wanted, dict):
        if len(found) != len(wanted):
            return False
        budget.spend(len(wanted))
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key], budget) for key in wanted)
    return found == wanted


def _text_equal(found: str, wanted: str, budget: ComparisonBudget) -> bool:
    if len(found) != len(wanted):
        return False
    budget.spend(len(wanted) // TEXT_UNIT)
    return found == wanted


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(compare: Callable[[Any, Any], bool]) -> Operator:
    def holds(found: object, wanted: Any, budget: ComparisonBudget) -> bool:
        if isinstance(found, str) and isinstance(wanted, str):
            budget.spend(min(len(found), len(wanted)) // TEXT_UNIT)
            return compare(found, wanted)
        return is_number(found) and is_number(wanted) and compare(found, wanted)

    return holds


def _one_of(found: object, choices: Any, budget: ComparisonBudget) -> bool:
    return isinstance(choices, list) and any(same(found, choice, budget) for choice in choices)


def _none_of(found: object, choices: Any, budget: ComparisonBudget) -> bool:
    return isinstance(choices, list) and not _one_of(found, choices, budget)


def _contains(found: object, wanted: Any, budget: ComparisonBudget) -> bool:
    if not isinstance(found, str):
        return _one_of(wanted, found, budget)
    budget.spend(len(found) // TEXT_UNIT)
    return isinstance(wanted, str) and wanted in found


def _starts_with(found: object, wanted: Any, budget: ComparisonBudget) -> bool:
    if not (isinstance(found, str) and isinstance(wanted, str)):
        return False
    budget.spend(len(wanted) // TEXT_UNIT)
    return found.startswith(wanted)


OPERATORS: dict[str, Operator] = {
    "eq": same,
    "ne": lambda found, wanted, budget: not same(found, wanted, budget),
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "in": _one_of,
    "nin": _none_of,
    "exists": lambda found, wanted, budget: (found is not MISSING) is wanted,
    "startswith": _starts_with,
    "contains": _contains,
}
