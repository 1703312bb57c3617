"""A table, column or privilege that is missing for a moment, as during a migration, holds no queue for longer than that."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.pipelines import Gate, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.refused_rows import before_its_migration
from webhooks_app.models import Delivery, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("webhooks_app_secret", "accepted_at"),  # needed by the configurations of endpoints,
        ("webhooks_app_delivery", "expires_at"),  # by what is due,
        ("webhooks_app_event", "occurred_at"),  # and by the events of it
    ],
)
def test_endpoints_are_served_again_as_soon_as_the_schema_fits(receiver: Receiver, table: str, column: str) -> None:
    endpoints = [endpoint_at(receiver, f"/{number}") for number in range(4)]
    for endpoint in endpoints:
        for _ in range(5):
            due_delivery(endpoint)
    with ExitStack() as deployment:
        deployment.enter_context(before_its_migration(table, column))
        with running_engine():
            eventually(lambda: EndpointQueue.objects.filter(not_before__gt=database_now("default")).count() == 4)
            deployment.close()
            receiver.wait_for(20, timeout=10.0)


def test_results_wait_each_time_the_schema_does_not_fit(receiver: Receiver) -> None:
    """The second time soon after the first one, when the same rows had been accepted."""
    endpoint = endpoint_at(receiver, wire_format="slow")
    with running_engine():
        for number in range(1, 4):
            receiver.on("/hook", gate := Gate())
            due_delivery(endpoint)
            eventually(lambda: gate.waiting)
            with before_its_migration("webhooks_app_delivery", "completed_at"):
                gate.open()
                time.sleep(0.5)
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == number)  # noqa: B023
    assert len(receiver.requests) == 3


def test_pauses_of_a_queue_that_cannot_be_read_grow(receiver: Receiver) -> None:
    due_delivery(endpoint := endpoint_at(receiver))
    pauses = []
    with before_its_migration("webhooks_app_event", "occurred_at"), running_engine():
        for _ in range(3):
            queue = eventually(
                lambda: EndpointQueue.objects.filter(pk=endpoint.pk, not_before__gt=database_now("default")).first()
            )
            pauses.append((queue.not_before - database_now("default")).total_seconds())
            eventually(lambda: queue.not_before < database_now("default"))  # noqa: B023
    assert pauses[0] < 1.1 < pauses[1] < 2.1 < pauses[2] < 4.1
