"""A row that cannot be read or that the database refuses costs the endpoint beside it nothing, and the engine goes on."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import IntegrityError, connection

from tests.factories import TenantFactory
from tests.isolation import Scene, the_endpoint_beside_it_is_served
from tests.pipelines import due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.refused_rows import ignored, refused
from webhooks_app import emit
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.held_events import HeldEvents
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.quarantine import Quarantine
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Event, Tenant, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def trigger(table: str, column: str, moment: str = "INSERT") -> Scene:
    def scene(receiver: Receiver, stack: ExitStack) -> None:
        endpoint = endpoint_at(receiver, "/bad")
        event = pending_event(endpoint.tenant)
        key = event.pk if column in ("event_id", "id") else endpoint.pk
        stack.enter_context(refused(f"webhooks_app_{table}", column, key, moment))

    return scene


def tenant_that_the_database_refuses(receiver: Receiver, stack: ExitStack) -> None:
    emit("test.happened", {}, tenant="gone")
    stack.enter_context(refused("webhooks_app_tenant", "id", Tenant.id_for("gone")))


def endpoints_of_an_unknown_kind(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    for _ in range(20):
        due_delivery(endpoint_at(receiver, "/bad", tenant=endpoint.tenant))
    Endpoint.objects.filter(tenant=endpoint.tenant).update(kind="webhook")
    stack.callback(lambda: Endpoint.objects.filter(tenant=endpoint.tenant).update(kind="url"))


def infinite(model: Any, field: str) -> Scene:
    """The row contains a time that Python cannot read."""

    def scene(receiver: Receiver, stack: ExitStack) -> None:
        endpoint = endpoint_at(receiver, "/bad", filters={"data": 1} if model is Event else {})
        due_delivery(endpoint)
        pending_event(endpoint.tenant)
        time = "'infinity'" if connection.vendor == "postgresql" else "'a while ago'"
        column = {Endpoint: "id", Event: "tenant_id"}.get(model, "endpoint_id")
        key = endpoint.tenant_id if model is Event else endpoint.pk
        with connection.cursor() as cursor:
            adapted = key if connection.vendor == "postgresql" else key.hex
            table = model._meta.db_table
            cursor.execute(f"UPDATE {table} SET {field} = {time} WHERE {column} = %s", [adapted])

        def mend() -> None:
            model.objects.filter(**{column: key}).update(**{field: database_now("default")})

        stack.callback(mend)

    return scene


ROWS: dict[str, Scene] = {
    "an endpoint that cannot be read": infinite(Endpoint, "status_changed_at"),
    "endpoints of a kind that nobody knows": endpoints_of_an_unknown_kind,
    "a queue that cannot be read": infinite(EndpointQueue, "last_failure_at"),
    "a delivery that cannot be read": infinite(Delivery, "expires_at"),
    "an event that cannot be read": infinite(Event, "occurred_at"),
    "a pending event that cannot be read": infinite(Event, "created_at"),
    "an event whose deliveries the database refuses": trigger("delivery", "event_id"),
    "an attempt that the database refuses": trigger("attempt", "endpoint_id"),
    "a delivery that the database does not settle": trigger("delivery", "endpoint_id", "UPDATE"),
    "an event that the database does not let anybody change": trigger("event", "id", "UPDATE"),
    "a queue that the database does not let anybody change": trigger("endpointqueue", "endpoint_id", "UPDATE"),
    "statistics that the database refuses": trigger("hourlystat", "endpoint_id"),
    "a tenant that the database refuses": tenant_that_the_database_refuses,
}


@pytest.mark.parametrize("scene", ROWS.values(), ids=ROWS)
def test_a_row_costs_nobody_else_anything(receiver: Receiver, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


def test_a_delivery_that_the_database_silently_leaves_as_it_is_is_not_sent_again_and_again(receiver: Receiver) -> None:
    """A trigger of the host's that forgets to return the row; it was sent some thirty times a second."""
    endpoint = endpoint_at(receiver, "/bad")
    due_delivery(endpoint)
    with ignored("webhooks_app_delivery", "endpoint_id", endpoint.pk, "UPDATE"), running_engine():
        receiver.wait_for(1)
        eventually(lambda: EndpointQueue.objects.get(pk=endpoint.pk).not_before > database_now("default"))
        time.sleep(1.0)
        assert len(receiver.requests) == 1


def test_a_column_that_this_version_does_not_know_costs_no_event(receiver: Receiver) -> None:
    """The migration of the next version comes before its code: the event waits, and is not quarantined."""
    event = pending_event(endpoint_at(receiver).tenant)
    with pytest.raises(IntegrityError) as refusal:
        Delivery.objects.create(
            event=event, endpoint_id=None, tenant_id=event.tenant_id, next_attempt_at=event.created_at
        )
    options = EngineOptions(quarantine_after=0.0)
    quarantine = Quarantine("default", options, FaultLog(), HeldEvents(options.max_held_events), lambda send: send())
    assert quarantine.put_aside(event, refusal.value, database_now("default")).events == 0
    assert Event.objects.pending().get() == event


def test_results_behind_one_that_cannot_be_recorded_are_recorded(receiver: Receiver) -> None:
    """Fifty results in one batch, of which the database refuses one delivery's."""
    bad, tenant = endpoint_at(receiver, "/bad"), TenantFactory()
    endpoint_at(receiver, "/good", tenant=tenant)
    with refused("webhooks_app_delivery", "endpoint_id", bad.pk, "UPDATE"):
        pending_event(bad.tenant)
        for _ in range(50):
            pending_event(tenant)
        with running_engine():
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 50)
    assert Attempt.objects.exclude(endpoint_id=bad.pk).count() == 50
    assert EndpointQueue.objects.get(pk=bad.pk).not_before > Event.objects.latest("pk").created_at
