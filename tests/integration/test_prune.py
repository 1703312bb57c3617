"""What prune takes, and what it must never take. Ids hold their time, so the tests look from the future."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    DeliveryFactory,
    EndpointFactory,
    EngineFactory,
    EventFactory,
    NotificationFactory,
    SecretFactory,
)
from webhooks_app.maintenance import delete_rows
from webhooks_app.maintenance.prune import PruneReport, prune
from webhooks_app.models import (
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    Engine,
    Event,
    EventChannel,
    HourlyStat,
    Notification,
    Secret,
)
from webhooks_app.models.ids import new_id

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LATER = NOW + timedelta(days=31)


def test_nothing_young_is_taken():
    AttemptFactory(delivery__succeeded=True)
    NotificationFactory(sent_at=NOW)
    assert prune() == PruneReport()


def test_what_is_older_than_the_retention_goes(configure):
    configure(PRUNE_BATCH=2)
    endpoint = EndpointFactory()
    for _ in range(5):
        event = EventFactory(tenant=endpoint.tenant)
        EventChannel.objects.create(tenant=endpoint.tenant, event=event, channel="a")
        AttemptFactory(delivery=DeliveryFactory(endpoint=endpoint, event=event, succeeded=True))
    EventFactory(quarantine_reason="bad")
    report = prune(now=LATER)
    assert (report.attempts, report.deliveries, report.channels, report.events) == (5, 5, 5, 6)
    for model in (Attempt, Delivery, EventChannel, Event):
        assert not model.objects.exists()
    assert Endpoint.objects.count() == 1
    assert prune(now=LATER) == PruneReport()


def test_an_event_with_a_pending_delivery_stays_whole():
    event = EventFactory()
    pending = DeliveryFactory(endpoint__tenant=event.tenant, event=event)
    prune(now=LATER)
    assert Event.objects.get() == event
    assert Delivery.objects.get() == pending


def test_an_event_that_is_not_fanned_out_stays():
    EventFactory(fanned_out_at=None)
    assert prune(now=LATER).events == 0


def test_an_event_whose_delivery_was_replayed_lately_stays():
    DeliveryFactory(succeeded=True, completed_at=LATER - timedelta(days=1))
    assert prune(now=LATER).events == 0
    assert Delivery.objects.count() == 1


def test_a_delivery_that_becomes_pending_while_prune_runs_stays(monkeypatch):
    row = DeliveryFactory(succeeded=True)
    delete = delete_rows._delete_now

    def replay_first(rows):
        Delivery.objects.filter(pk=row.pk).update(status=DeliveryStatus.PENDING)
        return delete(rows)

    monkeypatch.setattr(delete_rows, "_delete_now", replay_first)
    prune(now=LATER)
    assert Delivery.objects.get() == row
    assert Event.objects.exists()


def test_a_deleted_endpoint_goes_with_all_that_is_its_own():
    endpoint = EndpointFactory(status="deleted", deleted_at=NOW)
    HourlyStat.objects.create(endpoint=endpoint, hour=NOW)
    report = prune(now=LATER)
    assert (report.endpoints, report.stats) == (1, 1)
    for model in (Endpoint, EndpointQueue, Secret, HourlyStat):
        assert not model.objects.exists()


@pytest.mark.parametrize(
    "case",
    [
        {"status": "deleted", "deleted_at": LATER},
        {"status": "deleted", "deleted_at": NOW, "queue__holder_id": new_id()},
        {"kind": "callback", "queue__holder_id": new_id()},
        {},
        {"status": "disabled"},
    ],
)
def test_an_endpoint_that_is_in_use_or_just_deleted_stays(case):
    EndpointFactory(**case)
    assert prune(now=LATER).endpoints == 0
    assert Endpoint.objects.count() == 1


@pytest.mark.parametrize("case", [{"status": "deleted", "deleted_at": NOW}, {"kind": "callback"}])
def test_an_endpoint_with_deliveries_left_stays(case):
    DeliveryFactory(endpoint=EndpointFactory(**case), succeeded=True, completed_at=LATER)
    assert prune(now=LATER).endpoints == 0


def test_an_idle_hidden_endpoint_goes_with_its_history():
    DeliveryFactory(endpoint__kind="callback", succeeded=True)
    assert prune(now=LATER).endpoints == 1


def test_pending_deliveries_of_deleted_endpoints_are_cancelled_and_go_with_time():
    row = DeliveryFactory(endpoint=EndpointFactory(status="deleted", deleted_at=NOW))
    assert prune().cancelled == 1
    row.refresh_from_db()
    assert row.status == DeliveryStatus.CANCELLED
    assert prune(now=LATER).endpoints == 1


def test_told_notices_and_dead_secrets_go_others_stay():
    NotificationFactory(sent_at=NOW)
    unsent = NotificationFactory()
    endpoint = EndpointFactory()
    ended = SecretFactory(tenant=endpoint.tenant, endpoint=endpoint, expires_at=NOW)
    report = prune(now=LATER)
    assert (report.notifications, report.secrets) == (1, 1)
    assert Notification.objects.get() == unsent
    assert not Secret.objects.filter(pk=ended.pk).exists()
    assert endpoint.secrets.count() == 1


def test_statistics_and_audit_log_are_kept_for_13_months():
    endpoint = EndpointFactory()
    AuditEntry.objects.create(tenant=endpoint.tenant, actor="x", verb="y")
    HourlyStat.objects.create(endpoint=endpoint, hour=NOW)
    report = prune(now=NOW + timedelta(days=390))
    assert (report.stats, report.audit_entries) == (0, 0)
    report = prune(now=NOW + timedelta(days=400))
    assert (report.stats, report.audit_entries) == (1, 1)


def test_dead_engines_go_when_they_hold_nothing():
    gone = EngineFactory(alive_until=NOW - timedelta(hours=2))
    EngineFactory(alive_until=NOW)
    holding = EngineFactory(alive_until=NOW - timedelta(hours=2))
    EndpointFactory(queue__holder_id=holding.pk)
    assert prune(now=NOW).engines == 1
    assert not Engine.objects.filter(pk=gone.pk).exists()
    assert Engine.objects.count() == 2
