"""Who hears of it: signals after the commit, and e-mail to the customer and to staff."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.dispatch import Signal

from tests.customer import Customer, age, deliver, make_due, statuses, the_delivery
from tests.pipelines import eventually
from webhooks_app import contrib, signals
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.engine import recorded_batch
from webhooks_app.engine.record_signals import SignalThread
from webhooks_app.models import Delivery, Endpoint, EndpointStatus, Notification, NotificationKind, Tenant
from webhooks_app.notifications.send import send_notifications
from webhooks_app.wire_formats import standard

pytestmark = pytest.mark.django_db(transaction=True)

HASTY = replace(standard.WIRE_FORMAT, name="hasty", retry=RetryPolicy(delays=(), breaker=False))


@pytest.fixture
def customer(settings) -> Iterator[Customer]:
    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "WIRE_FORMATS": {**contrib.WIRE_FORMATS, "hasty": f"{__name__}.HASTY"},
        "NOTIFICATIONS": {"STAFF_EMAILS": ["staff@example.com"]},
    }
    with Customer() as customer:
        yield customer


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """The arguments of every sending of this signal, each heard outside of any transaction."""
    calls: list[dict[str, Any]] = []

    def listen(**arguments: Any) -> None:
        assert not connection.in_atomic_block, "after the commit"
        if "delivery_id" in arguments:
            row = Delivery.objects.get(pk=arguments["delivery_id"])
            arguments["found"] = row.status
        calls.append({key: value for key, value in arguments.items() if key != "signal"})

    signal.connect(listen)
    try:
        yield calls
    finally:
        signal.disconnect(listen)


# --- signals ----------------------------------------------------------------------------------------------------------


def test_a_success_is_signalled_after_its_commit(customer):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", [500, 201])
    with heard(signals.delivery_succeeded) as calls:
        event = customer.emit()
        deliver()
        assert calls == []
        make_due()
        deliver()
    assert calls == [
        {
            "sender": Delivery,
            "delivery_id": the_delivery().pk,
            "event_id": event.pk,
            "endpoint_id": endpoint.pk,
            "tenant_id": customer.tenant.pk,
            "status": 201,
            "attempts": 2,
            "found": "succeeded",
        }
    ]


def test_a_delivery_that_is_given_up_is_signalled_with_its_outcome(customer):
    endpoint = customer.endpoint(wire_format="hasty")
    customer.receiver.on("/hook", 500)
    with heard(signals.delivery_exhausted) as calls, heard(signals.delivery_succeeded) as others:
        event = customer.emit()
        deliver()
    assert others == []
    [call] = calls
    assert (call["outcome"], call["status"], call["attempts"], call["found"]) == ("server_error", 500, 1, "exhausted")
    assert (call["event_id"], call["endpoint_id"]) == (event.pk, endpoint.pk)


def test_a_kind_of_notification_needs_no_public_signal(customer, monkeypatch):
    announcements = tuple(replace(each, signal=None) for each in recorded_batch.ANNOUNCEMENTS)
    monkeypatch.setattr(recorded_batch, "ANNOUNCEMENTS", announcements)
    customer.endpoint(wire_format="hasty")
    customer.receiver.on("/hook", 500)
    with heard(signals.delivery_exhausted) as calls:
        customer.emit()
        deliver()
    assert calls == []
    assert Notification.objects.get().kind == NotificationKind.EXHAUSTED


def test_an_endpoint_that_is_switched_off_is_signalled_once(customer):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", 410)
    with heard(signals.endpoint_disabled) as calls:
        customer.emit_several(3)
        deliver()
    assert calls == [
        {"sender": Endpoint, "endpoint_id": endpoint.pk, "tenant_id": customer.tenant.pk, "reason": "gone"}
    ]


def test_an_endpoint_that_recovered_is_signalled_with_the_time_that_it_failed_from(customer):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    age(endpoint, hours=3)
    with heard(signals.endpoint_recovered) as calls:
        make_due()
        deliver()
    [call] = calls
    assert call["endpoint_id"] == endpoint.pk
    assert isinstance(call["failing_since"], datetime)
    succeeded = the_delivery().completed_at
    assert succeeded is not None
    assert timedelta(hours=3) <= succeeded - call["failing_since"] < timedelta(hours=3, minutes=1)


def test_a_listener_that_fails_stops_nobody(customer, caplog):
    customer.endpoint()

    def fail(**_: Any) -> None:
        raise RuntimeError("listener")

    signals.delivery_succeeded.connect(fail)
    try:
        with heard(signals.delivery_succeeded) as calls:
            customer.emit_several(3)
            deliver()
    finally:
        signals.delivery_succeeded.disconnect(fail)
    assert len(calls) == 3
    assert statuses() == {"succeeded"}
    assert "signal receiver" in caplog.text


@pytest.mark.postgres
def test_a_listener_gets_a_new_connection_after_the_server_has_ended_the_one_it_had():
    thread, counted = SignalThread(), []
    pid: list[int] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid[:] = cursor.fetchone()
            counted.append(pid[0])

    thread.send(look)
    eventually(lambda: len(counted) == 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", pid)
    thread.send(look)
    thread.send(look)
    thread.end(5.0)
    assert len(counted) >= 2


def test_a_transaction_that_a_listener_leaves_open_takes_nothing_of_the_next_signal_with_it():
    thread = SignalThread()
    # One batch of results makes several signals.
    thread._put([lambda: transaction.atomic().__enter__(), lambda: Tenant.objects.create(uid="by the next listener")])
    thread.end(5.0)
    assert Tenant.objects.filter(uid="by the next listener").exists()


def test_an_event_that_cannot_be_accepted_is_signalled_in_production(customer, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "STRICT": False}
    with heard(signals.event_quarantined) as calls:
        event = customer.emit({"n": uuid}, subject="x")
    [call] = calls
    assert (call["event_id"], call["tenant_id"]) == (event.pk, customer.tenant.pk)
    assert "JSON" in call["reason"]


# --- e-mail -----------------------------------------------------------------------------------------------------------


def recipients() -> list[str]:
    return sorted(address for email in mail.outbox for address in email.to)


def test_the_first_delivery_that_is_given_up_is_sent_to_the_customer_and_to_staff(customer):
    endpoint = customer.endpoint(wire_format="hasty")
    customer.receiver.on("/hook", 500)
    customer.emit_several(3)
    deliver()
    assert send_notifications() == 2
    assert recipients() == ["customer@example.com", "staff@example.com"]
    for email in mail.outbox:
        assert endpoint.public_id in email.body
    customer.emit()
    deliver()
    assert send_notifications() == 0, "further ones are gathered by the hour"
    Notification.objects.filter(sent_at__isnull=False).update(sent_at=the_past())
    assert send_notifications() == 2
    assert "1 delivery was given up" in mail.outbox[2].body


def the_past() -> datetime:
    row = Delivery.objects.order_by("-completed_at")[0]
    assert row.completed_at is not None
    return row.completed_at - timedelta(hours=2)


@pytest.mark.parametrize(
    ("wire_format", "status", "reason"), [("standard", 410, "410 Gone"), ("muchaw", 500, "in a row")]
)
def test_an_endpoint_that_is_switched_off_is_reported_at_once(customer, wire_format, status, reason):
    endpoint = customer.endpoint(wire_format=wire_format)
    customer.receiver.on("/hook", status)
    customer.emit_several(12)
    deliver()
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.DISABLED
    assert send_notifications() == 2
    assert recipients() == ["customer@example.com", "staff@example.com"]
    assert reason in mail.outbox[0].body


def test_an_endpoint_that_recovered_is_reported_at_once(customer):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    assert send_notifications() == 0, "a failure that will be retried is nobody's business yet"
    age(endpoint, hours=3)
    make_due()
    deliver()
    assert send_notifications() == 2
    assert "works again" in mail.outbox[0].body


def test_a_success_is_told_to_nobody(customer):
    customer.endpoint()
    customer.emit()
    deliver()
    assert send_notifications() == 0
    assert mail.outbox == []
