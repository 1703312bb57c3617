"""Tenants whose events take a transaction each do not delay the others, however many they are."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection

from tests.conftest import Configure
from tests.factories import EndpointFactory, EventFactory, TenantFactory
from tests.integration.test_pending_floor import buffers
from tests.outages import watched_statements
from tests.pipelines import eventually, pending_event
from tests.refused_rows import refused
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql import fan_out
from webhooks_app.models import Delivery, Event, Tenant, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

MANY, FEWER = 40, 12
CALLBACK = "https://callback.example.com/hook"


def fan_outs(**options: Any) -> FanOut:
    """One that takes its time to see all tenants."""
    return FanOut("default", EngineOptions(**{"collect_seconds": 60.0, **options}), FaultLog())


def slow_tenants(kind: str, number: int = MANY) -> list[Tenant]:
    tenants = TenantFactory.create_batch(number)
    for tenant in tenants:
        if kind == "FIFO":
            EndpointFactory(tenant=tenant, fifo=True)
        pending_event(tenant, callback_url="" if kind == "FIFO" else CALLBACK)
    return tenants


def emit_for(uid: str) -> None:
    """A committed event of a tenant that has no row yet."""
    now = database_now("default")
    event = Event(
        tenant_id=Tenant.id_for(uid), tenant_uid=uid, type="test.happened", data="{}", size=2, occurred_at=now
    )
    Event.objects.bulk_create([event])


@pytest.mark.parametrize("kind", ["FIFO", "callback"])
class TestManySlowTenants:
    def test_wait_for_the_others(self, kind: str) -> None:
        slow_tenants(kind)
        quick = EndpointFactory.create_batch(3)
        for endpoint in quick:
            pending_event(endpoint.tenant)
        fan_outs().begin(database_now("default"))
        there = set(Delivery.objects.values_list("endpoint_id", flat=True))
        assert there == {endpoint.pk for endpoint in quick}

    def test_are_all_done_in_the_end_also_beside_single_events(self, kind: str) -> None:
        slow_tenants(kind, FEWER)
        quick, fan_out = EndpointFactory(), fan_outs(one_by_one_seconds=0.0)

        def step() -> bool:
            pending_event(quick.tenant)
            fan_out.begin(database_now("default"))
            assert not Event.objects.pending().filter(tenant=quick.tenant).exists()
            fan_out.go_on(database_now("default"))
            return Delivery.objects.exclude(endpoint=quick).count() == FEWER

        eventually(step)

    def test_are_done_at_once_if_they_are_few(self, kind: str) -> None:
        slow_tenants(kind, 5)
        assert fan_outs(one_by_one_seconds=60.0).begin(database_now("default")).deliveries == 5


class TestTenantsWithoutARow:
    def test_get_it_in_one_statement(self) -> None:
        uids = [f"new-{number}" for number in range(MANY)]
        for uid in uids:
            emit_for(uid)
        inserts: list[str] = []

        def see(sql: str) -> None:
            if "INSERT INTO" in sql and f'"{Tenant._meta.db_table}"' in sql:
                inserts.append(sql)

        fan_out = fan_outs()
        with watched_statements(see, thread=None):
            while Event.objects.pending().exists():
                fan_out.begin(database_now("default"))
        assert set(Tenant.objects.values_list("uid", flat=True)) == set(uids)
        assert len(inserts) <= 3, "one for each page of tenants"

    def test_that_the_database_refuses_keep_nobody_waiting(self) -> None:
        uids = [f"new-{number}" for number in range(FEWER)]
        for uid in uids:
            emit_for(uid)
        quick, fan_out = EndpointFactory(), fan_outs(one_by_one_seconds=0.0)
        bad = Tenant.id_for(uids[7])
        with refused(Tenant._meta.db_table, "id", bad):

            def step() -> bool:
                pending_event(quick.tenant)
                fan_out.begin(database_now("default"))
                assert not Event.objects.pending().filter(tenant=quick.tenant).exists()
                return Tenant.objects.filter(uid__in=uids).count() == FEWER - 1

            eventually(step)
        eventually(lambda: fan_out.begin(database_now("default")) and Tenant.objects.filter(pk=bad).exists())


@pytest.mark.postgres
def test_one_tenants_events_are_found_without_reading_all_pending_ones() -> None:
    """ANALYZE has seen no pending event, as it is most of the time. So the planner believes that reading all of them is cheap."""
    EventFactory.create_batch(20)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    tenants = TenantFactory.create_batch(150)
    now = database_now("default")
    Event.objects.bulk_create(
        Event(tenant=one, tenant_uid=one.uid, type="test.happened", data="{}", size=2, occurred_at=now)
        for one in tenants
        for _ in range(10)
    )
    start = uuid.UUID(int=0)
    values = {"after": start, "limit": 100, "endpoints": 10, "events": 100, "floor": start}
    assert buffers(fan_out._PENDING_TENANTS, values) < 100 * 30
    shares = {"tenants": [one.pk for one in tenants], "shares": [10] * 150, "held": [], "deliveries": 2000, "now": now}
    more = {"wire_formats": [], "ages": [], "default_age": 60.0, "floor": start, "counted": []}
    one_by_one = {**shares, "tenants": shares["tenants"][:1], "shares": [10]}  # type: ignore[index]
    assert buffers(fan_out._FAN_OUT, {**shares, **more}) < 150 * buffers(fan_out._FAN_OUT, {**one_by_one, **more})


class TestABatchThatFails:
    def test_is_tried_tenant_by_tenant_for_a_limited_time_and_leaves_nobody_out(self, configure: Configure) -> None:
        """On the long way, which is all that other databases have."""
        configure(POSTGRESQL_SQL=False)
        endpoints = EndpointFactory.create_batch(12)
        for endpoint in endpoints:
            pending_event(endpoint.tenant)
        bad = endpoints[0]
        fan_out = fan_outs(one_by_one_seconds=0.0)
        with refused(Delivery._meta.db_table, "endpoint_id", bad.pk):
            done = fan_out.begin(database_now("default"))
            assert done.events <= 1
            eventually(lambda: _turn(fan_out) or Delivery.objects.count() == 11)


def _turn(fan_out: FanOut) -> None:
    fan_out.begin(database_now("default"))
    fan_out.go_on(database_now("default"))
