"""The database's clock is set back (a correction, a failover): nothing is lost, and nothing waits for longer than it must.

Rows with a time in the future stand for those that were written before the clock was set back.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory, EventFactory
from tests.pipelines import due_at, fan_out, fan_out_all, pending_event
from webhooks_app import create_endpoint
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.resend import send_now
from webhooks_app.endpoints.status import pause_endpoint, resume_endpoint
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

STEP = timedelta(seconds=90)


def created_before_the_step(**values: object) -> Endpoint:
    endpoint: Endpoint = EndpointFactory(**values)
    Endpoint.objects.filter(pk=endpoint.pk).update(created_at=database_now() + STEP)
    return endpoint


@pytest.mark.parametrize("filters", [{}, {"data.n": 1}], ids=["plain", "filtered"])
def test_an_endpoint_gets_the_events_that_follow(filters: dict[str, object]) -> None:
    endpoint = created_before_the_step(filters=filters)
    event = pending_event(endpoint.tenant, data='{"n": 1}')
    fan_out_all()
    assert Delivery.objects.get().event_id == event.pk


def test_an_endpoint_does_not_get_the_events_from_before_it_was_created() -> None:
    endpoint = EndpointFactory()
    pending_event(endpoint.tenant, created_at=endpoint.created_at - STEP)
    fan_out_all()
    assert not Delivery.objects.exists()


def test_events_are_recovered() -> None:
    endpoint = created_before_the_step()
    EventFactory(tenant=endpoint.tenant)
    assert recover(endpoint, database_now() - STEP).created == 1


@pytest.mark.parametrize("since_when", ["created", "resumed"])
def test_a_new_event_does_not_wait_until_the_time_when_its_endpoint_was(since_when: str) -> None:
    endpoint, _ = create_endpoint("acme", url="https://example.com/hook", events=["*"])
    if since_when == "resumed":
        pause_endpoint(endpoint)
        resume_endpoint(endpoint)
    pending_event(endpoint.tenant)
    after_the_step = database_now() - STEP
    fan_out(after_the_step, "default")  # which cannot know that the clock was set back
    assert due_at(endpoint) == after_the_step


def test_what_was_chosen_to_be_sent_next_does_not_wait_until_the_time_of_that() -> None:
    now = database_now()
    health = {"queue__consecutive_failures": 9, "queue__failing_since": now - STEP, "queue__last_failure_at": now}
    endpoint = EndpointFactory(wire_format="careful", queue__not_before=now + timedelta(seconds=1), **health)
    send_now(DeliveryFactory(endpoint=endpoint))
    assert EndpointQueue.objects.get().not_before < now - STEP


def test_a_queue_that_a_dead_engine_held_is_due_from_now_on() -> None:
    """Not since NOT_HELD: the age of what is due is measured and alerted on."""
    endpoint, _ = create_endpoint("acme", url="https://example.com/hook", events=["*"])
    EndpointQueue.objects.update(holder_id=EngineFactory().pk)
    release_dead_engines("default", database_now() + STEP)
    assert abs(due_at(endpoint) - database_now()) < STEP
