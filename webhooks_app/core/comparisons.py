"""The operators of filters: their operands, comparisons and costs. Pure.

`OPERATORS` is the single list of them: the checks, the comparisons and the help on the endpoint's page use it. To add one: a
row there, its translations (`make messages`), the table in docs/how-to/rest-api.md (the same words as its help), EXAMPLES in
tests/unit/test_filters.py, WORST and CONDITIONS in tests/unit/test_filter_budget.py, a line in the changelog.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from webhooks_app.exceptions import FilterTooCostly
from webhooks_app.exceptions import gettext_noop as _

#: The maximum cost of one endpoint's filters for one event.
MAX_COMPARISONS = 20_000
#: The maximum number of values of `in` and `nin`.
MAX_CHOICES = 200
#: Characters of text that can be searched or compared for one unit.
TEXT_UNIT = 64
#: The result of a path if the event has no such field.
MISSING = object()


class ComparisonBudget:
    """The remaining budget of comparisons for one event and one endpoint.

    An operator costs 1 unit, as does every list element and every key that is walked through, and every 64 characters
    of text that are searched or compared.
    """

    __slots__ = ("limit", "spent")

    def __init__(self, limit: float = MAX_COMPARISONS) -> None:
        self.limit = limit
        self.spent = 0

    @property
    def is_used_up(self) -> bool:
        """Return whether a comparison was stopped because the budget was too small."""
        return self.spent > self.limit

    def spend(self, units: int = 1) -> None:
        """Subtract units from the budget, before doing the work. Raises FilterTooCostly if too few are left."""
        self.spent += units
        if self.is_used_up:
            raise FilterTooCostly


#: Takes the value at the path (or MISSING) and the operand; returns whether the condition holds. Raises only FilterTooCostly,
#: for any operand: a stored row may be older than the current checks.
Test = Callable[[object, Any, ComparisonBudget], bool]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a condition: in `{"data.amount": {"gte": 10}}`, `gte` is the name and 10 the operand.

    `validate` returns an error message about the operand, with `%(path)s`, `%(name)s` and `%(most)s` (MAX_CHOICES), or an
    empty string if it is valid. `help` says in a few words when the condition holds.
    """

    name: str
    validate: Callable[[object], str]
    test: Test
    help: str


def same(found: object, wanted: object, budget: ComparisonBudget) -> bool:
    """Return whether two values are equal as JSON: 1 equals 1.0, but true does not equal 1."""
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


def _ordered(compare: Callable[[Any, Any], bool]) -> Test:
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


def _any_value(operand: object) -> str:
    return ""


def _takes_ordered(operand: object) -> str:
    good = is_number(operand) or isinstance(operand, str)
    return "" if good else _("%(path)s: %(name)s compares with a number or a text.")


def _takes_choices(operand: object) -> str:
    good = isinstance(operand, list) and len(operand) <= MAX_CHOICES
    return "" if good else _("%(path)s: %(name)s takes a list of at most %(most)s values.")


def _takes_flag(operand: object) -> str:
    return "" if isinstance(operand, bool) else _("%(path)s: %(name)s takes true or false.")


def _takes_text(operand: object) -> str:
    return "" if isinstance(operand, str) else _("%(path)s: %(name)s takes a text.")


def _differs(found: object, wanted: Any, budget: ComparisonBudget) -> bool:
    return not same(found, wanted, budget)


def _exists(found: object, wanted: Any, budget: ComparisonBudget) -> bool:
    return (found is not MISSING) is wanted


OPERATORS = {
    each.name: each
    for each in (
        Operator("eq", _any_value, same, _("equal to the value")),
        Operator("ne", _any_value, _differs, _("not equal to the value, or missing")),
        Operator("gt", _takes_ordered, _ordered(operator.gt), _("greater than the number or text")),
        Operator("gte", _takes_ordered, _ordered(operator.ge), _("greater than or equal to the number or text")),
        Operator("lt", _takes_ordered, _ordered(operator.lt), _("less than the number or text")),
        Operator("lte", _takes_ordered, _ordered(operator.le), _("less than or equal to the number or text")),
        Operator("in", _takes_choices, _one_of, _("equal to a value of the list")),
        Operator("nin", _takes_choices, _none_of, _("equal to no value of the list, or missing")),
        Operator("exists", _takes_flag, _exists, _("present (true) or missing (false)")),
        Operator("startswith", _takes_text, _starts_with, _("a text that begins with the text")),
        Operator("contains", _any_value, _contains, _("a text with the text in it, or a list with the value in it")),
    )
}
