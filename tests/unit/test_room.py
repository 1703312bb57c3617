"""Room: which tenants have had their share of a class of queues, and let the others go first."""

from __future__ import annotations

import uuid

import pytest

from webhooks_app.engine.room import had_share
from webhooks_app.engine.sql.types import Room
from webhooks_app.models.ids import new_id

A, B, C = (uuid.UUID(int=number) for number in range(3))
NOBODY: frozenset[uuid.UUID] = frozenset()


def room_for(limit: int) -> Room:
    return Room(limit, NOBODY, share=4)


@pytest.mark.parametrize(
    ("limit", "leased", "had"),
    [
        (8, {A: 4}, {A}),
        (8, {A: 2}, {A}),
        (8, {A: 1}, NOBODY),
        (8, {A: 4, B: 1}, {A}),
        (3, {A: 2, B: 1}, {A, B}),
        (1, {A: 1}, {A}),
        (8, {}, NOBODY),
    ],
)
def test_a_share_is_half_of_what_one_could_have(
    limit: int, leased: dict[uuid.UUID, int], had: frozenset[uuid.UUID]
) -> None:
    assert had_share(NOBODY, leased, room_for(limit)) == had


def test_shares_are_remembered_until_the_others_have_had_theirs() -> None:
    assert had_share(frozenset({A}), {B: 1}, room_for(1)) == {A, B}
    assert had_share(frozenset({A, B}), {C: 1}, room_for(1)) == {A, B, C}
    assert had_share(frozenset({A, B, C}), {}, room_for(1)) == NOBODY


def test_shares_are_remembered_while_there_is_no_room() -> None:
    assert had_share(frozenset({A}), {}, room_for(0)) == {A}


def test_shares_are_remembered_of_so_many_tenants_only() -> None:
    very_many = frozenset(new_id() for _ in range(1000))
    assert had_share(very_many, {A: 1}, room_for(1)) == {A}
