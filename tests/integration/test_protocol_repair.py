"""The protocol, repair and sweep: what was slept through all the same, or left behind by a dead engine, is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory
from tests.locks import locked
from tests.pipelines import ENGINE, deliver_until, due_at, due_delivery, endpoint_at, held_endpoint, pending_event
from tests.receiver import Receiver
from webhooks_app.engine import sweep as sweeping
from webhooks_app.engine.sweep import repair, sweep
from webhooks_app.models import BLOCKED, Delivery, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


class TestRepair:
    @pytest.mark.postgres
    def test_reads_one_delivery_of_each_queue(self) -> None:
        """Whatever the planner expects: a join of all idle queues with all pending deliveries would be quadratic."""
        with CaptureQueriesContext(connection) as asked:
            repair()
        [statement] = [one["sql"] for one in asked if 'AS "earliest"' in one["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "SubPlan" in plan
        assert "Join" not in plan
        assert "Nested Loop" not in plan

    def test_compares_every_queue_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweeping, "_COMPARED_AT_ONCE", 2)
        asleep = [EndpointFactory(queue__due_at=now() + HOUR) for _ in range(5)]
        for endpoint in asleep:
            DeliveryFactory(endpoint=endpoint)
        assert repair() == 5
        assert all(due_at(endpoint) <= now() for endpoint in asleep)

    def test_finds_nothing_after_a_normal_run(self, receiver: Receiver, deliver: Callable[[], Any]) -> None:
        receiver.on("/hook", [200, 500, 200, 410]).on("/slow", [429, 200])
        endpoints = [endpoint_at(receiver, path, "plain") for path in ("/hook", "/slow")]
        endpoints.append(endpoint_at(receiver, "/hook", "plain", fifo=True))
        for endpoint in endpoints:
            for _ in range(5):
                pending_event(endpoint.tenant)
        deliver()
        assert Delivery.objects.filter(status="pending").exists()
        assert repair() == 0
        assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()

    @pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
    @pytest.mark.parametrize("fifo", [False, True])
    def test_corrects_and_counts_a_lost_wake_up(self, fifo: bool, late: bool, caplog: Any) -> None:
        """An engine may owe a queue its wake-up for a moment; what is late by more than that is a bug."""
        endpoint = EndpointFactory(fifo=fifo, queue__not_before=now() - HOUR)
        moment = now() - timedelta(minutes=2 if late else 0)
        DeliveryFactory(endpoint=endpoint, sequence=int(fifo), next_attempt_at=moment)
        assert repair() == 1
        assert due_at(endpoint) == moment
        assert repair() == 0
        assert ("a bug" in caplog.text) is late

    @pytest.mark.parametrize(("status", "fifo"), [("active", False), ("active", True), ("paused", False)])
    def test_gives_an_endpoint_the_queue_that_it_lacks(
        self, receiver: Receiver, deliver: Callable[[], Any], status: str, fifo: bool, caplog: Any
    ) -> None:
        endpoint = endpoint_at(receiver, fifo=fifo, status=status)
        EndpointQueue.objects.all().delete()
        pending_event(endpoint.tenant)
        deliver()
        assert not receiver.requests
        repair()
        deliver()
        assert len(receiver.requests) == (status == "active")
        assert "had no queue" in caplog.text
        caplog.clear()
        repair()
        assert not caplog.text

    @pytest.mark.postgres
    def test_stops_at_no_endpoint_whose_rows_are_locked(self, caplog: Any) -> None:
        locked_out, other = EndpointFactory(fifo=True), EndpointFactory()
        delivery = DeliveryFactory(endpoint=locked_out)
        asleep = EndpointFactory(queue__not_before=now() - HOUR)
        DeliveryFactory(endpoint=asleep)
        EndpointQueue.objects.exclude(pk=asleep.pk).delete()
        with locked(delivery):
            assert repair() == 1
        assert set(EndpointQueue.objects.values_list("pk", flat=True)) == {asleep.pk, other.pk}
        assert "no queue was created for" in caplog.text
        repair()
        assert EndpointQueue.objects.get(pk=locked_out.pk).due_at <= now()

    def test_leaves_what_is_right(self) -> None:
        head = EndpointFactory(fifo=True, queue__due_at=now() + HOUR)
        DeliveryFactory(endpoint=head, sequence=1, next_attempt_at=due_at(head))
        DeliveryFactory(endpoint=head, sequence=2)
        DeliveryFactory(endpoint=EndpointFactory(status="paused", queue__due_at=BLOCKED))
        DeliveryFactory(endpoint=held_endpoint(), next_attempt_at=now() - HOUR)
        waiting = EndpointFactory(queue__not_before=now() + HOUR, queue__due_at=now() + HOUR)
        DeliveryFactory(endpoint=waiting)
        EndpointQueue.objects.filter(pk=waiting.pk).update(due_at=EndpointQueue.objects.get(pk=waiting.pk).not_before)
        assert repair() == 0


class TestSweep:
    def test_says_whether_anything_is_due_that_nobody_holds(self) -> None:
        assert not sweep().work_waits
        due_delivery(held_endpoint())
        EngineFactory(id=ENGINE, alive_until=now() + HOUR)
        due_delivery(EndpointFactory(), next_attempt_at=now() + HOUR)
        assert not sweep().work_waits
        due_delivery(EndpointFactory(), next_attempt_at=now() - HOUR)
        assert sweep().work_waits

    def test_finds_events_that_were_never_fanned_out(self) -> None:
        pending_event(EndpointFactory().tenant)
        assert sweep().work_waits

    def test_frees_a_queue_whose_holder_has_no_row(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver, queue__holder_id=ENGINE)
        DeliveryFactory(endpoint=endpoint)
        assert sweep().freed == 1
        assert EndpointQueue.objects.values_list("holder_id", "crash_takeovers").get() == (None, 0)
        deliver_until(lambda: Delivery.objects.get().status == "succeeded")
