"""Fan-out, large events: they are done in portions, and everybody else has a turn between these."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from tests.factories import EndpointFactory, TenantFactory
from tests.pipelines import at_once, fan_out_all, fan_out_batch, fan_out_now, pending_event
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.engine import fan_out as module
from webhooks_app.engine import matching
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import NOTHING_DUE, Delivery, Endpoint, EndpointQueue, Event, Subscription, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


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
        portions = {"small_share": 3, "large_portion": 4, "large_portion_beside_single": 4}
        at_once(monkeypatch, deliveries=20)
        small, large = EndpointFactory(), TenantFactory()
        EndpointFactory.create_batch(10, tenant=large)
        event = pending_event(large)
        parts = []
        for _ in range(3):
            pending_event(small.tenant)
            before = Delivery.objects.filter(tenant=large).count()
            fan_out_now(**portions)
            parts.append(Delivery.objects.filter(tenant=large).count() - before)
            assert not Event.objects.pending().filter(tenant_id=small.tenant_id).exists()
        assert parts == [4, 4, 2]
        event.refresh_from_db()
        assert event.fanned_out_at is not None
        assert EndpointQueue.objects.filter(tenant_id=large.pk, due_at__lt=NOTHING_DUE).count() == 10

    def test_another_tenants_large_event_has_its_turn_beside_an_old_backlog(self) -> None:
        small, backlog, other = EndpointFactory(), TenantFactory(), TenantFactory()
        EndpointFactory.create_batch(4, tenant=backlog)
        EndpointFactory.create_batch(5, tenant=other)
        for _ in range(20):
            pending_event(backlog)
        pending_event(other)
        options = EngineOptions(small_share=2, large_portion=6, large_portion_beside_single=6)
        part = module.FanOut("default", options, FaultLog())
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
