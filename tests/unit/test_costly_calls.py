"""Whose receiver made a call of the network library costly."""

from __future__ import annotations

import pytest

from webhooks_app.core.costly_calls import ConnectionRead, culprits, culprits_of_several, weights


def read(size: int, *owners: str, called: bool = False, guessed: bool = False) -> ConnectionRead:
    return ConnectionRead(frozenset(owners), size, called, guessed)


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
        # The handshake with "good" has timed out during the call, or nobody knows how much that with "evil" has brought.
        ([read(3000, "evil", called=True), read(100_000, "good", guessed=True)], set()),
        ([read(100_000, "good", guessed=True)], set()),
        ([read(100_000, "evil", called=True, guessed=True), read(3000, "good")], {"evil"}),
    ],
)
def test_the_culprits_are_those_of_the_connection_that_is_clearly_the_cause(
    reads: list[ConnectionRead], expected: set[str]
) -> None:
    assert culprits(reads) == expected


@pytest.mark.parametrize(
    ("costly", "calls", "expected"),
    [
        ({}, {}, set()),
        ({"evil": 7}, {"evil": 20, "good": 500}, set()),  # too few
        ({"evil": 8}, {"evil": 20, "good": 500}, {"evil"}),
        ({"evil": 8}, {"good": 500}, {"evil"}),  # these calls are not counted yet
        ({"evil": 80}, {"evil": 2000, "good": 500}, {"evil"}),  # it makes many cheap ones, too
        ({"evil": 40, "busy": 10}, {"evil": 120, "busy": 5000}, {"evil"}),  # a costly connection in other calls
        ({"one": 10, "two": 10, "busy": 10}, {"one": 40, "two": 40, "busy": 5000}, {"one", "two"}),
        ({"busy": 90, "good": 10}, {"busy": 9000, "good": 1000}, set()),  # as often as all others
        ({"busy": 20, "good": 1}, {"busy": 5000, "good": 400}, set()),  # nearly all of the traffic
        ({"busy": 20}, {"busy": 5000, "good": 400}, set()),
        ({"busy": 20}, {"busy": 5000}, set()),
    ],
)
def test_several_uncertain_calls_point_to_an_owner_whose_calls_are_costly_far_more_often(
    costly: dict[str, float], calls: dict[str, float], expected: set[str]
) -> None:
    assert culprits_of_several(costly, calls) == expected


def test_the_culprits_are_suspected_alone() -> None:
    assert weights([read(97_000, "evil"), read(3000, "good")]) == {"evil": 1.0}


def test_all_are_suspected_if_it_is_uncertain() -> None:
    assert weights([read(4000, "one"), read(1000, "two"), read(3000, "two")]) == {"one": 1.0, "two": 0.75}
    assert weights([]) == {}
