"""The protocol, probes: one delivery that a person sends to a failing endpoint is what that is tried with next, at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import DeliveryFactory
from tests.pipelines import endpoint_at
from tests.receiver import Receiver
from webhooks_app.deliveries.resend import resend, send_now
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
Deliver = Callable[[], Any]


def failing(receiver: Receiver, *, held_for: timedelta = 200 * SECOND, **values: Any) -> Endpoint:
    """It has failed six times in a row, the last time a moment ago, so that our own back-off is five minutes."""
    now = database_now("default")
    times = {"queue__failing_since": now - HOUR, "queue__last_failure_at": now - SECOND}
    held = {"queue__not_before": now + held_for, "queue__due_at": now + held_for}
    return endpoint_at(receiver, wire_format="careful", queue__consecutive_failures=6, **times, **held, **values)


def waiting(endpoint: Endpoint, **values: Any) -> Delivery:
    return DeliveryFactory(endpoint=endpoint, **values)


def attempts(*rows: Delivery) -> list[int]:
    return [Delivery.objects.get(pk=row.pk).attempts for row in rows]


def test_it_does_not_wait_for_the_back_off_nor_behind_the_others(receiver: Receiver, deliver: Deliver) -> None:
    receiver.on("/hook", 500)
    endpoint = failing(receiver)
    now = database_now("default")
    others = [waiting(endpoint, next_attempt_at=now - HOUR), waiting(endpoint, next_attempt_at=now - 2 * HOUR)]
    wanted = waiting(endpoint, next_attempt_at=now + HOUR, retry_step=2, attempts=2)
    deliver()
    assert receiver.requests == []
    send_now(wanted)
    deliver()
    assert attempts(wanted, *others) == [3, 0, 0]
    assert EndpointQueue.objects.get().not_before > now + 60 * SECOND, "it failed, and the endpoint is held back anew"


def test_what_was_given_up_is_tried_at_once_and_a_success_frees_the_others(
    receiver: Receiver, deliver: Deliver
) -> None:
    endpoint = failing(receiver)
    other, wanted = waiting(endpoint), waiting(endpoint, exhausted=True)
    resend(wanted)
    deliver()
    assert receiver.requests[0].headers["webhook-id"] == wanted.event.public_id
    assert attempts(wanted, other) == [11, 1]


def test_a_wait_that_the_receiver_asked_for_is_kept(receiver: Receiver, deliver: Deliver) -> None:
    endpoint = failing(receiver, held_for=HOUR)
    send_now(waiting(endpoint))
    deliver()
    assert receiver.requests == []
    assert EndpointQueue.objects.get().due_at > database_now("default") + 3000 * SECOND


def test_the_order_of_a_fifo_endpoint_is_kept(receiver: Receiver, deliver: Deliver) -> None:
    receiver.on("/hook", 500)
    endpoint = failing(receiver, fifo=True)
    head, second = (
        waiting(endpoint, sequence=1, next_attempt_at=database_now("default") + HOUR),
        waiting(endpoint, sequence=2),
    )
    send_now(second)
    deliver()
    assert receiver.requests == []
    send_now(head)
    deliver()
    assert attempts(head, second) == [1, 0]


def test_a_paused_endpoint_gets_nothing(receiver: Receiver, deliver: Deliver) -> None:
    endpoint = endpoint_at(receiver, status="paused", queue__consecutive_failures=6)
    resend(waiting(endpoint))
    deliver()
    assert receiver.requests == []
