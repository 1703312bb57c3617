"""What another transaction has locked costs the endpoint beside it nothing, and is delivered once it is free."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connection, transaction

from tests.conftest import Configure
from tests.factories import EndpointFactory
from tests.isolation import EVENTS, Scene, the_endpoint_beside_it_is_served
from tests.pipelines import due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.db import write
from webhooks_app.endpoints.status import pause_endpoint
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Engine, HourlyStat, Tenant, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def held_open(work: Callable[[], object], stack: ExitStack) -> None:
    """Do this in a transaction that stays open until the end of the test."""
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                work()
                begun.set()
                done.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert begun.wait(10)
    stack.callback(thread.join, 10)
    stack.callback(done.set)


def locked_queue(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: list(EndpointQueue.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def paused_in_a_request(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: pause_endpoint(endpoint), stack)


def locked_queue_of_a_fifo_endpoint(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad", fifo=True)
    pending_event(endpoint.tenant)
    held_open(lambda: list(EndpointQueue.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def tenant_in_an_open_transaction(receiver: Receiver, stack: ExitStack) -> None:
    emit("test.happened", {}, tenant="signing up")
    held_open(lambda: Tenant(uid="signing up").save(force_insert=True), stack)


def locked_deliveries(receiver: Receiver, stack: ExitStack) -> None:
    deliveries = [due_delivery(endpoint_at(receiver, "/bad")).pk for _ in range(3)]
    held_open(lambda: list(Delivery.objects.filter(pk__in=deliveries).select_for_update()), stack)


def locked_endpoint_that_is_to_be_disabled(receiver: Receiver, stack: ExitStack) -> None:
    receiver.on("/bad", 410)
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: list(Endpoint.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def locked_endpoint(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad", wire_format="plain")
    receiver.on("/bad", [500, 200])
    for _ in range(3):
        pending_event(endpoint.tenant)
    held_open(lambda: list(Endpoint.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def endpoint_deleted_by_hand(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)

    def delete() -> None:
        with connection.cursor() as cursor:
            for table in ("subscription", "secret"):
                cursor.execute(f"DELETE FROM webhooks_app_{table} WHERE endpoint_id = %s", [endpoint.pk])
            cursor.execute("DELETE FROM webhooks_app_endpoint WHERE id = %s", [endpoint.pk])

    held_open(delete, stack)


def locked_statistics(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    hour = database_now("default").replace(minute=0, second=0, microsecond=0)
    HourlyStat.objects.create(endpoint_id=endpoint.pk, hour=hour)
    held_open(lambda: list(HourlyStat.objects.select_for_update()), stack)
    for _ in range(20):
        pending_event(endpoint.tenant)


LOCKS: dict[str, Scene] = {
    "locked statistics": locked_statistics,
    "a locked endpoint": locked_endpoint,
    "an endpoint that is deleted by hand": endpoint_deleted_by_hand,
    "a locked queue": locked_queue,
    "an endpoint paused in an open request": paused_in_a_request,
    "a locked queue of a FIFO endpoint": locked_queue_of_a_fifo_endpoint,
    "a tenant that is being created": tenant_in_an_open_transaction,
    "locked deliveries": locked_deliveries,
    "a locked endpoint that is to be disabled": locked_endpoint_that_is_to_be_disabled,
}


@pytest.mark.postgres
@pytest.mark.parametrize("scene", LOCKS.values(), ids=LOCKS)
def test_a_lock_costs_nobody_else_anything(receiver: Receiver, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", ["a locked queue", "a locked queue of a FIFO endpoint", "locked deliveries", "locked statistics"]
)
def test_what_waited_for_a_lock_is_delivered_once_it_is_gone(receiver: Receiver, name: str) -> None:
    with ExitStack() as stack, running_engine():
        LOCKS[name](receiver, stack)
        good = endpoint_at(receiver, "/good", wire_format="slow")
        pending_event(good.tenant)
        receiver.wait_for(1, path="/good")
        stack.close()
        eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists() and Delivery.objects.count() > 1)
    ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert set(ids.values()) == {1}


@pytest.mark.postgres
def test_a_lock_timeout_inside_copy_loses_no_result(receiver: Receiver) -> None:
    """The host's migration has locked the table of attempts for a moment."""
    endpoint = EndpointFactory(url=receiver.url("/hook"), wire_format="quick")
    with running_engine():
        with write("default"), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE webhooks_app_attempt IN ACCESS EXCLUSIVE MODE")
            events = [pending_event_elsewhere(endpoint) for _ in range(5)]
            receiver.wait_for(5)
        eventually(lambda: Attempt.objects.count() == 5)
        assert Engine.objects.count() == 1
    assert len(receiver.requests) == 5
    assert len(events) == 5


def pending_event_elsewhere(endpoint: Endpoint) -> Any:
    """An event committed by another connection than this thread's."""
    from tests.pipelines import InThread

    return InThread(lambda: pending_event(endpoint.tenant)).result()


@pytest.mark.postgres
def test_a_lock_on_the_engines_own_row_stops_nothing(receiver: Receiver, configure: Configure) -> None:
    configure(HEARTBEAT_SECONDS=3.0)
    good = endpoint_at(receiver, "/good", wire_format="slow")
    with ExitStack() as stack, running_engine():
        engine = eventually(lambda: Engine.objects.first())
        held_open(lambda: list(Engine.objects.select_for_update()), stack)
        eventually(lambda: Engine.objects.exclude(pk=engine.pk).exists())
        for number in range(1, EVENTS + 1):
            pending_event(good.tenant)
            receiver.wait_for(number, path="/good")
        eventually(lambda: Delivery.objects.filter(status="succeeded").count() == EVENTS)
        stack.close()
        eventually(lambda: not Engine.objects.filter(pk=engine.pk).exists())
    assert len(receiver.requests) == EVENTS
