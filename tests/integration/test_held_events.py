"""Events whose deliveries the database refuses: held for a while, and quarantined only where they keep failing by themselves."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from tests.factories import EndpointFactory, TenantFactory
from tests.pipelines import endpoint_at, eventually, fan_out_batch, pending_event, running_engine
from tests.receiver import Receiver
from tests.refused_rows import all_refused, refused
from webhooks_app.engine import fan_out as module
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.held_events import HeldEvents, Refusals
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pending_events import read_these
from webhooks_app.models import Delivery, Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

DELIVERIES = "webhooks_app_delivery"


def fan_outs(**options: Any) -> module.FanOut:
    return module.FanOut("default", EngineOptions(**options), FaultLog())


def turns(fan: module.FanOut, number: int = 1) -> None:
    for _ in range(number):
        fan_out_batch(fan, database_now("default"))


class TestADatabaseThatRefusesEverything:
    @pytest.mark.parametrize("fifo", [False, True], ids=["any order", "FIFO"])
    def test_quarantines_nothing_and_all_is_delivered_afterwards(self, receiver: Receiver, fifo: bool) -> None:
        endpoints = [endpoint_at(receiver, f"/{number}", wire_format="slow", fifo=fifo) for number in range(3)]
        with running_engine():
            with all_refused(DELIVERIES):
                events = [pending_event(endpoint.tenant) for _ in range(5) for endpoint in endpoints]
                time.sleep(3.0)
                assert Event.objects.pending().count() == len(events)
            assert not Event.objects.quarantined().exists()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == len(events))
        assert not Event.objects.quarantined().exists()
        ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
        assert ids == {event.public_id: 1 for event in events}
        if fifo:
            for number, endpoint in enumerate(endpoints):
                sent = [one.headers["webhook-id"] for one in receiver.requests if one.path == f"/{number}"]
                assert sent == [event.public_id for event in events if event.tenant_id == endpoint.tenant_id]

    def test_costs_the_next_event_a_short_pause_once_it_is_over(self) -> None:
        endpoint, fan = EndpointFactory(), fan_outs()
        with all_refused(DELIVERIES):
            for _ in range(20):
                pending_event(endpoint.tenant)
            turns(fan, 3)
        new = pending_event(endpoint.tenant)
        eventually(lambda: turns(fan) or Delivery.objects.filter(event=new).exists(), patience=1.5)


class TestAnEventThatIsRefusedByItself:
    def test_is_quarantined_once_it_has_failed_for_long_enough(
        self, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoint = endpoint_at(receiver, wire_format="slow")
        bad, good = pending_event(endpoint.tenant), pending_event(endpoint.tenant)
        with refused(DELIVERIES, "event_id", bad.pk), running_engine(options=EngineOptions(quarantine_after=1.0)):
            receiver.wait_for(1)
            assert Event.objects.pending().get() == bad, "the other one does not wait for it"
            eventually(lambda: Event.objects.quarantined().exists())
        bad.refresh_from_db()
        assert bad.quarantine_reason.startswith("fan-out failed: ")
        assert "no rows of this one" in bad.quarantine_reason
        assert not Delivery.objects.filter(event=bad).exists()
        assert Delivery.objects.get().event_id == good.pk
        told = [record for record in caplog.records if "was quarantined" in record.getMessage()]
        assert [record.levelno for record in told] == [logging.ERROR]

    def test_is_held_until_then_and_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        endpoint, fan = EndpointFactory(), fan_outs()
        events = [pending_event(endpoint.tenant) for _ in range(5)]
        with all_refused(DELIVERIES):
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                turns(fan)
        assert Event.objects.pending().count() == len(events)
        told = [record for record in caplog.records if "cannot be fanned out" in record.getMessage()]
        assert len(told) == 1

    def test_is_quarantined_by_the_engine_that_follows_in_the_same_process(self) -> None:
        """Celery's engines live for a few seconds only."""
        bad = pending_event(EndpointFactory().tenant)
        with refused(DELIVERIES, "event_id", bad.pk):
            turns(fan_outs(quarantine_after=0.2))
            time.sleep(0.2)
            assert not Event.objects.quarantined().exists()
            turns(fan_outs(quarantine_after=0.2))
        assert Event.objects.quarantined().get() == bad

    def test_lets_nothing_overtake_it_in_a_fifo_tenant(self) -> None:
        endpoint, fan = EndpointFactory(fifo=True), fan_outs(quarantine_after=0.5)
        first, bad, *later = [pending_event(endpoint.tenant) for _ in range(5)]
        with refused(DELIVERIES, "event_id", bad.pk):
            while not Event.objects.quarantined().exists():
                there = set(Delivery.objects.values_list("event_id", flat=True))
                assert there <= {first.pk}
                turns(fan)
            turns(fan, 3)
        order = Delivery.objects.order_by("sequence").values_list("event_id", flat=True)
        assert list(order) == [first.pk, *(event.pk for event in later)]

    def test_is_fanned_out_in_its_place_when_a_fifo_tenants_trigger_is_gone(self) -> None:
        endpoint, fan = EndpointFactory(fifo=True), fan_outs()
        events = [pending_event(endpoint.tenant) for _ in range(4)]
        with refused(DELIVERIES, "event_id", events[1].pk):
            until = time.monotonic() + 0.6
            while time.monotonic() < until:
                turns(fan)
        eventually(lambda: turns(fan) or Delivery.objects.count() == 4)
        order = Delivery.objects.order_by("sequence").values_list("event_id", flat=True)
        assert list(order) == [event.pk for event in events]


