"""The protocol, locks: the engine does not wait for rows that another transaction has locked, and no queue loses its turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory, TenantFactory
from tests.locks import two_queues
from tests.pipelines import ENGINE, InThread, eventually, fan_out_batch, pending_event, release
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.retry import Decision, DeliveryVerdict, Outcome, OutcomeKind
from webhooks_app.db import write
from webhooks_app.engine.endpoint_config import load_endpoint_configs
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.engine.record import Recorder
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.sweep import repair
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery, Result
from webhooks_app.engine.window import Window
from webhooks_app.models import NOTHING_DUE, Attempt, Delivery, Endpoint, EndpointQueue, Event, Tenant, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


def is_due(endpoint: Endpoint) -> bool:
    return EndpointQueue.objects.get(pk=endpoint.pk).due_at <= now()


def is_free(endpoint: Endpoint) -> bool:
    return EndpointQueue.objects.get(pk=endpoint.pk).holder_id is None


Writer = tuple[Callable[[], Any], Callable[[Endpoint], bool]]


def _release(*endpoints: Endpoint) -> Writer:
    return lambda: release(*endpoints), is_free


def _fan_out(*endpoints: Endpoint) -> Writer:
    for endpoint in endpoints:
        pending_event(endpoint.tenant)
    fan = FanOut("default", EngineOptions(), FaultLog())

    def act() -> None:
        fan_out_batch(fan, now())
        if fan.owed_wakes:
            fan.owed_wakes.wake()

    def is_done(endpoint: Endpoint) -> bool:
        return Delivery.objects.filter(endpoint=endpoint).count() == 2 and is_due(endpoint)

    EndpointQueue.objects.update(due_at=NOTHING_DUE)
    return act, is_done


def _release_dead(*endpoints: Endpoint) -> Writer:
    EngineFactory(id=ENGINE, alive_until=now() - HOUR)
    return lambda: release_dead_engines("default", now()), is_free


def _repair(*endpoints: Endpoint) -> Writer:
    for endpoint in endpoints:
        DeliveryFactory(endpoint=endpoint)
    EndpointQueue.objects.update(holder_id=None, due_at=NOTHING_DUE)
    return repair, is_due


def _record(*endpoints: Endpoint) -> Writer:
    """Results that change the queues' health, in the other order."""
    options, faults = EngineOptions(), FaultLog()
    heartbeat = Heartbeat("default", "test", options, on_change=lambda: None)
    EndpointQueue.objects.update(holder_id=heartbeat.engine_id)
    configs = load_endpoint_configs([endpoint.pk for endpoint in endpoints], "default")
    window = Window(options, capacity=100)
    window.add([LeasedQueue(configs[endpoint.pk], Health(), 0.0, heartbeat.engine_id) for endpoint in endpoints])
    recorder = Recorder("default", window, ResultBuffer(), heartbeat, options, faults, announce=lambda batch: None)
    recorder.add(
        [_failed(configs[endpoint.pk], DeliveryFactory(endpoint=endpoint)) for endpoint in reversed(endpoints)]
    )

    def is_done(endpoint: Endpoint) -> bool:
        attempted = Attempt.objects.filter(endpoint=endpoint).count() == 1
        return attempted and EndpointQueue.objects.get(pk=endpoint.pk).consecutive_failures == 1

    return lambda: recorder.step(at_once=True), is_done


def _failed(config: EndpointConfig, row: Delivery) -> Result:
    delivery = QueuedDelivery(row.pk, row.endpoint_id, row.event_id, 0, 0, row.next_attempt_at, 0, 0)
    began = now()
    return Result(
        delivery=delivery,
        config=config,
        outcome=Outcome(OutcomeKind.SERVER_ERROR, 500),
        started_at=began,
        duration=0.1,
        decision=Decision(DeliveryVerdict.RETRY, at=began),
        health=Health(consecutive_failures=1, failing_since=began, last_failure_at=began),
        was=Health(),
    )


WRITERS: dict[str, tuple[bool, bool, Callable[..., Writer]]] = {
    # Name: FIFO endpoints? Is what is free done at once? (Of a tenant's events in their order all wait or none.)
    "release": (False, True, _release),
    "fan-out": (False, True, _fan_out),
    "fan-out in order": (True, False, _fan_out),
    "release dead engines": (False, True, _release_dead),
    "repair": (False, True, _repair),
    "record": (False, True, _record),
}


