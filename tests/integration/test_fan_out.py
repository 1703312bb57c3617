"""② fan out: committed events become deliveries, once each, whoever does it and however many do it at once."""

from __future__ import annotations

import threading
import time
import tracemalloc
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_init
from django.utils import timezone

from tests.conftest import Configure
from tests.factories import EndpointFactory, TenantFactory
from tests.pipelines import InThread, at_once, eventually, fan_out, fan_out_batch, pending_event
from webhooks_app import emit
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.db import write
from webhooks_app.engine import fan_out as module
from webhooks_app.engine import matching
from webhooks_app.engine import run as engine
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sweep import repair
from webhooks_app.models import (
    BLOCKED,
    NOTHING_DUE,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Event,
    EventChannel,
    Subscription,
    Tenant,
    database_now,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def fan_out_now() -> module.FannedOut:
    return fan_out(database_now("default"), "default")


def fan_out_all() -> int:
    """Until nothing is left; the number of rounds."""
    for round_number in range(1, 100):
        if not fan_out_now().events:
            return round_number - 1
    raise AssertionError("the fan-out does not come to an end")


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
    found = store_for("default").pending_tenants(uuid.UUID(int=0), 10, endpoints=10, events=10)
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
        fan = module.FanOut("default", EngineOptions(), FaultLog())
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


class TestALargeEvent:
    def test_keeps_its_position_between_transactions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=4)
        tenant = TenantFactory()
        endpoints = EndpointFactory.create_batch(10, tenant=tenant)
        event = pending_event(tenant)
        assert fan_out_now().deliveries == 4
        event.refresh_from_db()
        assert event.fanned_out_at is None
        assert event.fan_out_position == sorted(endpoint.pk for endpoint in endpoints)[3]
        assert [fan_out_now().deliveries, fan_out_now().deliveries, fan_out_now().deliveries] == [4, 2, 0]
        event.refresh_from_db()
        assert event.fanned_out_at is not None
        assert Delivery.objects.count() == 10

    def test_does_not_keep_the_others_from_their_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=4)
        small, large = EndpointFactory(), TenantFactory()
        EndpointFactory.create_batch(9, tenant=large)
        for tenant in (small.tenant, large, small.tenant):
            pending_event(tenant)
        pending_event(small.tenant, callback_url="https://example.com/back")
        assert fan_out_all() <= 7
        assert Delivery.objects.filter(endpoint=small).count() == 2
        assert Delivery.objects.filter(tenant=large).count() == 9
        assert Delivery.objects.filter(endpoint__kind="callback").count() == 1

    def test_is_read_in_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, subscriptions=5)
        tenant = TenantFactory()
        for endpoint in EndpointFactory.create_batch(
            8, tenant=tenant
        ):  # two subscriptions each: pages cut between them
            Subscription.objects.create(endpoint=endpoint, pattern="test.*")
        pending_event(tenant)
        pending_event(tenant)
        fan_out_all()
        assert Delivery.objects.count() == 16
        assert not Event.objects.pending().exists()

    def test_whose_first_filter_takes_its_time_reaches_every_endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hiccup of the machine there once cut the event before its first endpoint, and it counted as done."""
        passes = matching.passes_or_costs_too_much

        def slow(*arguments: Any) -> bool:
            time.sleep(matching._LONGEST * 1.5)
            return passes(*arguments)

        monkeypatch.setattr(matching, "passes_or_costs_too_much", slow)
        tenant = TenantFactory()
        for number in range(3):
            EndpointFactory(tenant=tenant, filters={"data.amount": {"gte": number}})
        event = pending_event(tenant, payload={"amount": 10})
        fan_out_all()
        event.refresh_from_db()
        assert event.fanned_out_at is not None
        assert Delivery.objects.count() == 3

    def test_with_long_filters_is_done_in_small_parts(self) -> None:
        """600 endpoints with 16 KiB of filters each stopped all others for half a minute, and took 500 MB."""
        tenant, small = TenantFactory(), EndpointFactory()
        for number in range(100):
            most_nodes = {"data.n": {"gte": number, "nin": [[[]] * 20] * 190}}
            EndpointFactory(tenant=tenant, events=["test.happened", "test.*", "*"], filters=most_nodes)
        event = pending_event(tenant, payload={"n": 50})
        pending_event(small.tenant)
        tracemalloc.start()
        fan_out_now()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert Delivery.objects.filter(endpoint=small).exists()
        event.refresh_from_db()
        assert event.fanned_out_at is None, "the first part took too much at once"
        assert peak < 12_000_000
        fan_out_all()
        assert Delivery.objects.filter(event=event).count() == 51

    def test_is_overtaken_by_no_event_of_a_fifo_tenant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=2)
        tenant = TenantFactory()
        endpoints = EndpointFactory.create_batch(3, tenant=tenant, fifo=True)
        late, parted, after = (pending_event(tenant) for _ in range(3))
        Event.objects.filter(pk=late.pk).update(fanned_out_at=database_now("default"))
        fan_out_now()
        parted.refresh_from_db()
        assert parted.fan_out_position is not None
        Event.objects.filter(pk=late.pk).update(fanned_out_at=None)  # its commit comes only now
        at_once(monkeypatch, deliveries=100)
        fan_out_all()
        for endpoint in endpoints:
            got = list(
                Delivery.objects.filter(endpoint=endpoint).order_by("sequence").values_list("event_id", flat=True)
            )
            assert set(got) == {late.pk, parted.pk, after.pk}
            assert got.index(parted.pk) < got.index(after.pk)


class TestOthersBesideIt:
    """One tenant has a large event: what is small is done before each part of it."""

    def test_a_large_event_is_done_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_SMALL", 3)
        monkeypatch.setattr(module, "_BESIDE_SMALL", 4)
        monkeypatch.setattr(module, "_BESIDE_SINGLE", 4)
        at_once(monkeypatch, deliveries=20)
        small, large = EndpointFactory(), TenantFactory()
        EndpointFactory.create_batch(10, tenant=large)
        event = pending_event(large)
        parts = []
        for _ in range(3):
            pending_event(small.tenant)
            before = Delivery.objects.filter(tenant=large).count()
            fan_out_now()
            parts.append(Delivery.objects.filter(tenant=large).count() - before)
            assert not Event.objects.pending().filter(tenant_id=small.tenant_id).exists()
        assert parts == [4, 4, 2]
        event.refresh_from_db()
        assert event.fanned_out_at is not None
        assert EndpointQueue.objects.filter(tenant_id=large.pk, due_at__lt=NOTHING_DUE).count() == 10

    def test_another_tenants_large_event_has_its_turn_beside_an_old_backlog(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_SMALL", 2)
        monkeypatch.setattr(module, "_BESIDE_SMALL", 6)
        monkeypatch.setattr(module, "_BESIDE_SINGLE", 6)
        small, backlog, other = EndpointFactory(), TenantFactory(), TenantFactory()
        EndpointFactory.create_batch(4, tenant=backlog)
        EndpointFactory.create_batch(5, tenant=other)
        for _ in range(20):
            pending_event(backlog)
        pending_event(other)
        part = module.FanOut("default", EngineOptions(), FaultLog())
        for _ in range(3):
            pending_event(small.tenant)
            fan_out_batch(part, database_now("default"))
        assert Delivery.objects.filter(tenant=other).count() == 5
        assert Event.objects.pending().filter(tenant_id=backlog.pk).exists()

    def test_few_pending_events_are_small_however_many_might_be_taken(self) -> None:
        """A tenant's share is large while few tenants have events; what counts is what is there."""
        small, large = EndpointFactory.create_batch(2, tenant=TenantFactory())[0], TenantFactory()
        EndpointFactory.create_batch(101, tenant=large)
        pending_event(large)
        pending_event(small.tenant)
        part = module.FanOut("default", EngineOptions(), FaultLog())
        part.begin(database_now("default"))
        assert set(Delivery.objects.values_list("tenant_id", flat=True)) == {small.tenant_id}
        part.go_on(database_now("default"))
        assert Delivery.objects.filter(tenant=large).count() == 101

    def test_new_callback_urls_are_done_a_few_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each needs an endpoint and a queue of its own."""
        at_once(monkeypatch, deliveries=2000)
        small, others = EndpointFactory(), TenantFactory.create_batch(3)
        for tenant in others:
            for number in range(45):
                pending_event(tenant, callback_url=f"https://example.test/{number}")
        callbacks = Endpoint.objects.filter(kind=EndpointKind.CALLBACK)
        part = module.FanOut("default", EngineOptions(), FaultLog())
        for turn in (1, 2, 3):
            pending_event(small.tenant)
            before = callbacks.count()
            part.begin(database_now("default"))
            assert Delivery.objects.filter(endpoint=small).count() == turn
            assert callbacks.count() == before
            part.go_on(database_now("default"))
            assert 0 < callbacks.count() - before <= 20
        assert all(callbacks.filter(tenant=tenant).exists() for tenant in others)
        fan_out_all()
        assert callbacks.count() == 135


class TestABadEvent:
    @pytest.fixture
    def choosy(self) -> Endpoint:
        """Its filter needs the data parsed. Data that is no JSON does not come from `emit`: the row was edited."""
        return EndpointFactory(filters={"data.amount": {"gte": 10}})

    def test_gets_its_error_stored_and_stops_nobody(self, choosy: Endpoint, quarantined: list[Any]) -> None:
        good = [pending_event(choosy.tenant, payload={"amount": 10}) for _ in range(2)]
        bad = pending_event(choosy.tenant, data="{broken")
        good += [pending_event(choosy.tenant, payload={"amount": 10}) for _ in range(2)]
        fan_out_all()
        assert set(Delivery.objects.values_list("event_id", flat=True)) == {event.pk for event in good}
        bad.refresh_from_db()
        assert bad.quarantine_reason.startswith("fan-out failed: JSONDecodeError")
        assert list(Event.objects.quarantined()) == [bad]
        assert quarantined == [bad.pk]

    def test_has_company_that_is_not_all_looked_at_in_one_step(
        self, monkeypatch: pytest.MonkeyPatch, choosy: Endpoint
    ) -> None:
        """Each is looked at by itself, in a transaction of its own: many of them would hold up everybody's step."""
        monkeypatch.setattr(module, "_LONGEST_PARTS", 0.0)
        for _ in range(6):
            pending_event(choosy.tenant, data="{broken")
        assert fan_out_now().events == 1
        fan_out_all()
        assert Event.objects.quarantined().count() == 6

    def test_stops_nobody_where_a_fifo_tenants_event_comes_before_it(self, choosy: Endpoint) -> None:
        ordered = EndpointFactory(fifo=True)
        first = pending_event(ordered.tenant)
        pending_event(choosy.tenant, data="{broken")
        last = pending_event(choosy.tenant, payload={"amount": 10})
        fan_out_all()
        assert set(Delivery.objects.values_list("event_id", flat=True)) == {first.pk, last.pk}

    def test_stops_nobody_of_its_own_fifo_tenant(self, choosy: Endpoint) -> None:
        ordered = EndpointFactory(fifo=True, tenant=choosy.tenant)
        pending_event(choosy.tenant, data="{broken")
        good = [pending_event(choosy.tenant).pk for _ in range(3)]
        fan_out_all()
        places = Delivery.objects.filter(endpoint=ordered).order_by("sequence").values_list("event_id", "sequence")
        assert list(places) == [(key, place) for place, key in enumerate(good, start=1)]

    @pytest.fixture
    def quarantined(self) -> Any:
        from webhooks_app.signals import event_quarantined

        told: list[Any] = []

        def note(event_id: Any, **_: object) -> None:
            told.append(event_id)

        event_quarantined.connect(note)
        yield told
        event_quarantined.disconnect(note)


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


def test_an_engine_is_not_idle_while_a_fan_out_that_failed_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = EndpointFactory(status=EndpointStatus.PAUSED)
    pending_event(endpoint.tenant)
    begin, failures = module.FanOut.begin, [RuntimeError("once"), RuntimeError("twice")]

    def fails_at_first(self: module.FanOut, now: Any) -> module.FannedOut:
        if failures:
            raise failures.pop()
        return begin(self, now)

    monkeypatch.setattr(module.FanOut, "begin", fails_at_first)
    assert engine.run(until=engine.idle_for(0)).events == 1
    assert Delivery.objects.count() == 1


def test_an_engine_whose_work_cannot_be_done_counts_as_idle_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    pending_event(EndpointFactory(status=EndpointStatus.PAUSED).tenant)

    def fails(self: module.FanOut, now: Any) -> module.FannedOut:
        raise RuntimeError("always")

    with monkeypatch.context() as patch:
        patch.setattr(module.FanOut, "begin", fails)
        assert engine.run(until=engine.idle_for(0), options=EngineOptions(idle_despite_work=0.3)).events == 0
    fan_out_all()
