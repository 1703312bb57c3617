"""The memory for event bodies: each tenant has its share of it."""

from __future__ import annotations

import uuid
from collections import Counter

from webhooks_app.engine.body_memory import BodyMemory
from webhooks_app.engine.options import EngineOptions

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def memory(**used: int) -> BodyMemory:
    counted = Counter({ONE: used.get("one", 0), OTHER: used.get("other", 0)})
    return BodyMemory(EngineOptions(prefetch_bytes=1000, tenant_share=0.25), counted)


def test_one_tenant_may_use_its_share() -> None:
    room = memory()
    assert [room.take(ONE, 100) for _ in range(3)] == [True, True, False]
    assert room.take(OTHER, 100)


def test_a_tenant_at_its_share_reads_nothing() -> None:
    assert not memory(one=250).has_room(ONE)
    assert memory(one=250).has_room(OTHER)


def test_a_tenant_with_nothing_in_memory_gets_one_body_whatever_its_size() -> None:
    room = memory(other=5000)
    assert room.has_room(ONE)
    assert room.take(ONE, 4000)
    assert not room.take(ONE, 1)


def test_nobody_else_reads_where_all_of_it_is_used() -> None:
    others = Counter({uuid.UUID(int=number): 250 for number in range(2, 6)})
    room = BodyMemory(EngineOptions(prefetch_bytes=1000, tenant_share=0.25), others + Counter({ONE: 10}))
    assert not room.has_room(ONE)


def test_what_is_larger_than_a_share_is_not_taken_from_the_others() -> None:
    assert memory(one=10, other=5000).has_room(ONE)
    room = memory()
    assert room.take(OTHER, 5000)
    assert [room.take(ONE, 100) for _ in range(3)] == [True, True, False]


def test_a_tenant_whose_next_body_had_no_room_waits_until_something_is_free() -> None:
    first, options = uuid.uuid4(), EngineOptions(prefetch_bytes=1000, tenant_share=0.25)
    memory = BodyMemory(options, Counter({first: 200}))
    assert memory.has_room(first)
    assert not memory.take(first, 100)
    again = BodyMemory(options, Counter({first: 200}), memory.full)
    assert not again.has_room(first)
    assert again.full == memory.full
    assert BodyMemory(options, Counter({first: 150}), memory.full).has_room(first)
    assert BodyMemory(options, Counter(), memory.full).has_room(first)
