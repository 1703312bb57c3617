"""Recover what an endpoint has missed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from webhooks_app.deliveries import bulk_updates
from webhooks_app.deliveries import recover as module
from webhooks_app.deliveries.recover import RecoverReport, recover
from webhooks_app.exceptions import ConflictingState
from webhooks_app.models import (
    BLOCKED,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    Event,
    Tenant,
)

pytestmark = pytest.mark.django_db

LONG_AGO = timezone.now() - timedelta(days=20)


def an_endpoint(**kwargs) -> Endpoint:
    endpoint = EndpointFactory(**kwargs)
    Endpoint.objects.update(created_at=LONG_AGO)
    return endpoint


def sent_to(endpoint: Endpoint) -> list[Event]:
    return list(Event.objects.filter(deliveries__endpoint=endpoint, deliveries__status="pending").order_by("id"))


def test_events_of_the_time_when_it_was_disabled_get_deliveries():
    endpoint = an_endpoint()
    events = [EventFactory(tenant=endpoint.tenant) for _ in range(3)]
    report = recover(endpoint, timezone.now() - timedelta(hours=1), actor="user:anna")

    assert report == RecoverReport(resent=0, created=3)
    assert sent_to(endpoint) == events
    delivery = Delivery.objects.first()
    assert delivery.tenant_id == endpoint.tenant_id
    assert delivery.expires_at > timezone.now() + timedelta(days=4)
    assert EndpointQueue.objects.get().due_at <= timezone.now() + timedelta(seconds=1)
    assert AuditEntry.objects.get().verb == "endpoint.recovered"
    assert recover(endpoint, LONG_AGO) == RecoverReport(resent=0, created=0), "a repetition changes nothing"


def test_what_failed_since_is_sent_again_and_nothing_else():
    endpoint = an_endpoint()
    failed = DeliveryFactory(endpoint=endpoint, exhausted=True)
    before = DeliveryFactory(endpoint=endpoint, exhausted=True, completed_at=timezone.now() - timedelta(days=2))
    done = DeliveryFactory(endpoint=endpoint, succeeded=True)
    dropped = DeliveryFactory(endpoint=endpoint, status=DeliveryStatus.CANCELLED, completed_at=timezone.now())
    other = DeliveryFactory(endpoint__tenant=endpoint.tenant, exhausted=True)
    report = recover(endpoint, timezone.now() - timedelta(days=1))

    assert report.resent == 1
    for row, status in ((failed, "pending"), (before, "exhausted"), (done, "succeeded"), (dropped, "cancelled")):
        row.refresh_from_db()
        assert row.status == status
    other.refresh_from_db()
    assert other.status == DeliveryStatus.EXHAUSTED


def test_test_events_of_its_own_and_of_others_are_left_out():
    endpoint = an_endpoint()
    DeliveryFactory(endpoint=endpoint, exhausted=True, event__is_test=True)
    EventFactory(tenant=endpoint.tenant, is_test=True)
    assert recover(endpoint, LONG_AGO) == RecoverReport(resent=0, created=0)


def test_events_that_a_host_calls_so_are_real_ones():
    endpoint = an_endpoint()
    DeliveryFactory(endpoint=endpoint, exhausted=True, event__subject="test")
    EventFactory(tenant=endpoint.tenant, subject="test")
    assert recover(endpoint, LONG_AGO) == RecoverReport(resent=1, created=1)


def test_only_what_its_subscriptions_channels_and_filters_want():
    endpoint = an_endpoint(events=["message.sent"], filters={"data.amount": {"gte": 10}}, channels=["number:1"])
    wanted = EventFactory(tenant=endpoint.tenant, payload={"amount": 10}, channels=["number:1", "number:2"])
    EventFactory(tenant=endpoint.tenant, payload={"amount": 9}, channels=["number:1"])
    EventFactory(tenant=endpoint.tenant, payload={"amount": 10}, channels=["number:2"])
    EventFactory(tenant=endpoint.tenant, payload={"amount": 10}, channels=[])
    EventFactory(tenant=endpoint.tenant, payload={"amount": 10}, channels=["number:1"], type="message.failed")
    EventFactory(payload={"amount": 10}, channels=["number:1"])
    assert recover(endpoint, LONG_AGO).created == 1
    assert sent_to(endpoint) == [wanted]


def test_events_that_go_their_own_way_are_left_out():
    endpoint = an_endpoint()
    EventFactory(tenant=endpoint.tenant, fanned_out_at=None)
    EventFactory(tenant=endpoint.tenant, quarantine_reason="bad")
    EventFactory(tenant=endpoint.tenant, callback_url="https://example.com/")
    assert recover(endpoint, LONG_AGO).created == 0


def test_nothing_from_before_the_time_the_endpoint_or_the_retention():
    endpoint = an_endpoint()
    event = EventFactory(tenant=endpoint.tenant)
    assert recover(endpoint, timezone.now() + timedelta(seconds=5)).created == 0
    Event.objects.update(created_at=LONG_AGO - timedelta(days=1))
    assert recover(endpoint, LONG_AGO - timedelta(days=5)).created == 0
    Endpoint.objects.update(created_at=LONG_AGO - timedelta(days=50))
    Event.objects.filter(pk=event.pk).update(created_at=timezone.now() - timedelta(days=31))
    assert recover(endpoint, timezone.now() - timedelta(days=40)).created == 0


def test_a_fifo_endpoint_gets_them_in_the_order_of_events():
    endpoint = an_endpoint(fifo=True, queue__sequence=5)
    for _ in range(3):
        EventFactory(tenant=endpoint.tenant)
    recover(endpoint, LONG_AGO)
    rows = Delivery.objects.order_by("event_id").values_list("sequence", flat=True)
    assert list(rows) == [6, 7, 8]
    assert EndpointQueue.objects.get().sequence == 8


def test_a_fifo_endpoint_gets_them_after_those_that_have_no_number_yet():
    endpoint = an_endpoint(fifo=True)
    missed = EventFactory(tenant=endpoint.tenant)
    waiting = DeliveryFactory(endpoint=endpoint)
    recover(endpoint, LONG_AGO)
    assert list(Delivery.objects.order_by("sequence").values_list("event_id", "sequence")) == [
        (waiting.event_id, 1),
        (missed.pk, 2),
    ]


def test_large_recoveries_go_in_chunks(monkeypatch):
    monkeypatch.setattr(module, "_READ_AT_ONCE", 3)
    monkeypatch.setattr(module, "CHUNK", 5)
    chunks = []
    make = bulk_updates.create_deliveries
    monkeypatch.setattr(
        bulk_updates,
        "create_deliveries",
        lambda row, ids: chunks.append(len(ids)) or make(row, ids),
    )
    endpoint = an_endpoint()
    EventFactory.create_batch(10, tenant=endpoint.tenant, tenant_uid="x")
    assert recover(endpoint, LONG_AGO).created == 10
    assert sum(chunks) == 10
    assert max(chunks) <= 5


def test_deleted_endpoints_and_those_behind_callback_urls_are_refused():
    for endpoint in (EndpointFactory(status="deleted"), EndpointFactory(kind="callback")):
        with pytest.raises(ConflictingState):
            recover(endpoint, LONG_AGO)


def test_a_disabled_endpoint_gets_its_deliveries_but_is_not_woken():
    endpoint = an_endpoint(status="disabled")
    EventFactory(tenant=endpoint.tenant)
    assert recover(endpoint, LONG_AGO).created == 1
    assert EndpointQueue.objects.get().due_at == BLOCKED
    assert Tenant.objects.count() == 1
