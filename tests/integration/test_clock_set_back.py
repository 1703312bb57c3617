"""The database's clock is set back (a correction, a failover): nothing is lost, and nothing waits for longer than it must.

Rows with a time in the future stand for those that were written before the clock was set back.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Configure
from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory, EventFactory
from tests.pipelines import (
    InThread,
    due_at,
    due_delivery,
    endpoint_at,
    eventually,
    fan_out,
    fan_out_all,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from webhooks_app import create_endpoint
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.resend import send_now
from webhooks_app.endpoints.status import pause_endpoint, resume_endpoint
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.engine.sweep import sweep
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Engine, database_now, times
from webhooks_app.tasks import engines_running
from webhooks_app.telemetry.installation_state import read_installation_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

STEP = timedelta(seconds=90)
#: The statements that ask databases for their time, after it.
SET_BACK = {
    "postgresql": "SELECT clock_timestamp() - interval '90 seconds'",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now', '-90 seconds')",
}


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


def dead_engine() -> Engine:
    """It died before the step, so that its heartbeat seems to be good for long."""
    at_death: datetime = database_now() + STEP
    engine: Engine = EngineFactory(beat_at=at_death, alive_until=at_death + timedelta(seconds=6))
    return engine


def test_the_queues_of_a_dead_engine_are_taken_over(receiver: Receiver, configure: Configure) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    due_delivery(endpoint_at(receiver, queue__holder_id=dead_engine().pk))
    with running_engine():
        receiver.wait_for(1)
        eventually(lambda: Engine.objects.count() == 1)


def test_a_sweep_releases_the_queues_of_a_dead_engine(configure: Configure) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    EndpointFactory(queue__holder_id=dead_engine().pk)
    assert sweep().freed == 1
    assert not Engine.objects.exists()


def test_a_dead_engine_counts_as_dead() -> None:
    dead_engine()
    alive = EngineFactory(alive_until=database_now() + timedelta(seconds=6))
    assert engines_running() == 1
    state = read_installation_state()
    assert ([engine.id for engine in state.engines], state.dead_engines) == ([str(alive.pk)], 1)


def test_engines_that_are_alive_keep_their_queues(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Until each has beaten again, their heartbeats are in the future, too."""
    configure(HEARTBEAT_SECONDS=6.0)
    with running_engine(2):
        eventually(lambda: Engine.objects.count() == 2)
        time.sleep(2.0)
        monkeypatch.setattr(times, "_NOW_SQL", SET_BACK)
        eventually(lambda: not Engine.objects.expired(database_now()).exists())
        assert sweep().freed == 0
    assert "missed their heartbeat" not in caplog.text
    assert "taken for dead" not in caplog.text


def test_a_sweep_during_which_it_is_set_back_releases_nothing(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(HEARTBEAT_SECONDS=6.0)
    EngineFactory(alive_until=database_now())  # for which the sweep looks twice
    alive = EngineFactory(alive_until=database_now() + timedelta(seconds=6))
    EndpointFactory(queue__holder_id=alive.pk)
    sweeping = InThread(sweep)
    time.sleep(0.5)
    monkeypatch.setattr(times, "_NOW_SQL", SET_BACK)
    assert sweeping.result().freed == 0
