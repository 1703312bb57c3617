"""Event types that are declared in code."""

from __future__ import annotations

import pytest

from webhooks_app.core.catalogue import MAX_NAME, EventType, Registry
from webhooks_app.exceptions import ConfigurationError

SENT = EventType("message.sent", "A message left.", example={"id": "msg_1"})
READ = EventType("message.read")


@pytest.mark.parametrize("name", ["a", "message.sent", "A_1.b.C2", "1.2", "x" * MAX_NAME])
def test_a_name(name: str) -> None:
    assert EventType(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a-b",
        "é",
        "a\n",
        "a.b\n",
        "*",
        "a.*",
        "a\r\nX-Evil: 1",
        "x" * (MAX_NAME + 1),
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no event type name"):
        EventType(name)


def test_types_are_found_by_name_and_listed_in_order() -> None:
    registry = Registry()
    assert len(registry) == 0
    registry.register(SENT, READ)
    assert list(registry) == [READ, SENT]
    assert registry.get("message.sent") is SENT
    assert registry.get("message.gone") is None
    assert "message.read" in registry
    assert len(registry) == 2


def test_the_same_declaration_twice_is_fine_but_not_two_different_ones() -> None:
    registry = Registry()
    registry.register(SENT)
    registry.register(EventType("message.sent", "A message left.", example={"id": "msg_1"}))
    with pytest.raises(ConfigurationError, match="declared twice"):
        registry.register(EventType("message.sent", "Something else."))
    assert registry.get("message.sent") == SENT


def test_forgetting() -> None:
    registry = Registry()
    registry.register(SENT, READ)
    registry.unregister(["message.sent", "message.gone"])
    assert list(registry) == [READ]