class TestManyHeldEvents:
    def test_cost_the_others_little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that fails a step, in a transaction of its own: the others' batch does not fail with it."""
        bad, good, fan = EndpointFactory(), EndpointFactory(), fan_outs()
        held = {pending_event(bad.tenant).pk for _ in range(120)}
        for event in read_these(list(held), "default"):
            fan._parts.held_events.put(event)
        with refused(DELIVERIES, "endpoint_id", bad.pk):
            eventually(lambda: len(fan._parts.held_events.due({bad.tenant_id})) > 100)
            batches: list[int] = []
            whole = fan._parts._in_parts

            def in_parts(events: Any, *args: Any, **values: Any) -> Any:
                batches.append(len(events))
                return whole(events, *args, **values)

            monkeypatch.setattr(fan._parts, "_in_parts", in_parts)
            for number in range(1, 11):
                pending_event(good.tenant)
                before = len(batches)
                turns(fan)
                assert Delivery.objects.count() == number, "it is fanned out in this very step"
                assert batches[before:] in ([], [1]), "only a held event fails, and only one of them"
            assert fan.serves_single_events
        assert batches

    def test_are_no_single_events(self) -> None:
        """While single events come, all else is done in small portions. Held ones alone do not make it so."""
        endpoint, fan = EndpointFactory(), fan_outs(single_events_seconds=0.1)
        pending_event(endpoint.tenant)
        with all_refused(DELIVERIES):
            turns(fan)
            time.sleep(0.1)
            turns(fan)
            assert not fan.serves_single_events

    @pytest.mark.processes
    def test_are_done_soon_when_the_trigger_is_gone(self) -> None:
        tenants = [EndpointFactory().tenant for _ in range(4)]
        fan = fan_outs()
        with all_refused(DELIVERIES):
            for _ in range(30):
                for tenant in tenants:
                    pending_event(tenant)
            for event in read_these(list(Event.objects.values_list("pk", flat=True)), "default"):
                fan._parts.held_events.put(event)
            turns(fan, 20)
        eventually(lambda: turns(fan) or Delivery.objects.count() == 120)
        assert fan._parts.held_events.by_tenant() == {}

    def test_that_another_engine_has_fanned_out_are_forgotten(self) -> None:
        endpoint, fan = EndpointFactory(), fan_outs()
        pending_event(endpoint.tenant)
        with all_refused(DELIVERIES):
            turns(fan)
        assert fan._parts.held_events.by_tenant()
        turns(fan_outs())
        assert Delivery.objects.count() == 1
        bad = pending_event(endpoint.tenant)
        with refused(DELIVERIES, "event_id", bad.pk):
            eventually(lambda: turns(fan) or list(fan._parts.held_events.by_tenant().values()) == [{bad.pk}])

    def test_stop_nobody_where_one_cannot_be_read_any_more(self) -> None:
        endpoint, other, fan = EndpointFactory(), EndpointFactory(), fan_outs()
        held = pending_event(endpoint.tenant)
        with all_refused(DELIVERIES):
            turns(fan)
        unreadable = "'infinity'" if connection.vendor == "postgresql" else "'a while ago'"
        with connection.cursor() as cursor:
            key = held.pk if connection.vendor == "postgresql" else held.pk.hex
            cursor.execute(f"UPDATE webhooks_app_event SET created_at = {unreadable} WHERE id = %s", [key])
        eventually(lambda: fan._parts.held_events.due({endpoint.tenant_id}))
        new = pending_event(other.tenant)
        turns(fan, 3)
        assert Delivery.objects.filter(event=new).exists()


class TestMemory:
    def test_of_held_events_is_bounded(self) -> None:
        held, tenant = HeldEvents(limit=5), TenantFactory.build()
        events = [Event(id=uuid.uuid4(), tenant_id=tenant.pk) for _ in range(8)]
        for event in events:
            held.put(event)
        assert held.by_tenant() == {tenant.pk: {event.pk for event in events[3:]}}

    def test_of_refusals_is_bounded(self) -> None:
        refusals, ids = Refusals(limit=5), [uuid.uuid4() for _ in range(8)]
        for key in ids:
            refusals.seconds(key)
        assert list(refusals._times) == ids[3:]
