"""Fan-out creates the deliveries of each committed event once, also if several engines do it at the same time."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_init
from django.utils import timezone

from tests.conftest import Configure
from tests.factories import EndpointFactory, TenantFactory
from tests.pipelines import InThread, at_once, eventually, fan_out_all, fan_out_batch, fan_out_now, pending_event
from webhooks_app import emit
from webhooks_app.db import write
from webhooks_app.engine import fan_out_in_parts as module
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sweep import repair
from webhooks_app.models import BLOCKED, NOTHING_DUE, Delivery, EndpointQueue, Event, EventChannel, Tenant, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def test_plain_events_are_done_in_one_statement(monkeypatch: pytest.MonkeyPatch, fast_paths: bool) -> None:
    """Where it fails, the long way does the same, and nobody would notice."""
    if fast_paths:
        monkeypatch.delattr(module, "plan_deliveries")
    endpoints = EndpointFactory.create_batch(3, tenant=TenantFactory())
    event = pending_event(endpoints[0].tenant)
    done = fan_out_now()
    assert (done.events, done.deliveries) == (1, 3)
    assert done.woken == {endpoint.pk for endpoint in endpoints}
    event.refresh_from_db()
    assert event.fanned_out_at is not None


@pytest.mark.postgres
def test_endpoints_that_are_older_than_the_column_of_filters_are_plain(configure: Configure) -> None:
    """Their value comes from the table's catalogue, and is stored in another size."""
    configure(POSTGRESQL_SQL=True)
    endpoint = EndpointFactory()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE webhooks_app_endpoint DROP COLUMN filters")
        cursor.execute("ALTER TABLE webhooks_app_endpoint ADD COLUMN filters jsonb NOT NULL DEFAULT '{}'")
        cursor.execute("ALTER TABLE webhooks_app_endpoint ALTER COLUMN filters DROP DEFAULT")
    pending_event(endpoint.tenant)
    found = store_for("default").pending_tenants(uuid.UUID(int=0), 10, endpoints=10, events=10, floor=uuid.UUID(int=0))
    assert [(tenant.id, tenant.plain) for tenant in found] == [(endpoint.tenant_id, True)]


def test_an_event_goes_to_each_endpoint_that_wants_it_and_wakes_its_queue() -> None:
    tenant = TenantFactory()
    wanting = {EndpointFactory(tenant=tenant, events=[pattern]).pk for pattern in ("*", "test.*", "test.happened")}
    EndpointFactory(tenant=tenant, events=["test.other", "tes.*"])
    EndpointFactory(events=["*"])  # another customer's
    event = emit("test.happened", {"n": 1}, tenant=tenant)
    done = fan_out_now()
    assert set(Delivery.objects.values_list("endpoint_id", flat=True)) == wanting == done.woken
    assert (done.events, done.deliveries) == (1, 3)
    assert set(EndpointQueue.objects.filter(due_at__lt=NOTHING_DUE).values_list("endpoint_id", flat=True)) == wanting
    event.refresh_from_db()
    assert event.fanned_out_at is not None


def test_channels_and_filters_narrow_what_an_endpoint_gets() -> None:
    tenant = TenantFactory()
    narrow = EndpointFactory(tenant=tenant, channels=["number:1"])
    filtered = EndpointFactory(tenant=tenant, filters={"data.amount": {"gte": 10}})
    emit("test.happened", {"amount": 3}, tenant=tenant, channels=["number:1", "number:2"])
    fan_out_now()
    assert Delivery.objects.get().endpoint == narrow
    emit("test.happened", {"amount": 30}, tenant=tenant, channels=["number:2"])
    fan_out_now()
    assert Delivery.objects.latest("id").endpoint == filtered
    assert sorted(EventChannel.objects.values_list("channel", flat=True)) == ["number:1", "number:2", "number:2"]


