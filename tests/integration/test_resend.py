"""Resend, send now and cancel deliveries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from webhooks_app.core.playground import url_of
from webhooks_app.deliveries.resend import cancel_delivery, resend, resend_event, retry_failed, send_now
from webhooks_app.exceptions import ConflictingState
from webhooks_app.models import BLOCKED, NOTHING_DUE, AuditEntry, Delivery, DeliveryStatus, EndpointQueue
from webhooks_app.wire_formats import get_wire_format

pytestmark = pytest.mark.django_db


def queue_of(delivery: Delivery) -> EndpointQueue:
    return EndpointQueue.objects.get(pk=delivery.endpoint_id)


def near(moment) -> bool:
    return abs(moment - timezone.now()) < timedelta(seconds=10)


@pytest.mark.parametrize("trait", ["exhausted", "succeeded"])
def test_a_replay_starts_the_policy_anew_and_goes_on_counting(trait):
    delivery = DeliveryFactory(
        **{trait: True},
        next_attempt_at=timezone.now() - timedelta(days=9),
        crash_marked_at=timezone.now(),
        endpoint__queue__due_at=NOTHING_DUE,
    )
    attempts = delivery.attempts
    again = resend(delivery, actor="user:anna")

    assert (again.status, again.retry_step, again.attempts) == (DeliveryStatus.PENDING, 0, attempts)
    assert (again.crash_marked_at, again.completed_at) == (None, None)
    assert near(again.next_attempt_at)
    assert again.expires_at > timezone.now() + timedelta(days=4)
    assert near(queue_of(delivery).due_at)
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target, entry.detail) == ("delivery.replayed", delivery.public_id, {"was": trait})


def test_a_replay_goes_to_the_end_of_a_fifo_order():
    endpoint = EndpointFactory(fifo=True, queue__sequence=8)
    delivery = DeliveryFactory(endpoint=endpoint, exhausted=True, sequence=2)
    assert resend(delivery.pk).sequence == 9
    assert queue_of(delivery).sequence == 9


@pytest.mark.parametrize("act", [resend, send_now])
def test_a_pending_delivery_is_hurried_and_keeps_step_and_place(act):
    endpoint = EndpointFactory(fifo=True, queue__sequence=8, queue__due_at=timezone.now() + timedelta(hours=1))
    later = timezone.now() + timedelta(hours=1)
    delivery = DeliveryFactory(endpoint=endpoint, next_attempt_at=later, retry_step=3, attempts=3, sequence=2)
    row = act(delivery)
    assert near(row.next_attempt_at)
    assert (row.retry_step, row.sequence) == (3, 2)
    assert near(queue_of(delivery).due_at)


def test_what_is_replayed_for_a_paused_endpoint_waits():
    delivery = DeliveryFactory(endpoint__status="paused", exhausted=True)
    assert resend(delivery).status == DeliveryStatus.PENDING
    assert queue_of(delivery).due_at == BLOCKED


@pytest.mark.parametrize("act", [resend, send_now])
def test_nothing_is_sent_again_to_a_deleted_endpoint(act):
    delivery = DeliveryFactory(endpoint__status="deleted", exhausted=True)
    with pytest.raises(ConflictingState):
        act(delivery)
    assert Delivery.objects.get().status == DeliveryStatus.EXHAUSTED


def test_there_is_no_retry_to_hurry_on_a_finished_delivery():
    with pytest.raises(ConflictingState):
        send_now(DeliveryFactory(exhausted=True))


def test_a_pending_delivery_is_cancelled_once():
    delivery = DeliveryFactory()
    row = cancel_delivery(delivery, actor="user:anna")
    assert row.status == DeliveryStatus.CANCELLED
    assert near(row.completed_at)
    with pytest.raises(ConflictingState):
        cancel_delivery(delivery)
    assert AuditEntry.objects.get().verb == "delivery.cancelled"


def test_cancelling_the_head_of_a_fifo_order_wakes_those_behind():
    tomorrow = timezone.now() + timedelta(days=1)
    endpoint = EndpointFactory(fifo=True, queue__sequence=2, queue__due_at=tomorrow)
    head = DeliveryFactory(endpoint=endpoint, sequence=1, next_attempt_at=tomorrow)
    DeliveryFactory(endpoint=endpoint, sequence=2)
    cancel_delivery(head)
    assert near(queue_of(head).due_at)


def test_an_event_is_replayed_everywhere_but_where_it_is_pending_or_the_endpoint_deleted():
    event = EventFactory()
    made = [
        DeliveryFactory(endpoint__tenant=event.tenant, event=event, exhausted=True),
        DeliveryFactory(endpoint__tenant=event.tenant, event=event, succeeded=True, endpoint__wire_format="muchaw"),
        DeliveryFactory(endpoint__tenant=event.tenant, event=event, exhausted=True, endpoint__fifo=True),
    ]
    pending = DeliveryFactory(endpoint__tenant=event.tenant, event=event, retry_step=4)
    deleted = DeliveryFactory(endpoint__tenant=event.tenant, event=event, endpoint__status="deleted", exhausted=True)
    other = DeliveryFactory(exhausted=True)

    assert resend_event(event, actor="user:anna") == 3
    for delivery in made:
        delivery.refresh_from_db()
        assert (delivery.status, delivery.retry_step) == (DeliveryStatus.PENDING, 0)
        assert near(queue_of(delivery).due_at)
    assert made[2].sequence == 1
    pending.refresh_from_db()
    deleted.refresh_from_db()
    other.refresh_from_db()
    assert pending.retry_step == 4
    assert (deleted.status, other.status) == (DeliveryStatus.EXHAUSTED, DeliveryStatus.EXHAUSTED)
    assert AuditEntry.objects.get().target == event.public_id
    assert resend_event(event) == 0


def test_a_test_that_is_sent_again_gets_one_request_and_in_a_playground_retries():
    real = DeliveryFactory(exhausted=True, event__subject="test")
    test = DeliveryFactory(exhausted=True, event__is_test=True)
    tried = DeliveryFactory(exhausted=True, event__is_test=True, endpoint__url=url_of("200"))
    assert tried.endpoint.is_playground
    last = len(get_wire_format("standard").retry.delays)
    assert [resend(row).retry_step for row in (real, test, tried)] == [0, last, 0]


def test_those_that_failed_are_sent_again_without_tests():
    real = DeliveryFactory(exhausted=True, event__subject="test")
    test = DeliveryFactory(exhausted=True, event__is_test=True, endpoint=real.endpoint)
    assert retry_failed(Delivery.objects.all(), tenant_id=real.tenant_id) == 1
    test.refresh_from_db()
    assert test.status == DeliveryStatus.EXHAUSTED


def test_the_waiting_time_of_a_replay_is_that_of_its_own_wire_format():
    event = EventFactory()
    rows = {
        name: DeliveryFactory(endpoint__tenant=event.tenant, event=event, exhausted=True, endpoint__wire_format=name)
        for name in ("standard", "muchaw")
    }
    resend_event(event)
    for name, row in rows.items():
        row.refresh_from_db()
        assert row.expires_at - row.next_attempt_at == get_wire_format(name).retry.max_age
