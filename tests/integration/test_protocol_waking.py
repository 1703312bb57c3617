"""The protocol, waking and releasing: no delivery is slept through, and nobody deadlocks over it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory
from tests.locks import locked
from tests.pipelines import (
    ENGINE,
    Gate,
    InThread,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    fan_out,
    fan_out_batch,
    held_endpoint,
    pending_event,
    release,
    running_engine,
)
from tests.receiver import Receiver
from webhooks_app.db import in_fresh_transaction, write
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.queue_wakeup import wake
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import QueueClass, Room
from webhooks_app.engine.sweep import repair, sweep
from webhooks_app.models import BLOCKED, NOTHING_DUE, Delivery, Endpoint, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


def due_at(endpoint: Endpoint) -> datetime:
    return EndpointQueue.objects.get(pk=endpoint.pk).due_at


def does_not_wait(thread: InThread) -> None:
    """Called while a transaction is open that has locked the row. SQLite has one lock for all, and everybody waits."""
    if connection.features.has_select_for_update_skip_locked:
        thread.result()
    else:
        thread.join(0.4)
        assert thread.is_alive()


class TestTheLostWakeUp:
    def test_a_delivery_committed_while_its_queue_is_about_to_be_released(self) -> None:
        endpoint = held_endpoint()
        pending_event(endpoint.tenant)
        with write("default"):
            fan_out(now(), "default")
            releasing = InThread(lambda: release(endpoint))
            does_not_wait(releasing)
            assert EndpointQueue.objects.get().holder_id == ENGINE, "it is released later"
        releasing.result()
        release(endpoint)
        assert EndpointQueue.objects.get().holder_id is None
        assert due_at(endpoint) <= now()

    def test_a_delivery_made_while_its_queue_is_being_released(self) -> None:
        endpoint = held_endpoint()
        pending_event(endpoint.tenant)
        fan = FanOut("default", EngineOptions(), FaultLog())
        with write("default"):
            release(endpoint)
            fanning_out = InThread(lambda: fan_out_batch(fan, now()))
            does_not_wait(fanning_out)
        assert fanning_out.result().deliveries == 1
        while fan.owed_wakes:
            fan.owed_wakes.wake()
        assert due_at(endpoint) <= now()
        assert repair() == 0

    @pytest.mark.postgres
    def test_an_engine_wakes_what_it_owes_once_the_row_is_free(self, receiver: Receiver) -> None:
        endpoint, other = endpoint_at(receiver), endpoint_at(receiver, "/other")
        with running_engine():
            with write("default"):
                list(EndpointQueue.objects.filter(pk=endpoint.pk).locked())
                InThread(lambda: [pending_event(one.tenant) for one in (endpoint, other)]).result()
                receiver.wait_for(1, path="/other")
            receiver.wait_for(1, path="/hook")

    @pytest.mark.postgres
    def test_an_engine_that_ends_does_not_forget_what_it_owes(self, receiver: Receiver) -> None:
        endpoint, stop = endpoint_at(receiver), threading.Event()
        with running_engine(stop=stop), write("default"):
            list(EndpointQueue.objects.filter(pk=endpoint.pk).locked())
            InThread(lambda: pending_event(endpoint.tenant)).result()
            eventually(lambda: InThread(Delivery.objects.exists).result())
            stop.set()
            time.sleep(0.3)
        assert due_at(endpoint) <= now()


class TestADueTime:
    def test_of_a_queue_without_work_is_the_constant(self, receiver: Receiver, deliver: Callable[[], Any]) -> None:
        endpoint = endpoint_at(receiver)
        pending_event(endpoint.tenant)
        deliver()
        assert due_at(endpoint) == NOTHING_DUE
        assert not EndpointQueue._meta.get_field("due_at").null

    def test_is_that_of_the_earliest_delivery(self) -> None:
        endpoint = held_endpoint()
        earliest = now() + HOUR
        for hours in (2, 0, 3):
            DeliveryFactory(endpoint=endpoint, next_attempt_at=earliest + hours * HOUR)
        DeliveryFactory(endpoint=endpoint, succeeded=True)
        release(endpoint)
        assert due_at(endpoint) == earliest

    def test_of_a_fifo_queue_is_that_of_its_head(self) -> None:
        endpoint = held_endpoint(fifo=True)
        for place, hours in enumerate((3, 1, 2), start=1):
            DeliveryFactory(endpoint=endpoint, sequence=place, next_attempt_at=now() + hours * HOUR)
        release(endpoint)
        assert due_at(endpoint) == Delivery.objects.get(sequence=1).next_attempt_at

    def test_is_never_before_the_queue_may_start(self) -> None:
        endpoint = held_endpoint(queue__not_before=now() + HOUR)
        DeliveryFactory(endpoint=endpoint)
        release(endpoint)
        assert due_at(endpoint) == EndpointQueue.objects.get().not_before

    def test_is_left_alone_by_an_engine_that_no_longer_holds_the_queue(self) -> None:
        endpoint = held_endpoint()
        other = EngineFactory()
        EndpointQueue.objects.update(holder_id=other.pk)
        before = due_at(endpoint)
        release(endpoint)
        assert EndpointQueue.objects.values_list("due_at", "holder_id").get() == (before, other.pk)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (QueueClass.TRUSTED, {"queue__last_success_at": timezone.now}),
        (QueueClass.NEW, {}),
        (QueueClass.FAILING, {"queue__consecutive_failures": lambda: 1}),
        (QueueClass.SUSPECTED, {"queue__crash_takeovers": lambda: 2, "queue__crashed_at": timezone.now}),
    ],
    ids=["trusted", "new", "failing", "suspected"],
)
def test_the_queue_that_is_due_for_the_longest_is_taken_first(
    name: QueueClass, values: dict[str, Callable[[], Any]]
) -> None:
    """Else the newest work would let the oldest wait for ever where there is always more than there is room for."""
    row = {key: value() for key, value in values.items()}
    hours = {EndpointFactory(queue__due_at=now() - ago * HOUR, **row).pk: ago for ago in (2, 3, 1)}
    taken = []
    for _ in hours:
        with write("default"):
            taken += store_for("default").take(ENGINE, now(), {name: Room(1, frozenset(), 1)})
    assert [hours[queue.endpoint_id] for queue in taken] == [3, 2, 1]


class TestWake:
    @pytest.mark.parametrize("held", [None, ENGINE], ids=["free", "held"])
    @pytest.mark.parametrize("due", [-1, 1, 5, None], ids=["due", "due soon", "due later", "idle"])
    def test_makes_any_queue_due_earlier_never_later(self, held: uuid.UUID | None, due: int | None) -> None:
        moment = now()
        before = NOTHING_DUE if due is None else moment + due * HOUR
        endpoint = EndpointFactory(queue__holder_id=held, queue__due_at=before)
        with write("default"):
            wake([endpoint.pk], moment + 2 * HOUR, using="default")
        assert due_at(endpoint) == min(before, moment + 2 * HOUR)

    def test_of_a_paused_queue_leaves_it_asleep(self) -> None:
        endpoint = EndpointFactory(status="paused")
        in_fresh_transaction(lambda: wake([endpoint.pk], using="default"), "default")
        assert due_at(endpoint) == BLOCKED

    def test_without_a_time_means_now_by_the_databases_clock(self) -> None:
        endpoint = EndpointFactory()
        before = now()
        in_fresh_transaction(lambda: wake([endpoint.pk], using="default"), "default")
        assert before <= due_at(endpoint) <= now()


@pytest.mark.parametrize("how", ["fanned out by its engine", "made by somebody else"])
def test_new_work_of_a_held_queue_does_not_wait_for_its_slow_request(receiver: Receiver, how: str) -> None:
    # Of what it has fanned out itself it knows without looking again.
    options = EngineOptions(recheck_seconds=60.0 if how == "fanned out by its engine" else 0.5)
    slow = Gate()
    receiver.on("/hook", [200, slow, 200])
    endpoint = endpoint_at(receiver, wire_format="slow")
    for _ in range(2):
        pending_event(endpoint.tenant)
    with running_engine(options=options):
        receiver.wait_for(2)
        if how == "fanned out by its engine":
            pending_event(endpoint.tenant)
        else:
            due_delivery(endpoint, next_attempt_at=now() - HOUR)
        receiver.wait_for(3)
        assert slow.waiting == 1
        slow.open()
    assert Delivery.objects.filter(status="succeeded").count() == 3


def test_a_retry_in_a_queue_that_is_no_longer_held_wakes_it(receiver: Receiver) -> None:
    slow = Gate(500)
    receiver.on("/hook", slow)
    endpoint = endpoint_at(receiver, wire_format="plain")
    pending_event(endpoint.tenant)
    with running_engine():
        receiver.wait_for(1)
        # Somebody else took it over and gave it back, having seen nothing to do.
        EndpointQueue.objects.update(holder_id=EngineFactory(alive_until=now() + HOUR).pk)
        time.sleep(1.0)  # by then the engine has looked
        EndpointQueue.objects.update(holder_id=None, due_at=NOTHING_DUE)
        slow.open()
        eventually(lambda: Delivery.objects.get().attempts == 1)
    assert due_at(endpoint) == Delivery.objects.get().next_attempt_at


class TestRepair:
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
