"""The protocol, the order of locks: whoever writes several rows locks them in one order, so that nobody waits in a circle."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory
from tests.pipelines import (
    ENGINE,
    InThread,
    eventually,
    held_endpoint,
    pending_event,
    release,
)
from tests.receiver import Receiver
from webhooks_app.actions.pending import cancel_all, renew
from webhooks_app.core.health import Health
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import IDLE, Delivery, Endpoint, EndpointQueue, HourlyStat, database_now
from webhooks_app.pipeline.fan_out import fan_out
from webhooks_app.pipeline.heartbeat import Heartbeat, free_dead_engines
from webhooks_app.pipeline.held import HeldQueue
from webhooks_app.pipeline.record import Recorder, give_up
from webhooks_app.pipeline.routes import load_routes
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.store.rows import STAT_COUNTS, StatRow
from webhooks_app.pipeline.sweep import repair
from webhooks_app.pipeline.transactions import in_fresh_transaction, write
from webhooks_app.pipeline.wake import wake
from webhooks_app.pipeline.work import Job, Result

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


def _fan_out_events_of(*endpoints: Endpoint) -> Callable[[], Any]:
    for endpoint in endpoints:
        pending_event(endpoint.tenant)
    return lambda: fan_out(now(), "default")


def _free_dead(*endpoints: Endpoint) -> Callable[[], Any]:
    EngineFactory(id=ENGINE, alive_until=now() - HOUR)
    return lambda: free_dead_engines("default", now())


def _repair(*endpoints: Endpoint) -> Callable[[], Any]:
    for endpoint in endpoints:
        DeliveryFactory(endpoint=endpoint)
    EndpointQueue.objects.update(holder_id=None, due_at=IDLE)
    return repair


def _wake(*endpoints: Endpoint) -> Callable[[], Any]:
    keys = [endpoint.pk for endpoint in reversed(endpoints)]
    return lambda: in_fresh_transaction(lambda: wake(keys, now(), using="default"), "default")


def _record(*endpoints: Endpoint) -> Callable[[], Any]:
    """Results that change the queues' health, in the other order."""
    routes = load_routes([endpoint.pk for endpoint in endpoints], "default")
    results = [_given_up(HeldQueue(routes[endpoint.pk], Health(), 0.0)) for endpoint in reversed(endpoints)]
    recorder = Recorder("default", Heartbeat("default", "test"))
    return lambda: recorder.record(results, held={endpoint.pk for endpoint in endpoints})


def _given_up(queue: HeldQueue) -> Result:
    job = Job(uuid.uuid4(), queue.endpoint_id, uuid.uuid4(), 0, 0, now(), 0, 0)
    return give_up(queue, job, OutcomeKind.QUARANTINED, now())


def _renew(*endpoints: Endpoint) -> Callable[[], Any]:
    ids = [DeliveryFactory(endpoint=endpoint, exhausted=True).pk for endpoint in reversed(endpoints)]
    return lambda: in_fresh_transaction(lambda: renew(ids, using="default"), "default")


def _cancel(*endpoints: Endpoint) -> Callable[[], Any]:
    for endpoint in endpoints:
        DeliveryFactory(endpoint=endpoint)
    return lambda: cancel_all(Delivery.objects.all(), using="default")


WRITERS: dict[str, tuple[dict[str, Any], Callable[..., Callable[[], Any]]]] = {
    "wake": ({}, _wake),
    "release": ({}, lambda *endpoints: lambda: release(*endpoints)),
    "fan_out": ({}, _fan_out_events_of),
    "fan_out in order": ({"fifo": True}, _fan_out_events_of),
    "free dead engines": ({}, _free_dead),
    "repair": ({}, _repair),
    "record": ({}, _record),
    "renew": ({}, _renew),
    "cancel": ({}, _cancel),
}


@pytest.mark.postgres
@pytest.mark.parametrize(("values", "prepare"), WRITERS.values(), ids=WRITERS)
def test_queue_rows_are_locked_in_one_order(values: dict[str, Any], prepare: Callable[..., Callable[[], Any]]) -> None:
    """A writer that has to wait for the first row has not locked the second: so two writers never wait in a circle."""
    first, second = held_endpoint(**values), held_endpoint(**values)
    second.tenant = first.tenant
    second.save()
    put_in_reverse()
    act = prepare(first, second)
    with write("default"):
        list(EndpointQueue.objects.filter(pk=first.pk).locked())
        writer = InThread(act)
        eventually(somebody_waits)
        free = EndpointQueue.objects.filter(pk=second.pk).select_for_update(no_key=True, nowait=True)
        assert free.get()
    writer.result()


@pytest.mark.postgres
def test_a_fan_out_to_a_callback_url_keeps_to_that_order(receiver: Receiver) -> None:
    """Its hidden endpoint is looked at first, but its id is the higher one: it is locked with the others or not at all."""
    plain = EndpointFactory()
    for _ in range(2):
        pending_event(plain.tenant, callback_url="https://example.com/back")
        pending_event(plain.tenant)
        if not Delivery.objects.exists():
            fan_out(now(), "default")
    hidden = Endpoint.objects.get(hidden=True)
    assert plain.pk < hidden.pk
    with write("default"):
        list(EndpointQueue.objects.filter(pk=plain.pk).locked())
        writer = InThread(lambda: fan_out(now(), "default"))
        eventually(somebody_waits)
        assert EndpointQueue.objects.filter(pk=hidden.pk).select_for_update(no_key=True, nowait=True).get()
    writer.result()
    assert Delivery.objects.count() == 4


@pytest.mark.postgres
@pytest.mark.parametrize("places", [("first", "second"), ("second", "first")], ids=["given in order", "in reverse"])
def test_hourly_statistics_are_written_in_one_order(places: tuple[str, str]) -> None:
    """That of the endpoints, whatever came first and whichever hour is the earlier."""
    hour = now().replace(minute=0, second=0, microsecond=0)
    keys = {"first": (EndpointFactory().pk, hour), "second": (EndpointFactory().pk, hour - HOUR)}
    rows = [StatRow(*keys[place], [1] * len(STAT_COUNTS)) for place in places]

    def add() -> None:
        in_fresh_transaction(lambda: store_for("default").add_stats(rows), "default")

    add()
    with write("default"):
        assert HourlyStat.objects.select_for_update(no_key=True).get(hour=hour)
        writer = InThread(add)
        eventually(somebody_waits)
        assert HourlyStat.objects.select_for_update(no_key=True, nowait=True).get(hour=hour - HOUR)
    writer.result()
    assert set(HourlyStat.objects.values_list("succeeded", flat=True)) == {2}


def put_in_reverse() -> None:
    """The rows' order in the table is not that of their ids: who does not sort would lock the second first."""
    rows = list(EndpointQueue.objects.order_by("-pk"))
    EndpointQueue.objects.all().delete()
    EndpointQueue.objects.bulk_create(rows)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