@pytest.mark.postgres
@pytest.mark.parametrize(("fifo", "at_once", "prepare"), WRITERS.values(), ids=WRITERS)
def test_the_engine_waits_for_no_queues_row(fifo: bool, at_once: bool, prepare: Callable[..., Writer]) -> None:
    """What needs the locked row is done later; all else goes on, and locks nothing that it does not write."""
    first, second = two_queues(fifo=fifo)
    act, is_done = prepare(first, second)
    with write("default"):
        list(EndpointQueue.objects.filter(pk=first.pk).locked())
        InThread(act).result()
        assert not is_done(first)
        assert is_done(second) is at_once
        assert EndpointQueue.objects.filter(pk=second.pk).select_for_update(no_key=True, nowait=True).get()
    eventually(lambda: act() or (is_done(first) and is_done(second)))
    release(first, second)
    EndpointQueue.objects.update(holder_id=None)
    assert repair() == 0


@pytest.mark.postgres
def test_a_fan_out_to_a_callback_url_does_not_wait_either(receiver: Receiver) -> None:
    """Its hidden endpoint is looked at first, but its id is the higher one: it is locked with the others or not at all."""
    plain = EndpointFactory()
    fan = FanOut("default", EngineOptions(), FaultLog())
    for _ in range(2):
        pending_event(plain.tenant, callback_url="https://example.com/back")
        pending_event(plain.tenant)
        if not Delivery.objects.exists():
            fan_out_batch(fan, now())
    hidden = Endpoint.objects.get(kind="callback")
    assert plain.pk < hidden.pk
    with write("default"):
        list(EndpointQueue.objects.filter(pk=plain.pk).locked())
        InThread(lambda: fan_out_batch(fan, now())).result()
        assert EndpointQueue.objects.filter(pk=hidden.pk).select_for_update(no_key=True, nowait=True).get()
    eventually(lambda: fan_out_batch(fan, now()) and Delivery.objects.count() == 4)
    eventually(lambda: fan.owed_wakes.wake() is not None and not fan.owed_wakes)
    assert is_due(plain)
    assert is_due(hidden)


@pytest.mark.postgres
def test_locked_rows_of_some_tenants_cost_no_other_tenant_its_turn() -> None:
    """They come first in every step, as long as the locks last."""
    tenants = sorted(TenantFactory.create_batch(4), key=lambda tenant: tenant.pk)
    endpoints = [EndpointFactory(tenant=tenant, fifo=True) for tenant in tenants]
    fan = FanOut("default", EngineOptions(), FaultLog())
    with write("default"):
        list(EndpointQueue.objects.filter(pk__in=[one.pk for one in endpoints[:3]]).locked())
        for endpoint in endpoints:
            pending_event(endpoint.tenant)
        InThread(lambda: eventually(lambda: fan_out_batch(fan, now()) and is_fanned_out(tenants[3]))).result()
        assert not any(is_fanned_out(tenant) for tenant in tenants[:3])
    eventually(lambda: fan_out_batch(fan, now()) and all(is_fanned_out(tenant) for tenant in tenants))


@pytest.mark.postgres
def test_tenants_that_nobody_can_create_now_cost_no_other_tenant_its_turn() -> None:
    uids = sorted((f"new-{number}" for number in range(6)), key=Tenant.id_for)
    fan = FanOut("default", EngineOptions(), FaultLog())
    with write("default"):
        for uid in uids[:5]:
            Tenant(uid=uid).save(force_insert=True)

        def emit_and_fan_out() -> None:
            for uid in uids:
                emit("test.happened", {}, tenant=uid)
            eventually(lambda: fan_out_batch(fan, now()) and Tenant.objects.filter(uid=uids[5]).exists())
            eventually(
                lambda: fan_out_batch(fan, now()) and not Event.objects.pending().filter(tenant_uid=uids[5]).exists()
            )

        InThread(emit_and_fan_out).result()
        assert Event.objects.pending().count() == 5
    eventually(lambda: fan_out_batch(fan, now()) and not Event.objects.pending().exists())


def is_fanned_out(tenant: Tenant) -> bool:
    return not Event.objects.pending().filter(tenant_id=tenant.pk).exists()
