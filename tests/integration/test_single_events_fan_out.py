"""While single events come, the fan-out of everything else is done in small portions, and nobody is left out for it."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.conftest import Configure
from tests.factories import TenantFactory
from tests.locks import locked
from tests.pipelines import at_once, endpoint_at, eventually, pending_event
from tests.receiver import Receiver
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pending_events import TenantTurns
from webhooks_app.models import Delivery, Endpoint, Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


class TestFanOut:
    def test_does_a_large_event_in_small_portions_while_single_ones_come(self, receiver: Receiver) -> None:
        fan_out = FanOut("default", EngineOptions(small_share=3, large_portion_beside_single=4), FaultLog())
        small = endpoint_at(receiver)
        pending_event(small.tenant)
        large = TenantFactory()
        for _ in range(10):
            endpoint_at(receiver, tenant=large)
        pending_event(large)
        assert not fan_out.serves_single_events
        assert fan_out.begin(database_now("default")).deliveries == 1
        assert fan_out.serves_single_events
        portions = []
        while Event.objects.pending().exists():
            assert fan_out.begin(database_now("default")).deliveries == 0, "more single events may come at any moment"
            portions.append(fan_out.go_on(database_now("default")).deliveries)
        assert sum(portions) == 10
        assert Delivery.objects.count() == 11

    @pytest.mark.parametrize("endpoint", [{"fifo": True}, {}], ids=["FIFO", "filters"])
    def test_does_so_for_tenants_that_are_not_plain(self, receiver: Receiver, endpoint: dict[str, object]) -> None:
        fan_out = FanOut("default", EngineOptions(small_share=3, large_portion_beside_single=4), FaultLog())
        pending_event(endpoint_at(receiver).tenant)
        large = TenantFactory()
        first = endpoint_at(receiver, tenant=large, **endpoint)
        if not endpoint:
            Endpoint.objects.filter(pk=first.pk).update(filters={"nothing": "like this"})
        for _ in range(9):
            endpoint_at(receiver, tenant=large)
        pending_event(large)
        assert fan_out.begin(database_now("default")).deliveries == 1
        portions = []
        while Event.objects.pending().exists():
            fan_out.begin(database_now("default"))
            portions.append(fan_out.go_on(database_now("default")).deliveries)
        assert (max(portions), sum(portions)) == (4, 10 if endpoint else 9)

    def test_keeps_what_it_left_until_it_is_done(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """`begin` may come several times before `go_on`, with other tenants each time."""
        at_once(monkeypatch, deliveries=10)
        fan_out = FanOut("default", EngineOptions(small_share=3), FaultLog())
        small, large = TenantFactory(), TenantFactory()
        endpoint_at(receiver, tenant=small)
        for _ in range(10):
            endpoint_at(receiver, tenant=large)
        pending_event(small)
        fan_out.begin(database_now("default"))
        pending_event(large)
        for _ in range(4):
            pending_event(small)
            fan_out.begin(database_now("default"))
        assert Event.objects.pending().filter(tenant_id=large.pk).exists()
        fan_out.go_on(database_now("default"))
        assert Delivery.objects.filter(tenant_id=large.pk).count() == 10

    def test_keeps_to_filters_that_came_meanwhile(self, receiver: Receiver) -> None:
        fan_out = FanOut("default", EngineOptions(small_share=3), FaultLog())
        large = TenantFactory()
        picky = [endpoint_at(receiver, tenant=large) for _ in range(10)][4]
        pending_event(large)
        pending_event(endpoint_at(receiver).tenant)
        assert fan_out.begin(database_now("default")).deliveries == 1
        Endpoint.objects.filter(pk=picky.pk).update(filters={"nothing": "like this"})
        assert fan_out.go_on(database_now("default")).deliveries == 9
        assert not Delivery.objects.filter(endpoint=picky).exists()
        assert not Event.objects.pending().exists()

    def test_takes_no_backlog_for_single_events(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver)
        for _ in range(150):
            pending_event(endpoint.tenant)
        fan_out = FanOut("default", EngineOptions(), FaultLog())
        fan_out.begin(database_now("default"))
        assert not fan_out.serves_single_events

    def test_does_it_at_once_where_no_single_ones_come(self, receiver: Receiver) -> None:
        large = TenantFactory()
        for _ in range(101):
            endpoint_at(receiver, tenant=large)
        pending_event(large)
        assert FanOut("default", EngineOptions(), FaultLog()).begin(database_now("default")).deliveries == 101


class TestTenantsWithOrder:
    def test_are_fanned_out_for_a_moment_and_then_the_others_have_their_turn(self, receiver: Receiver) -> None:
        tenants = [endpoint_at(receiver, fifo=True).tenant for _ in range(3)]
        for tenant in tenants:
            pending_event(tenant)
        fan_out = FanOut("default", EngineOptions(one_by_one_seconds=0.0), FaultLog())
        assert [fan_out.begin(database_now("default")).deliveries for _ in range(4)] == [1, 1, 1, 0]

    @pytest.mark.postgres
    def test_that_another_engine_has_are_left_alone_for_a_while(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver, fifo=True)
        pending_event(endpoint.tenant)
        fan_out = FanOut("default", EngineOptions(), FaultLog())
        with locked(endpoint.tenant):
            fan_out.begin(database_now("default"))
            with CaptureQueriesContext(connection) as captured:
                fan_out.begin(database_now("default"))
        assert not [query for query in captured.captured_queries if "webhooks_app_delivery" in query["sql"]]
        eventually(lambda: fan_out.begin(database_now("default")).deliveries == 1)


@pytest.mark.postgres
class TestManyEndpointsOfWhichFewWantAnEvent:
    """The number of endpoints says little about how many deliveries an event makes. Each event was counted as one for all."""

    def test_an_event_counts_as_many_deliveries_as_they_made_lately(
        self, receiver: Receiver, configure: Configure
    ) -> None:
        configure(POSTGRESQL_SQL=True)
        fan_out = FanOut("default", EngineOptions(), FaultLog())
        many = TenantFactory()
        endpoint_at(receiver, tenant=many)
        for _ in range(99):
            endpoint_at(receiver, tenant=many, events=["other.happened"])
        pending_event(endpoint_at(receiver).tenant)
        pending_event(many)
        assert fan_out.begin(database_now("default")).deliveries == 2
        for _ in range(8):
            pending_event(many)
        pending_event(endpoint_at(receiver).tenant)
        assert fan_out.begin(database_now("default")).deliveries == 9, "eight of them are no large share"

    def test_more_count_at_once_and_less_only_slowly(self) -> None:
        turns, tenant = TenantTurns("default"), pending_event(TenantFactory()).tenant
        expected = []
        for each in (10.0, 50.0, 0.0, 0.0):
            turns.note_each({tenant.pk: each})
            expected.append(turns.next((), uuid.UUID(int=0))[0].tenant.each)
        assert expected == pytest.approx([10.0, 50.0, 45.0, 40.5])