def test_fanning_out_twice_changes_nothing() -> None:
    endpoint = EndpointFactory()
    event = pending_event(endpoint.tenant)
    fan_out_now()
    Delivery.objects.update(status="succeeded", attempts=1)
    Event.objects.filter(pk=event.pk).update(fanned_out_at=None)
    fan_out_now()
    assert Delivery.objects.values_list("status", "attempts").get() == ("succeeded", 1)
    event.refresh_from_db()
    assert (event.quarantine_reason, event.fanned_out_at is None) == ("", False)


def test_the_database_refuses_a_second_delivery_of_an_event_to_an_endpoint() -> None:
    endpoint = EndpointFactory()
    pending_event(endpoint.tenant)
    fan_out_now()
    delivery = Delivery.objects.get()
    delivery.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        delivery.save(force_insert=True)


def test_workers_fanning_out_at_once_make_each_delivery_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch, events=7)
    tenant = TenantFactory()
    EndpointFactory.create_batch(3, tenant=tenant)
    events = [pending_event(tenant) for _ in range(60)]
    gate = threading.Barrier(3)

    def work() -> None:
        fan = FanOut("default", EngineOptions(), FaultLog())
        gate.wait(10)
        while fan_out_batch(fan, database_now("default")).events:
            pass
        # Of the three, two at a time find a queue's row locked.
        eventually(lambda: not fan.owed_wakes or (fan.owed_wakes.wake() and not fan.owed_wakes))

    workers = [InThread(work) for _ in range(3)]
    for worker in workers:
        worker.result()
    eventually(lambda: fan_out_all() == 0)
    assert Delivery.objects.count() == 180
    assert Delivery.objects.values("event_id").distinct().count() == len(events)
    assert repair() == 0


@pytest.mark.postgres
def test_a_worker_passes_over_events_that_another_has_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch, events=2)
    first, second = EndpointFactory(), EndpointFactory()
    claimed = {pending_event(first.tenant).pk for _ in range(2)}
    others = {pending_event(second.tenant).pk for _ in range(2)}
    with write("default"):
        fan_out_now()
        assert InThread(fan_out_now).result().events == 2
    assert set(Delivery.objects.filter(endpoint=first).values_list("event_id", flat=True)) == claimed
    assert set(Delivery.objects.filter(endpoint=second).values_list("event_id", flat=True)) == others


def test_an_endpoint_made_after_the_event_does_not_get_it() -> None:
    tenant = TenantFactory()
    before = EndpointFactory(tenant=tenant)
    event = emit("test.happened", {}, tenant=tenant)
    time.sleep(0.005)  # SQLite's clock ticks in milliseconds
    EndpointFactory(tenant=tenant)
    fan_out_now()
    assert Delivery.objects.get().endpoint == before
    times = Event.objects.values_list("created_at", flat=True).get(pk=event.pk), database_now("default")
    assert timedelta(0) <= times[1] - times[0] < timedelta(seconds=10), "the time is the database's"


def test_a_paused_endpoint_gets_deliveries_that_wait_and_a_disabled_or_deleted_one_none() -> None:
    tenant = TenantFactory()
    paused = EndpointFactory(tenant=tenant, status="paused")
    EndpointFactory(tenant=tenant, status="disabled")
    EndpointFactory(tenant=tenant, status="deleted")
    emit("test.happened", {}, tenant=tenant)
    fan_out_now()
    assert Delivery.objects.get().endpoint == paused
    assert EndpointQueue.objects.get(pk=paused.pk).due_at == BLOCKED


def test_a_tenant_row_is_made_where_emit_was_the_first_to_name_it() -> None:
    emit("test.happened", {}, tenant="newcomer")
    assert not Tenant.objects.exists()
    fan_out_now()
    assert Tenant.objects.get().uid == "newcomer"


