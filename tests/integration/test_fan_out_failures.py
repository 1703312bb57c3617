"""Fan-out, failures: a bad event stops nobody, and what failed is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import EndpointFactory
from tests.pipelines import fan_out_all, fan_out_now, pending_event
from webhooks_app.engine import fan_out as module
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import Delivery, Endpoint, EndpointStatus, Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


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

    def test_has_company_that_is_not_all_looked_at_in_one_step(self, choosy: Endpoint) -> None:
        """Each is looked at by itself, in a transaction of its own: many of them would hold up everybody's step."""
        for _ in range(6):
            pending_event(choosy.tenant, data="{broken")
        assert fan_out_now(one_by_one_seconds=0.0).events == 1
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
