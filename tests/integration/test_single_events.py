"""While single events come, few queues are leased at once, and nobody is left out for it. See also its `_fan_out`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import TenantFactory
from tests.leases import SHARE, Leases, leases_of, many_due
from tests.locks import locked
from tests.pipelines import due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql.types import LeaseCapacity
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, database_now
from webhooks_app.telemetry.installation_state import read_installation_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


@pytest.fixture
def leases_that_pause() -> Iterator[Leases]:
    """After a lease that found nothing, they look for no more within the test."""
    with leases_of(EngineOptions(no_fit_pause=60.0)) as leases:
        yield leases


def test_a_tenant_with_very_many_due_queues_has_no_turn_before_the_others(receiver: Receiver, leases: Leases) -> None:
    first = many_due(receiver, 3 * SHARE)[0]
    other = endpoint_at(receiver)
    due_delivery(other)
    assert leases.lease.take(gently=True) == SHARE
    assert leases.tenants() == {first.tenant}
    assert leases.lease.take(gently=True) == 1
    assert leases.tenants() == {first.tenant, other.tenant}
    assert leases.lease.take(gently=True) == SHARE
    assert leases.lease.take(gently=True) == SHARE, "now the others have nothing due"


def test_several_such_tenants_leave_the_others_their_turn(receiver: Receiver, leases: Leases) -> None:
    """Two of them must not take turns with each other."""
    large = {many_due(receiver, 3 * SHARE)[0].tenant for _ in range(3)}
    other = endpoint_at(receiver)
    due_delivery(other)
    assert [leases.lease.take(gently=True) for _ in range(3)] == [SHARE] * 3
    assert leases.tenants() == large
    assert leases.lease.take(gently=True) == 1
    assert leases.tenants() == {*large, other.tenant}
    assert leases.lease.take(gently=True) == SHARE


@pytest.mark.parametrize("number", [3, 4, 7])
def test_so_do_tenants_that_share_one_turn(receiver: Receiver, number: int) -> None:
    """None of them has a full share where they were due at the same times."""
    tenants = [TenantFactory() for _ in range(number)]
    since = database_now("default") - timedelta(minutes=1)
    for position in range(20):
        for tenant in tenants:
            due_delivery(endpoint_at(receiver, tenant=tenant), next_attempt_at=since + timedelta(seconds=position))
    other = endpoint_at(receiver)
    due_delivery(other)
    with leases_of(EngineOptions(leased_gently=3 * SHARE, leased_gently_of_tenant=SHARE)) as leases:
        turns = 0
        while other.tenant not in leases.tenants():
            assert leases.lease.take(gently=True) > 0
            turns += 1
    assert turns <= 3


def test_so_does_one_where_there_is_room_for_few(
    receiver: Receiver, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeaseCapacity, "looked_at", property(lambda capacity: 4))
    many_due(receiver, 10)
    other = endpoint_at(receiver)
    due_delivery(other)
    capacity = leases.window.lease_capacity
    monkeypatch.setattr(
        leases.window,
        "lease_capacity",
        lambda: {key: some.narrowed(limit=3, share=9, full=(), refused=()) for key, some in capacity().items()},
    )
    assert leases.lease.take(gently=True) == 3
    assert leases.lease.take(gently=True) == 1
    assert other.tenant in leases.tenants()


def test_a_queue_that_has_had_its_turn_goes_behind_those_that_wait(receiver: Receiver, leases: Leases) -> None:
    """The oldest backlogs must not have every turn, while endpoints wait for a new event. For how long work has waited is
    still known."""
    old = many_due(receiver, 1)[0]
    EndpointQueue.objects.update(not_before=database_now("default") - timedelta(hours=1))
    due_delivery(old, next_attempt_at=database_now("default") - timedelta(minutes=2))
    leases.lease.take()
    new = endpoint_at(receiver)
    due_delivery(new)
    leases.window.drop({old.pk}, lost=False)
    assert leases.lease.release() == 1
    waiting = EndpointQueue.objects.due(database_now("default"))
    assert list(waiting.values_list("pk", flat=True)) == [new.pk, old.pk]
    assert read_installation_state().oldest_due_age > 100


def test_many_are_leased_at_once_where_nobody_waits_for_single_events(receiver: Receiver, leases: Leases) -> None:
    many_due(receiver, 3 * SHARE)
    assert leases.lease.take() == 3 * SHARE


def test_what_there_is_no_room_for_is_left_alone_for_a_moment(
    receiver: Receiver, leases_that_pause: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every turn would look for it, while a tenant's endpoints hang."""
    leases = leases_that_pause
    many_due(receiver, 2)
    held = EndpointQueue.objects.order_by("pk")
    held.update(not_before=database_now("default"))
    full = leases.window.lease_capacity()
    tenant = held[0].tenant_id
    monkeypatch.setattr(
        leases.window,
        "lease_capacity",
        lambda: {name: some.narrowed(limit=9, share=9, full={tenant}, refused=()) for name, some in full.items()},
    )
    assert leases.lease.take() == 0
    with CaptureQueriesContext(connection) as captured:
        assert leases.lease.take() == 0
    assert captured.captured_queries == []
    monkeypatch.undo()
    assert leases.lease.take() == 2, "there is capacity now"


