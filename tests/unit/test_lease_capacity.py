"""Lease capacity: which tenants have had their share of a class of queues, so that the others go first."""

from __future__ import annotations

import uuid

import pytest

from webhooks_app.engine.lease_capacity import tenants_already_served
from webhooks_app.engine.sql.types import LeaseCapacity
from webhooks_app.models.ids import new_id

A, B, C = (uuid.UUID(int=number) for number in range(3))
NOBODY: frozenset[uuid.UUID] = frozenset()


def capacity_for(limit: int) -> LeaseCapacity:
    return LeaseCapacity(limit, NOBODY, share=4)


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
    assert tenants_already_served(NOBODY, leased, capacity_for(limit)) == had


def test_shares_are_remembered_until_the_others_have_had_theirs() -> None:
    assert tenants_already_served(frozenset({A}), {B: 1}, capacity_for(1)) == {A, B}
    assert tenants_already_served(frozenset({A, B}), {C: 1}, capacity_for(1)) == {A, B, C}
    assert tenants_already_served(frozenset({A, B, C}), {}, capacity_for(1)) == NOBODY


def test_shares_are_remembered_while_there_is_no_capacity() -> None:
    assert tenants_already_served(frozenset({A}), {}, capacity_for(0)) == {A}


def test_shares_are_remembered_of_so_many_tenants_only() -> None:
    very_many = frozenset(new_id() for _ in range(1000))
    assert tenants_already_served(very_many, {A: 1}, capacity_for(1)) == {A}
