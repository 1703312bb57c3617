"""Pause, resume, disable, enable, delete."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory
from webhooks_app import signals
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.exceptions import ConflictingState
from webhooks_app.models import (
    BLOCKED,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Notification,
    NotificationKind,
)

pytestmark = pytest.mark.django_db


def queue_of(endpoint: Endpoint) -> EndpointQueue:
    return EndpointQueue.objects.get(pk=endpoint.pk)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (pause_endpoint, EndpointStatus.PAUSED),
        (disable_endpoint, EndpointStatus.DISABLED),
        (delete_endpoint, EndpointStatus.DELETED),
    ],
)
def test_what_is_stopped_is_never_due(act, status):
    endpoint = EndpointFactory(queue__due_at=timezone.now())
    row = act(endpoint, actor="user:anna")
    assert (row.status, Endpoint.objects.get().status) == (status, status)
    assert (queue_of(endpoint).not_before, queue_of(endpoint).due_at) == (BLOCKED, BLOCKED)
    assert AuditEntry.objects.get().verb == f"endpoint.{status}"
    assert act(endpoint.pk).status == status, "a repetition changes nothing"
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(("stop", "start"), [(pause_endpoint, resume_endpoint), (disable_endpoint, enable_endpoint)])
def test_starting_again_wakes_what_was_kept_and_gives_it_its_time_again(stop, start):
    endpoint = EndpointFactory()
    soon = timezone.now() + timedelta(minutes=1)
    kept = DeliveryFactory(endpoint=endpoint, expires_at=soon)
    done = DeliveryFactory(endpoint=endpoint, succeeded=True, expires_at=soon)
    stop(endpoint)
    row = start(endpoint)

    assert row.status == EndpointStatus.ACTIVE
    assert queue_of(endpoint).due_at <= timezone.now() + timedelta(seconds=1)
    kept.refresh_from_db()
    done.refresh_from_db()
    assert kept.expires_at > timezone.now() + timedelta(days=4)
    assert done.expires_at == soon
    assert start(endpoint).status == EndpointStatus.ACTIVE


def test_more_pending_deliveries_than_one_transaction_takes_are_all_extended(monkeypatch):
    monkeypatch.setattr("webhooks_app.locking.chunks.__defaults__", (2,))
    endpoint = EndpointFactory(status="paused")
    DeliveryFactory.create_batch(5, endpoint=endpoint, expires_at=timezone.now())
    resume_endpoint(endpoint)
    assert Delivery.objects.filter(expires_at__gt=timezone.now() + timedelta(days=4)).count() == 5


def test_enabling_starts_with_a_clean_record():
    now = timezone.now()
    endpoint = EndpointFactory(
        status="disabled", queue__consecutive_failures=7, queue__crash_takeovers=2, queue__failing_since=now
    )
    enable_endpoint(endpoint)
    queue = queue_of(endpoint)
    assert (queue.consecutive_failures, queue.crash_takeovers, queue.failing_since) == (0, 0, None)


@pytest.mark.parametrize(
    ("status", "act"), [("disabled", pause_endpoint), ("disabled", resume_endpoint), ("paused", enable_endpoint)] + [
        ("deleted", act) for act in (pause_endpoint, resume_endpoint, disable_endpoint, enable_endpoint)
    ]
)  # fmt: skip
def test_actions_that_do_not_fit_the_state_are_refused(status, act):
    endpoint = EndpointFactory(status=status)
    with pytest.raises(ConflictingState):
        act(endpoint)
    assert Endpoint.objects.get().status == status


@pytest.mark.django_db(transaction=True)
def test_disabling_leaves_a_notice_and_sends_the_signal_after_the_commit():
    heard = []

    def listen(sender, **kwargs):
        heard.append(kwargs)

    signals.endpoint_disabled.connect(listen)
    try:
        endpoint = disable_endpoint(EndpointFactory(), "not paid")
        disable_endpoint(EndpointFactory(), "own wish", notify=False)
    finally:
        signals.endpoint_disabled.disconnect(listen)
    notification = Notification.objects.get()
    assert (notification.kind, notification.reason, notification.endpoint_id) == (
        NotificationKind.DISABLED,
        "not paid",
        endpoint.pk,
    )
    assert [each["reason"] for each in heard] == ["not paid", "own wish"]
    assert heard[0]["endpoint_id"] == endpoint.pk


def test_deleting_cancels_what_is_pending_and_keeps_the_history():
    endpoint = EndpointFactory()
    kept = DeliveryFactory(endpoint=endpoint)
    done = DeliveryFactory(endpoint=endpoint, succeeded=True)
    other = DeliveryFactory()
    row = delete_endpoint(endpoint)
    assert row.deleted_at is not None
    kept.refresh_from_db()
    assert kept.status == DeliveryStatus.CANCELLED
    assert kept.completed_at is not None
    done.refresh_from_db()
    other.refresh_from_db()
    assert (done.status, other.status) == (DeliveryStatus.SUCCEEDED, DeliveryStatus.PENDING)