def test_no_receiver_of_post_init_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is code of the host's: all tenants would wait for one that takes its time."""
    at_once(monkeypatch, deliveries=2)
    filtered, fifo, callbacks, large = (TenantFactory() for _ in range(4))
    EndpointFactory(tenant=filtered, filters={"data.n": 1})
    EndpointFactory(tenant=fifo, fifo=True)
    EndpointFactory.create_batch(5, tenant=large, filters={"data.n": 1})
    for tenant in (filtered, fifo, callbacks, large):
        url = "https://example.test/" if tenant is callbacks else ""
        pending_event(tenant, data='{"n": 1}', callback_url=url)
    pending_event(filtered, data="{broken")
    called: list[Any] = []

    def receiver(sender: Any, **_: Any) -> None:
        called.append(sender)

    for model in (Event, Tenant):
        post_init.connect(receiver, sender=model)
    try:
        fan_out_all()
    finally:
        for model in (Event, Tenant):
            post_init.disconnect(receiver, sender=model)
    assert called == []
    assert not Event.objects.pending().exists()
    assert Delivery.objects.count() == 8


@pytest.mark.skipif(connection.vendor != "sqlite", reason="has one writer at a time: SQLite alone")
def test_on_sqlite_a_transaction_is_short_and_several_follow_one_another() -> None:
    tenant = TenantFactory()
    EndpointFactory.create_batch(110, tenant=tenant)
    for _ in range(2):
        pending_event(tenant)
    assert [fan_out_now().deliveries for _ in range(2)] == [110, 110]


class TestOrder:
    def test_places_are_given_in_the_order_of_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, events=3)
        endpoint = EndpointFactory(fifo=True)
        beside = EndpointFactory(tenant=endpoint.tenant)
        events = [pending_event(endpoint.tenant).pk for _ in range(8)]
        fan_out_all()
        ordered = Delivery.objects.filter(endpoint=endpoint).order_by("sequence").values_list("event_id", "sequence")
        assert list(ordered) == [(key, place) for place, key in enumerate(events, start=1)]
        assert EndpointQueue.objects.get(pk=endpoint.pk).sequence == 8
        assert set(Delivery.objects.filter(endpoint=beside).values_list("sequence", flat=True)) == {0}

    def test_two_workers_keep_the_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, events=3)
        endpoint = EndpointFactory(fifo=True)
        events = [pending_event(endpoint.tenant).pk for _ in range(40)]
        workers = [InThread(lambda: [fan_out_now() for _ in range(20)]) for _ in range(2)]
        for worker in workers:
            worker.result()
        fan_out_all()
        ordered = Delivery.objects.order_by("sequence").values_list("event_id", flat=True)
        assert list(ordered) == events
        assert list(Delivery.objects.order_by("sequence").values_list("sequence", flat=True)) == [*range(1, 41)]

    @pytest.mark.postgres
    def test_a_fifo_tenant_is_fanned_out_by_one_worker_at_a_time(self) -> None:
        endpoint = EndpointFactory(fifo=True)
        pending_event(endpoint.tenant)
        with write("default"):
            list(Tenant.objects.select_for_update(no_key=True))
            assert InThread(fan_out_now).result().deliveries == 0
        assert fan_out_now().deliveries == 1

    def test_an_event_committed_late_goes_last(self) -> None:
        endpoint = EndpointFactory(fifo=True)
        late = pending_event(endpoint.tenant)
        Event.objects.filter(pk=late.pk).update(fanned_out_at=timezone.now())  # as if its transaction were still open
        early = pending_event(endpoint.tenant)
        fan_out_all()
        Event.objects.filter(pk=late.pk).update(fanned_out_at=None)
        fan_out_all()
        assert list(Delivery.objects.order_by("sequence").values_list("event_id", flat=True)) == [early.pk, late.pk]

    def test_ids_made_within_one_process_ascend(self) -> None:
        events = [emit("test.happened", {}, tenant="one") for _ in range(200)]
        ids = [event.pk for event in events]
        assert ids == sorted(ids)


def test_one_event_in_a_batch_costs_no_more_statements_than_many(django_assert_max_num_queries: Any) -> None:
    endpoint = EndpointFactory()
    for _ in range(50):
        pending_event(endpoint.tenant)
    with django_assert_max_num_queries(35):
        assert fan_out_now().deliveries == 50
