"""A tenant whose events all fail in fan-out, because of one row: it is paused, longer each time, and costs the others nothing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import EndpointFactory
from tests.pipelines import eventually, fan_out_batch, pending_event
from tests.refused_rows import refused
from webhooks_app.engine import fan_out as module
from webhooks_app.engine import faults
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.quarantine import Quarantine
from webhooks_app.models import Delivery, Endpoint, Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

#: JSON that the database stores and Python does not read: a number of too many digits.
UNREADABLE = f'{{"data.amount": {"9" * 5000}}}'


def update(endpoint: Endpoint, column: str, value: str) -> None:
    """Change a column past all checks, as a person at the database does."""
    with connection.cursor() as cursor:
        key = endpoint.pk if connection.vendor == "postgresql" else endpoint.pk.hex
        cursor.execute(f"UPDATE webhooks_app_endpoint SET {column} = %s WHERE id = %s", [value, key])


def rotten_endpoint(**values: Any) -> Endpoint:
    """An endpoint whose filters cannot be evaluated."""
    endpoint = EndpointFactory(filters={"data.amount": 1}, **values)
    update(endpoint, "filters", UNREADABLE)
    return endpoint


@pytest.fixture
def fan() -> module.FanOut:
    return module.FanOut("default", EngineOptions(), FaultLog())


def turn(fan: module.FanOut) -> None:
    fan_out_batch(fan, database_now("default"))


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """How often each event has failed alone."""
    counted: Counter[Any] = Counter()
    put_aside = Quarantine.put_aside

    def counting(self: Quarantine, event: Any, *args: Any, **values: Any) -> Any:
        counted[event.id] += 1
        return put_aside(self, event, *args, **values)

    monkeypatch.setattr(Quarantine, "put_aside", counting)
    return counted


def test_between_two_tries_its_events_are_not_read(fan: module.FanOut) -> None:
    """With 90 such tenants, these statements took most of each step."""
    tenants = {pending_event(rotten_endpoint().tenant).tenant_id for _ in range(3)}
    eventually(lambda: turn(fan) or fan._parts.held_events.by_tenant().keys() == tenants)
    eventually(lambda: not fan._parts.paused())
    fan._parts._held_from = float("inf")
    with CaptureQueriesContext(connection) as captured:
        turn(fan)
    assert not [query["sql"] for query in captured if '"tenant_id" >= ' in query["sql"]]
    new = pending_event(EndpointFactory(filters={"data.amount": {"exists": False}}).tenant)
    turn(fan)
    assert Delivery.objects.get().event_id == new.pk


def test_a_new_event_counts_where_another_engine_has_fanned_out_the_held_one(fan: module.FanOut) -> None:
    endpoint = rotten_endpoint()
    held = pending_event(endpoint.tenant)
    turn(fan)
    update(endpoint, "filters", "{}")
    Event.objects.filter(pk=held.pk).update(fanned_out_at=database_now("default"))
    new = pending_event(endpoint.tenant)
    eventually(lambda: not fan._parts.paused())
    fan._parts._held_from = float("inf")
    turn(fan)
    assert Delivery.objects.get().event_id == new.pk


@pytest.mark.parametrize("fifo", [False, True], ids=["any order", "FIFO"])
def test_its_next_events_are_tried_less_and_less_often(fan: module.FanOut, tries: Counter[Any], fifo: bool) -> None:
    tenant = rotten_endpoint(fifo=fifo).tenant
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        pending_event(tenant)
        turn(fan)
    # New ones after 0, 0.25, 0.75 and 1.75 s, up to three each time; held ones likewise, one each time.
    assert sum(tries.values()) <= (4 if fifo else 16)


@pytest.mark.parametrize("fifo", [False, True], ids=["any order", "FIFO"])
def test_all_go_out_once_the_row_is_mended(fan: module.FanOut, fifo: bool) -> None:
    endpoint = rotten_endpoint(fifo=fifo)
    events = []
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        events.append(pending_event(endpoint.tenant))
        turn(fan)
    assert not Delivery.objects.exists()
    update(endpoint, "filters", "{}")
    eventually(lambda: turn(fan) or Delivery.objects.count() == len(events))
    if fifo:
        order = Delivery.objects.order_by("sequence").values_list("event_id", flat=True)
        assert list(order) == [event.pk for event in events]


def test_one_event_that_always_fails_does_not_pause_the_others_of_its_tenant(fan: module.FanOut) -> None:
    endpoint = EndpointFactory()
    bad = pending_event(endpoint.tenant)
    with refused("webhooks_app_delivery", "event_id", bad.pk):
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            turn(fan)
        for _ in range(3):
            new = pending_event(endpoint.tenant)
            turn(fan)
            assert Delivery.objects.filter(event=new).exists()


@pytest.mark.postgres
def test_a_tenant_whose_events_cannot_be_read_is_paused_as_well(fan: module.FanOut) -> None:
    bad, good = EndpointFactory(), EndpointFactory()
    event = pending_event(bad.tenant)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE webhooks_app_event SET created_at = 'infinity' WHERE id = %s", [event.pk])
    with refused("webhooks_app_delivery", "event_id", event.pk):  # or it would be fanned out in SQL, without being read
        paused = fan._parts.held_events
        eventually(
            lambda: turn(fan) or paused.last_pause(bad.tenant_id) > time.monotonic() + 1.5
        )  # it was a second at most
    new = pending_event(good.tenant)
    turn(fan)
    assert Delivery.objects.filter(event=new).exists()


def test_staff_are_told_once_of_an_event(
    fan: module.FanOut, tries: Counter[Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_QUIET", 0.0)
    event = pending_event(rotten_endpoint().tenant)
    with caplog.at_level(logging.INFO):
        eventually(lambda: turn(fan) or tries[event.pk] == 3)
    told = [record.levelno for record in caplog.records if "cannot be fanned out" in record.getMessage()]
    assert told == [logging.ERROR, logging.INFO, logging.INFO]


def test_data_that_is_nested_too_deep_to_be_parsed_is_the_events_own_fault(fan: module.FanOut) -> None:
    """It would be tried again for ever. Such data does not come from `emit`: the row was edited."""
    tenant = EndpointFactory(filters={"data.amount": {"exists": False}}).tenant
    levels = 100_000  # Python 3.13 parses 9,000
    bad = pending_event(tenant, data="[" * levels + "]" * levels)
    eventually(lambda: turn(fan) or Event.objects.quarantined().exists())
    bad.refresh_from_db()
    assert bad.quarantine_reason.startswith("fan-out failed: RecursionError")