def test_what_fan_out_makes_due_is_looked_for_at_once(receiver: Receiver, leases_that_pause: Leases) -> None:
    leases = leases_that_pause
    assert leases.lease.take() == 0
    many_due(receiver, 1)
    assert leases.lease.take() == 0
    leases.lease.expect_due()
    assert leases.lease.take() == 1


def test_a_recheck_joins_no_tables(receiver: Receiver, leases: Leases) -> None:
    """How a join is done depends on what the database last saw of the tables: on new ones it was quadratic."""
    endpoints = many_due(receiver, 3)
    leases.lease.take()
    leases.lease.recheck()
    assert not leases.window.take_finished(time.monotonic())
    Endpoint.objects.filter(pk=endpoints[0].pk).update(status="paused")
    EndpointQueue.objects.filter(pk=endpoints[1].pk).update(holder_id=None)
    with CaptureQueriesContext(connection) as captured:
        leases.lease.recheck()
    assert captured.captured_queries
    assert not [query["sql"] for query in captured.captured_queries if "JOIN" in query["sql"]]
    dropped = leases.window.take_finished(time.monotonic())
    assert {(queue.endpoint_id, queue.lost) for queue in dropped} == {(endpoints[0].pk, False), (endpoints[1].pk, True)}


@pytest.mark.postgres
def test_locked_queues_of_one_class_are_left_alone_while_others_are_taken(
    receiver: Receiver, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the queues that are looked at would be the locked ones for ever."""
    monkeypatch.setattr(LeaseCapacity, "looked_at", property(lambda capacity: 3))
    theirs = many_due(receiver, 5)
    new, trusted = endpoint_at(receiver), endpoint_at(receiver)
    due_delivery(new)
    EndpointQueue.objects.filter(pk=trusted.pk).update(last_success_at=database_now("default"))

    def take_new() -> bool:
        EndpointQueue.objects.filter(pk=trusted.pk).update(holder_id=None, due_at=database_now("default"))
        leases.window.take_finished(time.monotonic() + 60)
        leases.lease.take()
        return EndpointQueue.objects.filter(pk=new.pk).exclude(holder_id=None).exists()

    with ExitStack() as stack:
        for endpoint in theirs:
            stack.enter_context(locked(endpoint.queue))
        eventually(take_new)


@pytest.mark.processes
def test_every_late_step_has_its_turn_however_much_is_new(receiver: Receiver) -> None:
    """With no time for them, one is done in each turn: results are recorded, queues released, and a paused endpoint noticed."""
    receiver.on("/hang", Hang())
    hanging = endpoint_at(receiver, "/hang", wire_format="plain")
    for _ in range(3):
        due_delivery(hanging)
    single = endpoint_at(receiver)
    large = TenantFactory()
    for _ in range(101):
        endpoint_at(receiver, tenant=large)
    pending_event(large)
    with running_engine(options=EngineOptions(late_seconds=0.0, recheck_seconds=0.05)):
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            pending_event(single.tenant)
            time.sleep(0.005)
        eventually(lambda: not Delivery.objects.filter(endpoint__tenant=large).exclude(status="succeeded").exists())
        eventually(lambda: not Delivery.objects.filter(endpoint=single).exclude(status="succeeded").exists())
        eventually(lambda: not EndpointQueue.objects.exclude(endpoint=hanging).exclude(holder_id=None).exists())
    assert Delivery.objects.filter(endpoint__tenant=large).count() == 101


@pytest.mark.processes
def test_more_that_may_start_is_not_waited_with(receiver: Receiver) -> None:
    """Requests are started for a moment at a time; where no response comes in between, nothing else wakes the thread."""
    receiver.on("/hook", Hang())
    for _ in range(12):
        due_delivery(endpoint_at(receiver, wire_format="plain"))
    with running_engine(options=EngineOptions(start_seconds=0.0, started_at_once=1, look_again_seconds=5.0)):
        eventually(lambda: len(receiver.requests) == 12, patience=8.0)
