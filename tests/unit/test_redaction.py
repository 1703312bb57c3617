"""Redaction replaces the named values, and nothing else."""

from __future__ import annotations

import json

import pytest

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.redaction import redacted
from webhooks_app.exceptions import ConfigurationError

R = "[redacted]"


@pytest.mark.parametrize(
    ("data", "paths", "expected"),
    [
        ({"card": {"number": "4111", "brand": "x"}}, ["data.card.number"], {"card": {"number": R, "brand": "x"}}),
        ({"card": {"number": "4111"}, "n": 1}, ["data.card"], {"card": R, "n": 1}),
        ({"a": 1, "b": None}, ["data.a", "data.b"], {"a": R, "b": R}),
        (
            {"items": [{"pin": 1}, {"pin": 2, "n": 3}, "x"]},
            ["data.items.pin"],
            {"items": [{"pin": R}, {"pin": R, "n": 3}, "x"]},
        ),
        ([{"pin": 1}, [{"pin": 2}]], ["data.pin"], [{"pin": R}, [{"pin": R}]]),
        ({"n": 1}, ["data.gone", "data.n.deeper"], {"n": 1}),
        ("text", ["data.a"], R),
        (None, ["data.a"], None),
    ],
)
def test_what_is_replaced(data: object, paths: list[str], expected: object) -> None:
    assert json.loads(redacted(json.dumps(data), paths)) == expected


@pytest.mark.parametrize(("data", "shown"), [('"the number is 4"', f'"{R}"'), ("4", f'"{R}"'), ("null", "null")])
def test_a_value_without_fields_is_redacted_as_a_whole(data: str, shown: str) -> None:
    assert redacted(data, ["data.b"]) == shown
    assert redacted(data, ()) == data


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    assert redacted('{"a":"\\ud83d","b":1}', ["data.b"]) == '{"a":"\\ud83d","b":"[redacted]"}'


def test_without_paths_the_text_is_the_same() -> None:
    assert redacted('{"a": 1.50, "a":2}', ()) == '{"a": 1.50, "a":2}'


def test_other_text_keeps_its_characters() -> None:
    assert redacted('{"a":"Grüße","b":1}', ["data.b"]) == '{"a":"Grüße","b":"[redacted]"}'


@pytest.mark.parametrize("paths", ["data.a", ("a",), ("data",), ("data.",), ("data..a",), (7,)])
def test_what_is_no_list_of_fields_is_refused(paths: object) -> None:
    with pytest.raises(ConfigurationError, match="`redact`"):
        EventType("some.type", redact=paths)  # type: ignore[arg-type]
