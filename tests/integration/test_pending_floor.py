"""While a transaction keeps an old snapshot open, engines do not read every event that was fanned out since."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import create_autospec

import pytest
from django.db import connection, connections

from tests.factories import TenantFactory
from tests.locks import locked
from tests.pipelines import endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.refused_rows import refused
from webhooks_app.db import local_settings
from webhooks_app.engine import pending_floor
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pending_events import TenantTurns
from webhooks_app.engine.pending_floor import Floor, PendingFloor
from webhooks_app.engine.sql import fan_out, postgresql
from webhooks_app.engine.sql.tables import EVENT
from webhooks_app.models import Delivery, Event, Tenant, database_now
from webhooks_app.models.ids import first_id, new_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

DEAD = 20_000


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    pending_floor._floors.clear()
    yield
    pending_floor._floors.clear()


def test_every_event_is_found_whatever_its_id(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a long transaction, or of a server whose clock is late, has an id below the floor."""
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    endpoint = endpoint_at(receiver, created_at=database_now("default") - timedelta(days=2))
    with running_engine():
        pending_event(endpoint.tenant)
        floor = pending_floor.pending_floor("default")
        eventually(lambda: floor.id.int)
        old = first_id(database_now("default") - timedelta(hours=1))
        for key in (old, new_id(), uuid.UUID(int=old.int + 1)):
            pending_event(endpoint.tenant, id=key)
        eventually(lambda: endpoint.deliveries.filter(status="succeeded").count() == 4)
    assert not Event.objects.pending().exists()


def test_the_floor_is_no_higher_than_the_lowest_of_many_pending_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    monkeypatch.setattr(pending_floor, "_MOST_BELOW", 1)
    now = database_now("default")
    oldest = pending_event(TenantFactory(), id=first_id(now - timedelta(days=1)))
    pending_event(TenantFactory(), id=first_id(now - timedelta(hours=1)))
    floor = PendingFloor("default")
    floor.note_look(1.0, now)
    eventually(lambda: floor.id == oldest.pk)
    assert floor.below == {}


def test_an_event_that_stays_pending_keeps_the_floor_no_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one that cannot be fanned out, or whose row is locked, would make each look read everything again."""
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    now = database_now("default")
    oldest = pending_event(TenantFactory(), id=first_id(now - timedelta(days=1)))
    pending_event(TenantFactory())
    floor = PendingFloor("default")
    floor.note_look(1.0, now)
    eventually(lambda: floor.id > oldest.pk)
    assert floor.below == {oldest.pk: oldest.tenant_id}


@pytest.mark.postgres
@pytest.mark.parametrize("fifo", [False, True], ids=["not FIFO", "FIFO"])
def test_an_event_that_was_locked_for_long_is_sent_once_it_is_free(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, fifo: bool
) -> None:
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    endpoint = endpoint_at(receiver, fifo=fifo, created_at=database_now("default") - timedelta(days=2))
    old = pending_event(endpoint.tenant, id=first_id(database_now("default") - timedelta(hours=1)))
    with running_engine():
        with locked(old):
            floor = pending_floor.pending_floor("default")
            eventually(lambda: floor.below)
            new = pending_event(endpoint.tenant)
            if fifo:
                time.sleep(0.5)
                assert not endpoint.deliveries.exists(), "nothing overtakes it"
            else:
                eventually(lambda: endpoint.deliveries.filter(status="succeeded", event=new).exists())
        eventually(lambda: endpoint.deliveries.filter(status="succeeded").count() == 2)
        if fifo:
            order = endpoint.deliveries.order_by("sequence").values_list("event_id", flat=True)
            assert list(order) == [old.pk, new.pk]
        newer = pending_event(endpoint.tenant)
        eventually(lambda: endpoint.deliveries.filter(status="succeeded", event=newer).exists())


def test_a_held_event_of_a_fifo_tenant_is_sent_first_once_the_database_takes_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    endpoint = endpoint_at(receiver, fifo=True, created_at=database_now("default") - timedelta(days=2))
    old = pending_event(endpoint.tenant, id=first_id(database_now("default") - timedelta(hours=1)))
    with running_engine():
        with refused(Delivery._meta.db_table, "event_id", old.pk):
            floor = pending_floor.pending_floor("default")
            eventually(lambda: floor.below)
            new = pending_event(endpoint.tenant)
            time.sleep(1.0)  # it is refused, and held, again and again
            assert not endpoint.deliveries.exists()
        eventually(lambda: endpoint.deliveries.filter(status="succeeded").count() == 2)
    order = endpoint.deliveries.order_by("sequence").values_list("event_id", flat=True)
    assert list(order) == [old.pk, new.pk]


def test_a_step_keeps_the_floor_that_it_began_with(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor may rise while a FIFO tenant's events are being read. The older one would be left out."""
    endpoint = endpoint_at(receiver, fifo=True, created_at=database_now("default") - timedelta(days=2))
    old = pending_event(endpoint.tenant, id=first_id(database_now("default") - timedelta(hours=1)))
    new = pending_event(endpoint.tenant)
    whole = TenantTurns.next

    def next_and_raise(turns: TenantTurns, *args: Any) -> Any:
        shares = whole(turns, *args)
        risen = Floor(first_id(database_now("default") - timedelta(seconds=10)), {old.pk: old.tenant_id})
        pending_floor.pending_floor("default").floor = risen
        return shares

    monkeypatch.setattr(TenantTurns, "next", next_and_raise)
    FanOut("default", EngineOptions(), FaultLog()).begin(database_now("default"))
    order = endpoint.deliveries.order_by("sequence").values_list("event_id", flat=True)
    assert list(order) == [old.pk, new.pk]


