"""The protocol, order: where it was promised (FIFO endpoints) it holds, retries included."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.pipelines import (
    Gate,
    InThread,
    at_once,
    deliver_until,
    endpoint_at,
    eventually,
    fan_out,
    fan_out_batch,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from tests.receiver_behaviours import Received
from webhooks_app import emit
from webhooks_app.db import write
from webhooks_app.deliveries.resend import cancel_delivery, resend
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sweep import repair
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def numbers(requests: Sequence[Received]) -> list[int]:
    return [json.loads(request.body)["data"]["n"] for request in requests]


def emit_numbers(endpoint: Endpoint, count: int) -> None:
    for n in range(count):
        emit("test.happened", {"n": n}, tenant=endpoint.tenant)


def all_done() -> bool:
    return not Delivery.objects.filter(status="pending").exists()


def test_events_arrive_in_the_order_in_which_they_were_emitted(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver, fifo=True, max_in_flight=8)
    emit_numbers(endpoint, 60)
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == 60)
    assert numbers(receiver.requests) == [*range(60)]


def test_only_one_request_is_in_flight(receiver: Receiver) -> None:
    gates = [Gate() for _ in range(4)]
    receiver.on("/hook", gates)
    emit_numbers(endpoint_at(receiver, fifo=True, wire_format="slow"), 4)
    with running_engine(2):
        for count, gate in enumerate(gates, start=1):
            receiver.wait_for(count)
            assert len(receiver.requests) == count
            gate.open()
        eventually(all_done)


def test_a_retry_keeps_its_place(receiver: Receiver) -> None:
    receiver.on("/hook", [200, 500, 500, 200, 500, 200])
    emit_numbers(endpoint_at(receiver, fifo=True), 4)
    with running_engine(2):
        eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 4)
    assert numbers(receiver.requests) == [0, 1, 1, 1, 2, 2, 3]
    assert repair() == 0


def test_a_head_that_is_given_up_lets_the_next_one_go(receiver: Receiver) -> None:
    receiver.on("/hook", [500, 200])
    emit_numbers(endpoint_at(receiver, fifo=True, wire_format="once"), 3)
    deliver_until(lambda: Delivery.objects.exists() and all_done())
    assert numbers(receiver.requests) == [0, 1, 2]
    assert list(Delivery.objects.order_by("sequence").values_list("status", flat=True)) == [
        "exhausted",
        "succeeded",
        "succeeded",
    ]


def test_nothing_overtakes_a_head_that_waits_for_its_retry(receiver: Receiver, deliver: Callable[[], Any]) -> None:
    receiver.on("/hook", [500, 200])
    endpoint = endpoint_at(receiver, fifo=True, wire_format="plain")
    emit_numbers(endpoint, 3)
    deliver()
    assert numbers(receiver.requests) == [0]
    assert EndpointQueue.objects.get().due_at == Delivery.objects.get(sequence=1).next_attempt_at
    emit("test.happened", {"n": 3}, tenant=endpoint.tenant)  # wakes the queue
    deliver()
    assert len(receiver.requests) == 1
    assert EndpointQueue.objects.get().due_at == Delivery.objects.get(sequence=1).next_attempt_at
    cancel_delivery(Delivery.objects.get(sequence=1))
    deliver()
    assert numbers(receiver.requests) == [0, 1, 2, 3]


def test_two_engines_fanning_out_and_sending_keep_the_order(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, events=3)
    receiver.on("/hook", [200, 500, 200, 500, 200])
    endpoint = endpoint_at(receiver, fifo=True)
    with running_engine(2, options=EngineOptions(longest_lease=0.05)):  # the queue changes hands often
        emit_numbers(endpoint, 40)
        eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 40)
    arrived = numbers(receiver.requests)
    assert list(dict.fromkeys(arrived)) == [*range(40)]
    assert arrived == sorted(arrived)


def test_more_than_is_read_ahead_stays_in_order(receiver: Receiver) -> None:
    emit_numbers(endpoint_at(receiver, fifo=True), 30)
    deliver_until(
        lambda: Delivery.objects.filter(status="succeeded").count() == 30, options=EngineOptions(read_ahead=4)
    )
    assert numbers(receiver.requests) == [*range(30)]


def test_a_replayed_delivery_goes_to_the_end(receiver: Receiver, deliver: Callable[[], Any]) -> None:
    endpoint = endpoint_at(receiver, fifo=True)
    emit_numbers(endpoint, 1)
    deliver()
    replayed = Delivery.objects.get()
    receiver.clear()
    for n in (1, 2):
        emit("test.happened", {"n": n}, tenant=endpoint.tenant)
    fan_out(database_now("default"), "default")
    resend(replayed)
    deliver()
    assert numbers(receiver.requests) == [1, 2, 0]


@pytest.mark.postgres
def test_an_endpoint_that_becomes_fifo_while_an_event_is_fanned_out_gives_it_a_place(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver)
    pending_event(endpoint.tenant)
    fan = FanOut("default", EngineOptions(), FaultLog())
    with write("default"):
        change_endpoint(endpoint, fifo=True)
        fanned_out = InThread(lambda: fan_out_batch(fan, database_now("default"))).result()
        assert fanned_out.deliveries == 1, "it does not wait for the queue's row"
        assert fan.owed_wakes
    eventually(lambda: fan.owed_wakes.wake())
    assert Delivery.objects.get().sequence == EndpointQueue.objects.get().sequence == 1
