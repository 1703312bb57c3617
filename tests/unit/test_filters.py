"""Does this subscription want this event: patterns, channels, conditions on the data."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.core.comparisons import OPERATORS
from webhooks_app.core.filters import (
    MAX_CONDITIONS,
    channel_wanted,
    check_filters,
    check_pattern,
    matches,
    passes,
    patterns_for,
)
from webhooks_app.exceptions import InvalidEndpoint

NAMES = st.lists(st.sampled_from(["a", "b", "message", "message_x"]), min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize("pattern", ["message.sent", "message.*", "*"])
def test_a_pattern_that_covers_the_type(pattern: str) -> None:
    assert matches(pattern, "message.sent")


@pytest.mark.parametrize(
    ("pattern", "event_type"),
    [
        ("message.*", "message"),
        ("message.*", "messages.sent"),
        ("message.sent", "message.sent.twice"),
        ("message", "message.sent"),
        ("message.sent.*", "message.sent"),
        ("Message.*", "message.sent"),
        ("", "message"),
        (".*", "message"),
    ],
)
def test_a_pattern_that_does_not(pattern: str, event_type: str) -> None:
    assert not matches(pattern, event_type)


def test_the_patterns_for_a_type() -> None:
    assert patterns_for("a.b.c") == ("a.b.c", "a.*", "a.b.*", "*")
    assert patterns_for("a") == ("a", "*")


@given(event_type=NAMES, other=NAMES)
def test_the_look_up_and_the_comparison_agree(event_type: str, other: str) -> None:
    for pattern in (other, f"{other}.*", "*"):
        assert matches(pattern, event_type) == (pattern in patterns_for(event_type))
        assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "text", ["", ".", "a.", "a..b", "*.a", "a.*.b", "**", "a*", "a b", "a\n", "é", "a" * 129, None, 1]
)
def test_what_is_no_pattern(text: Any) -> None:
    with pytest.raises(InvalidEndpoint, match="is no event type") as caught:
        check_pattern(text)
    assert caught.value.field == "events"


def test_channels() -> None:
    assert channel_wanted([], [])
    assert channel_wanted([], ["number:1"])
    assert channel_wanted(["number:1", "number:2"], ["number:2", "x"])
    assert not channel_wanted(["number:1"], ["number:2"])
    assert not channel_wanted(["number:1"], [])


DATA = {
    "amount": 10,
    "price": 9.5,
    "status": "paid",
    "note": None,
    "test": False,
    "tags": ["red", "green", 3, {"k": [1]}],
    "buyer": {"address": {"country": "FR"}},
    "items": [{"sku": "A1"}, {"sku": "B2"}],
}


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"data.status": "paid"},
        {"data.amount": 10},
        {"data.amount": 10.0},
        {"data.note": None},
        {"data.test": False},
        {"data.amount": {"eq": 10, "ne": 11, "gt": 9, "gte": 10, "lt": 10.5, "lte": 10}},
        {"data.status": {"gte": "paid", "lt": "paie"}},
        {"data.status": {"in": ["open", "paid"], "nin": ["open"]}},
        {"data.status": {"startswith": "pa", "contains": "ai"}},
        {"data.status": {"exists": True}, "data.nothing": {"exists": False}, "data.note": {"exists": True}},
        {"data.tags": {"contains": "red"}},
        {"data.tags": {"contains": {"k": [1]}}},
        {"data.tags": {"eq": ["red", "green", 3, {"k": [1]}]}},
        {"data.buyer.address.country": "FR"},
        {"data.buyer.address": {"eq": {"country": "FR"}}},
        {"data.items.1.sku": "B2"},
        {"data.nothing": {"ne": 1, "nin": [1, None]}},
        {"$or": [{"data.amount": 0}, {"data.status": "paid"}]},
        {"$and": [{"data.amount": 10}, {"$not": {"data.status": "open"}}]},
        {"$not": {"data.amount": {"gt": 10}}},
    ],
)
def test_filters_that_hold(filters: dict[str, Any]) -> None:
    assert check_filters(filters) is filters
    assert passes(filters, DATA)


@pytest.mark.parametrize(
    "filters",
    [
        {"data.status": "Paid"},
        {"data.amount": "10"},
        {"data.amount": 10, "data.status": "open"},
        {"data.amount": {"gt": 1, "lt": 10}},
        {"data.test": 0},
        {"data.test": {"lt": 1}},
        {"data.amount": True},
        {"data.note": {"gt": 1}},
        {"data.nothing": None},
        {"data.nothing": {"eq": None}},
        {"data.amount": {"gte": "1"}},
        {"data.amount": {"contains": 1}},
        {"data.amount": {"startswith": "1"}},
        {"data.status": {"contains": 1}},
        {"data.status": {"in": []}},
        {"data.tags": {"contains": True}},
        {"data.tags": {"eq": ["red"]}},
        {"data.buyer.address": {"eq": {}}},
        {"data.items.2.sku": {"exists": True}},
        {"data.items.-1.sku": "B2"},
        {"data.items.sku": "B2"},
        {"data.status.0": "p"},
        {"data.items.99999999999999999999": {"exists": True}},
        {"$or": [{"data.amount": 0}, {"data.status": "open"}]},
        {"$and": [{"data.amount": 10}, {"data.status": "open"}]},
        {"$not": {}},
    ],
)
def test_filters_that_do_not_hold(filters: dict[str, Any]) -> None:
    assert check_filters(filters) is filters
    assert not passes(filters, DATA)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (None, "an object from paths"),
        ([], "an object from paths"),
        ({"amount": 1}, "'amount' is no path: begin with 'data.'"),
        ({"data.": 1}, "no path"),
        ({"data..x": 1}, "no path"),
        ({"data." + "x" * 300: 1}, "no path"),
        ({1: 1}, "no path"),
        ({"$xor": []}, "no path"),
        ({"data.x": {}}, "data.x: the condition is empty"),
        ({"data.x": {"gtx": 1}}, "'gtx' is no operator. Known ones: eq, ne,"),
        ({"data.x": [1]}, 'write {"in": '),
        ({"data.x": {"gt": None}}, "gt compares with a number or a text"),
        ({"data.x": {"lte": True}}, "lte compares with"),
        ({"data.x": {"in": "abc"}}, "in takes a list"),
        ({"data.x": {"nin": list(range(201))}}, "at most 200"),
        ({"data.x": {"exists": 1}}, "exists takes true or false"),
        ({"data.x": {"startswith": 1}}, "startswith takes a text"),
        ({"data.x": float("nan")}, "not a number that JSON knows"),
        ({"data.x": {"eq": {"a": [float("inf")]}}}, "not a number that JSON knows"),
        ({"data.x": {"eq": {1: 2}}}, "no JSON value"),
        ({"data.x": {"eq": {1}}}, "no JSON value"),
        ({"data.x": {"eq": [[[[[[1]]]]]]}}, "nested more than"),
        ({"$or": []}, "a list of 1 to"),
        ({"$and": {"data.x": 1}}, "a list of 1 to"),
        ({"$not": [{"data.x": 1}]}, "an object from paths"),
        ({"$not": {"$not": {"$not": {"$not": {"$not": {"data.x": 1}}}}}}, "nested more than"),
        ({f"data.x{number}": 1 for number in range(MAX_CONDITIONS + 1)}, "51 conditions"),
    ],
)
def test_filters_that_are_refused(filters: Any, message: str) -> None:
    with pytest.raises(InvalidEndpoint) as caught:
        check_filters(filters)
    assert message in str(caught.value)
    assert caught.value.field == "filters"


#: For each operator: a condition that is refused (None: every JSON value is accepted), one that holds, and one that does not.
EXAMPLES: dict[str, tuple[Any, Any, Any]] = {
    "eq": (None, 10, 11),
    "ne": (None, 11, 10),
    "gt": ([], 9, 10),
    "gte": ([], 10, 11),
    "lt": ([], 11, 10),
    "lte": ([], 10, 9),
    "in": (10, [9, 10], [9]),
    "nin": (10, [9], [9, 10]),
    "exists": ("yes", True, False),
    "startswith": (1, "pa", "ai"),
    "contains": (None, "ai", "x"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_checks_its_operand_and_compares_with_it(name: str) -> None:
    refused, holds, fails = EXAMPLES[name]
    path = "data.status" if isinstance(holds, str) else "data.amount"
    for operand, held in ((holds, True), (fails, False)):
        assert passes(check_filters({path: {name: operand}}), DATA) is held
    if refused is not None:
        with pytest.raises(InvalidEndpoint, match=f"{path}: {name} "):
            check_filters({path: {name: refused}})
    assert OPERATORS[name].name == name
    assert OPERATORS[name].help


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "0"]), children),
    max_leaves=8,
)
FILTERS = st.dictionaries(
    st.sampled_from(["data.x", "data.x.0", "data", "x", "$not", "$and", "$or", "data.0.y"]),
    JSON | st.dictionaries(st.sampled_from([*OPERATORS, "strange", "$or"]), JSON) | st.lists(st.just({"data.x": 1})),
)


@given(filters=FILTERS, data=JSON)
def test_odd_filters_and_odd_data_never_raise(filters: dict[str, Any], data: Any) -> None:
    assert passes(filters, data) in (True, False)
    with suppress(InvalidEndpoint):
        check_filters(filters)


@pytest.mark.parametrize(
    "filters", [{"x": 1}, {"$xor": {"exists": True}}, {"data.x": {"like": 1}}, {"$or": 1}, {"$not": 1}]
)
def test_a_filter_that_was_never_checked_lets_nothing_through(filters: dict[str, Any]) -> None:
    assert not passes(filters, {"x": 1})
