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
from tests.pipelines import (
    ENGINE,
    Gate,
    InThread,
    due_at,
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
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass
from webhooks_app.engine.sweep import repair
from webhooks_app.models import BLOCKED, NOTHING_DUE, Delivery, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


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
            taken += store_for("default").take(ENGINE, now(), {name: LeaseCapacity(1, frozenset(), 1)})
    assert [hours[queue.endpoint_id] for queue in taken] == [3, 2, 1]


class TestWake:
    @pytest.mark.parametrize("held", [None, ENGINE], ids=["free", "held"])
    @pytest.mark.parametrize("due", [-1, 1, 5, None], ids=["due", "due soon", "due later", "idle"])
    def test_makes_any_queue_due_earlier_never_later(self, held: uuid.UUID | None, due: int | None) -> None:
        moment = now()
        before = NOTHING_DUE if due is None else moment + due * HOUR
        endpoint = EndpointFactory(queue__holder_id=held, queue__due_at=before)
        with write("default"):
            make_queues_due([endpoint.pk], moment + 2 * HOUR, using="default")
        assert due_at(endpoint) == min(before, moment + 2 * HOUR)

    def test_of_a_paused_queue_leaves_it_asleep(self) -> None:
        endpoint = EndpointFactory(status="paused")
        in_fresh_transaction(lambda: make_queues_due([endpoint.pk], using="default"), "default")
        assert due_at(endpoint) == BLOCKED

    def test_without_a_time_means_now_by_the_databases_clock(self) -> None:
        endpoint = EndpointFactory()
        before = now()
        in_fresh_transaction(lambda: make_queues_due([endpoint.pk], using="default"), "default")
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


def test_a_retry_in_a_queue_that_is_no_longer_held_wakes_it(receiver: Receiver, look_again: Callable[[], None]) -> None:
    slow = Gate(500)
    receiver.on("/hook", slow)
    endpoint = endpoint_at(receiver, wire_format="plain")
    pending_event(endpoint.tenant)
    with running_engine():
        receiver.wait_for(1)
        # Somebody else took it over and gave it back, having seen nothing to do.
        EndpointQueue.objects.update(holder_id=EngineFactory(alive_until=now() + HOUR).pk)
        look_again()
        EndpointQueue.objects.update(holder_id=None, due_at=NOTHING_DUE)
        slow.open()
        eventually(lambda: Delivery.objects.get().attempts == 1)
    assert due_at(endpoint) == Delivery.objects.get().next_attempt_at