def test_it_ends_when_looking_is_fast_again(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = PendingFloor("default")
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    floor.note_look(1.0, database_now("default"))
    eventually(lambda: floor.id.int)
    monkeypatch.setattr(pending_floor, "SLOW", 60.0)
    eventually(lambda: floor.note_look(0.0, database_now("default")) or not floor.id.int)


def test_a_fast_look_starts_nothing() -> None:
    floor = PendingFloor("default")
    floor.note_look(0.001, database_now("default"))
    assert not floor.id.int
    assert not floor._lock.locked()


def test_a_thread_that_cannot_be_started_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = PendingFloor("default")
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", create_autospec(threading.Thread.start, side_effect=RuntimeError))
        floor.note_look(1.0, database_now("default"))
    monkeypatch.setattr(pending_floor, "SLOW", 0.0)
    floor.note_look(1.0, database_now("default"))
    eventually(lambda: floor.id.int)


@contextmanager
def old_snapshot() -> Iterator[None]:
    """A transaction that is open meanwhile, as of a backup."""
    other = connections["default"].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(f"SELECT 1 FROM {EVENT} LIMIT 1")
            yield
    finally:
        other.close()


def buffers(statement: str, values: Any) -> int:
    """Return how many pages the statement reads."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(local_settings(walks_index=True, sorts=False))
        try:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
            plan = cursor.fetchone()[0]
        finally:
            cursor.execute("ROLLBACK")
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


def fanned_out_since(tenant: Tenant, number: int) -> None:
    """Events as their emit and their fan-out leave them in the indexes."""
    Event.objects.bulk_create(
        Event(
            tenant_id=tenant.pk,
            tenant_uid=tenant.uid,
            type="test.happened",
            data="{}",
            size=2,
            occurred_at=tenant.created_at,
        )
        for _ in range(number)
    )
    Event.objects.filter(tenant=tenant).update(fanned_out_at=tenant.created_at)


@pytest.mark.postgres
def test_events_that_were_fanned_out_since_are_not_read() -> None:
    busy, other = TenantFactory(), TenantFactory()
    with old_snapshot():
        fanned_out_since(busy, DEAD)
        floor, begin, now = new_id(), uuid.UUID(int=0), database_now("default")
        pending_event(busy)
        pending_event(other)
        tenants = {"after": begin, "limit": 100, "endpoints": 10, "events": 100}
        shares = {
            "tenants": [busy.pk, other.pk],
            "shares": [5, 5],
            "held": [],
            "deliveries": 100,
            "now": now,
            "counted": [],
        }
        more = {"wire_formats": [], "ages": [], "default_age": 60.0}
        for statement, values, with_floor in (
            (postgresql._LOOK, [begin, now], [floor, now]),
            (fan_out._PENDING_TENANTS, {**tenants, "floor": begin}, {**tenants, "floor": floor}),
            (fan_out._FAN_OUT, {**shares, **more, "floor": begin}, {**shares, **more, "floor": floor}),
        ):
            assert buffers(statement, with_floor) * 2 < buffers(statement, values)
