"""A trigger of the host's changes a row that another transaction has locked: only the results of that tenant wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import connection

from tests.factories import DeliveryFactory
from tests.integration.test_recording_once import recorder_of
from tests.pipelines import due_delivery, endpoint_at, eventually, held_endpoint, pending_event, running_engine
from tests.receiver import Receiver
from webhooks_app.db import LOCK_TIMEOUT
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.record import Recorder
from webhooks_app.models import Attempt, Delivery, Tenant

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("pipeline"),
    pytest.mark.postgres,
]


@pytest.fixture(autouse=True)
def usage() -> Iterator[None]:
    """The host counts what each tenant gets, in a table of its own."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE usage (tenant_id uuid PRIMARY KEY, number integer NOT NULL DEFAULT 0)")
        cursor.execute(
            "CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "UPDATE usage SET number = number + 1 WHERE tenant_id = NEW.tenant_id; RETURN NULL; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER count_usage AFTER UPDATE ON webhooks_app_delivery FOR EACH ROW EXECUTE FUNCTION count_usage()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER count_usage ON webhooks_app_delivery")
        cursor.execute("DROP FUNCTION count_usage")
        cursor.execute("DROP TABLE usage")


@contextmanager
def counters_locked(*tenants: Tenant) -> Iterator[None]:
    """A transaction of the host's has locked the counters of these tenants, for as long as the block lasts."""
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO usage VALUES (%s)", [[tenant.pk] for tenant in tenants])
    other = connection.get_new_connection(connection.get_connection_params())
    try:
        other.execute("SELECT 1 FROM usage FOR UPDATE")
        yield
    finally:
        other.close()


def pending(number: int) -> list[Delivery]:
    """Deliveries of as many tenants, that the engine has sent."""
    return [DeliveryFactory(endpoint=held_endpoint()) for _ in range(number)]


def all_recorded(recorder: Recorder) -> bool:
    recorder.step(at_once=True)
    return not recorder.unrecorded


def test_only_the_results_of_one_tenant_wait(caplog: pytest.LogCaptureFixture) -> None:
    rows = pending(40)
    busy, later = rows[17], DeliveryFactory(endpoint=rows[17].endpoint)
    new = pending(3)
    recorder, results = recorder_of([*rows, later, *new], [])
    with counters_locked(busy.tenant), caplog.at_level(logging.WARNING):
        recorder.add(results[:40])
        for _ in range(6):
            recorder.step(at_once=True)
        assert set(Delivery.objects.filter(id__in=[row.pk for row in rows]).pending()) == {busy}
        assert "canceling statement due to lock timeout" in caplog.text
        assert 'relation "usage"' in caplog.text
        assert len(caplog.records) == 1
        recorder.add(results[40:])
        assert recorder.step(at_once=True) == 3  # at once: those of the busy tenant are not written with them
        assert set(Delivery.objects.pending()) == {busy, later}
    eventually(partial(all_recorded, recorder))
    assert Attempt.objects.count() == 44
    assert not recorder.dropped


def test_a_step_waits_for_few_locks_and_begins_with_what_was_not_tried() -> None:
    rows = pending(48)
    recorder, results = recorder_of(rows, [])
    recorder.add(results)
    with counters_locked(*(row.tenant for row in rows[1::2])):
        for _ in range(30):
            began = time.monotonic()
            recorder.step(at_once=True)
            assert time.monotonic() - began < 2 * LOCK_TIMEOUT + 0.5
        assert {row.pk for row in Delivery.objects.pending()} == {row.pk for row in rows[1::2]}
    eventually(partial(all_recorded, recorder))
    assert Attempt.objects.count() == 48


def test_a_neighbour_notices_nothing(receiver: Receiver) -> None:
    """Its queue is released after a while even if it has more to send, and waits until its results are recorded."""
    neighbour, busy = endpoint_at(receiver, "/neighbour"), endpoint_at(receiver, "/busy")
    late = []
    with running_engine(options=EngineOptions(longest_lease=0.5)), counters_locked(busy.tenant):
        for number in range(40):
            if number % 4 == 0:
                pending_event(busy.tenant)
            began = time.monotonic()
            due_delivery(neighbour)
            receiver.wait_for(number + 1, path="/neighbour")
            late.append(round(time.monotonic() - began, 2))
            time.sleep(0.05)
    assert max(late) < 1.0, late
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert len(ids) == len(set(ids))
