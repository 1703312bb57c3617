"""What the filters of one endpoint may cost for one event. Work is counted in the event's data, not in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.core.comparisons import OPERATORS
from webhooks_app.core.filters import MAX_COMPARISONS, MAX_SIZE, ComparisonBudget, check_filters, passes
from webhooks_app.exceptions import FilterTooCostly, InvalidEndpoint

PAYLOAD = 256 * 1024
TEXT_UNIT = 64


class Work:
    """Counts the list elements and the characters of an event that are really looked at."""

    def __init__(self) -> None:
        self.elements = 0
        self.characters = 0

    def watched(self, value: Any) -> Any:
        if isinstance(value, list):
            return _List(self, [self.watched(each) for each in value])
        if isinstance(value, dict):
            return {key: self.watched(each) for key, each in value.items()}
        return _Text(self, value) if isinstance(value, str) else value


class _List(list[Any]):
    def __init__(self, work: Work, values: list[Any]) -> None:
        super().__init__(values)
        self.work = work

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            self.work.elements += 1
            yield each


class _Text(str):
    work: Work

    def __new__(cls, work: Work, value: str) -> _Text:
        made = super().__new__(cls, value)
        made.work = work
        return made

    def __contains__(self, part: object) -> bool:
        self.work.characters += len(self)
        return super().__contains__(part)  # type: ignore[operator]

    def startswith(self, start: Any, *args: Any) -> bool:
        self.work.characters += len(start)
        return super().startswith(start, *args)

    def __eq__(self, other: object) -> bool:
        self.work.characters += len(self) if isinstance(other, str) and len(self) == len(other) else 0
        return super().__eq__(other)

    def __lt__(self, other: str) -> bool:
        self.work.characters += min(len(self), len(other))
        return super().__lt__(other)

    __hash__ = str.__hash__


def any_of(condition: Any) -> dict[str, Any]:
    return {"$or": [{"data.l": condition}] * 50}


DEEP: list[Any] = [[[[1, 2, 3]]]]
WORST = {
    "a list walked 50 times": (any_of({"contains": "zz"}), [1] * (PAYLOAD // 2)),
    "a list walked by a negation": ({"$and": [{"$not": {"data.l": {"contains": 2}}}] * 50}, [1] * (PAYLOAD // 2)),
    "200 choices for every list": (any_of({"in": list(range(40))}), [1] * (PAYLOAD // 2)),
    "a nested list in every element": (any_of({"contains": DEEP}), [[[[1, 2, 4]]]] * 20_000),
    "an object in every element": (any_of({"contains": {"a": 1, "b": 2}}), [{"a": 1, "b": 3}] * 12_000),
    "equal lists": (any_of({"ne": [1] * 75}), [1] * 75),
    "long texts in a list": (any_of({"contains": "a" * 120 + "c"}), ["a" * 120 + "b"] * 2_000),
    "a long text searched": (any_of({"contains": "a" * 49 + "b" + "a" * 49}), "a" * PAYLOAD),
    "a long text begun": (any_of({"startswith": "a" * 150 + "b"}), "a" * PAYLOAD),
    "a long text in order": (any_of({"gt": "a" * 150 + "b"}), "a" * PAYLOAD),
}
STOPPED = {name for name in WORST if not name.startswith(("equal", "200", "a long text begun", "a long text in order"))}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_filters_over_the_worst_event_stop_within_the_budget(name: str) -> None:
    filters, value = WORST[name]
    assert check_filters(filters) is filters
    assert len(json.dumps({"l": value}, separators=(",", ":"))) <= PAYLOAD * 1.1
    work, budget = Work(), ComparisonBudget()
    data = work.watched({"l": value})
    if name in STOPPED:
        with pytest.raises(FilterTooCostly):
            passes(filters, data, budget)
    else:
        passes(filters, data, budget)
        assert budget.spent <= MAX_COMPARISONS
    assert work.elements <= MAX_COMPARISONS
    assert work.characters <= TEXT_UNIT * (MAX_COMPARISONS + budget.spent)


def test_without_a_budget_the_same_filters_are_compared_to_the_end() -> None:
    filters, value = WORST["a list walked 50 times"]
    assert not passes(filters, {"l": value[:20_000]})


def test_a_budget_is_shared_by_all_filters_that_are_given_it() -> None:
    budget = ComparisonBudget(100)
    for _ in range(3):
        assert not passes({"data.l": {"contains": 2}}, {"l": [1] * 30}, budget)
    assert 90 <= budget.spent <= 100
    with pytest.raises(FilterTooCostly, match="Use fewer conditions"):
        passes({"data.l": {"contains": 2}}, {"l": [1] * 30}, budget)


def test_filters_that_people_write_are_far_from_the_limit() -> None:
    filters = {
        "data.status": {"in": ["paid", "open"]},
        "data.amount": {"gte": 10, "lt": 100},
        "$not": {"data.tags": {"contains": "test"}},
    }
    budget = ComparisonBudget()
    assert passes(filters, {"status": "open", "amount": 10, "tags": ["a"] * 100}, budget)
    assert budget.spent < MAX_COMPARISONS / 100


@pytest.mark.parametrize(
    "filters",
    [
        {"data.x": "a" * MAX_SIZE},
        {"data.x": {"in": ["é" * 50] * 200}},
        {f"data.{number:050}": {"in": ["x" * 400]} for number in range(45)},
        {"data.x": 10**5000},
    ],
)
def test_filters_of_an_unreasonable_size_are_refused(filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidEndpoint, match="at most 16384 bytes of JSON") as caught:
        check_filters(filters)
    assert caught.value.field == "filters"


def test_filters_of_the_largest_size_are_accepted() -> None:
    filters = {"data.x": "a" * (MAX_SIZE - len('{"data.x": ""}'))}
    assert check_filters(filters) is filters


# --- fuzzing ---------------------------------------------------------------------------------------------------------

SCALARS = st.sampled_from([None, True, 0, 1, 1.0, -5, "", "a", "a" * 100, "a" * 99 + "b"])
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("xy"), children, max_size=2),
    max_leaves=6,
)
PATHS = st.sampled_from(["data.l", "data.l.0", "data.t", "data.t.x", "data.none"])
ORDERED = ["gt", "gte", "lt", "lte", "startswith"]
CONDITIONS = st.one_of(
    SCALARS,
    st.dictionaries(st.sampled_from(["eq", "ne", "contains"]), VALUES, min_size=1),
    st.dictionaries(st.sampled_from(["in", "nin"]), st.lists(VALUES, max_size=6), min_size=1),
    st.dictionaries(st.sampled_from(ORDERED), st.sampled_from(["", "a" * 99 + "b"]), min_size=1),
    st.dictionaries(st.just("exists"), st.booleans(), min_size=1),
)
FILTERS = st.recursive(
    st.dictionaries(PATHS, CONDITIONS, max_size=3),
    lambda parts: st.one_of(
        st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(parts, min_size=1, max_size=4), min_size=1),
        st.fixed_dictionaries({"$not": parts}),
    ),
    max_leaves=12,
)


@given(filters=FILTERS, element=VALUES, count=st.integers(0, 3000), limit=st.integers(1, 3000))
def test_no_accepted_filters_do_more_work_than_their_budget(
    filters: dict[str, Any], element: Any, count: int, limit: int
) -> None:
    with suppress(InvalidEndpoint):
        check_filters(filters)
        work, budget = Work(), ComparisonBudget(limit)
        data = work.watched({"l": [element] * min(count, 300), "t": "a" * count})
        with suppress(FilterTooCostly):
            assert passes(filters, data, budget) == passes(
                filters, {"l": [element] * min(count, 300), "t": "a" * count}
            )
            assert budget.spent <= limit
        assert work.elements <= limit
        assert work.characters <= TEXT_UNIT * (limit + budget.spent)


def nested(kind: str, depth: int) -> Any:
    """Rows that no form accepts, deeper than Python recurses."""
    value: Any = {"data.x": 1}
    for _ in range(depth):
        value = {"$not": value} if kind == "$not" else {kind: [value]}
    return value


def deep_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "filters",
    [
        *(None, 1, "data.x", [], [{"data.x": 1}], True, 1.5),
        *({"data.x": {}}, {"data.x": [1]}, {"data.x": {"like": 1}}, {"data.x": {1: 1}}, {1: 1}, {None: 1}, {"": 1}),
        *({"$and": []}, {"$and": 1}, {"$and": [1]}, {"$or": [None]}, {"$or": {"data.x": 1}}, {"$not": None}),
        {"$not": {"x": 1}},
        {"$not": {"$not": {"$xor": 1}}},
        {"$and": [{"$not": {"data.x": {"like": 1}}}]},
        {"data.x": {"in": 1}},
        {"data.x": {"startswith": 1}},
        *(nested(kind, depth) for kind in ("$not", "$and", "$or") for depth in (5001, 50_000)),
    ],
    ids=lambda filters: repr(type(filters)) if isinstance(filters, dict) and len(filters) == 1 else None,
)
def test_a_malformed_stored_row_matches_nothing(filters: Any) -> None:
    assert not passes(filters, {"x": 1})
    assert not passes(filters, {"x": 1}, ComparisonBudget())


def test_an_event_and_a_row_that_are_nested_for_ever_match_nothing() -> None:
    deep = deep_list(50_000)
    assert not passes({"data.x": {"eq": deep}}, {"x": deep_list(50_000)})
    assert not passes({"$not": {"data.x": {"eq": deep}}}, {"x": deep_list(50_000)})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.sampled_from(["$and", "$or", "$not", "data.x", "eq", "in", "contains", "x"]), children),
    ),
    max_leaves=12,
)


@given(filters=JUNK, data=JUNK)
def test_no_stored_row_raises(filters: Any, data: Any) -> None:
    assert passes(filters, data) in (True, False)
    assert passes(filters, {"x": data}) in (True, False)
    with suppress(InvalidEndpoint):
        check_filters(filters)


def test_every_operator_is_tried() -> None:
    assert {"eq", "ne", "contains", "in", "nin", "exists", *ORDERED} == set(OPERATORS)
