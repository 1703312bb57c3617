"""Whose receiver made a call of the network library costly."""

from __future__ import annotations

import pytest

from webhooks_app.core.costly_calls import ConnectionRead, culprits, weights


def read(size: int, *owners: str, called: bool = False) -> ConnectionRead:
    return ConnectionRead(frozenset(owners), size, called)


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([], set()),
        ([read(500, "evil")], {"evil"}),
        ([read(97_000, "evil"), read(3000, "good")], {"evil"}),
        ([read(97_000, "evil"), read(3000, "good", called=True)], {"evil"}),
        ([read(97_000, "evil", called=True), read(97_000, "worse")], {"evil"}),
        ([read(800, "evil", called=True), read(4000, "good"), read(3000, "kind")], {"evil"}),
        ([read(3000, "one"), read(2000, "two")], set()),
        ([read(800, "evil", called=True), read(20_000, "good")], set()),
        ([read(3000, "one", "two", called=True), read(3000, "two"), read(500, "three")], {"one", "two"}),
        ([read(5000, "busy"), read(5000, "busy"), read(300, "good")], {"busy"}),
    ],
)
def test_the_culprits_are_those_of_the_connection_that_is_clearly_the_cause(
    reads: list[ConnectionRead], expected: set[str]
) -> None:
    assert culprits(reads) == expected


def test_the_culprits_are_suspected_alone() -> None:
    assert weights([read(97_000, "evil"), read(3000, "good")]) == {"evil": 1.0}


def test_all_are_suspected_if_it_is_uncertain() -> None:
    assert weights([read(4000, "one"), read(1000, "two"), read(3000, "two")]) == {"one": 1.0, "two": 0.75}
    assert weights([]) == {}
